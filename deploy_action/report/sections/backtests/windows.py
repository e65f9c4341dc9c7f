"""The windows of a run: each a backtest of its own, in one table and one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.figures.cells import NO_RESULT, signed, square
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.period.window_table import COLUMNS, WindowRow, window_table
from deploy_action.backtest.period.windows import WindowBacktest
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import NO_BREAK, short
from deploy_action.report.charts.chart import Curve
from deploy_action.report.charts.mermaid import windows_picture
from deploy_action.report.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Line,
    Paragraph,
    Place,
    Table,
    prose,
)
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count

# A return in per cent: the digits of higher ones would fill the page.
_HIGHEST: Final = 1e15
_LONGEST_REASON: Final = 200
BY_WINDOW: Final = "windows"
"""The place of the chart."""


def windows(outcome: RunOutcome) -> list[Block]:
    """Return a table, the windows without a result, and a chart; nothing without windows."""
    found = outcome.backtests.windows
    if not found:
        return []
    table = window_table(found)
    of_base = outcome.backtests.base.windows if outcome.backtests.base is not None else ()
    before = {one.name: _return(one) for one in of_base}
    rows = [_row(one, before.get(one.name, "")) for one in table.rows]
    rows += [[[f"**{over}**"], *([one] for one in cells), [""]] for over, cells in table.over]
    names = ["Window", *COLUMNS, "Return of the base"]
    left_out = {*([] if table.is_held else [2]), *([] if before else [6])}
    kept = [index for index in range(len(names)) if index not in left_out]
    left = f"; **{table.without_result}**" if table.without_result else ""
    return [
        Paragraph([f"**{count(len(found), 'window')}**: {table.made}{left}."]),
        Table(
            [[names[index]] for index in kept],
            [[row[index] for index in kept] for row in rows],
            right=frozenset(range(1, len(kept))),
        ),
        Paragraph([table.meaning]),
        *_without_result([one for one in found if one.figures is None]),
        *_chart(found),
    ]


def _row(one: WindowRow, of_base: str) -> list[Line]:
    shown: Line = [f"{one.number:,}. ", Code(short(one.name))]
    if one.period:
        shown = [*shown, f" {one.period}"]
    if not one.cells:
        return [shown, [f"{NO_RESULT} no result"], *([[NO_FIGURE]] * 4), [of_base]]
    if one.covered:
        shown = [*shown, f" ({one.covered})"]
    made, *others = one.cells
    return [shown, [f"{one.colour}{NO_BREAK}{made}"], *([text] for text in others), [of_base]]


def _return(one: WindowBacktest) -> str:
    return "no result" if one.figures is None else signed(one.figures.metrics["cum_returns"])


def _without_result(missing: Sequence[WindowBacktest]) -> list[Block]:
    lines: list[Line] = [
        [
            Code(short(one.name)),
            ": ",
            *prose(cut(one.reason or "no reason is known", _LONGEST_REASON)),
        ]
        for one in missing
    ]
    return [Paragraph(["**Windows without a result**"]), Bullets(lines)] if lines else []


def _chart(found: Sequence[WindowBacktest]) -> list[Block]:
    """Return the returns by window; nothing unless at least two have one, and fit on an axis.

    In a fold that is closed, Mermaid could not measure its labels.
    """
    known = {
        number: one.figures.metrics
        for number, one in enumerate(found, 1)
        if one.figures is not None and one.figures.metrics["cum_returns"] is not None
    }
    if len(known) < 2:  # noqa: PLR2004  # a line needs two
        return []
    lines, curves = [[one["cum_returns"] or 0.0 for one in known.values()]], [Curve.MODEL]
    if all(one["hold_return"] is not None for one in known.values()):
        lines.append([one["hold_return"] or 0.0 for one in known.values()])
        curves.append(Curve.HOLDING)
    if any(abs(value) > _HIGHEST for line in lines for value in line):
        return []
    picture = windows_picture(
        "Return in % by window", [*known], lines, [one.colour for one in curves]
    )
    squares = " ".join(f"{number} {square(one)}" for number, one in known.items())
    names = {Curve.MODEL: "strategy", Curve.HOLDING: "holding"}
    legend = " · ".join(f"{one.mark}{NO_BREAK}{names[one]}" for one in curves)
    return [Place(BY_WINDOW, [Chart([picture], squares, [legend])])]
