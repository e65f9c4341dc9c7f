"""A forge on the loopback that stores comments on issues as GitHub and Gitea do.

Routes, answers, statuses and messages are those of GitHub's "REST API endpoints for issue comments"
and of Gitea's routers/api/v1/repo/issue_comment.go.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from tests.support.local_server import Listener, LocalHandler, LocalServer
from tests.support.scripted_server import Cut, CutAfterBody, Hang, Reply

LARGEST_COMMENT = 65_536
REPOSITORY = "trader/models"
REPOSITORY_NUMBER = 1_296_269
NO_ACCESS = "Resource not accessible by integration"
LOCKED = "Unable to create comment because issue is locked."
ARCHIVED = "Repository was archived so is read-only."


@dataclass(frozen=True, slots=True)
class Account:
    """A token's user. A workflow's token belongs to an app, and may not ask for its user."""

    login: str
    number: int
    kind: str = "User"
    may_write: bool = True

    @property
    def is_app(self) -> bool:
        """Whether its tokens belong to an installed app."""
        return self.kind == "Bot"


WORKFLOW = Account("github-actions[bot]", 41_898_282, "Bot")
PERSON = Account("trader", 583_231)
STRANGER = Account("mallory", 999)
GITEA_WORKFLOW = Account("gitea-actions", -2)


class ActAndCut:
    """Act on the request, then close the connection without an answer."""


@dataclass(frozen=True, slots=True)
class ActAndFail:
    """Act on the request, then answer something else."""

    reply: Reply


Fault = Reply | Hang | Cut | CutAfterBody | ActAndCut | ActAndFail


@dataclass(slots=True)
class Stored:
    """A comment as the forge stores it."""

    number: int
    issue: int
    author: Account | None
    body: str


@dataclass(frozen=True, slots=True)
class Pull:
    """An open pull request, and where its branch is."""

    number: int
    branch: str
    commit: str
    owner: str = "mallory"
    repository: int | None = 77


@dataclass(frozen=True, slots=True)
class Seen:
    """A received request; `path` is without the base and the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: object

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"


class _Handler(LocalHandler):
    server: Listener[ForgeServer]

    def answer(self) -> None:
        """Answer as a forge, unless a fault is due."""
        owner = self.server.owner
        fault = owner.take_fault(self.command)
        if isinstance(fault, Cut):
            self.drop()
            return
        seen = self._read()
        owner.before(seen)
        owner.seen.append(seen)
        if fault is None or isinstance(fault, ActAndCut | ActAndFail):
            reply = owner.answer(seen)
            if isinstance(fault, ActAndFail):
                reply = fault.reply
        elif isinstance(fault, Reply):
            reply = fault
        else:
            reply = Reply()
        if isinstance(fault, Hang):
            owner.closing.wait(30)
        if fault is None or isinstance(fault, Reply | ActAndFail):
            self.send(reply.status, reply.encoded(), reply.headers)
        else:
            self.drop()

    def _read(self) -> Seen:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        base = self.server.owner.base
        return Seen(
            method=self.command,
            path=parts.path.removeprefix(base) if parts.path.startswith(base) else "/outside",
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=json.loads(body) if body else None,
        )


