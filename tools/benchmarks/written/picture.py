"""The results as a picture: deploys, the distance of each target, and growth."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from tools.benchmarks.deploys.measuring import BY_HAND, FLOOR, PACKAGE
from tools.benchmarks.rows import Row, Section, Values
from tools.benchmarks.written.document import with_targets
from tools.benchmarks.written.growth_panel import draw_growth
from tools.benchmarks.written.svg import THEMES, Axis, Canvas
from tools.benchmarks.written.words import caption, quantity

__all__ = ["THEMES", "draw"]

_WIDTH = 900.0
_MARGIN = 24.0
_CONTENDERS = 320.0  # where their names end
_NAMES = 400.0  # and those of targets
_END = _WIDTH - 100.0
_LINE = 17.0


def draw(sections: Mapping[str, Section], theme: str) -> str:
    """Return the picture in a theme of `THEMES`, as SVG."""
    canvas = Canvas(THEMES[theme], y=14)
    rows = [row for section in sections.values() for row in section.rows]
    _draw_deploys(canvas, [row for row in rows if row.what.startswith("Deploy ") and row.ours])
    _draw_targets(canvas, list(_few(with_targets(list(sections.values())))))
    curves = [curve for section in sections.values() for curve in section.curves]
    draw_growth(canvas, curves, _MARGIN, _WIDTH - _MARGIN)
    if sections:
        said = caption(list(sections.values()))
        canvas.text(_MARGIN, canvas.y + 8, said, canvas.theme.pale, size=11)
    canvas.y += 26
    return canvas.drawing(_WIDTH, "Results of the benchmarks")


def _head(canvas: Canvas, said: str, note: str) -> None:
    canvas.text(_MARGIN, canvas.y + 18, said, size=16, weight=600)
    canvas.text(_MARGIN, canvas.y + 36, note, canvas.theme.pale)
    canvas.y += 48


def _draw_deploys(canvas: Canvas, rows: Sequence[Row]) -> None:
    """Draw a line for each contender in each data set: a dot at the median, from least to most."""
    if not rows:
        return
    theme = canvas.theme
    _head(canvas, "How long a deploy takes", "Medians, from the fastest run to the slowest")
    colours = {
        "ours": theme.series[0],
        BY_HAND: theme.series[1],
        PACKAGE: theme.series[2],
        FLOOR: theme.pale,
    }
    values = [value for row in rows for value in (*row.ours, *row.theirs)]
    axis, top = Axis.over(values, _CONTENDERS + 10, _END), canvas.y
    behind = len(canvas.parts)
    for what, group in groupby(rows, key=lambda row: row.what):
        these = list(group)
        lines = [("ours", these[0].ours), *((row.peer, row.theirs) for row in these)]
        canvas.text(_MARGIN, canvas.y + 13, what.removeprefix("Deploy "), weight=600)
        for name, taken in sorted(lines, key=lambda one: list(colours).index(one[0])):
            canvas.text(_CONTENDERS, canvas.y + 13, name, theme.pale, anchor="end", size=11)
            _draw_spread(canvas, axis, taken, colours[name])
            canvas.y += _LINE
        canvas.y += 10
    _draw_axis(canvas, axis, top, behind, lambda tick: quantity(tick, "s"))
    canvas.y += 40


def _draw_spread(canvas: Canvas, axis: Axis, taken: Values, colour: str) -> None:
    middle, y = statistics.median(taken), canvas.y + 9
    canvas.line(axis.at(min(taken)), y, axis.at(max(taken)), y, colour, width=3)
    canvas.dot(axis.at(middle), y, colour)
    canvas.text(axis.at(max(taken)) + 9, y + 4, quantity(middle, "s"), size=11)


def _draw_axis(
    canvas: Canvas, axis: Axis, top: float, behind: int, label: Callable[[float], str]
) -> None:
    """Draw ticks below what was drawn, and lines behind all parts from number `behind` on."""
    theme, parts = canvas.theme, len(canvas.parts)
    for tick in axis.ticks(8):
        canvas.line(axis.at(tick), top, axis.at(tick), canvas.y, theme.grid)
    lines = canvas.parts[parts:]
    del canvas.parts[parts:]
    canvas.parts[behind:behind] = lines
    for tick in axis.ticks(8):
        x = axis.at(tick)
        canvas.text(x, canvas.y + 14, label(tick), theme.pale, size=11, anchor="middle")


def _few(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows; of the pages, which have one target, only the slowest."""
    is_first = True
    for row in rows:
        if not row.what.startswith("page: "):
            yield row
        elif is_first:
            is_first = False
            yield row


def _draw_targets(canvas: Canvas, rows: Sequence[Row]) -> None:
    """Draw for each target how far it is: left of the line it is met."""
    if not rows:
        return
    theme = canvas.theme
    met = sum((row.distance or 0) <= 1 for row in rows)
    note = "What was measured, divided by the most that it may be. Dots are met, crosses are not"
    _head(canvas, f"How far the targets are: {met} of {len(rows)} met", note)
    axis = Axis.over([0.5, 2, *(row.distance or 1 for row in rows)], _NAMES, _END)
    top, behind = canvas.y, len(canvas.parts)
    for row in rows:
        distance, y = row.distance or 0.0, canvas.y + 9
        beside = f" / {row.peer}" if row.target is not None and row.target.of_peer else ""
        canvas.text(_NAMES - 10, y + 4, _cut(f"{row.what}{beside}"), size=11, anchor="end")
        x = axis.at(distance)
        if distance <= 1:
            canvas.dot(x, y, theme.good)
        else:
            canvas.cross(x, y, theme.bad)
        canvas.text(x + 9, y + 4, f"{distance:.2g}", theme.pale, size=11)
        canvas.y += _LINE
    canvas.line(axis.at(1), top - 4, axis.at(1), canvas.y + 2, theme.ink, dashes="4 3")
    _draw_axis(canvas, axis, top, behind, lambda tick: f"{tick:g}")
    canvas.y += 40


def _cut(said: str, most: int = 66) -> str:
    return said if len(said) <= most else f"{said[: most - 1]}…"
