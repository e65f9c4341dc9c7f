"""The account's value over time, and how far it was below its last high, as charts.

Each is drawn twice: in Mermaid, which GitHub renders, and in block characters, which show anywhere.
Where there is a base, its curve is in the same chart, below the candidate's, over the same times.
An `xychart-beta` has a band for each point on an axis of labels, and shows every label. So the
points are as many as one can tell apart, five of them are labelled with their dates, and the labels
of the others are invisible; they have to differ, since bands with equal labels become one.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from deploy_action.backtest.result import AccountValues
from deploy_action.text.quantities import decimal, moment, per_cent

# Few enough that the source stays below the 5,000 characters that Gitea renders.
MOST_POINTS: Final = 120
MOST_POINTS_OF_TWO: Final = 96
# Characters without width, for labels that differ and do not show. Mermaid trims what is blank.
_INVISIBLE: Final = "\u200b\u200c"
_LONGEST_UNIT: Final = 16
_ALLOWED: Final = re.compile(r"[\w .,%()^-]+")
_WIDTH, _HEIGHT, _DRAWDOWN_HEIGHT = 640, 360, 280
_MOST_TICKS: Final = 11
_TICK_STEPS: Final = ((2**0.5, 1), (10**0.5, 2), (50**0.5, 5), (10, 10))
# Seen well on white and on black; blue and orange also by who cannot tell red from green.
_BLUE, _RED, _ORANGE = "#2f81f7", "#e5534b", "#d17a22"
_COLUMNS: Final = 60
_FEWEST_COLUMNS: Final = 30
_ROWS: Final = 8
_DRAWDOWN_ROWS: Final = 4
_RISING: Final = " ▁▂▃▄▅▆▇█"
_FALLING: Final = " ▔▀█"
_EIGHTHS: Final = 8
_HALVES: Final = 2
_FEWEST_POINTS: Final = 20
# A fall of less is none: it would be shown as 0%.
_LEAST_FALL: Final = 0.005
_DAY: Final = 86_400
# What is closer together than this is the same value, computed in another order.
_NOISE: Final = 1e-9
_SCALES: Final = {3: "thousand", 6: "million", 9: "billion", 12: "trillion"}
_LARGEST_PLAIN: Final = 100_000
_SMALLEST_PLAIN: Final = 0.01
_DIGITS: Final = 4
# The rows of a chart in characters, and the marks of its axis by row.
_Rows = tuple[list[str], dict[int, str]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The charts as sources of Mermaid, each below 5,000 characters, and as block characters.

    `note` says what is not in them and why, and is blank where all is. `has_base` says whether
    there are two curves: the candidate's in blue, the base's in orange.
    """

    mermaid: tuple[str, ...]
    text: str
    note: str
    has_base: bool = False


@dataclass(frozen=True, slots=True)
class _Curves:
    """What is in one chart: the candidate's series, and the base's where there is one."""

    candidate: AccountValues
    base: AccountValues | None = None

    def on_one_grid(self, most: int, most_of_two: int, fewest: int) -> _Grid:
        """Return the points to draw."""
        if self.base is None:
            times, values = _points(self.candidate, most, fewest)
            return _Grid(times, (values,))
        return _shared(self.candidate, self.base, most_of_two, fewest)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Points to draw: for each time a value of each line, the candidate's first."""

    times: list[float]
    lines: tuple[list[float], ...]

    @property
    def lowest(self) -> float:
        """The lowest value of all lines."""
        return min(map(min, self.lines))

    @property
    def highest(self) -> float:
        """The highest value of all lines."""
        return max(map(max, self.lines))


