"""Round trips: positions from flat to flat, what they made, and how long they were held."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from functools import cached_property
from typing import Final

import msgspec

from deploy_action.backtest.figures.performance import TOO_LARGE
from deploy_action.backtest.market import Market, Prices
from deploy_action.backtest.trades import MARKET_ORDERS, STOP_LOSS, Trade
from deploy_action.records import dataclass

# Sizes are cut to the exchange's decimals, and where fees are not known they are missing from what
# was bought: a position of which no more than this share is left counts as closed.
_REMAINDER: Final = 0.01
_ROUNDING: Final = 1e-9


class RoundTrip(msgspec.Struct, frozen=True, gc=False, kw_only=True):
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
    `problem` says why there can be no round trips, and is else blank. `remainders` is what was made
    beside them: with what closed positions left over, and the fee of selling, at the first price,
    what was held at the start. Where fees are known, all gains and `remainders` add up to what the
    account made, but for the decimals that the engine cuts off.
    """

    closed: tuple[RoundTrip, ...] = ()
    open: tuple[OpenPosition, ...] = ()
    fees_known: bool = False
    is_in_quote: bool = True
    remainders: float = 0.0
    problem: str = ""

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
        closed: dict[str, list[RoundTrip]] = {}
        for trip in self.closed:
            closed.setdefault(trip.symbol, []).append(trip)
        still_open = {one.symbol: (one,) for one in self.open}
        return {
            symbol: RoundTrips(
                closed=tuple(closed.get(symbol, ())),
                open=still_open.get(symbol, ()),
                fees_known=self.fees_known,
                is_in_quote=self.is_in_quote,
            )
            for symbol in closed | still_open
        }

    def seconds_exposed(self, start: float, end: float) -> float:
        """Return for how long, between these times, at least one position was open."""
        spans = [(one.opened_at, one.closed_at) for one in self.closed]
        spans += [(one.opened_at, end) for one in self.open]
        exposed, until = 0.0, start
        for opened, closed in sorted(spans):
            exposed += max(0.0, min(closed, end) - max(opened, until))
            until = max(until, closed)
        return exposed


def find_round_trips(
    trades: Iterable[Trade], market: Market | None, quote_asset: str, end: float = math.inf
) -> RoundTrips:
    """Return the round trips of filled trades; `end` is the time of the last account value.

    Holdings at the start count as bought at the first price. Without a market there are no fees
    and no holdings at the start.
    """
    prices = {} if market is None else {one.symbol: one for one in market.prices}
    fills = sorted(
        (_fill(one, prices.get(one.symbol)) for one in trades if one.was_filled), key=_in_order
    )
    traded = dict.fromkeys(one.symbol for one in fills)
    is_in_quote = all(_quote(symbol, prices, quote_asset) == quote_asset for symbol in traded)
    if problem := _problem(fills, traded, prices):
        return RoundTrips(is_in_quote=is_in_quote, problem=problem)
    positions = _held_at_start(market, quote_asset, traded)
    closed: list[RoundTrip] = []
    for fill in fills:
        found = prices.get(fill.symbol)
        position = positions.setdefault(
            fill.symbol, _Position(fill.symbol, keeps_remainder=_has_fees(found))
        )
        trip = position.take(fill, _fee(fill, found))
        closed += [] if trip is None else [trip]
    ends = [one.at_end(prices.get(one.symbol), end) for one in positions.values()]
    still_open = [one for one in ends if one is not None]
    amounts = [one.gain for one in closed] + [one.beside for one in positions.values()]
    amounts += [one.gain or 0.0 for one in still_open]
    if not math.isfinite(sum(map(abs, amounts))):
        return RoundTrips(is_in_quote=is_in_quote, problem=TOO_LARGE)
    return RoundTrips(
        closed=tuple(closed),
        open=tuple(still_open),
        fees_known=bool(traded) and all(_has_fees(prices.get(symbol)) for symbol in traded),
        is_in_quote=is_in_quote,
        remainders=math.fsum(one.beside for one in positions.values()),
    )


class _Fill(msgspec.Struct, frozen=True, gc=False):
    """A filled order; `price` is None if it is not known."""

    symbol: str
    side: str
    size: float
    price: float | None
    time: float
    is_market: bool


def _fill(trade: Trade, prices: Prices | None) -> _Fill:
    is_market = trade.type in MARKET_ORDERS
    time, price = trade.time if trade.filled_at is None else trade.filled_at, trade.price
    if trade.type == STOP_LOSS and trade.filled_at is None and prices and price is not None:
        # The package does not say when: at the first price that was not above the order's.
        reached = prices.first_at_most(price, bisect_left(prices.times, time))
        time = time if reached is None else prices.times[reached]
    if price is None and is_market and prices and prices.times:
        price = prices.price_at(time)
    return _Fill(trade.symbol, trade.side, trade.size, price, time, is_market)


def _in_order(fill: _Fill) -> tuple[float, bool]:
    """At the same time, the engine fills what waits after what the model just ordered."""
    return fill.time, not fill.is_market


def _problem(fills: Iterable[_Fill], traded: Iterable[str], prices: Mapping[str, Prices]) -> str:
    """Return why positions cannot be followed, blank if they can."""
    for fill in fills:
        if fill.price is None or fill.side not in {"buy", "sell"}:
            missing = "price" if fill.price is None else "side"
            return f"an order of {fill.symbol} has no {missing}"
    pairs = [(prices[symbol].base, prices[symbol].quote) for symbol in traded if symbol in prices]
    assets = Counter(base for base, _ in pairs)
    assets.update({quote for _, quote in pairs})
    several = next((base for base, _ in pairs if assets[base] > 1), None)
    return "" if several is None else f"{several} is traded against several assets"


