"""The account's value over time and its drawdown, as charts.

Each chart is drawn twice: in Mermaid, which GitHub renders, and in block characters, which show
anywhere. If there is a base, its curve is in the same chart, over the same times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from deploy_action.backtest.account import AccountValues
from deploy_action.report.charts.curves import NOISE, Curves, Grid
from deploy_action.report.charts.mermaid import (
    MOST_POINTS_OF_TWO,
    drawdown_picture,
    plain,
    value_picture,
)
from deploy_action.text.quantities import decimal, moment, per_cent

_LONGEST_UNIT: Final = 16
_COLUMNS: Final = 60
_FEWEST_COLUMNS: Final = 30
_ROWS: Final = 8
_DRAWDOWN_ROWS: Final = 4
_RISING: Final = " ▁▂▃▄▅▆▇█"
_FALLING: Final = " ▔▀█"
_EIGHTHS: Final = 8
_HALVES: Final = 2
# In per cent; a smaller fall would be shown as 0%.
_LEAST_FALL: Final = 0.005
_DAY: Final = 86_400
# The rows of a chart in characters, and the marks of its axis by row.
_Rows = tuple[list[str], dict[int, str]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The charts as sources of Mermaid, each below 5,000 characters, and as block characters.

    `note` says what the charts leave out and why; it may be blank. `has_base`: there are two
    curves, the candidate's in blue and the base's in orange.
    """

    mermaid: tuple[str, ...]
    text: str
    note: str
    has_base: bool = False


def draw(
    account_values: AccountValues, unit: str, base: AccountValues | None = None
) -> Drawing | None:
    """Return the charts, or None if fewer than two points have a value.

    The extremes are kept, however many points there are. There is no drawdown chart if the account
    never fell, or started at 0 or below. A `base` is drawn too, unless it has fewer than two
    points or the same curve.
    """
    known = account_values.known()
    if len(known) < 2:  # noqa: PLR2004  # a line needs two
        return None
    curves, note = _curves(known, None if base is None else base.known())
    unit = plain(unit)[:_LONGEST_UNIT].strip()
    title = f"Account value in {unit}" if unit else "Account value"
    picture, text = value_picture(curves, unit), _text(title, curves, _value_rows)
    drawdowns, no_drawdown = _drawdowns(curves)
    pictures = [picture]
    if drawdowns is not None:
        pictures.append(drawdown_picture(drawdowns, is_beside_base=curves.base is not None))
        text = f"{text}\n\n{_text('Drawdown', drawdowns, _drawdown_rows)}"
    notes = " ".join(filter(None, [note, no_drawdown]))
    return Drawing(tuple(pictures), text, notes, has_base=curves.base is not None)


def _curves(candidate: AccountValues, base: AccountValues | None) -> tuple[Curves, str]:
    """Return the curves to draw, and a note on the base's."""
    if base is None:
        return Curves(candidate), ""
    if len(base) < 2:  # noqa: PLR2004  # as above
        return Curves(candidate), "The base has too few account values for a curve."
    if base == candidate:
        return Curves(candidate), "The curve of the base is the same."
    span = max(candidate.times[-1], base.times[-1]) - min(candidate.times[0], base.times[0])
    apart = max(abs(candidate.times[end] - base.times[end]) for end in (0, -1))
    note = "The two backtests cover different times: each line is level outside its own."
    return Curves(candidate, base), note if apart * MOST_POINTS_OF_TWO > span else ""


def _drawdowns(curves: Curves) -> tuple[Curves | None, str]:
    """Return the drawdowns to draw, or the reason why there are none."""
    candidate = curves.candidate.drawdowns()
    base = None if curves.base is None else curves.base.drawdowns()
    if candidate is None:
        return None, "The account started with nothing to lose a share of."
    lowest = min(min(one.values) for one in (candidate, base) if one is not None)
    if lowest > -_LEAST_FALL:
        return None, "The account never fell below an earlier value."
    return Curves(candidate, base), ""


def _text(title: str, curves: Curves, rows_of: Callable[[list[float], Grid], _Rows]) -> str:
    """Return a chart for each line, one below the other and all on the same scale."""
    grid = curves.on_one_grid(_COLUMNS, _COLUMNS, _FEWEST_COLUMNS)
    titles = [title] if len(grid.lines) == 1 else [f"{title}, now", f"{title}, base"]
    return "\n\n".join(
        _framed(one, *rows_of(line, grid), grid.times)
        for one, line in zip(titles, grid.lines, strict=True)
    )


def _value_rows(values: list[float], grid: Grid) -> _Rows:
    low, high = grid.lowest, grid.highest
    # Halved, because the difference could overflow.
    half = high / 2 - low / 2
    flat = half <= NOISE * max(abs(low), abs(high))
    # The lowest value is one eighth high: an empty column would look like a gap.
    steps = _ROWS * _EIGHTHS - 1
    heights = [
        steps // 2 if flat else 1 + round(steps * (value / half - low / half) / 2)
        for value in values
    ]
    rows = [
        "".join(_RISING[min(max(height - below, 0), _EIGHTHS)] for height in heights)
        for below in range((_ROWS - 1) * _EIGHTHS, -1, -_EIGHTHS)
    ]
    marks = {_ROWS // 2: decimal(low)} if flat else {0: decimal(high), _ROWS - 1: decimal(low)}
    return rows, marks


def _drawdown_rows(values: list[float], grid: Grid) -> _Rows:
    depths = [value / grid.lowest * _DRAWDOWN_ROWS for value in values]
    rows = ["".join(_hanging(depth - row) for depth in depths) for row in range(_DRAWDOWN_ROWS)]
    return rows, {0: "0%", _DRAWDOWN_ROWS - 1: per_cent(grid.lowest)}


def _hanging(depth: float) -> str:
    """Return a block that hangs from the top of its row; `depth` is in rows."""
    if depth <= 0:
        return _FALLING[0]
    return _FALLING[min(math.floor(depth * _HALVES) + 1, _HALVES + 1)]


def _framed(title: str, rows: Sequence[str], marks: dict[int, str], times: Sequence[float]) -> str:
    """Add the title, the marks of the axis before the rows, and the dates below."""
    margin = max(map(len, marks.values()))
    lines = [f"{marks.get(number, ''):>{margin}} ┤{row}" for number, row in enumerate(rows)]
    form = "%Y-%m-%d" if times[-1] - times[0] >= 5 * _DAY else "%m-%d %H:%M"
    first, middle, last = (
        moment(times[position], form) for position in (0, len(times) // 2, len(times) - 1)
    )
    width = len(rows[0])
    dates = first + last.rjust(width - len(first))
    start = (width - len(middle)) // 2
    if start > len(first) and width - start - len(middle) > len(last):
        dates = dates[:start] + middle + dates[start + len(middle) :]
    axis = " " * margin + " └" + "─" * width
    return "\n".join([title, *(line.rstrip() for line in lines), axis, " " * (margin + 2) + dates])
