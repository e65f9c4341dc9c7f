"""What is computed from a real backtest agrees with what its account made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from deploy_action.backtest.figures.analysis import Analysis
from deploy_action.backtest.wire import parse_result

from .conftest import ARGUMENTS, DAYS, HEAD, START, TAIL, Model, write_prices
from .test_truth import ARBITRAGE, LIMITS, PRICES_AND_SCHEDULE, SHORTS, TWO_RESOLUTIONS

FREE = HEAD.replace("0.001", "0.0")
OPEN: Mapping[str, Any] = {**ARGUMENTS, "use_price": "open"}
CLOSE: Mapping[str, Any] = {**ARGUMENTS, "use_price": "close"}

ALL_IN = """
def on_bar(bar, symbol, state):
    if "bought" not in state.variables:
        state.variables["bought"] = True
        share = 10_000 / PARTS / state.interface.get_price(symbol)
        state.interface.market_order(symbol, "buy", blankly.trunc(share, 9))

for symbol in SYMBOLS[:PARTS]:
    strategy.add_price_event(on_bar, symbol, resolution="1d")
"""

STOPS = (
    HEAD
    + """
def on_price(price, symbol, state):
    held = blankly.trunc(state.interface.account[state.base_asset].available, 4)
    count = state.variables["count"] = state.variables.get("count", 0) + 1
    if count % 9 == 1:
        state.interface.market_order(symbol, "buy", 5)
    elif count % 9 == 3 and held:
        state.interface.stop_loss_order(symbol, blankly.trunc(price * 0.97, 4), held)
    elif count % 9 == 2:
        state.interface.market_order(symbol, "buy", 2)

strategy.add_price_event(on_price, "ASH-USD", resolution="1d")
"""
    + TAIL
)

FROM_HOLDINGS = (
    HEAD
    + """
def on_price(price, symbol, state):
    held = blankly.trunc(state.interface.account[state.base_asset].available, 2)
    count = state.variables["count"] = state.variables.get("count", 0) + 1
    if count % 6 == 3 and held:
        state.interface.market_order(symbol, "sell", held)
    elif count % 6 == 0:
        state.interface.market_order(symbol, "buy", 7)

