"""All metrics: ours with the ids of gates, and those that the package printed."""

from __future__ import annotations

from typing import Final

from deploy_action.backtest.figures.words import NO_FIGURE, figures
from deploy_action.backtest.metrics import METRICS, NOT_A_NUMBER, Unit
from deploy_action.backtest.result import BacktestResult, Metric
from deploy_action.report.blocks import short
from deploy_action.report.document import Block, Code, Details, Line, Paragraph, Table, prose
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import exact

_MOST_METRICS: Final = 50
_LONGEST_NAME: Final = 40
_LONGEST_REASON: Final = 60


def all_metrics(result: BacktestResult) -> Details:
    """Return the metrics that gates know, beside those of holding, and what they are called."""
    analysis, holding = result.analysis, result.analysis.holding
    header: list[Line] = [["Metric"], ["Value"], ["Id"]]
    held = {} if holding is None else holding.metrics
    if held:
        header.insert(2, ["Holding"])
    rows = []
    for name, kind in METRICS.items():
        value, of_holding = figures(kind.unit, analysis.metrics[name], held.get(name))
        unit = prose(short(result.quote_asset)) if kind.unit is Unit.AMOUNT else []
        reason = cut(analysis.reasons.get(name, ""), _LONGEST_REASON)
        shown: Line = [value] if value != NO_FIGURE else [f"{value} ", *prose(f"({reason})")]
        row: list[Line] = [[kind.name, *([", ", *unit] if unit else [])], shown, [Code(name)]]
        if held:
            row.insert(2, [of_holding])
        rows.append(row)
    table = Table(header, rows, right=frozenset({1}))
    source = (
        "Computed from the account's values, the trades and the prices."
        if analysis.is_exact
        else "The server sends no account values: what the package computes is taken as it comes."
    )
    return Details("All metrics", [table, Paragraph([source])])


def package_metrics(result: BacktestResult) -> list[Block]:
    """Return what the package printed, under its own names; nothing if it printed none."""
    if not result.metrics:
        return []
    rows: list[tuple[Line, Line]] = [
        (prose(cut(metric.display_name, _LONGEST_NAME)), _printed(metric))
        for metric in result.metrics[:_MOST_METRICS]
    ]
    note = (
        "As the `blankly` package printed them: returns and drawdowns rounded to whole per cents, "
        "most others to two digits, a time before the first price counted, and value at risk taken "
        "from the best days. Use them to compare with what a script prints."
    )
    table = Table([["Name"], ["Value"]], rows, right=frozenset({1}))
    return [Details("The package's own figures", [table, Paragraph([note])])]


def _printed(metric: Metric) -> Line:
    if metric.value is not None:
        return [exact(metric.value)]
    reason = metric.reason or NOT_A_NUMBER
    return [reason] if reason == NOT_A_NUMBER else [Code(cut(reason, _LONGEST_REASON))]
