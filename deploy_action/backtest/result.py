"""The result of a backtest: what the `blankly` package reports, and what is computed from it.

Units are the package's. Metrics named with `(%)` are in per cent already (38.0 means 38%), a
drawdown is positive, volatility is a fraction, amounts are in the quote asset. Times are seconds
since 1970-01-01 UTC.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.metrics import PACKAGE_IDS, WHOLE_PER_CENTS
from deploy_action.text.quantities import interval
from deploy_action.text.strict_json import JsonText

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

_OUR_IDS: Final = {package_id: name for name, package_id in PACKAGE_IDS.items()}
_DIGITS: Final = 10
_NOT_REPORTED: Final = "not reported"
# Fees are taken from the bought size, so a model that sells all it bought leaves a remainder.
_REMAINDER: Final = 0.01
# Keeps the drawdown of an account that is deep in debt from overflowing.
_DEEPEST_DRAWDOWN: Final = -1e9


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, by the package's id; `reason` says why there is no value, and is else blank."""

    id: str
    display_name: str
    kind: str
    value: float | None
    reason: str

    @property
    def contract_id(self) -> str:
        """The id that gates and outputs use, blank if they do not know the metric."""
        return _OUR_IDS.get(self.id, "")


@dataclass(frozen=True, slots=True)
class Trade:
    """One order of the model.

    `time` is when it was placed, `filled_at` when it was filled, if the package says so. `price` is
    the price at which a market order was filled, and the price that any other order asked for.
    """

    symbol: str
    side: str
    type: str
    size: float
    price: float | None
    time: float
    was_filled: bool
    filled_at: float | None = None


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """How many closing trades won, lost or broke even, before fees."""

    wins: int
    losses: int
    even: int

    @property
    def win_rate(self) -> float | None:
        """The share of wins in all closing trades, from 0 to 1; None without any."""
        closed = self.wins + self.losses + self.even
        return self.wins / closed if closed else None


@dataclass(frozen=True, slots=True)
class AccountValues:
    """The account's value over time as (time, value); None if the package had no number.

    Kept in two arrays, in which a missing value is NaN: a million values take 16 MB.
    """

    times: array[float]
    values: array[float]

    def __iter__(self) -> Iterator[tuple[float, float | None]]:
        for time, value in zip(self.times, self.values, strict=True):
            yield time, None if math.isnan(value) else value

    def __len__(self) -> int:
        """Return the number of points, including those without a value."""
        return len(self.times)

    def known(self) -> AccountValues:
        """Return the points that have a value."""
        if not any(map(math.isnan, self.values)):
            return self
        pairs = [(time, value) for time, value in self if value is not None]
        return AccountValues(
            array("d", [time for time, _ in pairs]), array("d", [value for _, value in pairs])
        )

    def drawdowns(self) -> AccountValues | None:
        """Return how far each value is below the highest so far, in per cent of it: 0 or less.

        None if the account is empty or starts at 0 or below. All values have to be known.
        """
        if not self.values or self.values[0] <= 0:
            return None
        peaks = accumulate(self.values, max)
        below = (
            max(value / peak - 1, _DEEPEST_DRAWDOWN) * 100
            for value, peak in zip(self.values, peaks, strict=True)
        )
        return AccountValues(self.times, array("d", below))


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """The result of a backtest."""

    exchange: str
    symbols: tuple[str, ...]
    quote_asset: str
    start_time: float
    stop_time: float
    account_values: AccountValues
    trades: tuple[Trade, ...]
    trades_sha256: str
    metrics: tuple[Metric, ...]
    initial_account_value: float | None
    final_account_value: float | None
    raw: JsonText
    """The result as received."""

    def metric(self, name: str) -> Metric:
        """Return a metric by our id or the package's; a missing one has a reason."""
        package_id = PACKAGE_IDS.get(name, name)
        found = (one for one in self.metrics if one.id == package_id)
        return next(found, Metric(package_id, package_id, "number", None, _NOT_REPORTED))

    def contract_metrics(self) -> dict[str, float | None]:
        """Return the metrics of `METRICS`, by our ids, in that order."""
        metrics: dict[str, float | None] = {
            name: _cleaned(name, self.metric(name).value) for name in PACKAGE_IDS
        }
        metrics["trades"] = len(self.filled_trades)
        metrics["final_account_value"] = self.final_account_value
        return metrics

    @property
    def filled_trades(self) -> tuple[Trade, ...]:
        """The orders that were filled, in order."""
        return tuple(trade for trade in self.trades if trade.was_filled)

    def round_trips(self) -> RoundTrips:
        """Count the closing trades by outcome, at average cost, including short positions."""
        positions: dict[str, _Position] = {}
        gains: list[float] = []
        for trade in sorted(self.filled_trades, key=_time_filled):
            position = positions.setdefault(trade.symbol, _Position())
            gain = position.take(trade)
            gains += [] if gain is None else [gain]
        wins = sum(gain > 0 for gain in gains)
        losses = sum(gain < 0 for gain in gains)
        return RoundTrips(wins, losses, len(gains) - wins - losses)