@dataclass
class ForgeServer(LocalServer):
    """Serves comments below `base`; `faults` come first, one for each request of their method."""

    handler = _Handler
    base: str = ""
    is_gitea: bool = False
    links: bool = True
    is_locked: bool = False
    is_archived: bool = False
    accounts: dict[str, Account] = field(default_factory=dict)
    comments: list[Stored] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    # Numbers of comments that the next lists do not have yet, and of how many lists.
    lags: dict[int, int] = field(default_factory=dict)
    next_link: str = ""
    before: Callable[[Seen], None] = lambda _seen: None
    seen: list[Seen] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1_001))

    @property
    def url(self) -> str:
        return f"{self.origin}{self.base}"

    def add(self, author: Account | None, body: str, issue: int = 7) -> int:
        """Store a comment, and return its number."""
        with self._lock:
            stored = Stored(next(self._numbers), issue, author, body)
            self.comments.append(stored)
            return stored.number

    def bodies(self, issue: int = 7) -> list[str]:
        """Return the bodies of the comments on one issue."""
        with self._lock:
            return [stored.body for stored in self.comments if stored.issue == issue]

    def routes(self) -> list[str]:
        return [seen.route for seen in self.seen]

    def count(self, method: str) -> int:
        """Return how many requests of a method came."""
        return sum(seen.method == method for seen in self.seen)

    def take_fault(self, method: str) -> Fault | None:
        """Return the next fault, and remove it."""
        with self._lock:
            waiting = self.faults.get(method, [])
            return waiting.pop(0) if waiting else None

    def answer(self, seen: Seen) -> Reply:
        """Answer as a forge does, one request at a time."""
        with self._lock:
            token = seen.headers.get("authorization", "").removeprefix("Bearer ")
            account = self.accounts.get(token)
            if account is None:
                return self._error(401, "Bad credentials")
            if seen.route == "GET /user":
                return self._answer_user(account)
            return self._answer_comments(seen, account)

    def _answer_user(self, account: Account) -> Reply:
        if account.is_app:
            return self._error(403, NO_ACCESS)
        return Reply(200, self._user(account))

    def _answer_comments(self, seen: Seen, account: Account) -> Reply:
        owned = rf"/(?:repos/{REPOSITORY}|repositories/{REPOSITORY_NUMBER})"
        if found := re.fullmatch(rf"{owned}/issues/([0-9]+)/comments", seen.path):
            issue = int(found[1])
            if seen.method == "GET":
                return self._list(issue, seen.query)
            return self._refusal(account) or self._create(issue, account, seen.body)
        if re.fullmatch(rf"{owned}/pulls", seen.path) and seen.method == "GET":
            return self._list_pulls(seen.query)
        if found := re.fullmatch(rf"{owned}/issues/comments/([0-9]+)", seen.path):
            stored = next((one for one in self.comments if one.number == int(found[1])), None)
            if stored is None:
                return self._error(404, "Not Found")
            return self._refusal(account) or self._change(stored, seen)
        return self._error(404, "Not Found")

    def _refusal(self, account: Account) -> Reply | None:
        if self.is_archived:
            return self._error(423 if self.is_gitea else 403, ARCHIVED)
        if not account.may_write:
            return self._error(403, NO_ACCESS)
        return None

    def _list(self, issue: int, query: Mapping[str, str]) -> Reply:
        listed = [self._document(one) for one in self.comments if one.issue == issue]
        listed = [one for one in listed if not self._is_late(one["id"])]
        if self.is_gitea:  # it knows no pages here
            return Reply(200, listed, {"X-Total-Count": str(len(listed))})
        return self._page(f"issues/{issue}/comments?", listed, query)

    def _list_pulls(self, query: Mapping[str, str]) -> Reply:
        """List open pull requests; only GitHub has a filter for the branch."""
        head = "" if self.is_gitea else query.get("head", "")
        listed = [
            {
                "number": one.number,
                "head": {
                    "ref": one.branch,
                    "sha": one.commit,
                    "repo": one.repository and {"id": one.repository},
                },
            }
            for one in self.pulls
            if head in {"", f"{one.owner}:{one.branch}"}
        ]
        return self._page(f"pulls?state=open&head={quote(head, safe='')}&", listed, query)

    def _page(self, path: str, listed: Sequence[object], query: Mapping[str, str]) -> Reply:
        size, page = min(int(query.get("per_page", "30")), 100), int(query.get("page", "1"))
        headers = {}
        if self.links and len(listed) > page * size:
            # GitHub names the repository by its number from here on.
            address = f"{self.url}/repositories/{REPOSITORY_NUMBER}/{path}per_page={size}&page="
            last = -(-len(listed) // size)
            headers["Link"] = self.next_link or (
                f'<{address}{page + 1}>; rel="next", <{address}{last}>; rel="last"'
            )
        return Reply(200, listed[(page - 1) * size : page * size], headers)

    def _is_late(self, number: object) -> bool:
        assert isinstance(number, int)
        left = self.lags.get(number, 0)
        self.lags[number] = left - 1
        return left > 0

    def _create(self, issue: int, account: Account, document: object) -> Reply:
        if self.is_locked:
            return self._error(403, LOCKED)
        body = document.get("body") if isinstance(document, dict) else None
        if not isinstance(body, str) or not body.strip():
            return self._error(422, "Validation Failed", "body can't be blank")
        if len(body) > LARGEST_COMMENT:
            return self._error(
                422, "Validation Failed", "Body is too long (maximum is 65536 characters)"
            )
        number = self.add(account, body, issue)
        return Reply(201, self._document(self.comments[-1]), {"Location": f"{self.url}/{number}"})

    def _change(self, stored: Stored, seen: Seen) -> Reply:
        if seen.method == "DELETE":
            self.comments.remove(stored)
            return Reply(204, b"")
        assert isinstance(seen.body, dict)
        stored.body = seen.body["body"]
        return Reply(200, self._document(stored))

    def _document(self, stored: Stored) -> dict[str, object]:
        return {
            "id": stored.number,
            "html_url": f"{self.origin}/{REPOSITORY}/pull/{stored.issue}"
            f"#issuecomment-{stored.number}",
            "body": stored.body,
            "user": None if stored.author is None else self._user(stored.author),
        }

    def _user(self, account: Account) -> dict[str, object]:
        user: dict[str, object] = {"login": account.login, "id": account.number}
        return user if self.is_gitea else {**user, "type": account.kind}

    def _error(self, status: int, message: str, detail: str = "") -> Reply:
        if self.is_gitea:
            return Reply(status, {"message": message, "url": f"{self.origin}/api/swagger"})
        document: dict[str, object] = {
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": str(status),
        }
        if detail:
            document["errors"] = [
                {"resource": "IssueComment", "code": "unprocessable", "message": detail}
            ]
        return Reply(status, document, {"X-RateLimit-Remaining": "4999"})


@dataclass(slots=True)
class Clock:
    """Simulates time: threads wait on it, and run one after the other.

    A waiting thread is woken when its time is the next one; no other thread runs meanwhile.
    """

    now: float = 0.0
    _waiting: dict[object, float] = field(default_factory=dict)
    _runs: set[object] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def join(self, *runs: object) -> None:
        """Take part; call this for all threads before the first one waits."""
        self._runs |= set(runs)

    def leave(self, run: object) -> None:
        """Stop taking part."""
        with self._changed:
            self._runs.discard(run)
            self._changed.notify_all()

    def wait(self, run: object, seconds: float) -> None:
        """Return when the clock has advanced by these seconds."""
        with self._changed:
            moment = self.now + seconds
            self._waiting[run] = moment
            self._changed.notify_all()
            is_due = self._changed.wait_for(lambda: self._is_next(run), timeout=30)
            assert is_due, "the clock stands still"
            del self._waiting[run]
            self.now = moment

    def _is_next(self, run: object) -> bool:
        if len(self._waiting) < len(self._runs):
            return False
        return min(self._waiting.items(), key=lambda item: (item[1], str(item[0])))[0] == run


def rate_limited(seconds: float, status: int = 403) -> Reply:
    """Return GitHub's answer when no requests are left until a reset."""
    return Reply(
        status,
        {"message": "API rate limit exceeded for installation ID 1."},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(round(time.time() + seconds))},
    )
