"""A backtest reports what the package prints when the script is run by hand."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from .conftest import ARGUMENTS, HEAD, TAIL, Model, printed_metrics, write_prices

LIMITS = (
    HEAD
    + """
def on_bar(bar, symbol, state):
    if bar["close"] < bar["open"] and state.interface.cash > 500:
        state.interface.limit_order(symbol, "buy", bar["close"] * 0.99, 2)
    held = blankly.trunc(state.interface.account[state.base_asset].available, 4)
    if bar["close"] > bar["open"] and held:
        state.interface.limit_order(symbol, "sell", bar["close"] * 1.01, held)

strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
"""
    + TAIL
)

PRICES_AND_SCHEDULE = (
    HEAD
    + """
def on_price(price, symbol, state):
    past = state.interface.history(symbol, to=5, resolution=state.resolution)
    held = blankly.trunc(state.interface.account[state.base_asset].available, 4)
    if price < past["close"].mean() and state.interface.cash > 200:
        state.interface.market_order(symbol, "buy", 1)
    elif price > past["close"].mean() and held:
        state.interface.market_order(symbol, "sell", held)

def weekly(state):
    if state.interface.cash > 1000:
        state.interface.market_order("FIR-USD", "buy", 1.5)

for symbol in SYMBOLS:
    strategy.add_price_event(on_price, symbol, resolution="1d")
strategy.add_scheduled_event(weekly, resolution="1w")
"""
    + TAIL
)

ARBITRAGE = (
    HEAD
    + """
def on_prices(prices, symbols, state):
    cheap, dear = sorted(symbols, key=prices.get)
    held = blankly.trunc(state.interface.account[dear.split("-")[0]].available, 4)
    if held:
        state.interface.market_order(dear, "sell", held)
    if state.interface.cash > 500:
        state.interface.market_order(cheap, "buy", 3)

strategy.add_arbitrage_event(on_prices, SYMBOLS, resolution="1d")
"""
    + TAIL
)

SHORTS = (
    HEAD
    + """
def on_bar(bar, symbol, state):
    state.variables["bars"] = state.variables.get("bars", 0) + 1
    if state.variables["bars"] % 10 == 3:
        state.interface.market_order(symbol, "sell", 5)
    if state.variables["bars"] % 10 == 8:
        state.interface.market_order(symbol, "buy", 5)

strategy.add_bar_event(on_bar, "FIR-USD", resolution="1d")
"""
    + TAIL
)

# Hourly prices, hourly and daily events, and callbacks that fail now and then.
TWO_RESOLUTIONS = (
    """
import blankly
from blankly.data import PriceReader

readers = [PriceReader(f"./{name}.csv", "ASH-USD") for name in ("ASH-USD", "hourly")]
strategy = blankly.Strategy(blankly.KeylessExchange(price_reader=readers))

def hourly(price, symbol, state):
    state.variables["calls"] = state.variables.get("calls", 0) + 1
    if state.variables["calls"] % 7 == 0:
        raise ValueError("every seventh time")
    if state.variables["calls"] % 7 == 1 and state.interface.cash > 200:
        state.interface.market_order(symbol, "buy", 1)

def daily(bar, symbol, state):
    held = blankly.trunc(state.interface.account[state.base_asset].available, 4)
    if held:
        state.interface.market_order(symbol, "sell", held)

strategy.add_price_event(hourly, "ASH-USD", resolution="1h")
strategy.add_bar_event(daily, "ASH-USD", resolution="1d")
"""
    + TAIL
)

# As many do: the script runs its backtest itself and prints what comes of it.
BY_ITSELF = (
    HEAD
    + """
def on_bar(bar, symbol, state):
    held = blankly.trunc(state.interface.account[state.base_asset].available, 4)
    if held:
        state.interface.market_order(symbol, "sell", held)
    elif bar["close"] > bar["open"]:
        state.interface.market_order(symbol, "buy", 7)

if __name__ == "__main__":
    strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
    import json, sys
    given = json.loads(sys.argv[1]) if sys.argv[1:] else {"to": "1y", "initial_values": {"USD": 5}}
    results = strategy.backtest(**given)
    print(results)
