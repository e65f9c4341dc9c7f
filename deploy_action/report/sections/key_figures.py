"""The table of key figures: what the strategy made, beside holding and beside the base."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from deploy_action.backtest.comparison import Base
from deploy_action.backtest.figures.drawdowns import find_drawdowns
from deploy_action.backtest.figures.holding import Holding
from deploy_action.backtest.figures.round_trips import RoundTrips
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.result import BacktestResult
from deploy_action.records import dataclass
from deploy_action.report.blocks import NO_BREAK, short
from deploy_action.report.document import Block, Line, Paragraph, Table, prose
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import days, decimal, money, percentage

_LONGEST_REASON: Final = 100
_SAID: Final = ("cum_returns", "sharpe", "sortino", "max_drawdown", "profit_factor")


@dataclass(frozen=True, slots=True)
class _Column:
    """What one account made; `trips` is None for one that only holds, or whose amounts differ."""

    metrics: Mapping[str, float | None]
    trips: RoundTrips | None


def key_figures(result: BacktestResult, base: Base | None) -> Table:
    """Return the table, with a column for holding where it is known.

    The base has no column of its own: with three, the last would be off the screen of a telephone.
    """
    analysis = result.analysis
    strategy = _Column(analysis.metrics, analysis.round_trips)
    holding = None if analysis.holding is None else _Column(_held(analysis.holding), None)
    before = None
    if base is not None and base.result is not None:
        before = _Column(base.result.analysis.metrics, base.result.analysis.round_trips)
    rows: list[Sequence[Line]] = []
    for name, shown in _ROWS.items():
        of_holding = NO_FIGURE if holding is None else shown(holding)
        cell = _change(NO_FIGURE if before is None else shown(before), shown(strategy))
        if {cell, of_holding} != {NO_FIGURE}:
            rows.append([[name], [cell], *([] if holding is None else [[of_holding]])])
    unit = prose(short(result.quote_asset))
    title = "Strategy" if before is None else "Base → now"
    header: list[Line] = [
        ["In ", *unit],
        [title],
        *([] if holding is None else [["Holding"]]),
    ]
    return Table(header, rows, right=frozenset({1, 2}))


def _change(before: str, now: str) -> str:
    return now if before in {now, NO_FIGURE} else f"{before}{NO_BREAK}→ {now}"


def _held(holding: Holding) -> Mapping[str, float | None]:
    _, longest = find_drawdowns(holding.values)
    return {**holding.metrics, "longest_drawdown_days": longest, "exposure": 100.0}


def _signed(value: float) -> str:
    return percentage(value, with_sign=True)


def _metric(name: str, shown: Callable[[float], str]) -> Callable[[_Column], str]:
    def cell(column: _Column) -> str:
        value = column.metrics.get(name)
        return NO_FIGURE if value is None else shown(value)

    return cell


def _won(column: _Column) -> str:
    trips = column.trips
    if trips is None:
        return NO_FIGURE
    return f"{trips.wins:,}{_sum(trips, money(trips.gained, with_sign=True))}"


def _lost(column: _Column) -> str:
    trips = column.trips
    if trips is None:
        return NO_FIGURE
    return f"{trips.losses:,}{_sum(trips, money(-trips.lost))}"


def _sum(trips: RoundTrips, amount: str) -> str:
    """Return the money of round trips, if it adds up."""
    return f":{NO_BREAK}{amount}" if trips.closed and trips.is_in_quote else ""


# On a telephone, these names and values fit on one line each.
_ROWS: Final[Mapping[str, Callable[[_Column], str]]] = {
    "Return": _metric("cum_returns", lambda value: f"**{_signed(value)}**"),
    "Sharpe": _metric("sharpe", decimal),
    "Sortino": _metric("sortino", decimal),
    "Max drawdown": _metric("max_drawdown", percentage),
    "Longest drawdown": _metric("longest_drawdown_days", days),
    "Trips won": _won,
    "Trips lost": _lost,
    "Profit factor": _metric("profit_factor", decimal),
    "Exposure": _metric("exposure", percentage),
    "Final value": _metric("final_account_value", money),
}


def not_computed(result: BacktestResult) -> list[Block]:
    """Say why key figures have no value."""
    analysis = result.analysis
    said = [
        f"{METRICS[name].name} ({cut(analysis.reasons.get(name, ''), _LONGEST_REASON)})"
        for name in _SAID
        if analysis.metrics[name] is None and (name != "profit_factor" or result.filled_trades)
    ]
    return [Paragraph(["Not computed: ", *prose("; ".join(said)), "."])] if said else []
