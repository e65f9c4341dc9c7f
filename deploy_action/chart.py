"""The account's value over time, and how far it was below its last high, as charts.

Each is drawn twice: in Mermaid, which GitHub renders, and in block characters, which show anywhere.
An `xychart-beta` has a band for each point on an axis of labels, and shows every label. So the
points are as many as one can tell apart, five of them are labelled with their dates, and the labels
of the others are invisible; they have to differ, since bands with equal labels become one.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from deploy_action.backtest_result import AccountValues
from deploy_action.quantities import decimal, moment, per_cent

# Few enough that the source stays below the 5,000 characters that Gitea renders.
MOST_POINTS: Final = 120
# Characters without width, for labels that differ and do not show. Mermaid trims what is blank.
_INVISIBLE: Final = "\u200b\u200c"
_LONGEST_UNIT: Final = 16
_ALLOWED: Final = re.compile(r"[\w .,%()^-]+")
_WIDTH, _HEIGHT, _DRAWDOWN_HEIGHT = 640, 360, 280
_MOST_TICKS: Final = 11
_TICK_STEPS: Final = ((2**0.5, 1), (10**0.5, 2), (50**0.5, 5), (10, 10))
# Seen well on white and on black.
_BLUE, _RED = "#2f81f7", "#e5534b"
_COLUMNS: Final = 60
_FEWEST_COLUMNS: Final = 30
_ROWS: Final = 8
_DRAWDOWN_ROWS: Final = 4
_RISING: Final = " ▁▂▃▄▅▆▇█"
_FALLING: Final = " ▔▀█"
_EIGHTHS: Final = 8
_HALVES: Final = 2
_FEWEST_POINTS: Final = 20
# Debts are beyond any share of what there was before they are beyond all floats.
_DEEPEST: Final = -1e9
# A fall of less is none: it would be shown as 0 %.
_LEAST_FALL: Final = 0.005
_DAY: Final = 86_400
# What is closer together than this is the same value, computed in another order.
_NOISE: Final = 1e-9
_SCALES: Final = {3: "thousand", 6: "million", 9: "billion", 12: "trillion"}
_LARGEST_PLAIN: Final = 100_000
_SMALLEST_PLAIN: Final = 0.01
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Drawing:
    """The charts as sources of Mermaid, each below 5,000 characters, and as block characters.

    `note` says why there is no chart of the drawdown, and is blank where there is one.
    """

    mermaid: tuple[str, ...]
    text: str
    note: str


def draw(account_values: AccountValues, unit: str) -> Drawing | None:
    """Return the charts of the points that have a value; None where those are fewer than two.

    The extremes survive, however many points there are. There is no chart of the drawdown where
    the account never fell, or where it started without anything of which there could be a share.
    """
    known = account_values.known()
    if len(known) < 2:  # noqa: PLR2004  # a line needs two
        return None
    unit = _plain(unit)[:_LONGEST_UNIT].strip()
    picture, text = _value_picture(known, unit), _value_text(known, unit)
    drawdowns = drawdowns_of(known)
    if drawdowns is None:
        return Drawing((picture,), text, "The account started with nothing to lose a share of.")
    if min(drawdowns.values) > -_LEAST_FALL:
        return Drawing((picture,), text, "The account never fell below an earlier value.")
    both = (picture, _drawdown_picture(drawdowns))
    return Drawing(both, f"{text}\n\n{_drawdown_text(drawdowns)}", "")


def drawdowns_of(known: AccountValues) -> AccountValues | None:
    """Return how far each value is below the highest one so far, in per cent of it: 0 or less.

    None where there is nothing of which it could be a share: the account started at 0 or below.
    """
    if not known or known.values[0] <= 0:
        return None
    peaks = accumulate(known.values, max)
    below = (
        max(value / peak - 1, _DEEPEST) * 100
        for value, peak in zip(known.values, peaks, strict=True)
    )
    return AccountValues(known.times, array("d", below))


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


def _value_picture(known: AccountValues, unit: str) -> str:
    times, values = _points(known, MOST_POINTS, _FEWEST_POINTS)
    exponent = _exponent(max(map(abs, values)))
    scaled = [_scaled(value, exponent) for value in values]
    name = " ".join(filter(None, [_scale_name(exponent), unit]))
    return _picture(
        title=f"Account value in {name}" if name else "Account value",
        labels=_labels(times),
        values=scaled,
        limits=_limits(min(scaled), max(scaled)),
        height=_HEIGHT,
        colour=_BLUE,
    )


def _drawdown_picture(drawdowns: AccountValues) -> str:
    times, values = _points(drawdowns, MOST_POINTS, _FEWEST_POINTS)
    return _picture(
        title="Drawdown in %",
        labels=_labels(times),
        values=values,
        limits=(-_with_few_ticks(-min(values) * 1.05), 0.0),
        height=_DRAWDOWN_HEIGHT,
        colour=_RED,
    )


def _picture(
    *,
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    limits: tuple[float, float],
    height: int,
    colour: str,
) -> str:
    low, high = limits
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(high - low)))
    names = ", ".join(f'"{label}"' for label in labels)
    points = ", ".join(_fixed(value, decimals) for value in values)
    return "\n".join(
        [
            f"%%{{init: {json.dumps(_settings(height, colour, limits))}}}%%",
            "xychart-beta",
            f'  title "{_plain(title)}"',
            f"  x-axis [{names}]",
            f"  y-axis {_fixed(low, decimals)} --> {_fixed(high, decimals)}",
            f"  line [{points}]",
        ]
    )


def _settings(height: int, colour: str, limits: tuple[float, float]) -> dict[str, object]:
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
            "xyChart": {"backgroundColor": "transparent", "plotColorPalette": colour},
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


def _value_text(known: AccountValues, unit: str) -> str:
    times, values = _points(known, _COLUMNS, _FEWEST_COLUMNS)
    low, high = min(values), max(values)
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
    title = f"Account value in {unit}" if unit else "Account value"
    return _framed(title, rows, marks, times)


def _drawdown_text(drawdowns: AccountValues) -> str:
    times, values = _points(drawdowns, _COLUMNS, _FEWEST_COLUMNS)
    lowest = min(values)
    depths = [value / lowest * _DRAWDOWN_ROWS for value in values]
    rows = ["".join(_hanging(depth - row) for depth in depths) for row in range(_DRAWDOWN_ROWS)]
    marks = {0: "0 %", _DRAWDOWN_ROWS - 1: per_cent(lowest)}
    return _framed("Drawdown", rows, marks, times)


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
