"""A backtest as pages list it: what was tested, what came of it, and why a figure is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.figures.words import figure_in_list
from deploy_action.backtest.metrics import METRICS
from deploy_action.platform.storage.records import Backtest, BacktestStatus, Version
from deploy_action.platform.storage.tables.figures import Listed
from deploy_action.platform.web.backtests.identity import Told, Uploads, Variables, variables_of
from deploy_action.platform.web.forge_links import Commit, commit_of, run_link
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy_action.platform.storage.transaction import Transaction

TONES: Final = {
    BacktestStatus.QUEUED: "busy",
    BacktestStatus.RUNNING: "busy",
    BacktestStatus.FINISHED: "",  # nothing is said of how well it did
    BacktestStatus.FAILED: "bad",
    BacktestStatus.STOPPED: "warn",
}
UNFINISHED: Final = frozenset({BacktestStatus.QUEUED, BacktestStatus.RUNNING})
COMING: Final = "they are being computed"
_WHY_NONE: Final[Mapping[str, str]] = {
    BacktestStatus.QUEUED: "it waits for its turn",
    BacktestStatus.RUNNING: "it runs",
    BacktestStatus.STOPPED: "it was stopped",
}
ELSEWHERE: Final = "tested before the deploy"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithFigures:
    """What a row of a list and a point of a line have in common; times are in seconds since 1970.

    `backtest_id` is None for one that the action ran before it deployed `version`: its figures are
    what the action claims. `document` has the figures, None if there are none. `variables` is what
    is told of those that it ran with, None if that is unknown. `twin` is the latest version with
    the same bytes that was uploaded to run, and `deployed` one that had the same variables, too;
    both are None if there is none.
    """

    time: float
    backtest_id: str | None
    version: Version
    twin: Version | None
    deployed: Version | None
    variables: Variables | None
    document: Mapping[str, Any] | None

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """All metrics by their ids, null where there is none."""
        found = {} if self.document is None else self.document.get("metrics") or {}
        return {name: found.get(name) for name in METRICS}

    @property
    def shown(self) -> Mapping[str, str]:
        """All metrics in words, by their ids."""
        return {name: figure_in_list(name, value) for name, value in self.metrics.items()}

    @property
    def commit(self) -> Commit | None:
        """The commit that it was made from, None if that is unknown."""
        known = self.version if self.version.commit else self.twin or self.version
        return commit_of(known.commit, known.commit_repository)

    @property
    def run(self) -> str | None:
        """The page of the workflow's run that sent it, None if that is unknown."""
        return run_link(self.version.run_url, self.version.commit_repository)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(WithFigures):
    """A backtest in a list; `why_none` says why it has no figures."""

    title: str
    status: str
    tone: str
    problem: str
    why_none: str

    @property
    def is_comparable(self) -> bool:
        """Whether its result is here to be compared with others."""
        return self.backtest_id is not None and self.document is not None


def rows_of(snapshot: Transaction, listed: Sequence[Listed], told: Told) -> list[Row]:
    """Return the rows of backtests of one model; `told` says what is told of variables."""
    uploads = Uploads.of(snapshot, [one.version for one in listed], told)
    return [_row(one, uploads) for one in listed]


def told_row(snapshot: Transaction, version: Version, told: Told) -> Row | None:
    """Return what the action told of its backtest before the deploy of a version, if it did."""
    found = snapshot.figures.told(version.id)
    return None if found is None else rows_of(snapshot, [Listed(version, None, found)], told)[0]


def _row(one: Listed, uploads: Uploads) -> Row:
    found, why_none = figures_of(one)
    backtest, version = one.backtest, one.version
    facts = (found or {}) if backtest is None else backtest.run
    variables = variables_of(facts)
    twin, deployed = uploads.same_bytes(version), uploads.same(version, variables)
    if backtest is None:
        return Row(
            backtest_id=None,
            title=version.description,
            time=one.figures.time if one.figures else version.created_at,
            status=ELSEWHERE,
            tone="",
            problem="",
            version=version,
            twin=twin,
            deployed=deployed,
            variables=variables,
            document=found,
            why_none=why_none,
        )
    return Row(
        backtest_id=backtest.id,
        title=backtest.description,
        time=backtest.created_at,
        status=backtest.status,
        tone=TONES[BacktestStatus(backtest.status)],
        problem=first_problem(backtest),
        version=version,
        twin=twin,
        deployed=deployed,
        variables=variables,
        document=found,
        why_none=why_none,
    )


def figures_of(one: Listed) -> tuple[Mapping[str, Any] | None, str]:
    """Return the figures, or None and why there are none."""
    if one.figures is not None:
        document = one.figures.document
        problem = document.get("problem")
        return (document, "") if problem is None else (None, str(problem))
    if one.backtest is None:
        return None, "it told none"
    return None, _WHY_NONE.get(one.backtest.status, COMING)


def first_problem(backtest: Backtest) -> str:
    """Return what went wrong first in a backtest that did not finish, blank if nothing is known."""
    if backtest.status not in {BacktestStatus.FAILED, BacktestStatus.STOPPED}:
        return ""
    problems = backtest.run.get("problems")
    for one in problems if isinstance(problems, list) else []:
        if one.get("severity") == "error":
            return str(one["message"])
    if backtest.status == BacktestStatus.STOPPED:
        return "The platform ended before the backtest did, or could not store how that ended."
    return ""
