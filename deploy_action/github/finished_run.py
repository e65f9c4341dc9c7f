"""The workflow run that a `workflow_run` event is about, and its pull request.

GitHub documents the payload under "Webhook events and payloads"; it does not list pull requests of
forks in it, so these are looked up on the forge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.github.event import mapping
from deploy_action.github.forge import Forge, PullRequest
from deploy_action.github.pull_request import Place, RunNumber
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, replace

_ATTEMPTS: Final = 3
_COMMIT: Final = lazy_regex(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# They never ran: a newer push came, a filter did not match, or somebody still has to allow it.
_NEVER_RAN: Final = frozenset({"action_required", "skipped", "stale"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A workflow run that has ended.

    `repository` is the one whose `branch` it ran for, such as a fork, with the number
    `repository_number`; `commit` is that branch's head at that time. `conclusion` is GitHub's word
    for how it ended, and `url` its page, blank if unknown.
    """

    run: RunNumber
    workflow: str
    event: str
    conclusion: str
    repository: str
    repository_number: int
    branch: str
    commit: str
    is_fork: bool
    url: str = ""

    @property
    def owner(self) -> str:
        """The owner of the repository that it ran for."""
        return self.repository.partition("/")[0]


def read_finished_run(payload: Mapping[str, object], url: str) -> FinishedRun | None:
    """Return the run of a `workflow_run` event, None if the payload has none that is whole.

    `url` is the page of this repository, below which the runs have theirs.
    """
    found = mapping(payload.get("workflow_run"))
    head, ours = mapping(found.get("head_repository")), mapping(payload.get("repository"))
    number, attempt, of_head = found.get("id"), found.get("run_attempt"), head.get("id")
    texts = [
        found.get("name"),
        found.get("event"),
        found.get("conclusion"),
        head.get("full_name"),
        found.get("head_branch"),
        found.get("head_sha"),
    ]
    name, event, conclusion, repository, branch, commit = (
        one if isinstance(one, str) else "" for one in texts
    )
    if type(number) is not int or type(of_head) is not int or not branch:
        return None
    if not _COMMIT.fullmatch(commit) or "/" not in repository:
        return None
    return FinishedRun(
        run=RunNumber(number, attempt if type(attempt) is int else 1),
        workflow=name,
        event=event,
        conclusion=conclusion,
        repository=repository,
        repository_number=of_head,
        branch=branch,
        commit=commit,
        is_fork=of_head != ours.get("id"),
        url=f"{url}/actions/runs/{number}" if url else "",
    )


def why_not(run: FinishedRun) -> Problem | None:
    """Return a notice if a run has nothing to tell a pull request."""
    # The commit of a run on `pull_request_target` is the base's.
    if run.event != "pull_request":
        return _notice(f"the run was started by `{run.event}`, and not by `pull_request`")
    if run.conclusion in _NEVER_RAN:
        return _notice(f"the run did not run: it ended as `{run.conclusion}`")
    return None


def find_pull_request(
    run: FinishedRun,
    place: Place,
    token: str,
    deadline: Deadline,
    pause: Callable[[float], None] = time.sleep,
) -> Place | Problem:
    """Return a place with the number of the run's pull request, or a notice why there is none.

    Raises:
        RefusedError: the forge does not tell.
    """
    retries = Retries(deadline, _ATTEMPTS, pause=pause)
    with closing(Forge(place.api_url, place.repository, token, retries)) as forge:
        number = choose(run, forge.list_pull_requests(run.owner, run.branch))
    return number if isinstance(number, Problem) else replace(place, number=number)


def choose(run: FinishedRun, listed: Sequence[PullRequest]) -> int | Problem:
    """Return the number of the one open pull request whose newest commit the run was about.

    A notice says why there is none. Only the forge's own answers and the event count.
    """
    branch = f"`{run.branch}` of `{run.repository}`"
    found = [one for one in listed if one.repository == run.repository_number]
    same = [one for one in found if one.commit == run.commit]
    if len(same) == 1:
        return same[0].number
    if same:
        numbers = ", ".join(f"#{one.number}" for one in same)
        return _notice(
            f"there are {len(same)} open pull requests from {branch} ({numbers}), and nothing says "
            "which of them the run was for"
        )
    if found:
        return _notice(
            f"pull request #{found[0].number} has a newer commit than {run.commit[:12]}, whose own "
            "run comments"
        )
    return _notice(f"there is no open pull request from {branch}: it was closed or merged")


def _notice(reason: str) -> Problem:
    return Problem(message=f"No comment was written: {reason}.", severity=Severity.NOTICE)
