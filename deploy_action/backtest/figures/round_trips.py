"""Round trips: positions from flat to flat, what they made, and how long they were held."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from deploy_action.backtest.market import Market, Prices
from deploy_action.backtest.trades import Trade

# Fees are taken from the bought size, and sizes are cut to the exchange's decimals: a position of
# which no more than this share is left, or bought too much, counts as closed.
_REMAINDER: Final = 0.01
_MARKET: Final = frozenset({"market", "spot-market"})
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A position of one symbol from flat to flat; amounts are in the symbol's quote asset.

    `gain` is after fees where the fees are known. `cost` is what was paid for the position, or
    received for it if it is short. Times are seconds since 1970 UTC.
    """

    symbol: str
    is_short: bool
    opened_at: float
    closed_at: float
    cost: float
    gain: float

    @property
    def seconds(self) -> float:
        """How long the position was held."""
        return self.closed_at - self.opened_at


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """A position that is open at the end; `gain` is at the last price, None without one.

    `realised` is what parts of it that were closed have made.
    """

    symbol: str
    size: float
    opened_at: float
    cost: float
    realised: float
    gain: float | None


@dataclass(frozen=True)
class RoundTrips:
    """All round trips in the order in which they were closed, and what is still open.

    `is_in_quote`: every symbol is traded against the account's asset, so that amounts add up.
    """

    closed: tuple[RoundTrip, ...] = ()
    open: tuple[OpenPosition, ...] = ()
    fees_known: bool = False
    is_in_quote: bool = True

    @cached_property
    def wins(self) -> int:
        """How many gained."""
        return sum(one.gain > 0 for one in self.closed)

    @cached_property
    def losses(self) -> int:
        """How many lost."""
        return sum(one.gain < 0 for one in self.closed)

    @property
    def even(self) -> int:
        """How many did neither."""
        return len(self.closed) - self.wins - self.losses

    @property
    def win_rate(self) -> float | None:
        """The share of wins, from 0 to 1; None without a round trip."""
        return self.wins / len(self.closed) if self.closed else None

    @cached_property
    def gained(self) -> float:
        """The sum of all gains."""
        return math.fsum(one.gain for one in self.closed if one.gain > 0)

    @cached_property
    def lost(self) -> float:
        """The sum of all losses, as a positive amount."""
        return -math.fsum(one.gain for one in self.closed if one.gain < 0) + 0.0

    @cached_property
    def by_symbol(self) -> Mapping[str, RoundTrips]:
        """The round trips of each symbol that has any, open or closed."""
        symbols = dict.fromkeys([one.symbol for one in self.closed])
        symbols.update(dict.fromkeys(one.symbol for one in self.open))
        return {
            symbol: RoundTrips(
                tuple(one for one in self.closed if one.symbol == symbol),
                tuple(one for one in self.open if one.symbol == symbol),
                self.fees_known,
                self.is_in_quote,
            )
            for symbol in symbols
        }

    def seconds_exposed(self, end: float) -> float:
        """Return for how long at least one position was open; open ones count until `end`."""
        spans = [(one.opened_at, one.closed_at) for one in self.closed]
        spans += [(one.opened_at, end) for one in self.open]
        exposed, until = 0.0, -math.inf
        for start, stop in sorted(spans):
            exposed += max(0.0, stop - max(start, until))
            until = max(until, stop)
        return exposed


def find_round_trips(
    trades: Iterable[Trade], market: Market | None, quote_asset: str
) -> RoundTrips:
    """Return the round trips of filled trades.

    Holdings at the start count as bought at the first price. Without a market there are no fees
    and no holdings at the start.
    """
    filled = sorted((one for one in trades if one.was_filled), key=_time_filled)
    prices = {} if market is None else {one.symbol: one for one in market.prices}
    positions = _held_at_start(market, quote_asset)
    closed: list[RoundTrip] = []
    for trade in filled:
        if trade.price is None or trade.side not in {"buy", "sell"}:
            continue
        position = positions.setdefault(trade.symbol, _Position(trade.symbol))
        trip = position.take(trade, _fee(trade, prices.get(trade.symbol)))
        closed += [] if trip is None else [trip]
    still_open = (one.at_end(prices.get(one.symbol)) for one in positions.values())
    traded = {trade.symbol for trade in filled}
    return RoundTrips(
        closed=tuple(closed),
        open=tuple(one for one in still_open if one is not None),
        fees_known=bool(traded) and all(_has_fees(prices.get(symbol)) for symbol in traded),
        is_in_quote=all(_quote(symbol, prices, quote_asset) == quote_asset for symbol in traded),
    )


