"""The sign-in of `blankly-deploy login` at a server of one's own, without a browser."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import TIMEOUT, Visitor, text_of

PATH = "/auth/signin?redirectUrl=/deploy"


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    return Visitor(live.parts.url)


def test_the_original_path_leads_by_the_sign_in_to_a_question(
    live: LivePlatform, visitor: Visitor
) -> None:
    away = visitor.get(PATH).headers["location"]
    following = parse_qs(urlsplit(away).query)["next"][0]
    assert following == PATH
    back = visitor.post("/login", token=live.refresh_token, next=following)

    page = visitor.get(back.headers["location"])

    assert page.status_code == 200
    assert "The button sends the token to http://localhost:9082 :" in text_of(page.text)
    assert live.refresh_token not in page.text


def test_the_button_sends_the_token_to_this_computer_alone(
    live: LivePlatform, visitor: Visitor
) -> None:
    visitor.sign_in(live.refresh_token)

    answer = visitor.send_form(PATH, "/auth/signin")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://localhost:9082/?token={live.refresh_token}"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "target",
    ["", "/", "/deploy/", "//evil.example", "https://evil.example/deploy", "/deploy?x", "deploy",
     "http://localhost:9082", "/\\evil.example"],
)  # fmt: skip
def test_it_leads_nowhere_else(target: str, live: LivePlatform, visitor: Visitor) -> None:
    visitor.sign_in(live.refresh_token)

    assert visitor.get(f"/auth/signin?redirectUrl={target}").status_code == 404
    sent = visitor.send_form(PATH, "/auth/signin", redirectUrl=target)
    assert sent.status_code == 404
    assert "location" not in sent.headers


def test_no_other_site_makes_the_browser_send_the_token(
    live: LivePlatform, visitor: Visitor
) -> None:
    visitor.sign_in(live.refresh_token)

    assert visitor.post("/auth/signin", redirectUrl="/deploy").status_code == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = visitor.session.post(
            f"{visitor.url}/auth/signin",
            data={"redirectUrl": "/deploy"},
            headers=headers,
            allow_redirects=False,
            timeout=TIMEOUT,
        )
        assert answer.status_code == 403
    assert Visitor(visitor.url).post("/auth/signin", redirectUrl="/deploy").status_code == 303
