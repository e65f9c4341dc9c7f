"""A line of backtests as a picture: one point each, at even distances, in their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from deploy_action.backtest.figures.words import figure_in_list, figures
from deploy_action.backtest.metrics import METRICS, Unit
from deploy_action.pages.rendering import first_line
from deploy_action.platform.web.backtests.lines import Line, Point
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut, excerpt
from deploy_action.text.quantities import count, moment

MOST_DRAWN: Final = 200
_LEFT, _RIGHT = 4.0, 98.0  # in per cent of the width
_TOP, _BOTTOM = 12.0, 88.0  # in per cent of the height, which is turned upside down
_LONGEST_TITLE: Final = 100
_LONGEST_UNIT: Final = 20
_MOST_STEPS: Final = 5
_MARGIN: Final = 0.08  # above and below the values, as a share of their range
_CHARACTER: Final = 0.65  # the width of most, in the size of their font


@dataclass(frozen=True, slots=True)
class Dot:
    """A backtest in the picture: its place in per cent, and what the tooltip says."""

    x: float
    y: float
    title: str
    is_new: bool
    has_drifted: bool


@dataclass(frozen=True, slots=True)
class Stroke:
    """A part of a line between two neighbours that both have a value."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A value of the vertical axis, and its place in per cent."""

    y: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is drawn of a line, in per cent of width and height; `zero` is None outside of it.

    The height is the range of the values alone: with those of holding, changes would not be seen.
    `width` is that of the axis' labels in the size of their font. `unit` is blank where a label has
    it, or there is none. `label` says in words what can be seen.
    """

    dots: tuple[Dot, ...]
    strokes: tuple[Stroke, ...]
    ticks: tuple[Tick, ...]
    width: float
    unit: str
    zero: float | None
    highest: str
    lowest: str
    first: str
    last: str
    label: str


def draw(line: Line, metric: str) -> Picture | None:
    """Return the picture of a metric over the latest of a line; None for fewer than two values."""
    points = line.points[-MOST_DRAWN:]
    values = [point.metrics[metric] for point in points]
    known = [value for value in values if value is not None]
    if len(known) < 2:  # noqa: PLR2004  # a single point is no line
        return None
    low, high = min(known), max(known)
    spread = (high - low) or 1.0

    def height(value: float) -> float:
        share = (value - low) / spread if high > low else 0.5
        return round(_BOTTOM - share * (_BOTTOM - _TOP), 2)

    step = (_RIGHT - _LEFT) / max(1, len(values) - 1)
    across = [round(_LEFT + step * number, 2) for number in range(len(values))]
    highest, lowest = figures(METRICS[metric].unit, high, low)
    bottom, top = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    at = _ticks(bottom, top)
    labels, unit = figures(METRICS[metric].unit, *at), _unit(points, metric)
    return Picture(
        dots=tuple(
            Dot(x, height(value), _title(point, metric), point.has_new_bytes, bool(point.drift))
            for x, value, point in zip(across, values, points, strict=True)
            if value is not None
        ),
        strokes=_strokes(across, [None if one is None else height(one) for one in values]),
        ticks=tuple(Tick(height(value), label) for value, label in zip(at, labels, strict=True)),
        width=round(_CHARACTER * (max(map(len, labels)) + 1), 1),
        unit=unit,
        zero=height(0.0) if bottom <= 0 <= top else None,
        highest=highest,
        lowest=lowest,
        first=moment(points[0].time, "%Y-%m-%d"),
        last=moment(points[-1].time, "%Y-%m-%d"),
        label=_label(metric, len(points), known, unit),
    )


def _strokes(across: Sequence[float], heights: Sequence[float | None]) -> tuple[Stroke, ...]:
    return tuple(
        Stroke(x1, y1, x2, y2)
        for (x1, y1), (x2, y2) in pairwise(zip(across, heights, strict=True))
        if y1 is not None and y2 is not None
    )


def _title(point: Point, metric: str) -> str:
    shown = figure_in_list(metric, point.metrics[metric])
    bytes_ = "new bytes" if point.has_new_bytes else "the same bytes as before"
    title = cut(first_line(point.version.description), _LONGEST_TITLE)
    return f"{shown}, {moment(point.time)}, {bytes_}: {title or 'without a description'}"


def _ticks(low: float, high: float) -> list[float]:
    """Return two to six round values between these, or both where there are none."""
    span = high - low
    if not span:
        return [low]
    if not math.isfinite(span) or not span / _MOST_STEPS:  # as huge or small as numbers can be
        return [low, high]
    exponent = math.floor(math.log10(span / _MOST_STEPS))
    steps = (factor * 10.0**exponent for factor in (1, 2, 5, 10))
    step = next(one for one in steps if span / one <= _MOST_STEPS)
    numbers = range(math.floor(low / step), math.ceil(high / step) + 1)
    found = [round(number * step, max(0, -exponent)) for number in numbers]
    return [one for one in found if low <= one <= high] or [low, high]


def _unit(points: Sequence[Point], metric: str) -> str:
    """Return what amounts are in; blank for other metrics."""
    if METRICS[metric].unit is not Unit.AMOUNT:
        return ""
    assets = {str(point.document.get("quoteAsset") or "") for point in points}
    named = excerpt(assets.pop(), _LONGEST_UNIT) if len(assets) == 1 else ""
    return named or "the quote currency"


def _label(metric: str, number: int, known: Sequence[float], unit: str) -> str:
    kind = METRICS[metric]
    first, last, low, high = figures(kind.unit, known[0], known[-1], min(known), max(known))
    named = f", in {unit}" if unit else ""
    return (
        f"{kind.name} of {count(number, 'backtest')}{named}: {first} at first, {last} at last,"
        f" {low} at least, {high} at most. The table has all of them."
    )
