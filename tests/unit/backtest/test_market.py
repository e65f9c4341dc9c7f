"""Prices of a market: when a limit is reached."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest import market
from deploy_action.backtest.market import Prices


def prices(values: Sequence[float]) -> Prices:
    return Prices(
        symbol="OAK-USD",
        base="OAK",
        quote="USD",
        resolution=1.0,
        asked_start=None,
        asked_end=None,
        maker_fee=None,
        taker_fee=None,
        bars=len(values),
        times=array("d", map(float, range(len(values)))),
        values=array("d", values),
    )


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.integers(-1, 10),
    st.integers(0, 45),
    st.integers(1, 7),
)
def test_a_limit_is_found_as_by_looking_at_each_price(
    values: list[int], limit: int, start: int, block: int
) -> None:
    whole, market.BLOCK = market.BLOCK, block  # so that there are several
    try:
        found = prices(values).first_at_most(limit, start)
    finally:
        market.BLOCK = whole
    reached = (at for at in range(start, len(values)) if values[at] <= limit)
    assert found == next(reached, None)
