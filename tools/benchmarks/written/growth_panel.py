"""The part of the picture that shows growth: a chart for each thing of which there is more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tools.benchmarks.rows import Curve
from tools.benchmarks.written.svg import Axis, Canvas
from tools.benchmarks.written.words import quantity

_COLUMNS = 3
_HEIGHT = 120.0
_LEGEND = 5
_LINE = 14.0
_GAP = 26.0
_TICKS = 52.0  # what the labels beside an axis take
_LEAST_FACTOR = 30.0
_EVENLY = 0.1


def draw_growth(canvas: Canvas, curves: Sequence[Curve], left: float, right: float) -> None:
    """Draw time, then memory: one chart for each of what there is more and more of."""
    if not curves:
        return
    fine = sum(curve.is_fine for curve in curves)
    said = f"Growth: {fine} of {len(curves)} curves no worse than n log n"
    canvas.text(left, canvas.y + 18, said, size=16, weight=600)
    note = (
        "Both axes are logarithmic. Dashes: n log n. Beside each name, the k of size^k at the end"
    )
    canvas.text(left, canvas.y + 36, note, canvas.theme.pale)
    canvas.y += 52
    width = (right - left - (_COLUMNS - 1) * _GAP) / _COLUMNS
    for unit in ("s", "B"):
        kinds = list(dict.fromkeys(curve.of for curve in curves if curve.unit == unit))
        for number, kind in enumerate(kinds):
            these = [curve for curve in curves if curve.of == kind and curve.unit == unit]
            column = number % _COLUMNS
            _draw_chart(canvas, these, left + column * (width + _GAP), width)
            if column == _COLUMNS - 1 or number == len(kinds) - 1:
                canvas.y += _HEIGHT + _LEGEND * _LINE + 50


def _draw_chart(canvas: Canvas, curves: Sequence[Curve], left: float, width: float) -> None:
    theme, y = canvas.theme, canvas.y
    kind = "Memory" if curves[0].unit == "B" else "Time"
    many = curves[0].of if curves[0].of.isupper() else f"{curves[0].of}s"
    canvas.text(left, y + 12, f"{kind} by the number of {many}", weight=600)
    for number, curve in enumerate(curves[:_LEGEND]):
        colour, down = theme.series[number], y + 27 + number * _LINE
        canvas.dot(left + 5, down - 4, colour)
        canvas.text(left + 14, down, _name(curve), "" if curve.is_fine else theme.bad, size=11)
    top = y + 27 + _LEGEND * _LINE - 6
    sizes = [size for curve in curves for size in curve.sizes]
    across = Axis.over(sizes, left + _TICKS, left + width)
    values = [value for curve in curves for value in curve.medians]
    upward = _roomy(values, top + _HEIGHT, top)
    _draw_axes(canvas, across, upward, curves[0])
    _draw_guide(canvas, curves, across, upward)
    for number, curve in enumerate(curves[:_LEGEND]):
        points = [
            (across.at(size), upward.at(value))
            for size, value in zip(curve.sizes, curve.medians, strict=True)
        ]
        canvas.path(points, theme.series[number])
        for x, down in points:
            canvas.dot(x, down, theme.series[number], radius=2.5)


def _name(curve: Curve) -> str:
    """Return what a curve is of, and how it grows."""
    if curve.exponent < _EVENLY:
        return f"{curve.what}: even"
    return f"{curve.what}: {curve.exponent:.2f}{'' if curve.is_fine else ', worse'}"


def _roomy(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis of at least a factor of thirty: what is nearly even should look so."""
    axis = Axis.over(values, start, end)
    if (factor := axis.most / axis.least) >= _LEAST_FACTOR:
        return axis
    room = math.sqrt(_LEAST_FACTOR / factor)
    return Axis(axis.least / room, axis.most * room, start, end)


def _draw_axes(canvas: Canvas, across: Axis, upward: Axis, curve: Curve) -> None:
    theme = canvas.theme
    for tick in upward.ticks(4):
        y = upward.at(tick)
        canvas.line(across.start, y, across.end, y, theme.grid)
        label = quantity(tick, curve.unit)
        canvas.text(across.start - 5, y + 4, label, theme.pale, size=10, anchor="end")
    for size in curve.sizes:
        x = across.at(size)
        canvas.line(x, upward.end, x, upward.start, theme.grid)
        canvas.text(x, upward.start + 13, f"{size:,}", theme.pale, size=10, anchor="middle")


def _draw_guide(canvas: Canvas, curves: Sequence[Curve], across: Axis, upward: Axis) -> None:
    """Draw n log n through the last point of the highest curve."""
    highest = max(curves, key=lambda one: one.medians[-1])
    last, value = highest.sizes[-1], highest.medians[-1]

    def expected(size: float) -> float:
        return value * size * math.log(max(size, 2)) / (last * math.log(max(last, 2)))

    size = float(highest.sizes[0])
    while expected(size) < upward.least:
        size *= 1.05
    canvas.line(
        *(across.at(size), upward.at(expected(size)), across.at(last), upward.at(value)),
        canvas.theme.pale,
        dashes="3 3",
    )
