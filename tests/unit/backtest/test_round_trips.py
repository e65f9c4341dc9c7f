from __future__ import annotations

from typing import Any

import pytest

from deploy_action.backtest.figures.round_trips import RoundTrips
from tests.support.backtests import (
    DAY,
    START,
    a_market,
    a_result,
    an_order,
    raw_result,
    read_result,
)


def outcomes(trips: RoundTrips) -> tuple[int, int, int]:
    """Return how many round trips were won, lost, and even."""
    return trips.wins, trips.losses, trips.even


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([("buy", 10, 5.0), ("sell", 10, 6.0)], (1, 0, 0)),
        ([("buy", 10, 5.0), ("sell", 5, 4.0), ("sell", 5, 5.0)], (0, 1, 0)),
        ([("buy", 10, 4.0), ("buy", 10, 8.0), ("sell", 20, 6.1)], (1, 0, 0)),
        ([("sell", 10, 5.0), ("buy", 10, 4.0)], (1, 0, 0)),
        ([("sell", 10, 5.0), ("buy", 20, 6.0), ("sell", 10, 7.0)], (1, 1, 0)),
        ([("buy", 10, 5.0)], (0, 0, 0)),
        ([("buy", 10, 5.0), ("sell", 10, None)], (0, 0, 0)),
        ([("buy", 10, 5.0), ("short", 10, 5.0)], (0, 0, 0)),
    ],
    ids=["win", "in parts", "average", "short", "turned", "open", "without a price", "odd side"],
)
def test_round_trips_win_or_lose_by_average_cost(
    orders: list[tuple[str, float, float | None]], expected: tuple[int, int, int]
) -> None:
    trips = a_result(trades=[an_order(*order) for order in orders]).analysis.round_trips
    assert outcomes(trips) == expected


def test_the_rest_after_fees_is_no_position() -> None:
    """Bought at 1, all but the fee sold: what is bought at 100 later did not cost 99.9 on average.

    Sold at 99.95 it is a loss, which an average with the rest would call a win.
    """
    orders = [("buy", 100, 1.0), ("sell", 99.9, 2.0), ("buy", 100, 100.0), ("sell", 99.9, 99.95)]
    trips = a_result(trades=[an_order(*order) for order in orders]).analysis.round_trips
    assert outcomes(trips) == (1, 1, 0)


def test_symbols_are_kept_apart_and_orders_count_when_they_are_filled() -> None:
    """A limit order that was filled last closes what was bought while it waited, at 15 on average.

    Right after the first one it would have won.
    """
    orders = [
        an_order("buy", 1, 10.0),
        an_order("sell", 2, 12.0, type="limit", executed_time=START + 9 * DAY),
        an_order("buy", 1, 20.0, time=START + 2 * DAY),
        an_order("sell", 1, 9.0, symbol="ELM-USD", time=START + 3 * DAY),
    ]
    trips = a_result(trades=orders).analysis.round_trips
    assert outcomes(trips) == (0, 1, 0)
    assert trips.win_rate == 0.0
    assert [one.symbol for one in trips.open] == ["ELM-USD"]
    assert RoundTrips().win_rate is None


# --------------------------------------------------------------------------- what was held before


def trips_of(
    orders: list[dict[str, Any]],
    prices: dict[str, list[float]],
    values: list[float] | None = None,
    **changes: Any,
) -> RoundTrips:
    """Return the round trips of a result with a market of daily bars."""
    length = max(map(len, prices.values()))
    raw = raw_result(values or [10_000.0] * length, orders, market=a_market(prices, **changes))
    return read_result(raw).analysis.round_trips


def at(day: int, side: str, size: float, price: float | None, **changes: Any) -> dict[str, Any]:
    return an_order(side, size, price, time=float(START + DAY * day), **changes)


def test_selling_what_was_held_at_its_price_is_no_trade() -> None:
    """100 held, sold at the first price, bought back at 35 and sold at 34: one trip, and it lost.

    Without fees it lost 100. With 0.1% the sale at the start costs 4 beside it; 99.9 of the 100
    bought are left, whose sale at 34 makes 3,396.6 less 3.4: 106.8 are lost.
    """
    held = {"OAK": 100.0}
    prices = {"OAK-USD": [40.0, 38.0, 35.0, 34.0]}
    orders = [at(0, "sell", 100, 40.0), at(2, "buy", 100, 35.0), at(3, "sell", 100, 34.0)]
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    trips = trips_of(orders, prices, initial_values=held, of_symbol=free)
    assert outcomes(trips) == (0, 1, 0)
    assert trips.lost == pytest.approx(100)
    assert trips.remainders == 0

    orders[2] = at(3, "sell", 99.9, 34.0)
    trips = trips_of(orders, prices, initial_values=held)
    assert outcomes(trips) == (0, 1, 0)
    assert trips.lost == pytest.approx(3_500 - 99.9 * 34 * 0.999)
    assert trips.remainders == pytest.approx(-4)


