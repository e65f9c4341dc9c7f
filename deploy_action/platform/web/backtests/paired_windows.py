"""The windows of two backtests side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.figures.words import difference
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.window_table import COLUMNS, WindowRow, window_table
from deploy_action.backtest.period.windows import WindowBacktest
from deploy_action.records import dataclass
from deploy_action.text.quantities import count

_UNKNOWN: Final = "–"  # noqa: RUF001  # as everywhere on the pages
_RETURN, _DRAWDOWN = COLUMNS.index("Return"), COLUMNS.index("Max drawdown")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedWindow:
    """A window of both: its returns and drawdowns as A and B have them, and B's return less A's.

    `a` and `b` say instead of a return why there is none.
    """

    name: str
    period: str
    a: str
    b: str
    change: str
    drawdown_a: str
    drawdown_b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedWindows:
    """The windows of two backtests; `made` says in how many of them which one made more."""

    rows: tuple[PairedWindow, ...]
    made: str


_Known = tuple[WindowBacktest, WindowRow]


def pair_windows(a: Sequence[WindowBacktest], b: Sequence[WindowBacktest]) -> PairedWindows | None:
    """Return the windows of two backtests by name and period; None if neither has any."""
    sides = [
        {
            (one.name, one.start, one.end): (one, row)
            for one, row in zip(found, window_table(found).rows, strict=True)
        }
        for found in (a, b)
    ]
    rows = {key: row for side in sides for key, (_, row) in side.items()}
    if not rows:
        return None
    pairs = [(sides[0].get(key), sides[1].get(key)) for key in rows]
    paired = tuple(_paired(row, *pair) for row, pair in zip(rows.values(), pairs, strict=True))
    return PairedWindows(rows=paired, made=_made(pairs))


def _paired(row: WindowRow, a: _Known | None, b: _Known | None) -> PairedWindow:
    change = _change(a, b)
    return PairedWindow(
        name=row.name,
        period=row.period,
        a=_cell(a, _RETURN),
        b=_cell(b, _RETURN),
        change=_UNKNOWN if change is None else _said(change),
        drawdown_a=_cell(a, _DRAWDOWN),
        drawdown_b=_cell(b, _DRAWDOWN),
    )


def _cell(one: _Known | None, column: int) -> str:
    if one is None:
        return _UNKNOWN if column != _RETURN else "not tested"
    found, row = one
    if row.cells:
        return row.cells[column]
    if column != _RETURN:
        return _UNKNOWN
    return "no result yet" if found.is_coming else "no result"


def _change(a: _Known | None, b: _Known | None) -> float | None:
    """Return the return of B less that of A; 0 where both are the same in the digits shown."""
    returns = [
        None if one is None or one[0].figures is None else one[0].figures.metrics["cum_returns"]
        for one in (a, b)
    ]
    if returns[0] is None or returns[1] is None:
        return None
    return 0.0 if _cell(a, _RETURN) == _cell(b, _RETURN) else returns[1] - returns[0]


def _said(change: float) -> str:
    return difference(METRICS["cum_returns"].unit, change) if change else "same"


def _made(pairs: Sequence[tuple[_Known | None, _Known | None]]) -> str:
    changes = [change for pair in pairs if (change := _change(*pair)) is not None]
    more, less = sum(one > 0 for one in changes), sum(one < 0 for one in changes)
    return (
        f"Of {count(len(changes), 'window')} with a result of both, B made more in {more:,} and"
        f" A in {less:,}."
    )
