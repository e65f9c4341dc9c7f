"""The part of a forge's REST API that is about pull requests and the comments on them.

GitHub documents it under "REST API endpoints for issue comments" and "… for pull requests"; Gitea
and Forgejo have the same routes below `/api/v1`. Only reads are retried here. A request that
changes something is sent once; the caller has to list the comments before it sends another one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from deploy_action.errors import DeadlineError, Problem, RefusedError
from deploy_action.github.event import mapping
from deploy_action.http.exchange import Again, Answer, Call, Retries, exchange
from deploy_action.http.failures import is_hopeless, library_errors, unreachable
from deploy_action.http.proxies import instead_of, proxy_of
from deploy_action.http.sessions import Session
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import excerpt
from deploy_action.text.redaction import redacted

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 10.0

_GONE: Final = frozenset({404, 410})
_NO_USER: Final = frozenset({403, 404, 405, 501})
# The wait for a limit without a time: at least a minute ("Rate limits for the REST API").
_UNKNOWN_LIMIT: Final = 60.0
_CREATED: Final = 201
_PER_PAGE: Final = 100
# GitHub allows 2,500 comments on a pull request.
_MOST_PAGES: Final = 30
# A hundred comments of 65,536 characters, each character written as `\uXXXX`.
_LARGEST_ANSWER: Final = 64 * 1024 * 1024
_LONGEST_QUOTE: Final = 200
# One of the links of a header `Link`, and what it is (RFC 8288).
_LINK: Final = lazy_regex(r"<([^<>]*)>([^<]*)")
_RELATIONS: Final = lazy_regex(r';\s*rel="?([^";,]+)', re.IGNORECASE)
# The user as which Gitea and Forgejo run workflows (`ActionsUserID` in their
# models/user/user_system.go). The only other negative number is -1, for deleted accounts.
_ACTIONS_USER: Final = -2

_PERMISSION_HINT: Final = (
    "Give the job `permissions: pull-requests: write`. On a pull request from a fork the token can "
    "only read, whatever the workflow says: `mode: comment` comments on those, from another "
    "workflow."
)
_TOKEN_HINT: Final = "Leave `github-token` at its default, or store a token that is still valid."  # noqa: S105  # no token, a text about one
_ADDRESS_HINT: Final = (
    "Check GITHUB_API_URL, which the runner sets, and which server answers there."
)
_LATER_HINT: Final = "Run this job again; the next run tries again, too."


@dataclass(frozen=True, slots=True)
class ForgeComment:
    """A comment from the API.

    `url` is its page, blank if the API does not say. `user` is its author, None if the API does not
    say, as for a deleted account.
    """

    number: int
    body: str
    url: str
    user: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """An open pull request, and the branch and commit that it wants to be merged.

    `repository` is the number of the repository that has the branch, None if that was deleted.
    """

    number: int
    branch: str
    commit: str
    repository: int | None


_Numbered = TypeVar("_Numbered", ForgeComment, PullRequest)


class PassingForgeError(RefusedError):
    """A failure that may pass; the forge asks to wait for `seconds`."""

    def __init__(self, problem: Problem, seconds: float, *, may_have_acted: bool) -> None:
        super().__init__(problem, may_have_acted=may_have_acted)
        self.seconds = seconds

    @property
    def again(self) -> Again:
        """How long to wait for another try, and what to raise if there is no time for it."""
        return Again(str(self), self.seconds, self)


@dataclass(slots=True)
class Forge:
    """Calls to one forge about one repository.

    Every call raises `RefusedError` if the forge refuses it, or `PassingForgeError` if another try
    may end better. `may_have_acted` of one from a change says that it may be made all the same.
    """

    api_url: str
    repository: str
    token: str = field(repr=False)
    retries: Retries
    _session: Session | None = field(default=None, init=False)

    def close(self) -> None:
        """Close the connections that are kept open."""
        if self._session is not None:
            self._session.close()

    def find_user(self) -> Mapping[str, object] | None:
        """Return the token's user, or None if the forge does not say.

        It does not for a workflow's own token: "Resource not accessible by integration". An answer
        without a name is refused: our own comments would look like those of others.
        """
        answer = self._read(f"{self.api_url}/user", expected=_NO_USER)
        if not answer.is_good:
            return None
        user = mapping(answer.json)
        login = user.get("login")
        if not (login and isinstance(login, str)):
            raise self._strange(answer)
        return user

    def list_comments(self, number: int) -> list[ForgeComment]:
        """Return all comments of a pull request, in the API's order."""
        url = f"{self._issues_url}/{number}/comments?per_page={_PER_PAGE}"
        return self._list(url, _parse_listed_comment, "comments")

    def list_pull_requests(self, owner: str, branch: str) -> list[PullRequest]:
        """Return the open pull requests from branches of that name.

        GitHub lists only those from the owner's branch; Gitea lists all that are open, and names
        of branches that GitHub cannot take for one make it list all, too.
        """
        head = quote(f"{owner}:{branch}", safe="")
        url = f"{self.api_url}/repos/{self.repository}/pulls?state=open&head={head}"
        found = self._list(f"{url}&per_page={_PER_PAGE}", _parse_pull_request, "pull requests")
        return [one for one in found if one.branch == branch]

    def _list(
        self, url: str, parse: Callable[[object], _Numbered | None], what: str
    ) -> list[_Numbered]:
        """Return what is on all pages, in the API's order."""
        first, listed = url, dict[int, _Numbered]()
        for page in range(1, _MOST_PAGES + 1):
            answer, known = self._read(url), len(listed)
            if not isinstance(answer.json, list):
                raise self._strange(answer)
            found = [one for one in map(parse, answer.json) if one is not None]
            if answer.json and not found:
                raise self._strange(answer)
            listed |= {one.number: one for one in found}
            try:
                following = _next_page(answer, url)
            except ValueError as error:
                raise self._strange(answer) from error
            is_full = len(answer.json) >= _PER_PAGE and len(listed) > known
            if is_full and not answer.headers.get("Link"):
                # Some forges do not link to the next page. Others, such as Gitea, return all
                # comments at once.
                following = f"{first}&page={page + 1}"
            if not following:
                return list(listed.values())
            if _origin(following) != _origin(self.api_url):
                strange = "continues its list on another server, which must not get the token"
                raise self._refused(strange, _ADDRESS_HINT)
            url = following
        raise self._refused(f"lists more than {len(listed):,} {what}")

    def create_comment(self, number: int, body: str) -> ForgeComment:
        """Create a comment."""
        answer = self._send("POST", f"{self._issues_url}/{number}/comments", {"body": body})
        comment = _parse_comment(answer.json)
        # Without the comment, only "created" is proof: a 200 may come from any other server.
        if comment is None or not (comment.body or answer.status == _CREATED):
            raise self._strange(answer)
        return comment

    def edit_comment(self, comment: int, body: str) -> bool:
        """Replace the body of a comment; return False if the comment is gone."""
        url = f"{self._issues_url}/comments/{comment}"
        answer = self._send("PATCH", url, {"body": body}, expected=_GONE)
        if answer.is_good and mapping(answer.json).get("id") != comment:
            raise self._strange(answer)
        return answer.is_good

    def delete_comment(self, comment: int) -> None:
        """Delete a comment, unless it is gone already."""
        self._send("DELETE", f"{self._issues_url}/comments/{comment}", expected=_GONE)

    @property
    def _issues_url(self) -> str:
        return f"{self.api_url}/repos/{self.repository}/issues"

    def _read(self, url: str, expected: frozenset[int] = frozenset()) -> Answer:
        """Get an answer; retry after every failure that may pass."""
        return self.retries.repeat(
            lambda: self._send("GET", url, expected=expected),
            lambda outcome: outcome.again if isinstance(outcome, PassingForgeError) else None,
        )

    def _send(
        self,
        method: str,
        url: str,
        document: Mapping[str, str] | None = None,
        expected: frozenset[int] = frozenset(),
    ) -> Answer:
        """Send a request once; return an answer that is good or whose status is `expected`."""
        if self._session is None:
            self._session = Session(use_environment=True)
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
        }
        call = Call(
            method=method,
            url=url,
            headers=headers,
            body=None if document is None else json.dumps(document).encode(),
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            largest_answer=_LARGEST_ANSWER,
        )
        try:
            answer = exchange(self._session, call, self.retries.deadline)
        except DeadlineError:
            raise
        except library_errors() as error:
            self.retries.deadline.remaining()
            failure = unreachable(error, proxy_of(call.url))
            lost = f"cannot be reached or hung up: {self._quoted(failure.reason)}"
            if is_hopeless(error):
                raise self._refused(lost, failure.hint or _LATER_HINT) from error
            raise self._failed(lost, may_have_acted=True) from error
        if not answer.is_good:
            self._refuse(answer, expected)
        return answer

    def _refuse(self, answer: Answer, expected: frozenset[int]) -> None:
        """Raise an error for an answer that is not good, unless its status is expected."""
        said = self._said(answer)
        if (limit := _limit_of(answer)) is not None:
            wait = f"; it asks to wait for {math.ceil(limit)} s" if limit else ""
            raise self._failed(f"accepts no more requests for now ({said}){wait}", limit)
        if answer.status in expected:
            return
        if answer.may_pass:
            seconds, proxy = answer.retry_after or 0.0, self._proxy(answer)
            raise self._failed(f"failed ({said})", seconds, proxy, may_have_acted=True)
        reason, hint = _why_refused(answer.status, _message_of(answer).lower())
        raise self._refused(f"{reason} ({said})", f"{hint} {self._proxy(answer)}".strip())

    def _proxy(self, answer: Answer) -> str:
        """Return a hint on the proxy, if the answer may be its own."""
        return "" if isinstance(answer.json, dict | list) else instead_of(self.api_url)

    def _failed(
        self, what: str, seconds: float = 0.0, more: str = "", *, may_have_acted: bool = False
    ) -> PassingForgeError:
        problem = Problem(message=f"{self._name} {what}", hint=f"{_LATER_HINT} {more}".strip())
        return PassingForgeError(problem, seconds, may_have_acted=may_have_acted)

    def _strange(self, answer: Answer) -> RefusedError:
        error = self._refused(
            f"does not answer like a forge's API ({self._said(answer)})",
            f"{_ADDRESS_HINT} {self._proxy(answer)}".strip(),
        )
        error.may_have_acted = True
        return error

    def _refused(self, reason: str, hint: str = "") -> RefusedError:
        return RefusedError.of(message=f"{self._name} {reason}", hint=hint)

    @property
    def _name(self) -> str:
        return urlsplit(self.api_url).netloc.rpartition("@")[2]

    def _said(self, answer: Answer) -> str:
        """Return the status and the message of an answer, short and safe to print."""
        words = self._quoted(_message_of(answer))
        return f"{answer.status}: {words}" if words else f"{answer.status}"

    def _quoted(self, text: str) -> str:
        return excerpt(redacted(text, [self.token]).rstrip(". \n"), _LONGEST_QUOTE)


