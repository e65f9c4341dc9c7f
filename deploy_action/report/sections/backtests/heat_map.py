"""The heat map of a sweep of two parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.cells import CURRENT, NO_RESULT, Metrics, square
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.sweep.grid import Axis, label_of, shown
from deploy_action.backtest.sweep.robustness import ordered
from deploy_action.records import dataclass
from deploy_action.report.blocks import NO_BREAK, short
from deploy_action.report.document import Block, Code, Line, Paragraph, Quote, Table
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import decimal, percentage

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Swept

_MOST_COLUMNS, _MOST_ROWS = 12, 40  # with numbers
_MOST: Final = 60  # squares in a row, and rows of them
_LONGEST_VALUE: Final = 12
_LARGE, _MIDDLE = 20.0, 2.0

Figures = Sequence[Metrics | None]
"""The metrics of each combination, in their order; None for one without a result."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A sweep of two parameters: which one goes down, which across, and their values in order."""

    down: Axis
    across: Axis
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    index: Callable[[int, int], int]


def plane_of(swept: Swept) -> Plane | None:
    """Return the plane of a sweep, the parameter with fewer values across.

    None unless two parameters have several values, and not too many to draw.
    """
    varied = [one for one in swept.sweep.axes if len(one.values) > 1]
    if len(varied) != 2 or max(len(one.values) for one in varied) > _MOST:  # noqa: PLR2004  # a plane
        return None
    first, second = varied
    is_turned = len(first.values) < len(second.values)
    down, across = (second, first) if is_turned else (first, second)
    width = len(second.values)

    def index(row: int, column: int) -> int:
        return column * width + row if is_turned else row * width + column

    return Plane(down, across, in_order(down), in_order(across), index)


def in_order(axis: Axis) -> tuple[int, ...]:
    """Return the places of all values in their order; as they were given, if they have none."""
    known = ordered(axis)
    rest = (place for place in range(len(axis.values)) if place not in known)
    return (*known, *rest)


def heat_map(plane: Plane, figures: Figures, objective: str, current: int | None) -> list[Block]:
    """Return the map: with numbers in a table, or of squares alone if it is large."""
    fits = len(plane.columns) <= _MOST_COLUMNS and len(plane.rows) <= _MOST_ROWS
    down, across = Code(short(label_of(plane.down))), Code(short(label_of(plane.across)))
    if not fits:
        lines = _squares(plane, figures, current)
        ends: Line = [" from ", *_value(plane.across, plane.columns[0]), " to "]
        ends = [*ends, *_value(plane.across, plane.columns[-1])]
        title: Line = ["Rows: ", down, ". Columns: ", across, ",", *ends, "."]
        return [Paragraph(title), Quote("\n".join(lines))]
    form = _form(figures, objective)

    def cells(row: int) -> list[Line]:
        indices = [plane.index(row, column) for column in plane.columns]
        return [_cell(figures[one], objective, form, is_current=one == current) for one in indices]

    header: list[Line] = [[down, f"{NO_BREAK}↓ ", across, f"{NO_BREAK}→"]]
    header += [_value(plane.across, column) for column in plane.columns]
    rows = [[_value(plane.down, row), *cells(row)] for row in plane.rows]
    return [Table(header, rows, right=frozenset(range(1, len(header))))]


def _value(axis: Axis, place: int) -> Line:
    return [Code(cut(shown(axis.values[place]), _LONGEST_VALUE))]


def _cell(
    metrics: Metrics | None, objective: str, form: Callable[[float], str], *, is_current: bool
) -> Line:
    mark = f"{CURRENT}{NO_BREAK}" if is_current else ""
    if metrics is None:
        return [f"{mark}{NO_RESULT}"]
    value = metrics[objective]
    figure = NO_FIGURE if value is None else form(value)
    bold = "**" if is_current else ""
    return [f"{mark}{square(metrics)}{NO_BREAK}{bold}{figure}{bold}"]


def _form(figures: Figures, objective: str) -> Callable[[float], str]:
    """Return how to write all numbers of a map: with as few digits as tell them apart."""
    if objective != "cum_returns":
        return decimal
    values = [abs(one["cum_returns"] or 0.0) for one in figures if one is not None]
    largest = max(values, default=0.0)
    decimals = 0 if largest >= _LARGE else 1 if largest >= _MIDDLE else 2

    def form(value: float) -> str:
        # A loss that is rounded to zero would be a red zero.
        digits = next((one for one in range(decimals, 3) if round(value, one)), decimals)
        return percentage(round(value, digits), digits, with_sign=True).removesuffix("%")

    return form


def _squares(plane: Plane, figures: Figures, current: int | None) -> list[str]:
    labels = [cut(shown(plane.down.values[row]), _LONGEST_VALUE) for row in plane.rows]
    width = max(map(len, labels))
    lines = []
    for label, row in zip(labels, plane.rows, strict=True):
        squares = []
        for column in plane.columns:
            index = plane.index(row, column)
            metrics = figures[index]
            known = NO_RESULT if metrics is None else square(metrics) or "⬛"
            squares.append(CURRENT if index == current else known)
        lines.append(f"{label:>{width}} {''.join(squares)}")
    return lines
