from __future__ import annotations

import pytest

from deploy_action.backtest.figures.round_trips import RoundTrips
from tests.support.backtests import DAY, START, a_result, an_order


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
