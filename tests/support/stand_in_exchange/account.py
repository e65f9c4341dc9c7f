"""What the holder of one key has on the stand-in exchange, and the orders that change it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

CASH: Final = "USD"
FEE: Final = 0.001  # share of what is traded
OPEN, DONE, CANCELED = "open", "done", "canceled"


class RefusedError(Exception):
    """The exchange does not take the order; the text says why."""


@dataclass(slots=True)
class Order:
    """An order; `price` is the limit, or the price that triggers it; None for a market order."""

    key: str
    asset: str
    side: str
    type: str  # market, limit, or stop
    size: float
    price: float | None
    created: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = OPEN
    filled_price: float | None = None
    filled: float | None = None  # when

    def is_due(self, price: float) -> bool:
        """Return whether it is to be filled at a price."""
        if self.price is None:
            return True
        falling = (self.side == "buy") == (self.type == "limit")
        return price <= self.price if falling else price >= self.price


@dataclass(slots=True)
class Account:
    """The holdings of one key. Nothing here is guarded against a second thread."""

    key: str
    price_of: Callable[[str], float]
    now: Callable[[], float]
    holdings: dict[str, float]
    orders: list[Order] = field(default_factory=list)

    def place(
        self, asset: str, side: str, kind: str, size: float, price: float | None = None
    ) -> Order:
        """Take an order, and fill it if it is due.

        Raises:
            RefusedError: the account does not have what it takes.
        """
        if size <= 0 or side not in ("buy", "sell"):
            raise RefusedError("size is not accurate")
        order = Order(self.key, asset, side, kind, size, price, self.now())
        wanted, amount = self._takes(order, self.price_of(asset))
        if amount > self.available(wanted) + 1e-9:
            raise RefusedError("Insufficient funds")
        self.orders.append(order)
        self.settle()
        return order

    def settle(self) -> None:
        """Fill what has become due."""
        for order in self.orders:
            if order.status == OPEN and order.is_due(price := self.price_of(order.asset)):
                self._fill(order, price)

    def cancel(self, order: Order) -> None:
        if order.status == OPEN:
            order.status = CANCELED

    def find(self, order_id: str) -> Order | None:
        return next((order for order in self.orders if order.id == order_id), None)

    def held(self, asset: str) -> float:
        """Return how much of an asset open orders bind."""
        bound = (
            self._takes(order, self.price_of(order.asset))
            for order in self.orders
            if order.status == OPEN
        )
        return sum(amount for wanted, amount in bound if wanted == asset)

    def available(self, asset: str) -> float:
        return self.holdings.get(asset, 0.0) - self.held(asset)

    @property
    def worth(self) -> float:
        """What all of it is worth in dollars now."""
        return sum(
            size * (1 if asset == CASH else self.price_of(asset))
            for asset, size in self.holdings.items()
        )

    @staticmethod
    def _takes(order: Order, price: float) -> tuple[str, float]:
        """Return what an order takes from the account, and how much of it."""
        if order.side == "sell":
            return order.asset, order.size
        return CASH, order.size * (price if order.price is None else order.price) * (1 + FEE)

    def _fill(self, order: Order, price: float) -> None:
        sign = 1 if order.side == "buy" else -1
        paid = order.size * price
        cash, asset = self.holdings.get(CASH, 0.0), self.holdings.get(order.asset, 0.0)
        self.holdings[CASH] = cash - sign * paid - paid * FEE
        self.holdings[order.asset] = asset + sign * order.size
        order.status, order.filled_price, order.filled = DONE, price, self.now()
