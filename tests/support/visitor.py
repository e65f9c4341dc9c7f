"""Somebody who looks at the pages of a server without a browser: cookies, forms, links."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import requests

TIMEOUT = 120


class _Forms(HTMLParser):
    """Collects the forms of a page: where each is sent, and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((found.get("action", ""), {}))
        elif tag in {"input", "button"} and found.get("name") and self.forms:
            self.forms[-1][1][found["name"]] = found.get("value", "")


@dataclass
class Visitor:
    """A browser without scripts, on the server at `url`."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, **headers: str | bytes) -> requests.Response:
        """Load a page; a redirect is not followed."""
        return self.session.get(
            f"{self.url}{path}", headers=headers, allow_redirects=False, timeout=TIMEOUT
        )

    def post(self, path: str, **fields: str) -> requests.Response:
        """Send fields as a form does; a redirect is not followed."""
        return self.session.post(
            f"{self.url}{path}", data=fields, allow_redirects=False, timeout=TIMEOUT
        )

    def sign_in(self, token: str) -> requests.Response:
        """Send the form of the sign-in page."""
        return self.post("/login", token=token, next="/")

    def form(self, page: str, action: str) -> dict[str, str]:
        """Load a page, and return the hidden fields of its form with this action."""
        forms = _Forms()
        forms.feed(self.get(page).text)
        return next(hidden for target, hidden in forms.forms if target == action)

    def send_form(self, page: str, action: str, **fields: str) -> requests.Response:
        """Load a page, and send its form with this action as a browser would."""
        return self.post(action, **{**self.form(page, action), **fields})


def text_of(html: str) -> str:
    """Return what a reader sees of a page, in one line: no markup, no scripts."""
    body = re.sub(r"(?s)<(script|style|head)\b.*?</\1>", " ", html)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())
