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
    assert profit.fills == len(orders)


def test_nothing_is_known_without_the_oldest_orders() -> None:
    (profit,) = profits([_order("buy", 1, 10)], is_complete=False)
    assert profit.realised is None
    assert "no longer kept" in str(profit.problem)


def test_symbols_and_exchanges_are_apart() -> None:
    orders = [_order("buy", 1, 10), _order("sell", 1, 20, exchange="other")]
    assert [each.realised for each in profits(orders, is_complete=True)] == [0.0, None]


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