def draw(
    account_values: AccountValues, unit: str, base: AccountValues | None = None
) -> Drawing | None:
    """Return the charts of the points that have a value; None where those are fewer than two.

    The extremes survive, however many points there are. There is no chart of the drawdown where
    the account never fell, or where it started without anything of which there could be a share.
    A `base` is drawn, too, unless it has fewer than two points, or its curve is the same.
    """
    known = account_values.known()
    if len(known) < 2:  # noqa: PLR2004  # a line needs two
        return None
    curves, note = _curves(known, None if base is None else base.known())
    unit = _plain(unit)[:_LONGEST_UNIT].strip()
    picture, text = _value_picture(curves, unit), _value_text(curves, unit)
    drawdowns, no_drawdown = _drawdowns(curves)
    pictures = [picture]
    if drawdowns is not None:
        pictures.append(_drawdown_picture(drawdowns, curves))
        text = f"{text}\n\n{_drawdown_text(drawdowns)}"
    notes = " ".join(filter(None, [note, no_drawdown]))
    return Drawing(tuple(pictures), text, notes, has_base=curves.base is not None)


def _curves(candidate: AccountValues, base: AccountValues | None) -> tuple[_Curves, str]:
    """Return the curves to draw, and what is to be said of the base's."""
    if base is None:
        return _Curves(candidate), ""
    if len(base) < 2:  # noqa: PLR2004  # as above
        return _Curves(candidate), "The base has too few account values for a curve."
    if base == candidate:
        return _Curves(candidate), "The curve of the base is the same."
    span = max(candidate.times[-1], base.times[-1]) - min(candidate.times[0], base.times[0])
    apart = max(abs(candidate.times[end] - base.times[end]) for end in (0, -1))
    note = "The two backtests do not cover the same time: outside of its own, a line is level."
    return _Curves(candidate, base), note if apart * MOST_POINTS_OF_TWO > span else ""


def _drawdowns(curves: _Curves) -> tuple[_Curves | None, str]:
    """Return the drawdowns to draw, or why there are none."""
    candidate = curves.candidate.drawdowns()
    base = None if curves.base is None else curves.base.drawdowns()
    if candidate is None:
        return None, "The account started with nothing to lose a share of."
    lowest = min(min(one.values) for one in (candidate, base) if one is not None)
    if lowest > -_LEAST_FALL:
        return None, "The account never fell below an earlier value."
    return _Curves(candidate, base), ""


