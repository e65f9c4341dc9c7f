"""What a reader has to know first: what a model made beside holding, and over which period."""

from __future__ import annotations

from typing import Final

from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.text.quantities import count, decimal, moment, percentage

_DAY: Final = 86_400
# From so many per cent on, a title shows one decimal.
_LARGE: Final = 10
_MOST_DECIMALS: Final = 6


def made_in_words(result: BacktestResult) -> str:
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


def period(result: BacktestResult) -> tuple[float, float]:
    """Return the first and the last time that count, without a stretch before the first price."""
    times = result.analysis.values.times
    return (times[0], times[-1]) if times else (result.start_time, result.stop_time)


def other_period(result: BacktestResult) -> str:
    """Return the period that was asked for, if another one was tested; else blank."""
    start, end = period(result)
    coverage = result.analysis.coverage
    if not coverage:
        return ""
    asked = (min(one.asked[0] for one in coverage), max(one.asked[1] for one in coverage))
    slack = 2 * max(_DAY, *(one.resolution for one in coverage))
    if abs(asked[0] - start) <= slack and abs(asked[1] - end) <= slack:
        return ""
    return f"{moment(asked[0], '%Y-%m-%d')} to {moment(asked[1], '%Y-%m-%d')}"


def why_no_trades(result: BacktestResult, run: BacktestRun | None) -> str:
    """Say why a model made no trades, as far as that can be known, with code in backticks."""
    calls = None if run is None else run.callback_calls
    if result.trades:
        placed = count(len(result.trades), "order")
        price = "the price at which the engine fills"
        if result.market is not None and result.market.use_price:
            price = f"the `{result.market.use_price}` of a bar, which alone the engine looks at,"
        return f"It placed {placed}, and none was filled: {price} never got to where they were."
    if calls == 0:
        return (
            "It was never called: look at the events that its script adds to the strategy, and "
            "whether there are prices in this period."
        )
    called = f"It was called {count(calls, 'time')}. " if calls else ""
    return (
        f"{called}Usually its conditions to buy were never met in this period, or its orders "
        "were refused: look in the log for what it printed."
    )