def test_holdings_at_the_start_count_as_bought_at_the_first_price() -> None:
    """Sold at 44 after a first price of 40, 100 of them made 400; those of ELM are still held."""
    prices = {"OAK-USD": [40.0, 44.0, 50.0], "ELM-USD": [5.0, 6.0, 7.0]}
    trips = trips_of(
        [at(1, "sell", 100, 44.0)],
        prices,
        initial_values={"OAK": 100.0, "ELM": 2.0, "USD": 1.0},
        of_symbol={"maker_fee": 0.0, "taker_fee": 0.0},
    )
    (trip,) = trips.closed
    assert (trip.gain, trip.cost, trip.opened_at) == (400, 4_000, START)
    (held,) = trips.open
    assert (held.symbol, held.size, held.gain) == ("ELM-USD", 2.0, 4.0)


# --------------------------------------------------------------------------- fees and remainders


def test_fees_are_taken_from_the_size_bought_and_from_the_money_of_a_sale() -> None:
    """Bought 10 at 100 with 1%: 9.9 are there. Sold at 110 they make 1,089 less 10.89."""
    fees = {"maker_fee": 0.0, "taker_fee": 0.01}
    orders = [at(0, "buy", 10, 100.0), at(1, "sell", 9.9, 110.0)]
    trips = trips_of(orders, {"OAK-USD": [100.0, 110.0]}, of_symbol=fees)
    assert trips.fees_known
    assert trips.gained == pytest.approx(9.9 * 110 * 0.99 - 1_000)


def test_limit_orders_pay_the_fee_of_makers() -> None:
    fees = {"maker_fee": 0.02, "taker_fee": 0.0}
    filled = {"type": "limit", "executed_time": float(START + DAY)}
    orders = [at(0, "buy", 10, 100.0), at(0, "sell", 10, 110.0, **filled)]
    trips = trips_of(orders, {"OAK-USD": [100.0, 110.0]}, of_symbol=fees)
    assert trips.gained == pytest.approx(1_100 * 0.98 - 1_000)


def test_the_remainder_of_a_position_stays_with_the_account() -> None:
    """9.99 of 10 are sold: 0.01 goes into the next position, as it does in the account."""
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    orders = [
        at(0, "buy", 10, 100.0),
        at(1, "sell", 9.99, 110.0),
        at(2, "buy", 9.99, 120.0),
        at(3, "sell", 10, 130.0),
    ]
    trips = trips_of(orders, {"OAK-USD": [100.0, 110.0, 120.0, 130.0]}, of_symbol=free)
    assert [one.gain for one in trips.closed] == pytest.approx([100, 9.99 * 10 + 0.01 * 20])
    assert trips.open == ()
    assert trips.remainders == 0


def test_the_sale_of_a_remainder_is_no_short_position() -> None:
    """And a small position after a large one is a position."""
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    orders = [
        at(0, "buy", 100, 10.0),
        at(1, "sell", 99.5, 11.0),
        at(2, "sell", 0.5, 13.0),
        at(3, "buy", 0.25, 10.0),
    ]
    trips = trips_of(orders, {"OAK-USD": [10.0, 11.0, 13.0, 10.0]}, of_symbol=free)
    assert outcomes(trips) == (1, 0, 0)
    assert trips.remainders == pytest.approx(1.0)
    assert [one.size for one in trips.open] == [0.25]


def test_a_position_that_made_nothing_but_a_rounding_is_even() -> None:
    orders = [at(0, "buy", 3, 0.1), at(0, "buy", 3, 0.2), at(1, "sell", 6, 0.15)]
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    trips = trips_of(orders, {"OAK-USD": [0.1, 0.15]}, of_symbol=free)
    assert outcomes(trips) == (0, 0, 1)


def test_a_position_is_measured_by_its_largest_size() -> None:
    """Half of one is left of a hundred, not of the one with which it began."""
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    orders = [at(0, "buy", 1, 10.0), at(1, "buy", 99, 10.0), at(2, "sell", 99.5, 12.0)]
    trips = trips_of(orders, {"OAK-USD": [10.0, 10.0, 12.0]}, of_symbol=free)
    assert trips.gained == pytest.approx(200)
    assert trips.open == ()


def test_a_short_position_after_a_remainder_is_no_second_round_trip() -> None:
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    orders = [at(0, "buy", 100, 10.0), at(1, "sell", 99.5, 11.0), at(2, "sell", 10, 12.0)]
    trips = trips_of(orders, {"OAK-USD": [10.0, 11.0, 12.0]}, of_symbol=free)
    assert outcomes(trips) == (1, 0, 0)
    (short,) = trips.open
    assert (short.size, short.opened_at) == (-9.5, START + 2 * DAY)


def test_at_one_time_the_model_orders_before_waiting_orders_are_filled() -> None:
    """The engine calls the model, and then fills what the price reached."""
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    orders = [
        at(0, "buy", 10, 10.0),
        at(0, "buy", 10, 8.0, type="limit", executed_time=float(START + DAY)),
        at(1, "sell", 10, 9.0),
    ]
    trips = trips_of(orders, {"OAK-USD": [10.0, 9.0]}, of_symbol=free)
    assert trips.lost == pytest.approx(10)
    assert [(one.size, one.cost) for one in trips.open] == [(10, 80)]