def _time_filled(trade: Trade) -> float:
    return trade.time if trade.filled_at is None else trade.filled_at


def _has_fees(prices: Prices | None) -> bool:
    return prices is not None and prices.maker_fee is not None and prices.taker_fee is not None


def _quote(symbol: str, prices: Mapping[str, Prices], otherwise: str) -> str:
    return prices[symbol].quote if symbol in prices else otherwise


def _fee(trade: Trade, prices: Prices | None) -> float:
    """Return the share that the engine takes: at the taker's rate for market orders only."""
    if prices is None:
        return 0.0
    return (prices.taker_fee if trade.type in _MARKET else prices.maker_fee) or 0.0


def _held_at_start(market: Market | None, quote_asset: str) -> dict[str, _Position]:
    if market is None:
        return {}
    held = {}
    for prices in market.prices:
        size = market.initial_values.get(prices.base, 0.0)
        if size and prices.values and prices.quote == quote_asset:
            first = prices.values[0]
            position = _Position(prices.symbol, is_from_start=True)
            position.open(prices.times[0], size, size * first)
            held[prices.symbol] = position
    return held


@dataclass(slots=True)
class _Position:
    """A position as it grows and shrinks.

    `size` is negative if it is short. `cost` is the money paid for what is open, negative where it
    was received. `is_from_start`: all of it was held before the first order.
    """

    symbol: str
    size: float = 0.0
    cost: float = 0.0
    largest: float = 0.0
    paid: float = 0.0
    realised: float = 0.0
    opened_at: float = 0.0
    is_from_start: bool = field(default=False, kw_only=True)

    def open(self, time: float, change: float, money: float) -> None:
        """Add to the position what was bought, or sold short, for that money."""
        if not self.size:
            self.opened_at, self.largest, self.paid, self.realised = time, 0.0, 0.0, 0.0
        self.size += change
        self.cost += money
        self.paid += abs(money)
        self.largest = max(self.largest, abs(self.size))

    def take(self, trade: Trade, fee: float) -> RoundTrip | None:
        """Add a filled trade, whose fee is a share of it; return the round trip that it closes.

        The engine takes the fee of a purchase out of what is bought, and that of a sale out of the
        money.
        """
        price = trade.price or 0.0
        if trade.side == "buy":
            change, money = trade.size * (1 - fee), trade.size * price
        else:
            change, money = -trade.size, -trade.size * price * (1 - fee)
        time = _time_filled(trade)
        if not change:
            return None
        if self.size * change >= 0:
            self.is_from_start = False
            self.open(time, change, money)
            return None
        share = min(1.0, abs(self.size / change))  # of the order that closes
        part = min(1.0, abs(change / self.size))  # of the position that is closed
        self.realised -= money * share + self.cost * part
        self.cost *= 1 - part
        self.size = 0.0 if share < 1 else self.size + change
        if abs(self.size) > _REMAINDER * self.largest:
            return None
        self.realised += self.size * price - self.cost  # the remainder, at this price
        self.size = self.cost = 0.0
        trip = self._closed(time, is_short=change > 0)
        if (1 - share) * abs(change) > _REMAINDER * self.largest:
            self.open(time, change * (1 - share), money * (1 - share))
        return trip

    def _closed(self, time: float, *, is_short: bool) -> RoundTrip | None:
        # A holding that is sold at the price at which it counts as bought was no trade.
        is_none = self.is_from_start and abs(self.realised) <= _ROUNDING * self.paid
        self.is_from_start = False
        trip = RoundTrip(
            symbol=self.symbol,
            is_short=is_short,
            opened_at=self.opened_at,
            closed_at=time,
            cost=self.paid,
            gain=self.realised,
        )
        self.realised = 0.0
        return None if is_none else trip

    def at_end(self, prices: Prices | None) -> OpenPosition | None:
        """Return what is open at the end, with its gain at the last price; None if flat."""
        if not self.size:
            return None
        last = prices.values[-1] if prices is not None and prices.values else None
        return OpenPosition(
            symbol=self.symbol,
            size=self.size,
            opened_at=self.opened_at,
            cost=self.cost,
            realised=self.realised,
            gain=None if last is None else self.size * last - self.cost + self.realised,
        )