def fingerprint(trades: Iterable[Trade], start_time: float) -> str:
    """Return the SHA-256 of what the model did, as `docs/report.md` defines it."""
    import hashlib

    digest = hashlib.sha256()
    for trade in trades:
        digest.update(canonical_trade(trade, start_time).encode("ascii"))
    return digest.hexdigest()


def _time_filled(trade: Trade) -> float:
    return trade.time if trade.filled_at is None else trade.filled_at


def _cleaned(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    # Adding zero turns -0.0 into 0.0.
    return (round(value, _DIGITS) if name in WHOLE_PER_CENTS else value) + 0.0


def canonical_trade(trade: Trade, start_time: float) -> str:
    """Return a trade's line in the text that is fingerprinted, in ASCII.

    The line feed at its end is the only one, so equal texts have equal lines.
    """
    fields = canonical_fields(trade, start_time)
    return json.dumps([*fields.values()], separators=(",", ":")) + "\n"


def canonical_fields(trade: Trade, start_time: float) -> dict[str, str | int | None]:
    """Return what is fingerprinted of a trade, by name; the time is in ms since the start."""
    return {
        "symbol": trade.symbol,
        "side": trade.side,
        "type": trade.type,
        "size": _digits(trade.size),
        "price": None if trade.price is None else _digits(trade.price),
        "time": round((trade.time - start_time) * 1000),
    }


def _digits(number: float) -> str:
    """Return a number with ten significant digits, as `printf("%.10g")` writes it."""
    return format(number or 0.0, f".{_DIGITS}g")  # `or` turns -0.0 into 0.0


@dataclass(slots=True)
class _Position:
    """The size held of one symbol, negative if short, and its average cost."""

    size: float = 0.0
    cost: float = 0.0
    largest: float = 0.0

    def take(self, trade: Trade) -> float | None:
        """Add a filled trade; return the gain if it closes something, else None."""
        if trade.price is None or trade.side not in {"buy", "sell"}:
            return None
        change = trade.size if trade.side == "buy" else -trade.size
        if self.size * change >= 0:
            self._open(change, trade.price)
            return None
        closed = min(abs(change), abs(self.size))
        gain = closed * (trade.price - self.cost) * math.copysign(1, self.size)
        rest = self.size + change
        if abs(rest) <= _REMAINDER * self.largest:
            rest = 0.0
        if rest * self.size <= 0:
            self.size = self.largest = 0.0
            self._open(rest, trade.price)
        else:
            self.size = rest
        return gain

    def _open(self, change: float, price: float) -> None:
        total = self.size + change
        if total:
            self.cost = (self.size * self.cost + change * price) / total
        self.size = total
        self.largest = max(self.largest, abs(total))


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """An event that the model is called for; `resolution` is in seconds, None if it has none."""

    kind: str
    symbol: str
    resolution: float | None

    def in_words(self) -> str:
        """Return it for people: `bar_event OAK-USD every day`."""
        every = "" if self.resolution is None else f" every {interval(self.resolution)}"
        return f"{self.kind} {self.symbol}".strip() + every


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRun:
    """How a backtest was run: what the embedded platform reports in addition to the result.

    `bundle_sha256` is the digest of the bundle that ran, blank if unknown. `arguments` are those of
    `Strategy.backtest()`, without what JSON cannot represent; None if unknown.
    """

    python: str
    wanted_python: str
    blankly: str
    constraints: tuple[str, ...]
    environment_seconds: float
    model_seconds: float
    schedule: tuple[ScheduledCall, ...]
    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    callback_calls: int | None
    bundle_sha256: str = ""
    arguments: Mapping[str, JsonValue] | None = None
