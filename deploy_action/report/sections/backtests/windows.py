"""The windows of a run: each a backtest of its own, in one table and one chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from deploy_action.backtest.period.windows import WindowBacktest, iso
from deploy_action.gates.judgement import Over, over_several
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import NO_BREAK, NO_FIGURE, short
from deploy_action.report.charts.chart import Curve
from deploy_action.report.charts.mermaid import windows_picture
from deploy_action.report.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Line,
    Paragraph,
    Table,
    prose,
)
from deploy_action.report.sections.backtests.cells import (
    Metrics,
    figure,
    legend,
    signed,
    square,
)
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, decimal, percentage

# A return in per cent: the digits of higher ones would fill the page.
_HIGHEST: Final = 1e15
_LONGEST_REASON: Final = 200
_LEFT_OUT: Final = " Worst, median and best are those of the windows that have a value."
_SUMMED_UP: Final = ("cum_returns", "sharpe", "max_drawdown")
_WHOLE: Final = 0.9


def windows(outcome: RunOutcome) -> list[Block]:
    """Return the windows as a table, the failed ones by name, and a chart; nothing without any."""
    found = outcome.backtests.windows
    if not found:
        return []
    known = [one.figures.metrics for one in found if one.figures is not None]
    of_base = outcome.backtests.base.windows if outcome.backtests.base is not None else ()
    before = {one.name: _return(one) for one in of_base}
    is_held = any(metrics["hold_return"] is not None for metrics in known)
    rows = [_row(number, one, before.get(one.name, "")) for number, one in enumerate(found, 1)]
    rows += [_over(over, known) for over in (Over.WORST, Over.MEDIAN, Over.BEST)] if known else []
    names = [
        "Window",
        "Return",
        "Holding",
        "Sharpe",
        "Max drawdown",
        "Trades",
        "Return of the base",
    ]
    left_out = {*([] if is_held else [2]), *([] if before else [6])}
    meaning = legend(known)
    kept = [index for index in range(len(names)) if index not in left_out]
    return [
        Paragraph([_in_brief(found, known)]),
        Table(
            [[names[index]] for index in kept],
            [[row[index] for index in kept] for row in rows],
            right=frozenset(range(1, len(kept))),
        ),
        Paragraph([meaning if _is_complete(found) else f"{meaning}{_LEFT_OUT}"]),
        *_failed([one for one in found if one.figures is None]),
        *_chart(found),
    ]


def _is_complete(found: Sequence[WindowBacktest]) -> bool:
    """Whether every window has every figure that is summed up."""
    return all(
        one.figures is not None and None not in (one.figures.metrics[name] for name in _SUMMED_UP)
        for one in found
    )


def _in_brief(found: Sequence[WindowBacktest], known: Sequence[Metrics]) -> str:
    gained = sum((metrics["cum_returns"] or 0) > 0 for metrics in known)
    beat = [one for metrics in known if (one := metrics["excess_return"]) is not None]
    held = f", {sum(one > 0 for one in beat):,} made more than holding" if beat else ""
    failed = len(found) - len(known)
    left = f"; **{count(failed, 'window')} failed**" if failed else ""
    return f"**{count(len(found), 'window')}**: {gained:,} gained{held}{left}."


def _row(number: int, one: WindowBacktest, of_base: str) -> Sequence[Line]:
    period = f"{iso(one.start)}..{iso(one.end)}"
    name: Line = [f"{number:,}. ", Code(short(one.name))]
    shown: Line = name if one.name == period else [*name, f" {iso(one.start)} to {iso(one.end)}"]
    if one.figures is None:
        return [shown, ["❌ failed"], *([[NO_FIGURE]] * 4), [of_base]]
    if one.figures.covered < _WHOLE:
        shown = [*shown, f" (prices for {one.figures.covered:.0%})"]
    metrics = one.figures.metrics
    return [
        shown,
        [f"{square(metrics)}{NO_BREAK}{signed(metrics['cum_returns'])}"],
        [signed(metrics["hold_return"])],
        [figure(metrics["sharpe"], decimal)],
        [figure(metrics["max_drawdown"], percentage)],
        [figure(metrics["trades"], lambda value: f"{value:,.0f}")],
        [of_base],
    ]


def _return(one: WindowBacktest) -> str:
    return "failed" if one.figures is None else signed(one.figures.metrics["cum_returns"])


def _over(over: Over, known: Sequence[Metrics]) -> Sequence[Line]:
    """Return the worst, median or best of each column, over the windows that have a value."""

    def cell(metric: str, shown: Callable[[float], str]) -> Line:
        values = [value for one in known if (value := one[metric]) is not None]
        return [shown(over_several(metric, over, values)) if values else NO_FIGURE]

    return [
        [f"**{over.value.capitalize()}**"],
        cell("cum_returns", signed),
        [""],
        cell("sharpe", decimal),
        cell("max_drawdown", percentage),
        [""],
        [""],
    ]


def _failed(failed: Sequence[WindowBacktest]) -> list[Block]:
    lines: list[Line] = [
        [
            Code(short(one.name)),
            ": ",
            *prose(cut(one.reason or "no reason is known", _LONGEST_REASON)),
        ]
        for one in failed
    ]
    return [Paragraph(["**Failed windows**"]), Bullets(lines)] if lines else []


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
    return [Chart([picture], squares, [legend])]
