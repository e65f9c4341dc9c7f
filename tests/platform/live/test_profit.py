from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from typing import Any

import pytest

from deploy_action.platform.live.reports.profit import Profit, profits


def _order(side: str, size: float | None, price: float | None, **more: object) -> dict[str, Any]:
    return {"symbol": "A", "exchange": "e", "type": "limit", "status": "filled", "side": side,
            "size": size, "price": price, **more}  # fmt: skip


def _one(*orders: dict[str, Any]) -> Profit:
    (profit,) = profits(orders, is_complete=True)
    return profit


def test_sales_make_the_difference_to_the_average_price() -> None:
    profit = _one(_order("buy", 1, 10), _order("buy", 3, 20), _order("sell", 2, 20))
    assert profit.realised == pytest.approx(2 * (20 - 17.5))
    assert (profit.position, profit.average_price, profit.fills) == (2, 17.5, 3)


def test_a_position_that_was_sold_is_none() -> None:
    profit = _one(_order("buy", 0.1, 10), _order("buy", 0.2, 10), _order("sell", 0.3, 11))
    assert (profit.position, profit.average_price) == (0, None)
    assert profit.realised == pytest.approx(0.3)


def test_what_is_open_or_canceled_counts_for_nothing() -> None:
    statuses = ("open", "canceled", "Rejected", None)
    profit = _one(*(_order("buy", 1, 10, status=status) for status in statuses))
    assert (profit.fills, profit.pending, profit.realised) == (0, 2, 0.0)


def test_a_market_order_with_a_price_is_filled() -> None:
    assert _one(_order("buy", None, 10, funds=50, type="market", status=None)).position == 5


@pytest.mark.parametrize(
    ("orders", "why"),
    [
        ([_order("sell", 1, 10)], "sold more than"),
        ([_order("buy", 1, 10), _order("sell", 2, 10), _order("buy", 9, 1)], "sold more than"),
        ([_order("buy", 1, None)], "was not reported"),
        ([_order("buy", None, 10)], "was not reported"),
        ([_order("hold", 1, 10)], "neither to buy nor to sell"),
        ([_order("buy", 1, None, type="market", status=None)], "was not reported"),
        ([_order("buy", 1, 10, type="market", status="pending")], "not reported as filled"),
    ],
)
def test_what_cannot_be_known_is_said(orders: list[dict[str, Any]], why: str) -> None:
    """Such as the price of what a model held before, or whether it sells short."""
    profit = _one(*orders)
    assert (profit.realised, profit.average_price) == (None, None)
    assert why in str(profit.problem)
    assert profit.fills + profit.pending == len(orders)


def test_nothing_is_known_without_the_oldest_orders() -> None:
    (profit,) = profits([_order("buy", 1, 10)], is_complete=False)
    assert profit.realised is None
    assert "no longer kept" in str(profit.problem)


def test_symbols_and_exchanges_are_apart() -> None:
    orders = [_order("buy", 1, 10), _order("sell", 1, 20, exchange="other")]
    assert [each.realised for each in profits(orders, is_complete=True)] == [0.0, None]


@pytest.mark.parametrize(
    ("accounts", "found"),
    [
        ([None, None], [(None, 1, 10.0)]),
        ([None, True], [(True, 1, 10.0)]),  # the first was reported before this was known
        ([True, None], [(True, 1, 10.0)]),
        ([None, False], [(False, 1, 10.0)]),
        ([True, False], [(True, 2, 0.0), (False, None, None)]),
        ([None, True, False], [(True, 1, 10.0), (False, None, None)]),
    ],
)
def test_a_round_trip_stays_whole_where_the_kind_of_account_became_known(
    accounts: list[bool | None], found: list[tuple[bool | None, float | None, float | None]]
) -> None:
    orders = [_order("buy", 2, 10), *(_order("sell", 1, 20) for _ in accounts[1:])]
    told = [order if each is None else {**order, "testAccount": each}
            for order, each in zip(orders, accounts, strict=True)]  # fmt: skip
    profits_found = profits(told, is_complete=True)
    assert [(each.is_test, each.position, each.realised) for each in profits_found] == found


def test_no_sizes_and_prices_make_a_number_that_json_has_not() -> None:
    numbers = (None, 5e-324, 1.0, 1e308)
    fills = [
        _order(side, size, price, funds=funds)
        for side, size, price, funds in product(("buy", "sell"), numbers, numbers, numbers)
    ]
    for orders in product(fills, repeat=2):
        json.dumps(asdict(_one(*orders)), allow_nan=False)
    huge = _one(_order("buy", 1e308, 1e308))
    assert "too large" in str(huge.problem)


def test_a_market_order_that_was_only_accepted_is_not_counted_as_filled() -> None:
    profit = _one(_order("buy", 1, None, type="market", status="accepted"))
    assert (profit.fills, profit.pending) == (0, 1)


@pytest.mark.parametrize(
    ("orders", "ordered"),
    [
        ([_order("buy", 3, None, type="market", status="accepted"), _order("sell", 1, 10)], 2),
        ([_order("buy", 0.1, 1), _order("buy", 0.2, 1), _order("sell", 0.3, 1)], 0),
        ([_order("sell", 2, 10)], -2),
        ([_order("buy", 1, 10), _order("buy", 5, 10, status="canceled")], 1),
        ([_order("buy", None, 4, funds=8)], 2),
        ([_order("buy", 1, 10), _order("buy", None, None, funds=8)], None),
        ([_order("buy", 1, 10), _order("hold", 1, 10)], None),
        ([_order("buy", 1e308, 1), _order("buy", 1e308, 1)], None),
    ],
)
def test_what_was_ordered_on_balance_is_known_without_fills(
    orders: list[dict[str, Any]], ordered: float | None
) -> None:
    assert _one(*orders).ordered == ordered


def test_what_was_ordered_is_unknown_once_the_oldest_orders_are_gone() -> None:
    (profit,) = profits([_order("buy", 1, 10)], is_complete=False)
    assert profit.ordered is None
