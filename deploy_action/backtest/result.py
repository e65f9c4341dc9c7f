"""What a backtest found: the result that the `blankly` package reports, read and typed.

Units are the package's. Metrics named with `(%)` are in per cent already (38.0 means 38%), a
drawdown is positive, volatility is a fraction, amounts are in the quote asset. Times are seconds
since 1970-01-01 UTC.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, overload

from deploy_action.text.quantities import interval

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

# Our ids and, where they differ, the ids that the package's `format_platform_result` uses.
_CONTRACT_METRICS: Final = {
    "sharpe": "sharpe",
    "sortino": "sortino",
    "calmar": "calmar",
    "cagr": "cagr",
    "cum_returns": "cum_returns",
    "max_drawdown": "max_drawdown",
    "volatility": "volatility",
    "variance": "variance",
    "value_at_risk": "value_at_risk",
    "cvar": "cavr",
}
_OUR_IDS: Final = {package_id: name for name, package_id in _CONTRACT_METRICS.items()}
# The package multiplies these by 100 after it has rounded them: 0.29 becomes 28.999999999999996.
_MULTIPLIED: Final = frozenset({"cagr", "cum_returns", "max_drawdown"})
_DIGITS: Final = 10
NOT_A_NUMBER: Final = "not a number"
_NOT_REPORTED: Final = "not reported"
_MARKET: Final = frozenset({"market", "spot-market"})
# Fees are taken out of what is bought, so that a model which sells all it has leaves a remainder.
_REMAINDER: Final = 0.01
_LONGEST_SHOWN: Final = 80
# Keeps the drawdown of an account deep in debt away from the limits of floats.
_DEEPEST_DRAWDOWN: Final = -1e9
_LAST_MOMENT: Final = 1e15  # in 30 million years; in milliseconds it is exact


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, by the package's id; `reason` says why there is no value, and is blank if so."""

    id: str
    display_name: str
    kind: str
    value: float | None
    reason: str

    @property
    def contract_id(self) -> str:
        """The id that gates and outputs use, blank for what they do not know."""
        return _OUR_IDS.get(self.id, "")


@dataclass(frozen=True, slots=True)
class Trade:
    """One order of the model.

    `time` is when it was placed, `filled_at` when it was filled, where the package says so. A
    market order has the price that it was filled at, the others the one that was asked for.
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
    """How many closing trades won, lost, or did neither, before fees."""

    wins: int
    losses: int
    even: int

    @property
    def win_rate(self) -> float | None:
        """The share of wins in all closing trades, from 0 to 1; None without any."""
        closed = self.wins + self.losses + self.even
        return self.wins / closed if closed else None


@dataclass(frozen=True, slots=True)
class AccountValues(Sequence[tuple[float, float | None]]):
    """The account's value over time as (time, value); None where the package had no number.

    It is kept in two arrays, where a missing value is NaN: a million values take 16 MB.
    """

    times: array[float]
    values: array[float]

    @overload
    def __getitem__(self, index: int) -> tuple[float, float | None]: ...
    @overload
    def __getitem__(self, index: slice) -> AccountValues: ...
    def __getitem__(self, index: int | slice) -> tuple[float, float | None] | AccountValues:
        if isinstance(index, slice):
            return AccountValues(self.times[index], self.values[index])
        value = self.values[index]
        return self.times[index], None if math.isnan(value) else value

    def __len__(self) -> int:
        """Count the points, those without a value included."""
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
        """Return how far each value is below the highest one so far, in percent of it: 0 or less.

        None for an account that is empty or starts at 0 or below: there is nothing to take a share
        of. All values have to be known.
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
    """The fingerprint of what the model did, as `docs/report.md` defines it."""
    metrics: tuple[Metric, ...]
    initial_account_value: float | None
    final_account_value: float | None
    raw: Mapping[str, JsonValue]
    """The result as it came, without `account_values`: those are kept once, above."""

    def metric(self, name: str) -> Metric:
        """Return a metric by our id or the package's; where there is none, it says so."""
        package_id = _CONTRACT_METRICS.get(name, name)
        found = (one for one in self.metrics if one.id == package_id)
        return next(found, Metric(package_id, package_id, "number", None, _NOT_REPORTED))

    def contract_metrics(self) -> dict[str, float | None]:
        """Return the twelve metrics that gates and outputs know, by our ids, in their order."""
        metrics: dict[str, float | None] = {
            name: _cleaned(name, self.metric(name).value) for name in _CONTRACT_METRICS
        }
        metrics["trades"] = len(self.filled_trades)
        metrics["final_account_value"] = self.final_account_value
        return metrics

    @property
    def filled_trades(self) -> tuple[Trade, ...]:
        """The orders that were filled, in order."""
        return tuple(trade for trade in self.trades if trade.was_filled)

    def round_trips(self) -> RoundTrips:
        """Return how the closing trades went, by average cost, shorts included."""
        positions: dict[str, _Position] = {}
        gains: list[float] = []
        for trade in sorted(self.filled_trades, key=_time_filled):
            position = positions.setdefault(trade.symbol, _Position())
            gain = position.take(trade)
            gains += [] if gain is None else [gain]
        wins = sum(gain > 0 for gain in gains)
        losses = sum(gain < 0 for gain in gains)
        return RoundTrips(wins, losses, len(gains) - wins - losses)


