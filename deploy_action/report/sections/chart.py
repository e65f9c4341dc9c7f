"""The charts of a summary, with their legend."""

from __future__ import annotations

from typing import Final

from deploy_action.backtest.comparison import Base
from deploy_action.backtest.result import BacktestResult
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import NO_BREAK, model_name, some
from deploy_action.report.charts.chart import Curve, Drawing, draw
from deploy_action.report.document import Block, Chart, Line, Paragraph, Place
from deploy_action.report.sections import comparison
from deploy_action.text.quantities import count

_MOST_SYMBOLS = 3
ACCOUNT: Final = "account"
"""The place of the charts."""


def charts(outcome: RunOutcome, result: BacktestResult) -> list[Block]:
    """Return the charts beside holding and the base, with a note on what is not drawn."""
    base = outcome.backtests.base
    holding, values = result.analysis.holding, result.analysis.values
    base_values, of_base = None, list[Block]()
    if base is not None and base.result is not None:
        if base.result.quote_asset == result.quote_asset:
            base_values = base.result.analysis.values
        else:
            said = "The base's curve is not drawn: its account is in another asset."
            of_base = [Paragraph([said])]
    drawing = draw(
        values,
        result.quote_asset,
        holding=None if holding is None else holding.values,
        base=base_values,
    )
    if drawing is None:
        only = "no account value" if not values else "a single account value"
        return [Paragraph([f"There is no chart: the result has {only}."])]
    notes = [drawing.note] if drawing.note else []
    total = len(result.account_values)
    if missing := total - len(result.account_values.known()):
        notes.append(
            f"{missing:,} of {count(total, 'account value')} have no number, and are left out."
        )
    chart = Chart(drawing.mermaid, drawing.text, _legend(drawing, outcome, result, base))
    noted = [Paragraph([" ".join(notes)])] if notes else []
    return [Place(ACCOUNT, [chart, *noted]), *of_base]


def _legend(
    drawing: Drawing, outcome: RunOutcome, result: BacktestResult, base: Base | None
) -> Line:
    if len(drawing.curves) == 1:
        return []
    line: Line = [f"{Curve.MODEL.mark}{NO_BREAK}", model_name(outcome)]
    holding = result.analysis.holding
    if Curve.HOLDING in drawing.curves and holding is not None:
        symbols = some(holding.symbols, _MOST_SYMBOLS)
        line = [*line, f" · {Curve.HOLDING.mark}{NO_BREAK}holding ", *symbols]
    if Curve.BASE in drawing.curves and base is not None:
        named = comparison.base_name(base)
        line = [*line, f" · {Curve.BASE.mark}{NO_BREAK}base ", *named]
    return line
