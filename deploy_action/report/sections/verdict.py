"""What a reader sees first: what was asked and passed, and what the model made beside holding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.gates.judgement import are_passed
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import NO_BREAK, model_name, short, some
from deploy_action.report.document import Code, Line, prose
from deploy_action.report.sections import gates
from deploy_action.text.quantities import count, days, decimal, moment, money, percentage

_MOST_SYMBOLS: Final = 5
_DAY: Final = 86_400
# From so many per cent on, a title shows one decimal.
_LARGE: Final = 10
_MOST_DECIMALS: Final = 6


def headline(outcome: RunOutcome, result: BacktestResult) -> Line:
    """Return the title: the gates, the model, and what it made beside holding.

    A tick says that what was asked for is so. It never stands before a loss, or before less than
    holding made: a reader would take it for the result's.
    """
    verdicts = outcome.backtests.verdicts
    if not verdicts:
        return ["Backtest of ", model_name(outcome), f": {numbers(result)}"]
    words = gates.in_words(verdicts)
    words = f"{words[0].upper()}{words[1:]}"
    passed = "✅ " if _is_gain(result) else ""
    mark = passed if are_passed(verdicts) else "❌ "
    return [f"{mark}{words}: ", model_name(outcome), f", {numbers(result)}"]


def numbers(result: BacktestResult) -> str:
    """Return what the model made, and what holding made: `+37.9% against +65.0% for holding`."""
    metrics = result.analysis.metrics
    made, held, sharpe = metrics["cum_returns"], metrics["hold_return"], metrics["sharpe"]
    if not result.filled_trades:
        alone = "no trades" if not made else f"{_gain(made)} without trades"
        return alone if held is None else f"{alone}, against {_gain(held)} for holding"
    if made is None:
        return "return not computed"
    shown = _gain(made)
    if held is not None:
        shown = " against ".join(_apart(made, held)) + " for holding"
    return shown if sharpe is None else f"{shown}, Sharpe {decimal(sharpe)}"


def _is_gain(result: BacktestResult) -> bool:
    """Whether the model traded, gained, and made no less than holding, where that is known."""
    made, held = (result.analysis.metrics[name] for name in ("cum_returns", "hold_return"))
    return bool(result.filled_trades) and made is not None and made > 0 and made >= (held or 0)


def _gain(value: float, decimals: int | None = None) -> str:
    if decimals is None:
        decimals = 1 if abs(value) >= _LARGE else 2
    return percentage(value, decimals, with_sign=True)


def _apart(made: float, held: float) -> list[str]:
    """Return both with enough decimals to tell which is more."""
    shown = [_gain(made), _gain(held)]
    decimals = 2
    while made != held and shown[0] == shown[1] and decimals < _MOST_DECIMALS:
        decimals += 1
        shown = [_gain(made, decimals), _gain(held, decimals)]
    return shown


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
    return [tested, *exchange, *_start(result), ".", *_asked(result, start, end), merged]


def _start(result: BacktestResult) -> Line:
    values = result.analysis.values.values
    first = values[0] if values else result.initial_account_value
    if first is None:
        return []
    return [f", from {money(first)}{NO_BREAK}", *prose(short(result.quote_asset))]


def period(result: BacktestResult) -> tuple[float, float]:
    """Return the first and the last time that count, without a stretch before the first price."""
    times = result.analysis.values.times
    return (times[0], times[-1]) if times else (result.start_time, result.stop_time)


def _asked(result: BacktestResult, start: float, end: float) -> Line:
    """Say what period was asked for, if another one was tested."""
    coverage = result.analysis.coverage
    if not coverage:
        return []
    asked = (min(one.asked[0] for one in coverage), max(one.asked[1] for one in coverage))
    slack = 2 * max(_DAY, *(one.resolution for one in coverage))
    if abs(asked[0] - start) <= slack and abs(asked[1] - end) <= slack:
        return []
    return [f" Asked for: {moment(asked[0], '%Y-%m-%d')} to {moment(asked[1], '%Y-%m-%d')}."]


def symbols_of(outcome: RunOutcome, result: BacktestResult) -> Sequence[str]:
    """Return the traded symbols, else the symbols that the model asked for."""
    run = outcome.backtests.run
    return [short(one) for one in result.symbols or (run.symbols if run is not None else ())]


def no_trades(result: BacktestResult, run: BacktestRun | None) -> Line:
    """Say why a model made no trades, as far as that can be known."""
    calls = None if run is None else run.callback_calls
    if result.trades:
        placed = count(len(result.trades), "order")
        price = "the price at which the engine fills"
        if result.market is not None and result.market.use_price:
            price = f"the `{result.market.use_price}` of a bar, which alone the engine looks at,"
        why = f"It placed {placed}, and none was filled: {price} never got to where they were."
    elif calls == 0:
        why = (
            "It was never called: look at the events that its script adds to the strategy, and "
            "whether there are prices in this period."
        )
    else:
        called = f"It was called {count(calls, 'time')}. " if calls else ""
        why = (
            f"{called}Usually its conditions to buy were never met in this period, or its orders "
            "were refused: look in the log for what it printed."
        )
    return [f"**The model made no trades.** {why}"]
