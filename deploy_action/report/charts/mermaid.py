"""The source of a chart in Mermaid, which GitHub and Gitea render.

An `xychart-beta` with an axis of labels has a band for each point and shows every label. So only a
few labels are dates; the others are invisible, and all different, because Mermaid merges bands
whose labels are equal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass
from deploy_action.report.charts.curves import NOISE, Grid
from deploy_action.text.quantities import moment

# Gitea renders sources of at most 5,000 characters.
MOST_POINTS: Final = 100
MOST_POINTS_OF_THREE: Final = 72
FEWEST_POINTS: Final = 20
# Characters of no width, for invisible labels that differ. Mermaid would trim blanks.
_INVISIBLE: Final = str.maketrans("01", "\u200b\u200c")
_ALLOWED: Final = lazy_regex(r"[\w .,%()^-]+")
_WIDTH, _HEIGHT, _DRAWDOWN_HEIGHT = 640, 360, 280
_MOST_TICKS: Final = 11
_TICK_STEPS: Final = ((2**0.5, 1), (10**0.5, 2), (50**0.5, 5), (10, 10))
_DAY: Final = 86_400
_SCALES: Final = {3: "thousand", 6: "million", 9: "billion", 12: "trillion"}
# Mermaid writes no thousands separators.
_LARGEST_PLAIN: Final = 10_000
_SMALLEST_PLAIN: Final = 0.01
_DIGITS: Final = 4
_TICK_SIZE: Final = 14
# Widths in a usual font, as a share of its size.
_DIGIT_WIDTH, _POINT_WIDTH = 0.56, 0.3
_LEAST_PADDING: Final = 12
# Numbers of windows that fit below a chart.
_MOST_NUMBERS: Final = 20


class Colour(StrEnum):
    """Colours that are clear on white and on black, and to those who cannot tell red from green."""

    BLUE = "#2f81f7"
    ORANGE = "#d17a22"
    GREY = "#8b949e"
    RED = "#e5534b"


@dataclass(frozen=True, slots=True)
class _Picture:
    """A chart to write: its lines have the colours; `limits` are the ends of its axis."""

    title: str
    labels: Sequence[str]
    lines: Sequence[Sequence[float]]
    limits: tuple[float, float]
    height: int
    colours: Sequence[Colour]

    @property
    def tick(self) -> str:
        """The longest label of the axis."""
        low, high = self.limits
        step, _ = _tick_step(high - low)
        decimals = max(0, -math.floor(math.log10(step)))
        ends = (math.ceil(low / step) * step, math.floor(high / step) * step)
        return max((f"{end:.{decimals}f}" for end in ends), key=len)

    @property
    def tick_width(self) -> float:
        """The width of that label."""
        shares = (_POINT_WIDTH if char in ".-" else _DIGIT_WIDTH for char in self.tick)
        return _TICK_SIZE * sum(shares)

    @property
    def least_padding(self) -> float:
        """The room that the labels of the axis need on each side, at least.

        Mermaid measures labels as they are on the page. If the page is narrower than the chart, it
        reserves too little space: on a telephone, 0.44 of a digit's width (9) is missing.
        """
        return max(_LEAST_PADDING, 4 * len(self.tick))


def pictures(
    values: Grid, drawdowns: Grid | None, unit: str, colours: Sequence[Colour]
) -> tuple[str, ...]:
    """Return the charts of account values and of drawdowns, one below the other on one axis.

    `unit` may be blank. A drawdown that is alone in its chart is red.
    """
    drawn = [_values(values, unit, colours)]
    if drawdowns is not None:
        drawn.append(
            _Picture(
                title="Drawdown in %",
                labels=_labels(drawdowns.times),
                lines=drawdowns.lines,
                limits=(-_with_few_ticks(-drawdowns.lowest * 1.05), 0.0),
                height=_DRAWDOWN_HEIGHT,
                colours=colours if len(colours) > 1 else (Colour.RED,),
            )
        )
    # The left ends of both are one below the other.
    room = max(one.tick_width + 2 * one.least_padding for one in drawn)
    return tuple(_source(one, round((room - one.tick_width) / 2)) for one in drawn)


def windows_picture(
    title: str,
    numbers: Sequence[int],
    lines: Sequence[Sequence[float]],
    colours: Sequence[Colour],
) -> str:
    """Return a chart of values by the number of a window; there are two windows or more.

    Lines, not bars: Mermaid draws bars from the end of the axis, also those below zero.
    """
    # Three points each, so that a window is a step, and its number is not at an end of the axis.
    points = 3 if len(numbers) * 3 <= MOST_POINTS_OF_THREE else 1
    shown = math.ceil(len(numbers) / _MOST_NUMBERS)
    labels = [
        (str(number) if point == points // 2 and index % shown == 0 else "")
        + f"{index * points + point:09b}".translate(_INVISIBLE)
        for index, number in enumerate(numbers)
        for point in range(points)
    ]
    steps = [[value for value in line for _ in range(points)] for line in lines]
    low, high = _limits(min(0.0, *map(min, lines)), max(0.0, *map(max, lines)))
    limits = (low, low + _with_few_ticks(high - low))
    picture = _Picture(title, labels, steps, limits, _DRAWDOWN_HEIGHT, colours)
    return _source(picture, round(picture.least_padding))


def _values(grid: Grid, unit: str, colours: Sequence[Colour]) -> _Picture:
    exponent = _exponent(max(abs(grid.lowest), abs(grid.highest)))
    # In two steps, because 10.0 ** 309 overflows.
    half = 10.0 ** (exponent // 2)
    rest = 10.0 ** (exponent - exponent // 2)
    scaled = Grid(grid.times, tuple([value / half / rest for value in line] for line in grid.lines))
    scale = _SCALES.get(exponent, f"10^{exponent}") if exponent else ""
    name = f"{scale} {unit}".strip()
    return _Picture(
        title=f"Account value in {name}" if name else "Account value",
        labels=_labels(scaled.times),
        lines=scaled.lines,
        limits=_limits(scaled.lowest, scaled.highest),
        height=_HEIGHT,
        colours=colours,
    )


def _source(picture: _Picture, padding: int) -> str:
    low, high = picture.limits
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(high - low)))
    names = ", ".join(f'"{label}"' for label in picture.labels)
    # The model's line is drawn last, on top of the others.
    pairs = [*zip(picture.lines, picture.colours, strict=False)][::-1]
    palette = ", ".join(colour for _, colour in pairs)
    settings = _settings(picture.height, palette, padding)
    return "\n".join(
        [
            f"%%{{init: {json.dumps(settings)}}}%%",
            "xychart-beta",
            f'  title "{plain(picture.title)}"',
            f"  x-axis [{names}]",
            f"  y-axis {_fixed(low, decimals)} --> {_fixed(high, decimals)}",
            *(
                f"  line [{', '.join(_fixed(value, decimals) for value in line)}]"
                for line, _ in pairs
            ),
        ]
    )


def _settings(height: int, palette: str, padding: int) -> dict[str, object]:
    """Return settings with which a chart is readable on a telephone and in dark mode."""
    return {
        "xyChart": {
            "width": _WIDTH,
            "height": height,
            "titleFontSize": 18,
            "xAxis": {"labelFontSize": 16, "labelPadding": 10, "showTick": False},
            "yAxis": {"labelFontSize": _TICK_SIZE, "labelPadding": padding},
        },
        "themeVariables": {
            "xyChart": {"backgroundColor": "transparent", "plotColorPalette": palette}
        },
    }


def plain(text: str) -> str:
    """Remove what could be Mermaid syntax: quotes, brackets, semicolons."""
    return "".join(_ALLOWED.findall(text))


def _fixed(value: float, decimals: int) -> str:
    """Return a number without an exponent, which Mermaid cannot read."""
    digits = f"{value:.{decimals}f}"
    shown = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if shown in {"-0", ""} else shown


def _exponent(largest: float) -> int:
    """Return the power of ten to divide values by, so that their digits are readable."""
    if not largest or _SMALLEST_PLAIN <= largest < _LARGEST_PLAIN:
        return 0
    return math.floor(math.log10(largest) / 3) * 3


def _limits(lowest: float, highest: float) -> tuple[float, float]:
    """Return where the axis starts and ends: a little beyond the values."""
    span = highest - lowest
    if span <= NOISE * max(abs(lowest), abs(highest)):
        margin = abs(lowest) * 0.05 or 1.0
    else:
        margin = span * 0.05
    # If no value is negative, the axis does not go below zero.
    return max(lowest - margin, 0.0) if lowest >= 0 else lowest - margin, highest + margin


def _tick_step(span: float) -> tuple[float, float]:
    """Return the distance between ticks, and the axis length at which the next distance starts.

    As Mermaid's `d3-array` computes it for about ten ticks: there are 6 to 15.
    """
    power = 10.0 ** math.floor(math.log10(span / 10))
    share = span / 10 / power
    threshold, step = next((one for one in _TICK_STEPS if share < one[0]), _TICK_STEPS[-1])
    return step * power, threshold * 10 * power


def _with_few_ticks(span: float) -> float:
    """Lengthen an axis if the labels of its ticks would touch."""
    step, next_length = _tick_step(span)
    # Slightly longer than that, so that rounding does not undo it.
    return span if span / step <= _MOST_TICKS else next_length * 1.01


def _labels(times: Sequence[float]) -> list[str]:
    """Return a label for each point; dates stay away from the ends, where a page may cut them."""
    form, most = _label_form(times[-1] - times[0])
    dates = min(most, len(times))
    dated = {(2 * number + 1) * len(times) // (2 * dates) for number in range(dates)}
    return [
        (moment(time, form) if index in dated else "") + f"{index:08b}".translate(_INVISIBLE)
        for index, time in enumerate(times)
    ]


def _label_form(seconds: float) -> tuple[str, int]:
    """Return the format of the dates on an axis, and how many fit."""
    if seconds >= 300 * _DAY:
        return "%b %Y", 5
    if seconds >= 5 * _DAY:
        return "%d %b", 5
    return ("%d %b %H:%M", 3) if seconds >= _DAY else ("%H:%M", 5)