def test_an_open_position_is_worth_the_price_at_the_end_of_the_account() -> None:
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    orders = [at(0, "buy", 10, 10.0)]
    trips = trips_of(orders, {"OAK-USD": [10.0, 12.0, 1.0]}, [100.0, 120.0], of_symbol=free)
    assert [one.gain for one in trips.open] == [pytest.approx(20)]


def test_the_money_of_the_account_is_no_position() -> None:
    orders = [at(0, "sell", 10, 0.9, symbol="USD-EUR")]
    trips = trips_of(orders, {"USD-EUR": [0.9, 0.9]}, initial_values={"USD": 10_000.0})
    assert [one.size for one in trips.open] == [-10]


# --------------------------------------------------------------------------- what is not told


def test_a_market_order_without_a_price_was_filled_at_that_of_its_bar() -> None:
    orders = [at(0, "buy", 10, 100.0), at(1, "sell", 10, None)]
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    trips = trips_of(orders, {"OAK-USD": [100.0, 90.0]}, of_symbol=free)
    assert trips.lost == pytest.approx(100)


def test_a_stop_loss_was_filled_at_the_first_price_below_it() -> None:
    """The package notes that it was filled, not when: after the second purchase, in this case."""
    orders = [
        at(0, "buy", 10, 100.0),
        at(0, "sell", 20, 90.0, type="stop_loss", canceled_time=None),
        at(1, "buy", 10, 95.0),
    ]
    free = {"maker_fee": 0.0, "taker_fee": 0.0}
    trips = trips_of(orders, {"OAK-USD": [100.0, 95.0, 91.0, 89.0, 80.0]}, of_symbol=free)
    (trip,) = trips.closed
    assert trip.closed_at == START + 3 * DAY
    assert trip.gain == pytest.approx(20 * 90 - 10 * 100 - 10 * 95)


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (an_order("sell", 10, None), "an order of OAK-USD has no price"),
        (an_order("short", 10, 5.0), "an order of OAK-USD has no side"),
    ],
)
def test_orders_that_do_not_say_enough_leave_no_figures(
    order: dict[str, Any], problem: str
) -> None:
    """Leaving one out would take the next sale for a short position."""
    found = a_result(trades=[an_order("buy", 10, 5.0), order]).analysis
    for metric in ("round_trips", "win_rate", "profit_factor", "expectancy", "exposure"):
        assert found.metrics[metric] is None
        assert found.reasons[metric] == problem


def test_amounts_in_several_assets_are_not_added_up() -> None:
    prices = {"OAK-USD": [1.0, 2.0], "ELM-EUR": [1.0, 2.0]}
    orders = [at(0, "buy", 1, 1.0, symbol=one) for one in prices]
    orders += [at(1, "sell", 1, 2.0, symbol=one) for one in prices]
    found = read_result(raw_result([10.0, 11.0], orders, market=a_market(prices))).analysis
    assert found.metrics["round_trips"] == 2
    assert found.metrics["profit_factor"] is None
    assert found.metrics["expectancy"] is None
    assert found.reasons["expectancy"] == (
        "symbols are not all traded against USD, in which the account is valued"
    )


@pytest.mark.parametrize("other", ["OAK-EUR", "ELM-OAK"])
def test_positions_in_an_asset_of_several_symbols_cannot_be_followed(other: str) -> None:
    """What is bought in one is sold in the other."""
    prices = {"OAK-USD": [1.0, 2.0], other: [1.0, 2.0]}
    orders = [at(0, "buy", 1, 1.0), at(1, "buy", 1, 2.0, symbol=other)]
    trips = trips_of(orders, prices)
    assert trips.problem == "OAK is traded against several assets"
    assert trips.closed == ()


# --------------------------------------------------------------------------- exposure


def test_exposure_is_the_time_with_a_position_and_counts_no_time_twice() -> None:
    """In ten days, days 1 to 4 and, with another symbol, 3 to 6; from 9 on one is open: 60%."""
    prices = {"OAK-USD": [1.0] * 11, "ELM-USD": [1.0] * 11}
    orders = [
        at(1, "buy", 1, 1.0),
        at(4, "sell", 0.999, 1.0),
        at(3, "buy", 1, 1.0, symbol="ELM-USD"),
        at(6, "sell", 0.999, 1.0, symbol="ELM-USD"),
        at(9, "buy", 1, 1.0),
    ]
    found = read_result(raw_result([10.0] * 11, orders, market=a_market(prices))).analysis
    assert found.metrics["exposure"] == pytest.approx(60)


def test_without_any_trade_nothing_was_exposed() -> None:
    found = a_result([1.0, 1.0, 1.0]).analysis
    assert found.metrics["exposure"] == 0
    assert found.metrics["round_trips"] == 0
    assert found.reasons["win_rate"] == "there is no round trip"
