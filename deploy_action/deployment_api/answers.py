"""What an answer of a Deployment API means: the JSON in it, or the error to raise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from deploy_action.deployment_api.retry_rules import (
    Break,
    BrokenExchangeError,
    BusyError,
    has_not_acted,
    how_it_broke,
    is_refusal,
)
from deploy_action.errors import Problem, RefusedError, Severity, read_problems
from deploy_action.http.exchange import Answer
from deploy_action.inputs.defaults import HOSTED_API_URL, HOSTED_GONE
from deploy_action.records import dataclass, field
from deploy_action.text.redaction import beginning

SIGN_IN: Final = "POST /auth/token"

_UNAUTHORIZED: Final = 401
_BAD_REQUEST: Final = 400
_FROM_PROXY: Final = 407  # RFC 9110, section 15.5.8: only proxies send it
_TOO_LARGE: Final = 413
_TOO_MANY_REQUESTS: Final = 429
# What Google's secure-token API, which the original server passes on, says of a refresh token:
# "Common error codes" of the Firebase Auth REST API.
_BAD_TOKENS: Final = frozenset(
    {"TOKEN_EXPIRED", "USER_DISABLED", "USER_NOT_FOUND", "INVALID_REFRESH_TOKEN"}
)
_ROUTE_MISSING: Final = frozenset({404, 405, 501})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LONGEST_QUOTE: Final = 300
_LONGEST_ID: Final = 200
_MILLISECONDS: Final = 1e11  # in seconds, this would be the year 5138
# As in RFC 6750, section 2.1, and no word: it is hidden wherever it is shown.
_BEARER: Final = r"[A-Za-z0-9._~+/=-]{16,}"
_LONGEST_PAGE: Final = 64 * 1024

NO_PERMISSION: Final = "Invalid permission."
"""What servers answer about a project that is not the user's, or takes no models."""

_HINTS: Final = {
    NO_PERMISSION: "Check the project: it does not belong to the user of the token, does not "
    "exist, or takes no models. Some servers take them only in the personal project (leave "
    "`project-id` and `project-name` blank) and in teams (by name or id).",
    "This modelId was not found under this project.": "Check `model-id` and `project-id`. To "
    "create the model, remove the id and set `create-new: true`.",
    "The specified type does not match the model type.": "The model was created as the other type "
    "(`strategy` or `screener`): correct `type` in `blankly.json`, or deploy to another model.",
}
_SIGN_IN_AGAIN: Final = (
    "Sign in again with `blankly-deploy login`, and pass what it shows as `token`."
)
_LOOK_AT_SERVER: Final = (
    "The `token` of a server of your own is its PLATFORM_TOKEN, or the one that `blankly-deploy "
    "serve` printed at its first start."
)
_TOO_MANY_TOKENS: Final = (
    "That does not say that this token is wrong: look for other workflows and programs at this "
    "address that send a wrong one, and run the workflow again later."
)
_NO_VERDICT: Final = (
    "That does not say that the token is wrong. Something in front of the server, such as a "
    "firewall, may have answered: look there, and at the server's log."
)
_OLDER_HINT: Final = (
    "Run the workflow of the latest commit. To go back to an earlier version, use "
    "`mode: rollback`; to deploy this commit all the same, set `allow-older: true`."
)


class RouteMissingError(RefusedError):
    """The server does not have the route; servers that only follow the documentation lack some."""