def thinned(values: Sequence[float], most: int) -> list[int]:
    """Return the positions of at most `most` values (an even number), in order, to draw.

    The first and the last one stay; between them each of as many stretches of the same length
    gives its lowest and its highest value, so that no extreme is lost.
    """
    if len(values) <= most:
        return list(range(len(values)))
    stretches, inner = most // 2 - 1, len(values) - 2
    chosen = [0]
    for number in range(stretches):
        start = 1 + number * inner // stretches
        stretch = values[start : 1 + (number + 1) * inner // stretches]
        extremes = (stretch.index(min(stretch)), stretch.index(max(stretch)))
        chosen += sorted(start + position for position in extremes)
    return [*chosen, len(values) - 1]


def _points(known: AccountValues, most: int, fewest: int) -> tuple[list[float], list[float]]:
    """Return times and values to draw: at most `most`, and at least `fewest`.

    Of a few points, the first and the last one would be so close to the ends that their dates were
    cut on a narrow page. Points between them, on the line that is drawn anyway, make room.
    """
    chosen = thinned(known.values, most)
    times = [known.times[position] for position in chosen]
    values = [known.values[position] for position in chosen]
    pieces = math.ceil((fewest - 1) / (len(chosen) - 1))
    return _divided(times, pieces), _divided(values, pieces)


def _divided(numbers: Sequence[float], pieces: int) -> list[float]:
    """Divide the way from each number to the next one into as many steps."""
    between = [
        start * (1 - step / pieces) + stop * (step / pieces)
        for start, stop in pairwise(numbers)
        for step in range(pieces)
    ]
    return [*between, numbers[-1]]


def _shared(candidate: AccountValues, base: AccountValues, most: int, fewest: int) -> _Grid:
    """Return both series over the same times: at most `most` (an even number) of them.

    All values are drawn where they are few. Else the time is divided into stretches of the same
    length, and each line has two points in each: its own lowest and highest value there, in the
    order in which they came. So no extreme is lost, and none is far from its time.
    """
    series = (candidate, base)
    times = sorted({*candidate.times[: most + 1], *base.times[: most + 1]})
    if len(times) <= most and all(map(_is_in_order, series)):
        lines = [[_value_at(one, time) for time in times] for one in series]
        pieces = math.ceil((fewest - 1) / (len(times) - 1))
        return _Grid(_divided(times, pieces), tuple(_divided(line, pieces) for line in lines))
    first = min(min(one.times) for one in series)
    last = max(max(one.times) for one in series)
    edges = _divided([first, last], most // 2 - 1)
    middles = [
        start * (1 - share) + stop * share
        for start, stop in pairwise(edges)
        for share in (0.25, 0.75)
    ]
    return _Grid([first, *middles, last], tuple(_extremes(one, edges) for one in series))


def _is_in_order(series: AccountValues) -> bool:
    return all(earlier < later for earlier, later in pairwise(series.times))


def _extremes(series: AccountValues, edges: Sequence[float]) -> list[float]:
    """Return its first value, two for each stretch between edges, and its last one."""
    found = [series.values[0]]
    start = 0
    for left, right in pairwise(edges):
        # The last stretch takes what is left: no value is lost, in whatever order they are.
        is_last = right == edges[-1]
        stop = len(series) if is_last else bisect_left(series.times, right, start)
        stretch = series.values[start:stop]
        if stretch:
            low, high = min(stretch), max(stretch)
            found += [low, high] if stretch.index(low) <= stretch.index(high) else [high, low]
        else:
            times = (left * (1 - share) + right * share for share in (0.25, 0.75))
            found += [_value_at(series, time, start) for time in times]
        start = stop
    return [*found, series.values[-1]]


def _value_at(series: AccountValues, time: float, position: int | None = None) -> float:
    """Return the value on the line that is drawn, level before its start and after its end.

    `position` is that of the first point that is not before the time, where it is known.
    """
    if position is None:
        position = bisect_left(series.times, time)
    if position == 0 or position == len(series):
        return series.values[min(position, len(series) - 1)]
    # In halves, or their difference could be beyond all floats.
    start, stop = series.times[position - 1] / 2, series.times[position] / 2
    share = min(max((time / 2 - start) / (stop - start), 0.0), 1.0) if stop > start else 1.0
    return series.values[position - 1] * (1 - share) + series.values[position] * share


def _value_picture(curves: _Curves, unit: str) -> str:
    grid = curves.on_one_grid(MOST_POINTS, MOST_POINTS_OF_TWO, _FEWEST_POINTS)
    exponent = _exponent(max(abs(grid.lowest), abs(grid.highest)))
    lines = tuple([_scaled(value, exponent) for value in line] for line in grid.lines)
    scaled = _Grid(grid.times, lines)
    name = " ".join(filter(None, [_scale_name(exponent), unit]))
    return _picture(
        title=f"Account value in {name}" if name else "Account value",
        grid=scaled,
        limits=_limits(scaled.lowest, scaled.highest),
        height=_HEIGHT,
        colours=(_BLUE, _ORANGE),
    )


def _drawdown_picture(drawdowns: _Curves, curves: _Curves) -> str:
    grid = drawdowns.on_one_grid(MOST_POINTS, MOST_POINTS_OF_TWO, _FEWEST_POINTS)
    return _picture(
        title="Drawdown in %",
        grid=grid,
        limits=(-_with_few_ticks(-grid.lowest * 1.05), 0.0),
        height=_DRAWDOWN_HEIGHT,
        # Beside another chart of two, the candidate keeps its colour.
        colours=(_RED,) if curves.base is None else (_BLUE, _ORANGE),
    )


def _picture(
    *,
    title: str,
    grid: _Grid,
    limits: tuple[float, float],
    height: int,
    colours: Sequence[str],
) -> str:
    low, high = limits
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(high - low)))
    names = ", ".join(f'"{label}"' for label in _labels(grid.times))
    # The candidate's line is drawn last: it lies above the base's.
    pairs = [*zip(grid.lines, colours, strict=False)][::-1]
    palette = ", ".join(colour for _, colour in pairs)
    return "\n".join(
        [
            f"%%{{init: {json.dumps(_settings(height, palette, limits))}}}%%",
            "xychart-beta",
            f'  title "{_plain(title)}"',
            f"  x-axis [{names}]",
            f"  y-axis {_fixed(low, decimals)} --> {_fixed(high, decimals)}",
            *(f"  line [{_joined(line, decimals)}]" for line, _ in pairs),
        ]
    )