strategy.add_price_event(on_price, "ASH-USD", resolution="1d")
strategy.add_price_event(lambda price, symbol, state: None, "FIR-USD", resolution="1d")
"""
    + TAIL
)


def analysed(bot: Model, script: str, arguments: Mapping[str, Any] = ARGUMENTS) -> Analysis:
    ran = bot.run(script, arguments)
    assert ran.last["event"] == "finished", ran.printed
    return parse_result(json.dumps(ran.result).encode()).analysis


def made(analysis: Analysis) -> float:
    """Return what round trips, open positions and remainders made."""
    trips = analysis.round_trips
    assert trips.fees_known
    assert trips.problem == ""
    still_open = [one.gain for one in trips.open if one.gain is not None]
    return trips.gained - trips.lost + sum(still_open) + trips.remainders


@pytest.mark.parametrize("price", [OPEN, CLOSE], ids=["open", "close"])
@pytest.mark.parametrize("parts", [1, 2])
def test_who_buys_all_at_the_first_bar_and_holds_makes_what_holding_makes(
    bot: Model, price: Mapping[str, Any], parts: int
) -> None:
    """Without fees; what is left are the decimals that sizes are cut to."""
    found = analysed(bot, FREE + ALL_IN.replace("PARTS", str(parts)) + TAIL, price)
    assert found.metrics["trades"] == parts
    assert found.metrics["excess_return"] == pytest.approx(0, abs=1e-6)
    assert found.holding is not None
    for metric in ("max_drawdown", "final_account_value"):
        assert found.metrics[metric] == pytest.approx(found.holding.metrics[metric], rel=1e-8)
    assert found.metrics["exposure"] == pytest.approx(100)
    assert abs(found.metrics["hold_return"] or 0) > 1


@pytest.mark.parametrize(
    ("script", "shorts"),
    [
        (LIMITS, False),
        (PRICES_AND_SCHEDULE, False),
        (ARBITRAGE, False),
        (SHORTS, True),
        (STOPS, False),
    ],
    ids=["limit orders", "two symbols", "arbitrage", "shorts", "stop losses"],
)
def test_money_in_equals_money_out(bot: Model, script: str, shorts: bool) -> None:  # noqa: FBT001  # a parameter of the test
    bot.configure("settings.json", global_shorting=shorts)
    found = analysed(bot, script, OPEN)
    assert found.round_trips.closed
    change = found.values.values[-1] - found.values.values[0]
    assert made(found) == pytest.approx(change, abs=1e-5)
    assert any(one.is_short for one in found.round_trips.closed) == shorts


def test_money_in_equals_money_out_at_two_resolutions(bot: Model) -> None:
    write_prices(bot.root / "hourly.csv", 0, bars=20 * 24, seconds=3_600)
    script = TWO_RESOLUTIONS.replace("=readers", "=readers, maker_fee=0.002, taker_fee=0.001")
    found = analysed(bot, script, {**OPEN, "end_date": "2023-01-18"})
    change = found.values.values[-1] - found.values.values[0]
    assert made(found) == pytest.approx(change, abs=1e-5)
    assert found.round_trips.closed


def test_money_in_equals_money_out_from_holdings(bot: Model) -> None:
    """They count as bought at the first price. FIR is never traded, and counts as open."""
    values = {"USD": 1_000, "ASH": 10.123, "FIR": 2}
    found = analysed(bot, FROM_HOLDINGS, {**OPEN, "initial_values": values})
    first = found.round_trips.closed[0]
    assert first.opened_at == found.values.times[0]
    assert [one.symbol for one in found.round_trips.open] == ["ASH-USD", "FIR-USD"]
    change = found.values.values[-1] - found.values.values[0]
    assert made(found) == pytest.approx(change, abs=1e-5)


def test_a_stop_loss_closes_when_the_price_got_there(bot: Model) -> None:
    """The account's own values say when: nothing is held from then on."""
    script = STOPS.replace("count % 9 == 1", "count == 1").replace("count % 9 == 3", "count == 3")
    found = analysed(bot, script.replace("count % 9 == 2", "count == 0"), OPEN)
    (trip,) = found.round_trips.closed
    after = [
        value
        for time, value in zip(found.values.times, found.values.values, strict=True)
        if time > trip.closed_at
    ]
    before = [
        value
        for time, value in zip(found.values.times, found.values.values, strict=True)
        if time <= trip.closed_at
    ]
    assert len(after) > 5
    assert max(after) - min(after) < 0.05  # of what the order's size was cut by
    assert abs(after[0] - before[-1]) > 0.05


def test_a_stretch_before_the_first_price_is_not_counted(bot: Model) -> None:
    """A year was asked for, and there are the prices of 60 days."""
    whole = {**OPEN, "start_date": "2023-01-01", "end_date": "2023-03-05"}
    asked = {**whole, "start_date": "2022-03-01"}
    found, wanted = (analysed(bot, LIMITS, one) for one in (asked, whole))
    assert found.values == wanted.values
    assert found.metrics == pytest.approx(wanted.metrics)
    assert [one.share for one in found.coverage] == pytest.approx([DAYS / 369], abs=1e-9)


def test_orders_before_the_first_price_cost_their_fees_and_no_time(bot: Model) -> None:
    """The package fills them at the first price, which is in their future."""
    asked = {**OPEN, "start_date": "2022-12-01", "end_date": "2023-03-05"}
    found = analysed(bot, PRICES_AND_SCHEDULE, asked)
    assert found.values.times[0] == found.values.times[1] == START
    assert found.values.values[0] == 10_000
    assert 9_990 < found.values.values[1] < 10_000
    assert made(found) == pytest.approx(found.values.values[-1] - 10_000, abs=1e-4)
