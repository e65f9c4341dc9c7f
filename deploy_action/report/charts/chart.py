"""The account's value over time and its drawdown, as charts.

Each chart is drawn twice: in Mermaid, which GitHub renders, and in block characters, which show
anywhere. What holding made, and the base if there is one, are in the same charts. Both charts have
the same times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from deploy_action.backtest.account import AccountValues
from deploy_action.records import dataclass
from deploy_action.report.charts.curves import NOISE, Axis, Grid
from deploy_action.report.charts.mermaid import (
    FEWEST_POINTS,
    MOST_POINTS,
    MOST_POINTS_OF_THREE,
    Colour,
    pictures,
    plain,
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
# Rows of characters, and the marks of the axis by row.
_Rows = tuple[list[str], dict[int, str]]
_Series = Mapping["Curve", AccountValues]


class Curve(Enum):
    """A curve of the charts: its colour, its mark in a legend, and its mark in characters."""

    MODEL = (Colour.BLUE, "🔵", "")
    HOLDING = (Colour.GREY, "⚪\ufe0f", "o")
    BASE = (Colour.ORANGE, "🟠", "x")

    def __init__(self, colour: Colour, mark: str, character: str) -> None:
        self.colour = colour
        self.mark = mark
        self.character = character


@dataclass(frozen=True, slots=True)
class Drawing:
    """The charts as sources of Mermaid, each below 5,000 characters, and as characters.

    `note` says what the charts leave out and why; it may be blank. `curves` are what they show.
    """

    mermaid: tuple[str, ...]
    text: str
    note: str
    curves: tuple[Curve, ...]


def draw(
    account_values: AccountValues,
    unit: str,
    *,
    holding: AccountValues | None = None,
    base: AccountValues | None = None,
) -> Drawing | None:
    """Return the charts, or None if fewer than two points have a value.

    The extremes are kept, however many points there are. There is no drawdown chart if nothing
    fell, or the account started at 0 or below. `holding` and `base` are drawn, too, unless they
    have fewer than two points; a base with the same curve is not.
    """
    known = account_values.known()
    if len(known) < 2:  # noqa: PLR2004  # a line needs two
        return None
    series = {Curve.MODEL: known}
    if holding is not None and len(holding) > 1:
        series[Curve.HOLDING] = holding
    notes = [] if base is None else _add_base(series, base.known())
    unit = plain(unit)[:_LONGEST_UNIT].strip()
    title = f"Account value in {unit}" if unit else "Account value"
    drawdowns, no_drawdown = _drawdowns(series)
    lines = [*series.values()]
    most = MOST_POINTS_OF_THREE if len(lines) == len(Curve) else MOST_POINTS
    axis = Axis.of(lines, most, FEWEST_POINTS)
    columns = Axis.of(lines, _COLUMNS, _FEWEST_COLUMNS)
    others = [one.character for one in series if one is not Curve.MODEL]
    rows = _value_rows(columns.grid(lines), others)
    text = _framed(_with_legend(title, series), *rows, columns.times)
    # Marks of others would hide what there is to see in so few rows.
    if drawdowns and min(drawdowns[Curve.MODEL].values) <= -_LEAST_FALL:
        alone = columns.grid([drawdowns[Curve.MODEL]])
        text = f"{text}\n\n{_framed('Drawdown', *_drawdown_rows(alone), columns.times)}"
    return Drawing(
        mermaid=pictures(
            axis.grid(lines),
            axis.grid([*drawdowns.values()]) if drawdowns else None,
            unit,
            [one.colour for one in series],
        ),
        text=text,
        note=" ".join([*notes, *no_drawdown]),
        curves=tuple(series),
    )


def _add_base(series: dict[Curve, AccountValues], base: AccountValues) -> list[str]:
    """Add the base's curve, and return notes on it."""
    model = series[Curve.MODEL]
    if len(base) < 2:  # noqa: PLR2004  # as above
        return ["The base has too few account values for a curve."]
    if base == model:
        return ["The curve of the base is the same."]
    series[Curve.BASE] = base
    span = max(model.times[-1], base.times[-1]) - min(model.times[0], base.times[0])
    apart = max(abs(model.times[end] - base.times[end]) for end in (0, -1))
    if apart * MOST_POINTS <= span:
        return []
    return ["The two backtests cover different times: each line is level outside its own."]


def _drawdowns(series: _Series) -> tuple[_Series, list[str]]:
    """Return the drawdowns to draw, or the reason why there are none."""
    found = {name: one.drawdowns() for name, one in series.items()}
    if found[Curve.MODEL] is None:
        return {}, ["The account started with nothing to lose a share of."]
    known = {name: one for name, one in found.items() if one is not None}
    if min(min(one.values) for one in known.values()) > -_LEAST_FALL:
        return {}, ["The account never fell below an earlier value."]
    return known, []


def _with_legend(title: str, series: _Series) -> str:
    legend = ", ".join(f"{one.character} {one.name.lower()}" for one in series if one.character)
    return f"{title} ({legend})" if legend else title


def _value_rows(grid: Grid, others: Sequence[str]) -> _Rows:
    """Return the model's line as an area, and the others as marks over it."""
    low, high = grid.lowest, grid.highest
    # Halved, because the difference could overflow.
    half = high / 2 - low / 2
    flat = half <= NOISE * max(abs(low), abs(high))
    # The lowest value is one eighth high: an empty column would look like a gap.
    steps = _ROWS * _EIGHTHS - 1
    model, *rest = (
        [steps // 2 if flat else 1 + round(steps * (one / half - low / half) / 2) for one in line]
        for line in grid.lines
    )
    rows = [
        [_RISING[min(max(height - below, 0), _EIGHTHS)] for height in model]
        for below in range((_ROWS - 1) * _EIGHTHS, -1, -_EIGHTHS)
    ]
    for character, heights in zip(others, rest, strict=True):
        for column, height in enumerate(heights):
            rows[_ROWS - 1 - (height - 1) // _EIGHTHS][column] = character
    marks = {_ROWS // 2: decimal(low)} if flat else {0: decimal(high), _ROWS - 1: decimal(low)}
    return ["".join(row) for row in rows], marks


def _drawdown_rows(grid: Grid) -> _Rows:
    (line,) = grid.lines
    depths = [value / grid.lowest * _DRAWDOWN_ROWS for value in line]
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