class WebPageError(RouteMissingError):
    """A web page was sent with success: for a route that is missing, or for another reason.

    Proxies ask for a sign-in like this, and servers tell of maintenance.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer of `server` to a request for `route`, such as `POST /model/list`.

    `is_change` says that the request must not be done twice: an answer that leaves open whether the
    server acted then raises an error with `may_have_acted`. `redact` hides the secrets in a text.
    `proxy_hint` says what to do about an answer that may be a proxy's own, if there is one.
    """

    server: str
    route: str
    answer: Answer
    is_change: bool
    redact: Callable[[str], str] = field(repr=False)
    proxy_hint: Callable[[], str] = lambda: ""

    def require_route(self) -> None:
        """Check for a route that only some servers have.

        The status decides, whatever the body says: some servers report a missing route as JSON.

        Raises:
            RouteMissingError: the server does not have the route.
        """
        if self.answer.status in _ROUTE_MISSING:
            raise RouteMissingError(self._no_such_route())

    def json_object(self) -> Mapping[str, object]:
        """Return the JSON object of a good answer; raises as `json` does."""
        body = self.json()
        if not isinstance(body, dict):
            raise self.unexpected("it is not a JSON object")
        return body

    def json_list(self) -> Sequence[object]:
        """Return the JSON list of a good answer; raises as `json` does."""
        body = self.json()
        if not isinstance(body, list):
            raise self.unexpected("it is not a list")
        return body

    def entries(self, *names: str) -> Sequence[tuple[str, object]]:
        """Return the entries of the list of a good answer that have an id under one of the names.

        If none of them has one, or none a `name`, it is no such list. To take it for an empty one
        would create a second model beside the one that it does not name. Raises as `json` does.
        """
        listed = self.json_list()
        found = [(identifier, one) for one in listed if (identifier := id_of(one, *names))]
        if listed and not found:
            raise self.unexpected("no entry of its list has an id")
        names_of = [one.get("name") for _, one in found if isinstance(one, dict)]
        if listed and not any(isinstance(name, str) for name in names_of):
            raise self.unexpected("no entry of its list has a name")
        return found

    def json(self) -> object:
        """Return the body of a good answer, which is not null.

        Raises:
            RouteMissingError: it has no such route; `WebPageError` if it may have one.
            BrokenExchangeError: it is unknown what the server did.
            RefusedError: the server refused the request, also with a 200 that carries an `error`.
        """
        answer, body = self.answer, self.answer.json
        said = body.get("error") if isinstance(body, dict) else None
        if answer.is_good and body is not None:
            # Some servers send an empty `error` on success, too.
            if said:
                raise self._refused()
            return body
        if answer.status in _ROUTE_MISSING and not said:
            raise RouteMissingError(self._no_such_route())
        if answer.is_good and self.is_page:
            # A server may answer every unknown path with the page of its web application. But such
            # a page does not prove that nothing was done.
            raise WebPageError(self._no_such_route(), may_have_acted=self._leaves_doubt)
        if answer.status in _REDIRECTS:
            # Servers redirect after they have acted, too, as to the page of what was made.
            raise BrokenExchangeError(
                self._moved(), Break.ANSWER, may_have_acted=self._leaves_doubt
            )
        if is_refusal(answer):
            raise self._refused()
        raise self.unexpected("it is not JSON")

    def check(self) -> None:
        """Check an answer whose body does not matter, such as an empty one; raises as `json`."""
        body = self.answer.json
        said = body.get("error") if isinstance(body, dict) else None
        if said or not self.answer.is_good or self.is_page:
            self.json()

    @property
    def is_page(self) -> bool:
        """Whether the answer is a web page, as some servers send for routes that they lack."""
        return _is_html(self.answer)

    @property
    def is_unreadable(self) -> bool:
        """Whether the answer should be JSON, by its status, and is neither that nor a web page."""
        return self.answer.is_good and self.answer.json is None and not self.is_page

    def unexpected(self, flaw: str) -> BrokenExchangeError:
        """Return the error for an answer that leaves open what the server did.

        The answer to a sign-in is not quoted: it may hold an idToken that was not recognised.
        """
        reason = "" if self.route == SIGN_IN else self.reason
        if self.answer.is_good:
            message = f"The answer of {self.server} to `{self.route}` cannot be used: {flaw}."
            message += f" It begins: {reason}" if reason else ""
            hint = self._no_api_hint
        else:
            message = f"{self.server} failed at `{self.route}` ({self.answer.status})"
            message += f": {reason}" if reason else ", and does not say why."
            hint = "Look at the server's log for the reason."
        problem = self._problem(message, hint)
        how = how_it_broke(self.answer)
        return BrokenExchangeError(problem, how, may_have_acted=self._leaves_doubt)

    @property
    def _leaves_doubt(self) -> bool:
        """Whether the server may have acted, unless its answer says that it did not."""
        return self.is_change and self.answer.was_sent_whole

    @property
    def reason(self) -> str:
        """What the answer says, on one line: its `error`, else the beginning of its text.

        Secrets that the server repeats are hidden before the text is cut: half a secret would not
        be recognised by the code that hides them later.
        """
        text = self.redact(_said(self.answer.json))
        return _clip(text or _text(self.answer, self.redact))

    def bad_token(self) -> Problem:
        """Return the problem of a refresh token that the server does not accept."""
        words = f": {self.reason}" if self.reason else ""
        is_hosted = self.server == HOSTED_API_URL
        return Problem(
            message=f"{self.server} does not accept the token "
            f"(`{self.route}` answered {self.answer.status}{words}).",
            hint=_SIGN_IN_AGAIN if is_hosted else _LOOK_AT_SERVER,
        )

    def _problem(self, message: str, hint: str) -> Problem:
        """Return a problem, with the proxy if the answer is not the API's and may be its own."""
        foreign = self.proxy_hint() if not isinstance(self.answer.json, dict | list) else ""
        return Problem(message=message, hint=" ".join(filter(None, (hint, foreign))))

    def _refused(self) -> RefusedError:
        reason, status = self.reason, self.answer.status
        body = self.answer.json
        hint = _HINTS.get(reason, "Correct what the server names, and run the workflow again.")
        if text_of(body, "code") == "older":
            hint = _OLDER_HINT
        if status == _FROM_PROXY:
            message = f"A proxy on the way to {self.server} refused `{self.route}` ({status}): "
            hint = (
                "Put a name and a password into the variable that names the proxy, from a secret: "
                "`http://NAME:PASSWORD@HOST:PORT`."
            )
            return RefusedError(self._problem(message + (reason or "no reason given"), hint))
        if self.route == SIGN_IN:
            hint = _NO_VERDICT
        if status == _TOO_LARGE:
            hint = "Leave files out of the bundle with `ignore_files` or the input `ignore`."
        elif self.route == SIGN_IN and status == _TOO_MANY_REQUESTS:
            hint = _TOO_MANY_TOKENS
        elif has_not_acted(self.answer):
            hint = "The server is overloaded or under maintenance: run the workflow again later."
        message = f"{self.server} refused `{self.route}` ({status}): {reason or 'no reason given'}"
        kind = BusyError if has_not_acted(self.answer) else RefusedError
        return kind(self._problem(message, hint))

    def _no_such_route(self) -> Problem:
        what = f"has no `{self.route}` ({self.answer.status})"
        if self.answer.is_good:
            what = f"answers `{self.route}` with a web page, as if it had no such route"
        return self._problem(f"{self.server} {what}.", self._no_api_hint)

    def _moved(self) -> Problem:
        place = _clip(self.redact(self.answer.headers.get("Location", ""))) or "an unnamed place"
        return self._problem(
            f"{self.server} redirects `{self.route}` to {place}, and the token is not sent on.",
            "Put the server's own address in `api-url`.",
        )

    @property
    def _no_api_hint(self) -> str:
        if self.server == HOSTED_API_URL:
            return HOSTED_GONE
        return "Check that `api-url` names a Deployment API, and look at the server's log."


