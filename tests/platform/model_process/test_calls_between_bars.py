"""Calls at which no bar begins are told, with how far ahead of them the engine's price is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy_action.backtest.wire import parse_result

from .conftest import ARGUMENTS, HEAD, Model, write_prices

BARS = (
    HEAD
    + """
def on_bar(bar, symbol, state):
    print("bar", int(bar["time"]), state.interface.get_price(symbol))
    held = blankly.trunc(state.interface.account[state.base_asset].available, 4)
    if held:
        state.interface.market_order(symbol, "sell", held)
    else:
        state.interface.market_order(symbol, "buy", 1)

strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
"""
)
MIDNIGHT = datetime(2023, 2, 25, tzinfo=UTC).timestamp()
VALUES = {"initial_values": {"USD": 10_000}}


def told(bot: Model, arguments: dict[str, Any], *options: str) -> list[tuple[str, str]]:
    ran = bot.run(BARS, {**VALUES, **arguments}, *options)
    assert ran.last["event"] == "finished", ran.problems
    return [(one["severity"], one["message"]) for one in ran.problems]


def trades(bot: Model, arguments: dict[str, Any], now: float) -> Any:
    ran = bot.run(BARS, {**VALUES, **arguments}, "--now", repr(now))
    assert ran.problems == []
    return parse_result(json.dumps(ran.result).encode()).trades


def test_counted_back_from_midnight_or_by_dates_it_is_the_same_backtest(bot: Model) -> None:
    dates = {"start_date": "2023-01-21", "end_date": "2023-02-25"}
    by_dates = trades(bot, dates, MIDNIGHT)
    assert len(by_dates) > 20
    assert trades(bot, {"to": "35d"}, MIDNIGHT) == by_dates


def test_calls_between_bars_are_a_warning_with_both_times(bot: Model) -> None:
    (found,) = told(bot, {"to": "35d"}, "--now", repr(MIDNIGHT + 6 * 3_600))
    severity, message = found
    assert severity == "warning"
    assert message == (
        "At 33 of 33 calls no bar of ASH-USD begins: `get_price`, price events and market orders "
        "get the price of the next bar, up to 18 hours later. Nobody knows that price at the time "
        "of the call."
    )


def test_a_closed_market_is_a_notice_with_the_calls_that_saw_nothing_new(bot: Model) -> None:
    """2023 began on a Sunday. Sundays bring Friday's bar again, Mondays no call."""
    path = bot.root / "ASH-USD.csv"
    header, *bars = path.read_text().splitlines()
    path.write_text("\n".join([header, *(b for n, b in enumerate(bars) if n % 7 not in (0, 6))]))
    (found,) = told(bot, {"start_date": "2023-01-02", "end_date": "2023-01-27"})
    message = (
        "At 6 of 25 calls no bar of ASH-USD begins: `get_price`, price events and market orders "
        "get the price of the next bar, up to 2 days later. 3 calls had the same bar as the call "
        "before. 4 calls were left out: blankly found no bar for them."
    )
    assert found == ("notice", message)


@pytest.mark.parametrize(("minutes", "expected"), [(60, 0), (30, 1)])
def test_events_that_come_more_often_than_bars_are_between_them(
    bot: Model, minutes: int, expected: int
) -> None:
    write_prices(bot.root / "ASH-USD.csv", 0, bars=96, seconds=3_600)
    scheduled = f'strategy.add_scheduled_event(lambda state: None, resolution="{minutes}m")'
    ran = bot.run(
        BARS.replace('"1d")', f'"1h")\n{scheduled}'),
        {**ARGUMENTS, "start_date": "2023-01-02", "end_date": "2023-01-04"},
    )
    assert len(ran.problems) == expected, ran.problems


def test_before_the_first_price_only_the_period_is_wrong(bot: Model) -> None:
    assert told(bot, {"start_date": "2022-12-20", "end_date": "2023-02-20"}) == []