def is_same_user(user: Mapping[str, object] | None, known: Mapping[str, object] | None) -> bool:
    """Tell whether the author of a comment is `known`; if that is None, whether it is a bot.

    On GitHub the author is of type `Bot` for the token of a workflow or of an app, which nobody can
    be by choosing a name. A comment whose author the forge does not say is not ours: anybody can
    copy the marker.
    """
    if not user:
        return False
    if known is None:
        return user.get("type") == "Bot" or user.get("id") == _ACTIONS_USER
    if isinstance(user.get("id"), int) and isinstance(known.get("id"), int):
        return user["id"] == known["id"]
    return user.get("login") == known.get("login")


def _parse_comment(entry: object) -> ForgeComment | None:
    if not isinstance(entry, dict):
        return None
    number, body, user = entry.get("id"), entry.get("body"), entry.get("user")
    if type(number) is not int:
        return None
    url = str(entry.get("html_url"))
    return ForgeComment(
        number=number,
        body=body if isinstance(body, str) else "",
        url=url if re.fullmatch(r"https?://[!-~]+", url) else "",
        user=user if isinstance(user, dict) else None,
    )


def _parse_listed_comment(entry: object) -> ForgeComment | None:
    """Return a comment that has a text, which alone tells whether it is ours."""
    return _parse_comment(entry) if isinstance(mapping(entry).get("body"), str) else None


