"""The windows of a backtest as its page shows them: their figures, and how each of them stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.window_table import (
    COLUMNS,
    WindowRow,
    WindowTable,
    window_table,
)
from deploy_action.backtest.period.windows import Window, WindowBacktest
from deploy_action.platform.storage.records import Backtest, BacktestStatus
from deploy_action.platform.storage.tables.figures import Figures, Listed
from deploy_action.platform.web.backtests.rows import (
    COMING,
    TONES,
    UNFINISHED,
    figures_of,
    first_problem,
)
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    from deploy_action.platform.storage.records import Version
    from deploy_action.platform.storage.transaction import Transaction


# In seconds. A run asks for windows one after the other, and other backtests may be in between.
_LONGEST_WAIT: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWindow:
    """A window: its row, its backtest, and why it has no figures, blank if it has them.

    `is_coming` says that it has none yet.
    """

    row: WindowRow
    backtest_id: str
    status: str
    tone: str
    why_none: str
    is_coming: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWindows:
    """The windows of a backtest of the whole period, those that this server was asked for.

    `total` is how many there are to be: as many as its run said, or else those that are here.
    `is_unfinished` says that figures may still come.
    """

    table: WindowTable
    windows: tuple[ShownWindow, ...]
    total: int
    is_unfinished: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the cells of each row."""
        return COLUMNS

    @property
    def ended(self) -> int:
        """How many are over, with or without a result."""
        return sum(not one.is_coming for one in self.windows)

    @property
    def coming(self) -> int:
        """How many wait, run, or have a result that is still computed with."""
        return len(self.windows) - self.ended


def windows_of(
    snapshot: Transaction, whole: Backtest, version: Version | None, now: float
) -> ShownWindows | None:
    """Return the windows of a backtest, None if it has none and nobody wanted any.

    `now` is in seconds since 1970.
    """
    found = [] if version is None else snapshot.figures.of_windows(whole.id)
    wanted = None if whole.beside is None else whole.beside.windows
    if version is None or not (found or wanted):
        return None
    outcomes = _outcomes(version, found)
    table = window_table(outcomes)
    shown = [
        ShownWindow(
            row=row if backtest.window is None else replace(row, number=backtest.window.number),
            backtest_id=backtest.id,
            status=backtest.status,
            tone=TONES[BacktestStatus(backtest.status)],
            why_none=outcome.reason,
            is_coming=outcome.is_coming,
        )
        for (backtest, _), outcome, row in zip(found, outcomes, table.rows, strict=True)
    ]
    total = max(wanted or 0, len(shown))
    backtests = [whole, *(backtest for backtest, _ in found)]
    is_awaited = total > len(shown) and _is_next_awaited(backtests, now)
    return ShownWindows(
        table=table,
        windows=tuple(shown),
        total=total,
        is_unfinished=is_awaited or any(one.is_coming for one in shown),
    )


def _is_next_awaited(backtests: Sequence[Backtest], now: float) -> bool:
    """Whether the run may still ask for a window: it asks for them one after the other.

    The first of `backtests` is that of the whole period.
    """
    if backtests[0].status != BacktestStatus.FINISHED:
        return backtests[0].status in UNFINISHED
    ends = [one.ended_at for one in backtests]
    return any(end is None or now - end < _LONGEST_WAIT for end in ends)


def outcomes_of(snapshot: Transaction, whole: Backtest, version: Version) -> list[WindowBacktest]:
    """Return what came of the windows of a backtest, in their order."""
    return _outcomes(version, snapshot.figures.of_windows(whole.id))


def _outcomes(
    version: Version, found: Sequence[tuple[Backtest, Figures | None]]
) -> list[WindowBacktest]:
    return [_outcome(Listed(version, *one), one[0]) for one in found]


def _outcome(listed: Listed, backtest: Backtest) -> WindowBacktest:
    document, why_none = figures_of(listed)
    if backtest.status == BacktestStatus.FAILED:  # a run takes no result of one, either
        document, why_none = None, "it failed"
    name = "" if backtest.window is None else backtest.window.name
    period = Window.of_arguments(name, backtest.args)
    is_coming = document is None and (backtest.status in UNFINISHED or why_none == COMING)
    return WindowBacktest(
        name=name,
        start=0.0 if period is None else period.start,
        end=0.0 if period is None else period.end,
        figures=None if document is None else _kept(document),
        reason="" if document is not None else first_problem(backtest) or why_none,
        is_coming=is_coming,
    )


def _kept(document: Mapping[str, Any]) -> KeptFigures:
    return KeptFigures(
        metrics={name: document["metrics"].get(name) for name in METRICS},
        trades_sha256=document["tradesSha256"],
        is_exact=document["isExact"],
        covered=document["covered"],
    )
