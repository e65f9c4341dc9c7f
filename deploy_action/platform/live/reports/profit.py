"""What orders made by symbol, where the reported orders tell it, and else why they do not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deploy_action.records import dataclass

_FILLED: Final = frozenset({"closed", "completed", "done", "executed", "filled"})
_VOID: Final = frozenset({"canceled", "cancelled", "denied", "expired", "rejected"})
_NEGLIGIBLE: Final = 1e-9  # of what was bought: a difference by rounding


@dataclass(slots=True)
class Profit:
    """What the orders of a symbol on an exchange made, as far as they were reported.

    `is_test` says whether they went to an account for tests, None where that is not known.
    `fills` are filled orders, `pending` those that were not reported as filled or canceled.

    `realised` is in the currency in which the symbol is quoted: what sales made over the average
    price of what was bought, before fees. `position` is what was bought and not sold since the
    first report. All are None, and `problem` says why, where that is not known.

    `ordered` is what was bought less what was sold, if all orders that were not canceled were
    filled, whole; None if the size of one is not known.
    """

    exchange: str
    symbol: str
    fills: int = 0
    pending: int = 0
    position: float | None = 0.0
    average_price: float | None = None
    realised: float | None = 0.0
    problem: str | None = None
    ordered: float | None = 0.0
    is_test: bool | None = None

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

    def order(self, side: str, size: float | None) -> None:
        """Take an order that was not canceled, filled or not."""
        signs = {"buy": 1, "sell": -1}
        if self.ordered is None or side not in signs or not size or size < 0:
            self.ordered = None
            return
        found = self.ordered + signs[side] * size
        if abs(found) <= size * _NEGLIGIBLE:
            found = 0.0
        self.ordered = found if math.isfinite(found) else None

    def fail(self, problem: str) -> None:
        """Note the first reason why the profit is not known."""
        self.problem = self.problem or problem
        self.realised = self.position = self.average_price = None


def profits(orders: Iterable[Mapping[str, Any]], *, is_complete: bool) -> list[Profit]:
    """Return the profit of each symbol, that of the latest order last; so are `orders` sorted.

    Orders of a symbol at an account for tests are kept apart from those with real money. One of
    which that is not known counts with those before it, or else with those after it.

    `is_complete` says that they are all that were reported.
    """
    found: dict[tuple[str, str, bool | None], Profit] = {}
    accounts: dict[tuple[str, str], bool | None] = {}
    for order in orders:
        names = order.get("exchange", ""), order.get("symbol", "")
        before = accounts.get(names)
        is_test = order.get("testAccount", before)
        profit = found.pop((*names, None if before is None else is_test), None) or Profit(*names)
        profit.is_test = accounts[names] = is_test
        found[*names, is_test] = profit
        if not is_complete:
            profit.fail("its oldest orders are no longer kept")
            profit.ordered = None
        _count(order, profit)
    return list(found.values())


def _count(order: Mapping[str, Any], profit: Profit) -> None:
    status, is_market = str(order.get("status") or "").lower(), order.get("type") == "market"
    side, price, size = str(order.get("side", "")).lower(), order.get("price"), order.get("size")
    if status in _VOID:
        return
    if size is None and price and order.get("funds") is not None:
        size = order["funds"] / price
    profit.order(side, size)
    is_filled = status in _FILLED or (is_market and not status)  # as the package sends one
    if not is_filled:
        profit.pending += 1
        if is_market:
            profit.fail("a market order was not reported as filled")
        return
    profit.fills += 1
    if side not in {"buy", "sell"}:
        profit.fail("an order is neither to buy nor to sell")
    elif not price or price < 0 or not size or size < 0:
        profit.fail("the price or the size at which an order was filled was not reported")
    else:
        profit.fill(side, size, price)
