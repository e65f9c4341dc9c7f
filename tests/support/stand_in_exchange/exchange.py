"""The state of the stand-in exchange: prices, accounts, orders, and what is wrong with it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.support.stand_in_exchange.account import CASH, Account, Order
from tests.support.stand_in_exchange.answers import Request
from tests.support.stand_in_exchange.market import Market

MOST_REQUESTS = 100_000  # that are remembered


class Fault(StrEnum):
    """What can be wrong with an exchange."""

    NONE = "none"
    DOWN = "down"  # connections are refused, and those that are open are closed
    ERROR = "500"
    HTML = "html"  # of a gateway in front of it


@dataclass(slots=True)
class StandInExchange:
    """An exchange with an account for each API key, `cash` dollars in each at first.

    `markets` are the assets by name, such as OAK: OAK-USD on Coinbase Pro, OAK on Alpaca. Hold
    `lock` to read or change accounts while it serves.
    """

    markets: Mapping[str, Market]
    now: Callable[[], float] = time.time
    cash: float = 10_000.0
    tick_every: float = 0.2  # seconds between two ticks of a feed
    fault: Fault = Fault.NONE
    unquoted: set[str] = field(default_factory=set)  # assets that Coinbase Pro has no market for
    failing: set[str] = field(default_factory=set)  # paths that are answered with HTTP 500
    silent: set[str] = field(default_factory=set)  # paths that are never answered
    accounts: dict[str, Account] = field(default_factory=dict)
    requests: deque[Request] = field(default_factory=lambda: deque(maxlen=MOST_REQUESTS))
    lock: threading.RLock = field(default_factory=threading.RLock)
    url: str = ""  # of the proxy
    authority: Path = Path()  # the certificate of its authority
    _trades: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def variables(self) -> dict[str, str]:
        """The variables that lead a model here instead of to the real exchanges."""
        assert self.url, "the exchange is not served yet"
        return {
            # Lower case first: it wins where a machine has a proxy of its own.
            "https_proxy": self.url,
            "HTTPS_PROXY": self.url,
            "no_proxy": "localhost",
            "NO_PROXY": "localhost",
            "REQUESTS_CA_BUNDLE": str(self.authority),
            "WEBSOCKET_CLIENT_CA_BUNDLE": str(self.authority),
        }

    def price_of(self, asset: str) -> float:
        """Return the price in dollars now."""
        return round(self.markets[asset].price(self.now()), 2)

    def account(self, key: str) -> Account:
        """Return the account of a key, with what was due filled."""
        with self.lock:
            if key not in self.accounts:
                self.accounts[key] = Account(key, self.price_of, self.now, {CASH: self.cash})
            self.accounts[key].settle()
            return self.accounts[key]

    def orders(self, key: str | None = None) -> list[Order]:
        """Return the orders of one key, or of all, the oldest first."""
        with self.lock:
            found = [
                order
                for account in self.accounts.values()
                for order in account.orders
                if key in (None, account.key)
            ]
        return sorted(found, key=lambda order: order.created)

    def next_trade(self) -> int:
        """Return a number that no trade had before."""
        return next(self._trades)
