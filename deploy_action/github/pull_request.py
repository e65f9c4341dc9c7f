"""The pull request that a run belongs to, from the runner's variables and the event's payload."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from deploy_action.errors import Problem, Severity
from deploy_action.github.event import mapping
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass

_REPOSITORY: Final = lazy_regex(r"(?!\.{1,2}/)[\w.-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)


class RunNumber(NamedTuple):
    """A workflow run and its attempt: later ones are larger, unknown ones are 0."""

    run: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Place:
    """A pull request (`number`) of a repository, and the run that comments on it."""

    api_url: str
    repository: str
    number: int
    run: RunNumber


def find_place(environ: Mapping[str, str], payload: Mapping[str, object]) -> Place | Problem:
    """Return the pull request of this run, or a notice that says why there is none.

    `environ` has the runner's variables, `payload` is the event's.
    """
    found = find_repository(environ)
    if isinstance(found, Problem):
        return found
    api_url, repository = found
    number = _pull_request_number(environ.get("GITHUB_REF", ""), payload)
    if number is None:
        return _notice(
            "this run belongs to no pull request",
            "Run the workflow on `pull_request`, or leave out `comment`.",
        )
    run = RunNumber(
        _whole_number(environ.get("GITHUB_RUN_ID", "")),
        _whole_number(environ.get("GITHUB_RUN_ATTEMPT", "")),
    )
    return Place(api_url=api_url, repository=repository, number=number, run=run)


def find_repository(environ: Mapping[str, str]) -> tuple[str, str] | Problem:
    """Return the URL of the forge's API and the repository, or a notice why there is none."""
    api_url = environ.get("GITHUB_API_URL", "").strip().rstrip("/")
    if not _is_url(api_url):
        return _notice(
            "GITHUB_API_URL names no server, and outside a workflow there is no pull request",
            "Leave out `comment` on a terminal.",
        )
    repository = environ.get("GITHUB_REPOSITORY", "").strip()
    if not _REPOSITORY.fullmatch(repository):
        return _notice("GITHUB_REPOSITORY names no repository", "The runner sets it in a workflow.")
    return api_url, repository


def _pull_request_number(ref: str, payload: Mapping[str, object]) -> int | None:
    issue = mapping(payload.get("issue"))
    holders = (
        mapping(payload.get("pull_request")),
        issue if issue.get("pull_request") else {},
        _pull_request_of_run(payload),
    )
    for holder in holders:
        number = holder.get("number")
        if type(number) is int and number > 0:
            return number
    found = re.match(r"refs/pull/([1-9][0-9]{0,18})/", ref)
    return int(found[1]) if found else None


def _pull_request_of_run(payload: Mapping[str, object]) -> Mapping[str, object]:
    """Return the pull request of a `workflow_run`; GitHub does not list those from forks.

    The list may have pull requests of the same branch in other repositories, such as the one that
    this repository was forked from.
    """
    listed = mapping(payload.get("workflow_run")).get("pull_requests")
    ours = mapping(payload.get("repository")).get("id")
    for request in map(mapping, listed if isinstance(listed, list) else ()):
        base = mapping(mapping(request.get("base")).get("repo")).get("id")
        if base is None or ours is None or base == ours:
            return request
    return {}


def _notice(reason: str, hint: str) -> Problem:
    return Problem(
        message=f"No comment was written: {reason}.", hint=hint, severity=Severity.NOTICE
    )


def _is_url(text: str) -> bool:
    if not re.fullmatch(r"https?://[!-~]+", text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and "@" not in parts.netloc and not parts.query
    except ValueError:
        return False


def _whole_number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0