def _joined(values: Iterable[float], decimals: int) -> str:
    return ", ".join(_fixed(value, decimals) for value in values)


def _settings(height: int, palette: str, limits: tuple[float, float]) -> dict[str, object]:
    """Return what a chart needs to be read on a telephone, and in the dark.

    Mermaid measures labels as they are on the page; where that is narrower than the chart, it
    reserves too little for them. On a telephone 0.44 of a digit's width, 9, is missing.
    """
    padding = max(12, 4 * _longest_tick(*limits))
    return {
        "xyChart": {
            "width": _WIDTH,
            "height": height,
            "titleFontSize": 18,
            "xAxis": {"labelFontSize": 16, "labelPadding": 10, "showTick": False},
            "yAxis": {"labelFontSize": 14, "labelPadding": padding},
        },
        "themeVariables": {
            "xyChart": {"backgroundColor": "transparent", "plotColorPalette": palette},
        },
    }


def _plain(text: str) -> str:
    """Return text without what could mean something to Mermaid: quotes, brackets, semicolons."""
    return "".join(_ALLOWED.findall(text))


def _fixed(value: float, decimals: int) -> str:
    """Return a number without an exponent, which Mermaid does not read."""
    digits = f"{value:.{decimals}f}"
    shown = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if shown in {"-0", ""} else shown


def _exponent(largest: float) -> int:
    """Return the power of ten by which values are divided, so that their digits can be read."""
    if not largest or _SMALLEST_PLAIN <= largest < _LARGEST_PLAIN:
        return 0
    return math.floor(math.log10(largest) / 3) * 3


def _scaled(value: float, exponent: int) -> float:
    # In steps: 10 ** 309 would be no float.
    half = exponent // 2
    return value / 10.0**half / 10.0 ** (exponent - half)


def _scale_name(exponent: int) -> str:
    return _SCALES.get(exponent, f"10^{exponent}") if exponent else ""


def _limits(lowest: float, highest: float) -> tuple[float, float]:
    """Return where the axis starts and ends: a little beyond the values; around a flat line."""
    span = highest - lowest
    if span <= _NOISE * max(abs(lowest), abs(highest)):
        margin = abs(lowest) * 0.05 or 1.0
    else:
        margin = span * 0.05
    # An account that never owed anything has no axis below zero.
    return max(lowest - margin, 0.0) if lowest >= 0 else lowest - margin, highest + margin


def _tick_step(span: float) -> tuple[float, float]:
    """Return the distance between two ticks, and the axis' length from which it is the next one.

    It is what `d3-array`, with which Mermaid counts them, takes for ten ticks: from 6 to 15.
    """
    power = 10.0 ** math.floor(math.log10(span / 10))
    share = span / 10 / power
    threshold, step = next((one for one in _TICK_STEPS if share < one[0]), _TICK_STEPS[-1])
    return step * power, threshold * 10 * power


