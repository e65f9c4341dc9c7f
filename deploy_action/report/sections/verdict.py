"""What a reader sees first: what was asked and passed, and what the model made beside holding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.figures.headline import (
    made_in_words,
    other_period,
    period,
    why_no_trades,
)
from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.gates.judgement import are_passed
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import NO_BREAK, model_name, short, some
from deploy_action.report.document import Code, Line, prose
from deploy_action.report.sections import gates
from deploy_action.text.quantities import count, days, moment, money

_MOST_SYMBOLS: Final = 5
_DAY: Final = 86_400


def headline(outcome: RunOutcome, result: BacktestResult) -> Line:
    """Return the title: the gates, the model, and what it made beside holding.

    A tick says that what was asked for is so. It never stands before a loss, or before less than
    holding made: a reader would take it for the result's.
    """
    verdicts = outcome.backtests.verdicts
    if not verdicts:
        return ["Backtest of ", model_name(outcome), f": {made_in_words(result)}"]
    words = gates.in_words(verdicts)
    words = f"{words[0].upper()}{words[1:]}"
    passed = "✅ " if _is_gain(result) else ""
    mark = passed if are_passed(verdicts) else "❌ "
    return [f"{mark}{words}: ", model_name(outcome), f", {made_in_words(result)}"]


def _is_gain(result: BacktestResult) -> bool:
    """Whether the model traded, gained, and made no less than holding, where that is known."""
    made, held = (result.analysis.metrics[name] for name in ("cum_returns", "hold_return"))
    return bool(result.filled_trades) and made is not None and made > 0 and made >= (held or 0)


def about(outcome: RunOutcome, result: BacktestResult) -> Line:
    """Return a sentence with the period that was tested, the exchange and the symbols."""
    start, end = period(result)
    form = "%Y-%m-%d" if end - start >= _DAY else "%Y-%m-%d %H:%M"
    symbols = symbols_of(outcome, result)
    of: Line = [": ", *some(symbols, _MOST_SYMBOLS)] if symbols else []
    length = days((end - start) / _DAY)
    tested = f"{moment(start, form)} to {moment(end, form)} ({length}) on "
    exchange: Line = [Code(short(result.exchange)), *of]
    parts = outcome.backtests.parts
    merged = f" Put together from {count(parts, 'part')}." if parts else ""
    return [tested, *exchange, *_start(result), ".", *_asked(result), merged]


def _start(result: BacktestResult) -> Line:
    values = result.analysis.values.values
    first = values[0] if values else result.initial_account_value
    if first is None:
        return []
    return [f", from {money(first)}{NO_BREAK}", *prose(short(result.quote_asset))]


def _asked(result: BacktestResult) -> Line:
    """Say what period was asked for, if another one was tested."""
    asked = other_period(result)
    return [f" Asked for: {asked}."] if asked else []


def symbols_of(outcome: RunOutcome, result: BacktestResult) -> Sequence[str]:
    """Return the traded symbols, else the symbols that the model asked for."""
    run = outcome.backtests.run
    return [short(one) for one in result.symbols or (run.symbols if run is not None else ())]


def no_trades(result: BacktestResult, run: BacktestRun | None) -> Line:
    """Say why a model made no trades, as far as that can be known."""
    return [f"**The model made no trades.** {why_no_trades(result, run)}"]
