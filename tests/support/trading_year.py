"""A result of a backtest as a year of trading makes it: its prices, orders and values agree."""

from __future__ import annotations

import random
from typing import Any

from tests.support.backtests import DAY, START, a_market, an_order, raw_result

FEE = 0.001
CASH = 10_000.0


def trading_year(
    seed: int = 1, *, days: int = 365, fast: int = 10, slow: int = 40, symbol: str = "OAK-USD"
) -> dict[str, Any]:
    """Return the raw result of crossing averages of `fast` and `slow` days; each order has an id.

    The prices are those of `seed`: results of the same one can be compared.
    """
    prices = _prices(seed, days)
    cash, size, values, trades = CASH, 0.0, [], []
    for day, price in enumerate(prices):
        is_up = day >= slow and _mean(prices, day, fast) > _mean(prices, day, slow)
        if is_up and not size:
            bought = round(0.95 * cash / price, 4)
            cash -= bought * price
            size = bought * (1 - FEE)  # the package takes the fee of what was bought
            trades.append(_order(day, "buy", bought, price))
        elif not is_up and size:
            cash += size * price * (1 - FEE)
            trades.append(_order(day, "sell", size, price))
            size = 0.0
        values.append(round(cash + size * price, 2))
    return raw_result(
        values, trades, market=a_market({symbol: prices}, initial_values={"USD": CASH})
    )


def _prices(seed: int, days: int) -> list[float]:
    chance, price, prices = random.Random(seed), 100.0, []  # noqa: S311  # prices, no secrets
    for _ in range(days):
        price *= 1 + chance.gauss(0.0006, 0.022)
        prices.append(round(price, 2))
    return prices


def _mean(prices: list[float], day: int, days: int) -> float:
    return sum(prices[day - days : day]) / days


def _order(day: int, side: str, size: float, price: float) -> dict[str, Any]:
    return an_order(side, size, price, id=f"order-{day}", time=float(START + DAY * day))