def _fingerprint(trades: Iterable[Trade], start_time: float) -> str:
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
    # Plus zero makes 0.0 of -0.0, which no gate and no reader should see.
    return (round(value, _DIGITS) if name in _MULTIPLIED else value) + 0.0


def canonical_trade(trade: Trade, start_time: float) -> str:
    """Return the line of a trade in the text that is fingerprinted, all of it ASCII.

    Its one line feed is the last character, so that equal texts have equal lines.
    """
    fields = [
        trade.symbol,
        trade.side,
        trade.type,
        _digits(trade.size),
        None if trade.price is None else _digits(trade.price),
        round((trade.time - start_time) * 1000),
    ]
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _digits(number: float) -> str:
    """Return a number to ten significant digits, as `printf("%.10g")` writes it."""
    return format(number or 0.0, f".{_DIGITS}g")  # of a negative zero, too


@dataclass(slots=True)
class _Position:
    """What is held of one symbol, negative when it is short, and what it cost on average."""

    size: float = 0.0
    cost: float = 0.0
    largest: float = 0.0

    def take(self, trade: Trade) -> float | None:
        """Add a filled trade; return what it gained by closing, or None where it closed nothing."""
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
    """What the model asked to be called for; `resolution` is in seconds, None where it has none."""

    kind: str
    symbol: str
    resolution: float | None

    def in_words(self) -> str:
        """Return it as people say it: `bar_event OAK-USD every day`."""
        every = "" if self.resolution is None else f" every {interval(self.resolution)}"
        return f"{self.kind} {self.symbol}".strip() + every


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRun:
    """How a backtest was run: what the embedded platform says beside the result.

    `bundle_sha256` is the digest of the bundle that ran, blank where it is not said. `arguments`
    are those with which `Strategy.backtest()` ran, without what JSON cannot say; None where they
    are not known.
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


def parse_run(raw: object) -> BacktestRun | None:
    """Return how a backtest was run; None where a server does not say. What is odd is blank."""
    if not isinstance(raw, dict):
        return None
    return BacktestRun(
        python=_text_or_blank(raw.get("python")),
        wanted_python=_text_or_blank(raw.get("wantedPython")),
        blankly=_text_or_blank(raw.get("blankly")),
        constraints=_texts_of(raw.get("constraints")),
        environment_seconds=_number_or_none(raw.get("environmentSeconds")) or 0.0,
        model_seconds=_number_or_none(raw.get("modelSeconds")) or 0.0,
        schedule=tuple(
            ScheduledCall(
                kind=_text_or_blank(one.get("kind")),
                symbol=_text_or_blank(one.get("symbol")),
                resolution=_number_or_none(one.get("resolution")),
            )
            for one in _list_or_empty(raw.get("schedule"))
            if isinstance(one, dict)
        ),
        exchanges=_texts_of(raw.get("exchanges")),
        symbols=_texts_of(raw.get("symbols")),
        callback_calls=_count_or_none(raw.get("callbackCalls")),
        bundle_sha256=_digest_or_blank(raw.get("bundleSha256")),
        arguments=_mapping_or_none(raw.get("arguments")),
    )


def parse_result(raw: object) -> BacktestResult:
    """Read the `result` of the API; keys beyond those that are known are kept in `raw` alone.

    Raises ValueError that says what is wrong and where.
    """
    result = _mapping(raw, "result")
    values = _account_values(_list(result, "account_values"))
    start_time = _moment(result, "start_time")
    trades = tuple(_trades(_list(result, "trades")))
    return BacktestResult(
        exchange=_text(result, "exchange"),
        symbols=_texts(result, "symbols"),
        quote_asset=_text(result, "quote_asset"),
        start_time=start_time,
        stop_time=_number(result, "stop_time"),
        account_values=values,
        trades=trades,
        trades_sha256=_fingerprint(trades, start_time),
        metrics=tuple(_metrics(_mapping(result.get("metrics"), "metrics"))),
        initial_account_value=_number_or_null(result, "initial_account_value"),
        final_account_value=_number_or_null(result, "final_account_value"),
        raw={key: value for key, value in result.items() if key != "account_values"},
    )


def _account_values(items: list[Any]) -> AccountValues:
    try:
        times = [item["time"] for item in items]
        values = [item["value"] for item in items]
    except (KeyError, TypeError, IndexError):
        _blame_point(items)
        raise
    if not set(map(type, times)) <= {int, float} or not set(map(type, values)) <= {
        int,
        float,
        type(None),
    }:
        _blame_point(items)
    nan = math.nan
    known = [nan if value is None else value for value in values] if None in values else values
    try:
        return AccountValues(array("d", times), array("d", known))
    except OverflowError:
        raise ValueError("`account_values` has a number that is too large") from None


def _blame_point(items: list[Any]) -> None:
    """Find the first point that is wrong; a million of them are not checked one by one at first."""
    for index, item in enumerate(items):
        place = f"account_values[{index}]"
        point = _mapping(item, place)
        _number(point, "time", place)
        _number_or_null(point, "value", place)


def _trades(items: Iterable[object]) -> Iterator[Trade]:
    for index, item in enumerate(items):
        place = f"trades[{index}]"
        order = _mapping(item, place)
        kind = _text(order, "type", place)
        yield Trade(
            symbol=_text(order, "symbol", place),
            side=_text(order, "side", place),
            type=kind,
            size=_number(order, "size", place),
            price=_number_or_null(order, "price", place),
            time=_moment(order, "time", place),
            was_filled=_was_filled(kind, order),
            filled_at=_number_or_null(order, "executed_time", place),
        )


def _was_filled(kind: str, order: Mapping[str, Any]) -> bool:
    """Market orders are filled at once; the others have a time when, or are done.

    The package notes `executed_time` for its type `limit` alone; of a filled `stop_loss` it says
    no more than the status `done`. Cancelled orders are not in its list at all.
    """
    if kind in _MARKET or order.get("executed_time") is not None:
        return True
    return order.get("status") == "done" and order.get("canceled_time") is None


def _metrics(items: Mapping[str, Any]) -> Iterator[Metric]:
    for name, item in items.items():
        place = f"metrics.{_shown(name)}"
        metric = _mapping(item, place)
        value = metric.get("value")
        if isinstance(value, str):
            number, reason = None, value or NOT_A_NUMBER
        else:
            number = _number_or_null(metric, "value", place)
            reason = NOT_A_NUMBER if number is None else ""
        yield Metric(
            id=name,
            display_name=_text_or_blank(metric.get("display_name")) or name,
            kind=_text_or_blank(metric.get("type")),
            value=number,
            reason=reason,
        )


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"`{place}` is {_named(value)} and should be an object")  # noqa: TRY004  # of what others sent, every fault is a ValueError
    return value


def _list(result: Mapping[str, Any], key: str) -> list[Any]:
    value = result.get(key)
    if not isinstance(value, list):
        raise ValueError(f"`{key}` is {_named(value)} and should be a list")  # noqa: TRY004  # as above
    return value


def _text(result: Mapping[str, Any], key: str, place: str = "") -> str:
    value = result.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{_place(place, key)}` is {_named(value)} and should be a string")  # noqa: TRY004  # as above
    return value


def _texts(result: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(result, key)
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"`{key}[{index}]` is {_named(value)} and should be a string")  # noqa: TRY004  # as above
    return tuple(values)


def _moment(result: Mapping[str, Any], key: str, place: str = "") -> float:
    time = _number(result, key, place)
    if abs(time) > _LAST_MOMENT:
        raise ValueError(f"`{_place(place, key)}` is no time in seconds")
    return time


def _number(result: Mapping[str, Any], key: str, place: str = "") -> float:
    value = _number_or_null(result, key, place)
    if value is None:
        raise ValueError(f"`{_place(place, key)}` is {_named(value)} and should be a number")
    return value


def _number_or_null(result: Mapping[str, Any], key: str, place: str = "") -> float | None:
    value = result.get(key)
    if value is None:
        return None
    number = _number_or_none(value)
    if number is None:
        raise ValueError(f"`{_place(place, key)}` is {_named(value)} and should be a number")
    return number


def _number_or_none(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond any float
        return None
    return number if math.isfinite(number) else None


def _count_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text_or_blank(value: object) -> str:
    return value if isinstance(value, str) else ""


def _digest_or_blank(value: object) -> str:
    text = _text_or_blank(value)
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else ""


def _mapping_or_none(value: object) -> dict[str, JsonValue] | None:
    return value if isinstance(value, dict) else None


def _list_or_empty(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _texts_of(value: object) -> tuple[str, ...]:
    return tuple(one for one in _list_or_empty(value) if isinstance(one, str))


def _place(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _named(value: object) -> str:
    """Name a value in a message."""
    if value is None:
        return "null or missing"
    return f"`{_shown(json.dumps(value))}`"


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