def text_of(value: object, *names: str) -> str:
    """Return the first of the named members that is text, else blank."""
    members = value if isinstance(value, dict) else {}
    return next((members[name] for name in names if isinstance(members.get(name), str)), "")


def tokens_in(body: Mapping[str, object]) -> list[str]:
    """Return the tokens that a sign-in bought: Google's answer has more than the one we use."""
    data = body.get("data")
    found = (
        text_of(body, "idToken"),
        text_of(data, "access_token"),
        text_of(data, "refresh_token"),
    )
    return [one for one in found if re.fullmatch(_BEARER, one)]


def is_bad_token(answer: Answer) -> bool:
    """Whether a server refuses a refresh token at sign-in, and not the request or its sender."""
    if answer.status == _UNAUTHORIZED:
        return True
    return answer.status == _BAD_REQUEST and _said(answer.json) in _BAD_TOKENS


def _said(body: object) -> str:
    """Return what an answer says of an error, also where Google wraps it: `{error: {message}}`."""
    inner = body.get("error") if isinstance(body, dict) else None
    return text_of(inner, "message") or text_of(body, "error", "message")


def id_of(value: object, *names: str) -> str | None:
    """Return the first of the named members that is an id: printable text or a whole number."""
    members = value if isinstance(value, dict) else {}
    for name in names:
        member = members.get(name)
        if isinstance(member, int) and not isinstance(member, bool):
            member = str(member)
        if (
            isinstance(member, str)
            and member.strip()
            and member.isprintable()
            and len(member) <= _LONGEST_ID
        ):
            return member
    return None


def problems_of(body: Mapping[str, object], reply: Reply) -> tuple[Problem, ...]:
    """Return the problems that the server found when it ran the model."""
    run = body.get("run")
    return read_problems(run.get("problems") if isinstance(run, dict) else None, reply.redact)


def failed_problems(body: Mapping[str, object], reply: Reply) -> tuple[Problem, ...]:
    """Return the problems of a failed backtest, at least one of which is an error."""
    problems = problems_of(body, reply)
    if any(problem.severity is Severity.ERROR for problem in problems):
        return problems
    return (Problem(message=f"The backtest failed: {reply.reason}"), *problems)


def claims_of(token: str) -> object:
    """Return the claims of a JWT, or None. Nothing relies on them: the signature is not checked.

    The documented answer has only the idToken, a Google secure token, whose claims name the user.
    """
    import base64
    import binascii

    part = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004  # RFC 7519
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None


def time_of(value: object, *names: str) -> float | None:
    """Return the first of the named members that is a time, in seconds since 1970-01-01 UTC.

    Servers give seconds, milliseconds, or ISO 8601 text, which is UTC if it names no zone.
    """
    members = value if isinstance(value, dict) else {}
    times = (_time(members.get(name)) for name in names)
    return next((one for one in times if one is not None), None)


def _time(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1_000 if abs(value) >= _MILLISECONDS else float(value)
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if read is None:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _is_html(answer: Answer) -> bool:
    return answer.body[:_LONGEST_QUOTE].lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))


def _text(answer: Answer, redact: Callable[[str], str] = str) -> str:
    """Return a body as text, redacted, without the tags, scripts and styles of a web page."""
    page = answer.body[: 4 * _LONGEST_PAGE].decode("utf-8", "replace")
    text = beginning(page, redact, _LONGEST_PAGE)
    return re.sub(r"(?s)<(style|script)\b.*?(</\1>|$)|<[^<>]*>", " ", text)


def _clip(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1] + "…"
