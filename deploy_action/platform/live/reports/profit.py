"""What orders made by symbol, where the reported orders tell it, and else why they do not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_FILLED: Final = frozenset({"closed", "completed", "done", "executed", "filled"})
_VOID: Final = frozenset({"canceled", "cancelled", "denied", "expired", "rejected"})
_NEGLIGIBLE: Final = 1e-9  # of what was bought: a difference by rounding


@dataclass(slots=True)
class Profit:
    """What the orders of a symbol on an exchange made, as far as they were reported.

    `fills` are filled orders, `pending` are limit and stop orders that were not reported as filled
    or canceled.

    `realised` is in the currency in which the symbol is quoted: what sales made over the average
    price of what was bought, before fees. `position` is what was bought and not sold since the
    first report. All are None, and `problem` says why, where that is not known.
    """

    exchange: str
    symbol: str
    fills: int = 0
    pending: int = 0
    position: float | None = 0.0
    average_price: float | None = None
    realised: float | None = 0.0
    problem: str | None = None

    def fill(self, side: str, size: float, price: float) -> None:
        """Take a filled order, unless the profit is not known any more."""
        if self.realised is None or self.position is None:
            return
        average, position, realised = self.average_price or 0.0, self.position, self.realised
        if side == "buy":
            average = (position * average + size * price) / (position + size)
            position += size
        elif size > position * (1 + _NEGLIGIBLE):
            self.fail("it sold more than the reported orders bought, and what that cost is unknown")
            return
        else:
            realised += size * (price - average)
            position -= size
            if position <= size * _NEGLIGIBLE:
                position = 0.0
        if not all(map(math.isfinite, (average, position, realised))):
            self.fail("the reported prices or sizes are too large to be computed with")
            return
        self.position, self.realised = position, realised
        self.average_price = average if position else None

    def fail(self, problem: str) -> None:
        """Note the first reason why the profit is not known."""
        self.problem = self.problem or problem
        self.realised = self.position = self.average_price = None


def profits(orders: Iterable[Mapping[str, Any]], *, is_complete: bool) -> list[Profit]:
    """Return the profit of each symbol, that of the latest order last; so are `orders` sorted.

    `is_complete` says that they are all that were reported.
    """
    found: dict[tuple[str, str], Profit] = {}
    for order in orders:
        key = order.get("exchange", ""), order.get("symbol", "")
        profit = found.pop(key) if key in found else Profit(*key)
        found[key] = profit
        if not is_complete:
            profit.fail("its oldest orders are no longer kept")
        _count(order, profit)
    return list(found.values())


def _count(order: Mapping[str, Any], profit: Profit) -> None:
    status, is_market = str(order.get("status") or "").lower(), order.get("type") == "market"
    side, price, size = str(order.get("side", "")).lower(), order.get("price"), order.get("size")
    if status in _VOID:
        return
    if status not in _FILLED and not is_market:
        profit.pending += 1
        return
    profit.fills += 1
    if size is None and price and order.get("funds") is not None:
        size = order["funds"] / price
    if side not in {"buy", "sell"}:
        profit.fail("an order is neither to buy nor to sell")
    elif not price or price < 0 or not size or size < 0:
        profit.fail("the price or the size at which an order was filled was not reported")
    elif status and status not in _FILLED:
        profit.fail("a market order was not reported as filled")
    else:
        profit.fill(side, size, price)
