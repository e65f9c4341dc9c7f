"""What a table of windows says: a row of each, and the worst, median and best of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from deploy_action.backtest.figures.cells import Metrics, figure, legend, signed, square
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.metrics import Over, over_several
from deploy_action.backtest.period.windows import WindowBacktest, iso_or_seconds
from deploy_action.records import dataclass
from deploy_action.text.quantities import count, decimal, percentage

COLUMNS: Final = ("Return", "Holding", "Sharpe", "Max drawdown", "Trades")
_LEFT_OUT: Final = " Worst, median and best are those of the windows that have a value."
_SUMMED_UP: Final = ("cum_returns", "sharpe", "max_drawdown")
_WHOLE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """A window in words.

    `period` is blank where the name says it, or where it is empty, and `covered` where the prices
    cover it. `colour` is a square; `cells` are those of `COLUMNS`, empty without a result.
    """

    number: int
    name: str
    period: str
    covered: str
    colour: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTable:
    """Several windows: what they made, in brief, then one by one, and what the colours mean.

    `without_result` is blank if none ended without one. `over` are the worst, median and best of
    each column, blank where that makes no sense. `is_held` says that what holding made is known of
    some.
    """

    made: str
    without_result: str
    rows: tuple[WindowRow, ...]
    over: tuple[tuple[str, tuple[str, ...]], ...]
    meaning: str
    is_held: bool


def window_table(found: Sequence[WindowBacktest]) -> WindowTable:
    """Return what a table of windows says."""
    known = [one.figures.metrics for one in found if one.figures is not None]
    missing = sum(one.figures is None and not one.is_coming for one in found)
    meaning = legend(known)
    return WindowTable(
        made=_made(known),
        without_result=f"{count(missing, 'window')} without a result" if missing else "",
        rows=tuple(_row(number, one) for number, one in enumerate(found, 1)),
        over=tuple(_over(over, known) for over in (Over.WORST, Over.MEDIAN, Over.BEST))
        if known
        else (),
        meaning=meaning if _is_complete(found) else f"{meaning}{_LEFT_OUT}",
        is_held=any(metrics["hold_return"] is not None for metrics in known),
    )


def _is_complete(found: Sequence[WindowBacktest]) -> bool:
    """Whether every window has every figure that is summed up."""
    return all(
        one.figures is not None and None not in (one.figures.metrics[name] for name in _SUMMED_UP)
        for one in found
    )


def _made(known: Sequence[Metrics]) -> str:
    gained = sum((metrics["cum_returns"] or 0) > 0 for metrics in known)
    beat = [one for metrics in known if (one := metrics["excess_return"]) is not None]
    held = f", {sum(one > 0 for one in beat):,} made more than holding" if beat else ""
    return f"{gained:,} gained{held}"


def _row(number: int, one: WindowBacktest) -> WindowRow:
    start, end = iso_or_seconds(one.start), iso_or_seconds(one.end)
    covered, metrics = "", None
    if one.figures is not None:
        metrics = one.figures.metrics
        covered = f"prices for {one.figures.covered:.0%}" if one.figures.covered < _WHOLE else ""
    return WindowRow(
        number=number,
        name=one.name,
        period="" if start == end or one.name == f"{start}..{end}" else f"{start} to {end}",
        covered=covered,
        colour="" if metrics is None else square(metrics),
        cells=() if metrics is None else _cells(metrics),
    )


def _cells(metrics: Metrics) -> tuple[str, ...]:
    return (
        signed(metrics["cum_returns"]),
        signed(metrics["hold_return"]),
        figure(metrics["sharpe"], decimal),
        figure(metrics["max_drawdown"], percentage),
        figure(metrics["trades"], lambda value: f"{value:,.0f}"),
    )


def _over(over: Over, known: Sequence[Metrics]) -> tuple[str, tuple[str, ...]]:
    """Return the worst, median or best of each column, over the windows that have a value."""

    def cell(metric: str, shown: Callable[[float], str]) -> str:
        values = [value for one in known if (value := one[metric]) is not None]
        return shown(over_several(metric, over, values)) if values else NO_FIGURE

    cells = cell("cum_returns", signed), cell("sharpe", decimal), cell("max_drawdown", percentage)
    return over.value.capitalize(), (cells[0], "", *cells[1:], "")