"""
)


def trade_kinds(result: dict[str, list[dict[str, str]]]) -> set[tuple[str, str]]:
    return {(trade["side"], trade["type"]) for trade in result["trades"]}


@pytest.mark.parametrize("name", ["golden-cross", "rsi-reversion"])
def test_the_examples_report_what_they_print(example: Callable[[str], Model], name: str) -> None:
    model = example(name)
    arguments = json.loads((model.root / "blankly.json").read_text())["backtest_args"]
    ran = model.run(arguments=arguments)
    assert ran.problems == []
    assert ran.metrics == printed_metrics(model.by_hand())
    assert ran.metrics["Cumulative Returns (%)"] > 0


def test_limit_orders_beside_a_benchmark(bot: Model) -> None:
    arguments = {**ARGUMENTS, "benchmark_symbol": "ASH-USD", "risk_free_return_rate": 0.03}
    ran = bot.run(LIMITS, arguments)
    assert ran.metrics == printed_metrics(bot.by_hand(arguments))
    assert ran.metrics["Risk Free Return Rate"] == 0.03
    assert trade_kinds(ran.result) == {("buy", "limit"), ("sell", "limit")}
    assert any("executed_time" in trade for trade in ran.result["trades"])


def test_two_symbols_with_prices_and_a_schedule(bot: Model) -> None:
    ran = bot.run(PRICES_AND_SCHEDULE)
    assert ran.metrics == printed_metrics(bot.by_hand())
    assert sorted(ran.result["symbols"]) == ["ASH-USD", "FIR-USD"]
    assert ran.last["schedule"] == [
        {"kind": "price_event", "symbol": "ASH-USD", "resolution": 86_400},
        {"kind": "price_event", "symbol": "FIR-USD", "resolution": 86_400},
        {"kind": "scheduled_event", "symbol": None, "resolution": 7 * 86_400},
    ]
    assert ran.last["symbols"] == ["ASH-USD", "FIR-USD"]
    assert ran.last["exchanges"] == ["keyless"]


def test_an_arbitrage(bot: Model) -> None:
    bot.configure("backtest.json", show_progress_during_backtest=True)
    bot.write("bot.py", ARBITRAGE)
    by_hand = bot.by_hand()
    bot.configure("backtest.json", GUI_output=True)
    ran = bot.run()
    assert ran.metrics == printed_metrics(by_hand)
    assert ran.last["schedule"][0]["symbol"] == "ASH-USD, FIR-USD"
    assert "Progress:" not in ran.printed
    told = {event["event"] for event in ran.events}
    assert told == {"started", "progress", "result", "finished"}


def test_selling_short(bot: Model) -> None:
    bot.configure("settings.json", global_shorting=True)
    ran = bot.run(SHORTS)
    assert ran.metrics == printed_metrics(bot.by_hand())
    assert ran.result["trades"][0]["side"] == "sell"


def test_two_resolutions_and_callbacks_that_fail_now_and_then(bot: Model) -> None:
    write_prices(bot.root / "hourly.csv", 0, bars=20 * 24, seconds=3_600)
    arguments = {**ARGUMENTS, "end_date": "2023-01-18"}
    ran = bot.run(TWO_RESOLUTIONS, arguments)
    assert ran.metrics == printed_metrics(bot.by_hand(arguments))
    (problem,) = ran.problems
    assert problem["severity"] == "warning"
    calls = ran.last["callback_calls"]
    assert f"ValueError: every seventh time: raised by 55 of {calls} calls" in problem["message"]
    assert (problem["path"], problem["line"]) == ("bot.py", line_of(TWO_RESOLUTIONS, "raise "))
    assert ran.printed.count("ValueError: every seventh time") == 3
    assert ran.printed.count("Further ValueError exceptions here are counted") == 1
    assert "run_model" not in ran.printed
    assert "blankly_run" not in ran.printed


def test_a_script_that_backtests_itself(bot: Model) -> None:
    ran = bot.run(BY_ITSELF)
    assert ran.metrics == printed_metrics(bot.by_hand()) == printed_metrics(ran.printed)
    assert ran.printed.count("Backtesting...") == 1
    assert 9_000 < ran.result["initial_account_value"] <= 10_000
    (problem,) = ran.problems
    assert problem["severity"] == "notice"
    assert "backtest(to='1y', initial_values={'USD': 5})" in problem["message"]
    assert problem["line"] == line_of(BY_ITSELF, "results = ")


def line_of(script: str, text: str) -> int:
    return next(number for number, line in enumerate(script.splitlines(), 1) if text in line)