def _with_few_ticks(span: float) -> float:
    """Return an axis' length, longer where the labels of its ticks would touch."""
    step, next_length = _tick_step(span)
    # A little longer still, or rounding would take it back.
    return span if span / step <= _MOST_TICKS else next_length * 1.01


def _longest_tick(low: float, high: float) -> int:
    """Return how many characters the labels of an axis have at most."""
    decimals = max(0, -math.floor(math.log10(_tick_step(high - low)[0])))
    return max(len(f"{limit:.{decimals}f}") for limit in (low, high))


def _labels(times: Sequence[float]) -> list[str]:
    """Return a label a point; dates are away from the ends, where a narrow page would cut them."""
    form, most = _label_form(times[-1] - times[0])
    dates = min(most, len(times))
    dated = {(2 * number + 1) * len(times) // (2 * dates) for number in range(dates)}
    return [
        (moment(time, form) if index in dated else "") + _unseen(index)
        for index, time in enumerate(times)
    ]


def _unseen(index: int) -> str:
    return "".join(_INVISIBLE[int(digit)] for digit in f"{index:08b}")


def _label_form(seconds: float) -> tuple[str, int]:
    """Return how short dates are written on an axis, and how many of them fit."""
    if seconds >= 300 * _DAY:
        return "%b %Y", 5
    if seconds >= 5 * _DAY:
        return "%d %b", 5
    return ("%d %b %H:%M", 3) if seconds >= _DAY else ("%H:%M", 5)


def _date_form(seconds: float) -> str:
    return "%Y-%m-%d" if seconds >= 5 * _DAY else "%m-%d %H:%M"


def _value_text(curves: _Curves, unit: str) -> str:
    grid = curves.on_one_grid(_COLUMNS, _COLUMNS, _FEWEST_COLUMNS)
    title = f"Account value in {unit}" if unit else "Account value"
    return _one_below_the_other(title, grid, _value_rows)


def _one_below_the_other(
    title: str, grid: _Grid, rows_of: Callable[[list[float], _Grid], _Rows]
) -> str:
    """Return a chart for each line, all of the same scale."""
    titles = [title] if len(grid.lines) == 1 else [f"{title}, now", f"{title}, base"]
    return "\n\n".join(
        _framed(one, *rows_of(line, grid), grid.times)
        for one, line in zip(titles, grid.lines, strict=True)
    )


def _value_rows(values: list[float], grid: _Grid) -> _Rows:
    low, high = grid.lowest, grid.highest
    # In halves, or it could be beyond all floats.
    half = high / 2 - low / 2
    flat = half <= _NOISE * max(abs(low), abs(high))
    # The lowest value is one eighth high: a column that is not there would be a gap.
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


def _drawdown_text(drawdowns: _Curves) -> str:
    grid = drawdowns.on_one_grid(_COLUMNS, _COLUMNS, _FEWEST_COLUMNS)
    return _one_below_the_other("Drawdown", grid, _drawdown_rows)


def _drawdown_rows(values: list[float], grid: _Grid) -> _Rows:
    depths = [value / grid.lowest * _DRAWDOWN_ROWS for value in values]
    rows = ["".join(_hanging(depth - row) for depth in depths) for row in range(_DRAWDOWN_ROWS)]
    return rows, {0: "0%", _DRAWDOWN_ROWS - 1: per_cent(grid.lowest)}


def _hanging(depth: float) -> str:
    """Return a block that reaches so far down from the top of its row."""
    if depth <= 0:
        return _FALLING[0]
    return _FALLING[min(math.floor(depth * _HALVES) + 1, _HALVES + 1)]


def _framed(title: str, rows: Sequence[str], marks: dict[int, str], times: Sequence[float]) -> str:
    """Return rows with a title, the axis' marks before them and the dates below."""
    margin = max(map(len, marks.values()))
    lines = [f"{marks.get(number, ''):>{margin}} ┤{row}" for number, row in enumerate(rows)]
    form = _date_form(times[-1] - times[0])
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