def _has_fees(prices: Prices | None) -> bool:
    return prices is not None and prices.maker_fee is not None and prices.taker_fee is not None


def _quote(symbol: str, prices: Mapping[str, Prices], otherwise: str) -> str:
    return prices[symbol].quote if symbol in prices else otherwise


def _fee(fill: _Fill, prices: Prices | None) -> float:
    """Return the share that the engine takes: at the taker's rate for market orders only."""
    if prices is None:
        return 0.0
    return (prices.taker_fee if fill.is_market else prices.maker_fee) or 0.0


def _held_at_start(
    market: Market | None, quote_asset: str, traded: Container[str]
) -> dict[str, _Position]:
    """Return what was held of symbols that are traded, or have prices in the account's asset."""
    if market is None:
        return {}
    held = {}
    for prices in market.prices:
        size = market.initial_values.get(prices.base, 0.0)
        is_valued = prices.quote == quote_asset or prices.symbol in traded
        if size and prices.values and prices.base != quote_asset and is_valued:
            position = _Position(prices.symbol, keeps_remainder=_has_fees(prices))
            position.open(prices.times[0], size, size * prices.values[0], is_from_start=True)
            held[prices.symbol] = position
    return held


@dataclass(slots=True)
class _Position:
    """A position as it grows and shrinks.

    `size` is negative if it is short. `cost` is the money paid for what is held, negative where it
    was received. While no round trip is going on, both are what the last one left over, at the
    price at which it was closed; nothing is left over unless it `keeps_remainder`, for without the
    fees it would be made up. `is_from_start`: all of it was held before the first order.
    """

    symbol: str
    keeps_remainder: bool
    size: float = 0.0
    cost: float = 0.0
    is_open: bool = False
    largest: float = 0.0
    paid: float = 0.0
    realised: float = 0.0
    opened_at: float = 0.0
    beside: float = 0.0
    """What was made outside of round trips."""
    is_from_start: bool = False

    def open(
        self, time: float, change: float, money: float, *, is_from_start: bool = False
    ) -> None:
        """Start a round trip with what was bought, or sold short, for that money."""
        self.is_open, self.is_from_start, self.opened_at = True, is_from_start, time
        self.size, self.cost = self.size + change, self.cost + money
        self.largest, self.paid, self.realised = abs(self.size), abs(money), 0.0

    def take(self, fill: _Fill, fee: float) -> RoundTrip | None:
        """Add a fill, whose fee is a share of it; return the round trip that it closes.

        The engine takes the fee of a purchase out of what is bought, and that of a sale out of the
        money.
        """
        price = fill.price or 0.0
        if fill.side == "buy":
            change, money = fill.size * (1 - fee), fill.size * price
        else:
            change, money = -fill.size, -fill.size * price * (1 - fee)
        if not change:
            return None
        if self.size * change < 0 and (self.is_open or abs(change) <= abs(self.size)):
            return self._reduce(fill.time, price, change, money)
        if self.is_open:
            self.is_from_start = False
            self.size, self.cost = self.size + change, self.cost + money
            self.largest, self.paid = max(self.largest, abs(self.size)), self.paid + abs(money)
        else:
            self.open(fill.time, change, money)
        return None

    def _reduce(self, time: float, price: float, change: float, money: float) -> RoundTrip | None:
        rest = self.size + change
        self.is_from_start &= math.isclose(price, self.cost / self.size, rel_tol=_ROUNDING)
        if self.is_open and abs(rest) <= _REMAINDER * self.largest:
            gain = rest * price - self.cost - money
            self.size, self.cost = (rest, rest * price) if self.keeps_remainder else (0.0, 0.0)
            return self._close(time, gain, is_short=change > 0)
        if rest * self.size < 0:  # turned from long to short, or the other way
            share = self.size / -change
            gain = -money * share - self.cost
            self.size = self.cost = 0.0
            trip = self._close(time, gain, is_short=change > 0)
            self.open(time, rest, money * (1 - share))
            return trip
        part = -change / self.size
        gain = -money - self.cost * part
        self.size, self.cost = rest, self.cost * (1 - part)
        if self.is_open:
            self.realised += gain
        else:
            self.beside += gain
        return None

    def _close(self, time: float, gain: float, *, is_short: bool) -> RoundTrip | None:
        self.is_open = False
        gain += self.realised
        if self.is_from_start:  # sold at the price at which it counts as bought: that was no trade
            self.beside += gain
            return None
        return RoundTrip(
            symbol=self.symbol,
            is_short=is_short,
            opened_at=self.opened_at,
            closed_at=time,
            cost=self.paid,
            gain=gain if abs(gain) > _ROUNDING * self.paid else 0.0,
        )

    def at_end(self, prices: Prices | None, end: float) -> OpenPosition | None:
        """Return what is open at the end, with its gain at the last price; None if flat."""
        last = prices.price_at(end) if prices is not None and prices.times else None
        gain = None if last is None else self.size * last - self.cost
        if not self.is_open:
            self.beside += gain or 0.0
            return None
        return OpenPosition(
            symbol=self.symbol,
            size=self.size,
            opened_at=self.opened_at,
            cost=self.cost,
            realised=self.realised,
            gain=None if gain is None else gain + self.realised,
        )