def _parse_pull_request(entry: object) -> PullRequest | None:
    entry = mapping(entry)
    number, head = entry.get("number"), mapping(entry.get("head"))
    branch, commit, repository = head.get("ref"), head.get("sha"), mapping(head.get("repo"))
    if type(number) is not int or not isinstance(branch, str) or not isinstance(commit, str):
        return None
    of_head = repository.get("id")
    return PullRequest(number, branch, commit, of_head if type(of_head) is int else None)


def _message_of(answer: Answer) -> str:
    """Return an error's `message`, with the first of its `errors`, as GitHub sends them."""
    document = answer.json
    if not isinstance(document, dict):
        return ""
    parts = [document.get("message")]
    errors = document.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0]
        parts.append(first.get("message") if isinstance(first, dict) else first)
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _why_refused(status: int, text: str) -> tuple[str, str]:
    """Return the reason for a refusal, as a predicate, and a hint."""
    if "archived" in text or status == 423:  # noqa: PLR2004  # Gitea's status for it
        return "accepts no comments in an archived repository", ""
    if "locked" in text:
        return "accepts no comments on a locked conversation", ""
    if 300 <= status < 400:  # noqa: PLR2004  # the class of statuses
        return "redirects, and the token is not sent on", _ADDRESS_HINT
    return {
        401: ("does not accept the token", _TOKEN_HINT),
        403: ("does not allow that with this token", _PERMISSION_HINT),
        404: ("has no such pull request, or hides it from the token", _PERMISSION_HINT),
    }.get(status, ("refuses it", ""))


