"""Reports of an earlier run that are posted for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.outcome.run_outcome import RunOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The run that the reports come from, as the forge tells it.

    `repository` has the branch that it ran for, and `commit` was its head. `conclusion` is the
    forge's word for how the run ended, and `run_url` its page, blank if unknown.
    """

    repository: str
    commit: str
    conclusion: str
    is_fork: bool
    commit_url: str | None = None
    run_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierReport:
    """A report by the name of its file; `run` is what it tells, None if it cannot be used.

    `problem` says why, as the end of a sentence that begins with the name. `url` is the page of its
    comment, blank if there is none.
    """

    name: str
    run: RunOutcome | None = None
    problem: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """The reports of a run, and the pull request that they are for; None if there is none.

    `left_out` is how many more reports the run left. `url` is the page of the first comment, also
    of one that says that there is no report.
    """

    origin: Origin
    reports: tuple[EarlierReport, ...] = ()
    left_out: int = 0
    pull_request: int | None = None
    url: str = ""

    @property
    def count(self) -> int:
        """How many reports the run left."""
        return len(self.reports) + self.left_out
