"""What orders made by symbol, where the reported orders tell it, and else why they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_FILLED: Final = frozenset({"closed", "completed", "done", "executed", "filled"})
_NEGLIGIBLE: Final = 1e-9  # of what was bought: a difference by rounding


@dataclass(slots=True)
class Profit:
    """The filled orders of a symbol on an exchange, as far as they were reported.

    `realised` is in the currency in which the symbol is quoted: what sales made over the average
    price of what was bought, before fees. `position` is what was bought and not sold since the
    first report. All are None, and `problem` says why, where that is not known.
    """

    exchange: str
    symbol: str
    fills: int = 0
    position: float | None = 0.0
    average_price: float | None = None
    realised: float | None = 0.0
    problem: str | None = None

    def fill(self, side: str, size: float, price: float) -> None:
        """Take a filled order, unless the profit is not known any more."""
        if self.realised is None or self.position is None:
            return
        average = self.average_price or 0.0
        if side == "buy":
            self.average_price = (self.position * average + size * price) / (self.position + size)
            self.position += size
        elif size > self.position * (1 + _NEGLIGIBLE):
            self.fail("it sold more than the reported orders bought, and what that cost is unknown")
        else:
            self.realised += size * (price - average)
            self.position -= size
            if self.position <= size * _NEGLIGIBLE:
                self.position, self.average_price = 0.0, None

    def fail(self, problem: str) -> None:
        """Note the first reason why the profit is not known."""
        self.problem = self.problem or problem
        self.realised = self.position = self.average_price = None


def profits(orders: Iterable[Mapping[str, Any]], *, is_complete: bool) -> list[Profit]:
    """Return the profit of each symbol with filled orders; `orders` are the oldest first.

    `is_complete` says that they are all that were reported.
    """
    found: dict[tuple[str, str], Profit] = {}
    for order in orders:
        if not _is_filled(order):
            continue
        exchange, symbol = order.get("exchange", ""), order.get("symbol", "")
        profit = found.setdefault((exchange, symbol), Profit(exchange, symbol))
        profit.fills += 1
        if not is_complete:
            profit.fail("its oldest orders are no longer kept")
        side = str(order.get("side", "")).lower()
        price, size = order.get("price"), order.get("size")
        if size is None and price and order.get("funds") is not None:
            size = order["funds"] / price
        if side not in {"buy", "sell"}:
            profit.fail("an order is neither to buy nor to sell")
        elif not price or price < 0 or not size or size < 0:
            profit.fail("the price or the size of a filled order was not reported")
        else:
            profit.fill(side, size, price)
    return list(found.values())


def _is_filled(order: Mapping[str, Any]) -> bool:
    status = order.get("status")
    if status is None:  # a market order is filled at once, where there was anybody to trade with
        return order.get("type") == "market" and order.get("price") is not None
    return str(status).lower() in _FILLED