def _limit_of(answer: Answer) -> float | None:
    """Return the seconds to wait for a rate limit, or None if the answer is about something else.

    See "Exceeding the rate limit" in GitHub's "Rate limits for the REST API": the status is 403 or
    429. The time is in `Retry-After`, or is that of a reset in seconds since the epoch if nothing
    remains, or is not given at all.
    """
    if answer.status not in {403, 429}:
        return None
    is_used_up = answer.headers.get("X-RateLimit-Remaining") == "0"
    is_said = "rate limit" in _message_of(answer).lower()
    if answer.retry_after:
        return answer.retry_after
    reset = answer.headers.get("X-RateLimit-Reset", "")
    if is_used_up and re.fullmatch(r"[0-9]{1,12}", reset):
        return max(0.0, int(reset) - answer.server_time)
    if answer.retry_after is not None:
        return 0.0
    return _UNKNOWN_LIMIT if is_used_up or is_said or answer.status == 429 else None  # noqa: PLR2004  # RFC 6585


def _next_page(answer: Answer, url: str) -> str:
    """Return the URL of the page after `url` (RFC 8288), blank after the last one.

    Raises:
        ValueError: the link is not a URL.
    """
    for target, parameters in _LINK.findall(answer.headers.get("Link", "")):
        relations = _RELATIONS.search(parameters)
        if relations and "next" in relations[1].lower().split():
            return urljoin(url, str(target))
    return ""


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
