"""Every combination of a sweep in one table that a page lets its reader sort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.cells import figure, signed
from deploy_action.backtest.sweep.grid import label_of, shown
from deploy_action.report.blocks import short
from deploy_action.report.document import Block, Code, Line, Paragraph, Table
from deploy_action.text.quantities import decimal, percentage

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Combination, Swept

COMBINATIONS: Final = "combinations"
"""The place of the table, which only a page has."""
MOST_COMBINATIONS: Final = 3_000


def all_combinations(swept: Swept, whole: Line) -> list[Block]:
    """Return a row for each combination, in the order of the sweep; `whole` says where all are."""
    found = swept.combinations
    known = found[:MOST_COMBINATIONS]
    header: list[Line] = [[Code(short(label_of(axis)))] for axis in swept.sweep.axes]
    header += [["Return"], ["Beyond holding"], ["Sharpe"], ["Max drawdown"], ["Trades"]]
    rows = [_row(one, is_current=index == swept.current) for index, one in enumerate(known)]
    table = Table(header, rows, right=frozenset(range(len(header))), is_sortable=True)
    remarks: list[Line] = []
    if swept.current is not None and swept.current < len(known):
        remarks.append(["The current setting is in bold. "])
    if len(known) < len(found):
        remarks.append(["These are the first in the order of the sweep. All are in ", *whole, "."])
    said_first = [Paragraph([part for line in remarks for part in line])] if remarks else []
    return [*said_first, table]


def _row(one: Combination, *, is_current: bool) -> Sequence[Line]:
    metrics = {} if one.figures is None else one.figures.metrics
    cells: list[Line] = [
        *([Code(short(shown(value)))] for value in one.values),
        [signed(metrics.get("cum_returns"))],
        [signed(metrics.get("excess_return"))],
        [figure(metrics.get("sharpe"), decimal)],
        [figure(metrics.get("max_drawdown"), percentage)],
        [figure(metrics.get("trades"), lambda value: f"{value:,.0f}")],
    ]
    return [["**", *cell, "**"] for cell in cells] if is_current else cells
