"""Reads what a server sends about a backtest: the package's result, and how it was run."""

from __future__ import annotations

import json
import math
import re
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from operator import attrgetter, itemgetter, le
from typing import Annotated, Any, Final, TypeVar

import msgspec

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.market import Market, Prices
from deploy_action.backtest.metrics import NOT_A_NUMBER
from deploy_action.backtest.result import BacktestResult, BacktestRun, Metric, ScheduledCall
from deploy_action.backtest.trades import MARKET_ORDERS, Trade, fingerprint
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.text.harmless import cut
from deploy_action.text.strict_json import JsonText, strict_text

_Value = TypeVar("_Value")
_Otherwise = TypeVar("_Otherwise")
# Up to the year 31 million; exact in milliseconds.
_Moment = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
_Parallel = Annotated[int, msgspec.Meta(ge=1, le=1024)]
_DIGEST: Final = lazy_regex(r"[0-9a-f]{64}")
_LONGEST_SHOWN: Final = 80
# The second one is for a text with half a character in place of another kind.
_NO_SUCH_VALUE: Final = (msgspec.ValidationError, UnicodeEncodeError)
# The message with which msgspec refuses a value, and the path to that value.
_REFUSAL: Final = lazy_regex(
    r"(?:Expected `(?P<kind>\w+)[^`]*`, got|Object missing required field `(?P<missing>\w+)`|)"
    r".*?(?: - at `\$(?P<path>.*)`)?"
)
_UNKNOWN: Final = object()  # a value in what is too large to be read whole
_KINDS: Final = {
    "object": "an object",
    "array": "a list",
    "str": "a string",
    "float": "a number",
    "int": "a whole number",
}


_LARGEST_MEMBER: Final = 1 << 20
_NULL_TEXT: Final = b"null"
_NULL: Final = msgspec.Raw(_NULL_TEXT)


class _Answer(msgspec.Struct):
    """The members of the answer to a backtest that are read."""

    result: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    modelId: msgspec.Raw = msgspec.Raw()  # noqa: N815  # the API's name, like the next two
    versionId: msgspec.Raw = msgspec.Raw()  # noqa: N815
    backtestId: msgspec.Raw = msgspec.Raw()  # noqa: N815
    run: msgspec.Raw = msgspec.Raw()


class _Members(msgspec.Struct):
    """The members of a result that are read."""

    exchange: msgspec.Raw = _NULL
    symbols: msgspec.Raw = _NULL
    quote_asset: msgspec.Raw = _NULL
    start_time: msgspec.Raw = _NULL
    stop_time: msgspec.Raw = _NULL
    account_values: msgspec.Raw = _NULL
    trades: msgspec.Raw = _NULL
    metrics: msgspec.Raw = _NULL
    initial_account_value: msgspec.Raw = _NULL
    final_account_value: msgspec.Raw = _NULL
    market: msgspec.Raw = _NULL


class _Point(msgspec.Struct, gc=False):
    time: float
    value: float | None = None


class _Order(msgspec.Struct, gc=False):
    type: str
    symbol: str
    side: str
    size: float
    time: _Moment
    price: float | None = None
    executed_time: float | None = None
    canceled_time: msgspec.Raw = _NULL
    status: msgspec.Raw = _NULL


class _Prices(msgspec.Struct):
    symbol: str
    base: str
    quote: str
    resolution: float
    bars: int
    times: list[_Moment]
    values: list[float | None]
    asked_start: _Moment | None = None
    asked_end: _Moment | None = None
    maker_fee: float | None = None
    taker_fee: float | None = None


class _Market(msgspec.Struct):
    prices: list[_Prices]
    initial_values: dict[str, float]
    use_price: str = ""
    start_value: float | None = None
    benchmark_symbol: str | None = None


class _Metric(msgspec.Struct):
    value: float | str | None = None
    display_name: Any = None
    type: Any = None


class _Rest(msgspec.Struct):
    """A result without its lists."""

    exchange: str
    symbols: tuple[str, ...]
    quote_asset: str
    start_time: _Moment
    stop_time: float
    metrics: dict[str, Any]
    initial_account_value: float | None = None
    final_account_value: float | None = None


class WrongResultError(ValueError):
    """A result that cannot be used. Every second part of the message is from the result.

    These parts are whole, so that secrets in them can be hidden before they are cut.
    """

    def __init__(self, *parts: str) -> None:
        super().__init__(*parts)
        self.parts = parts

    def in_words(self, redact: Callable[[str], str]) -> str:
        """Return what is wrong, and where."""
        return "".join(
            f"`{cut(redact(part), _LONGEST_SHOWN)}`" if number % 2 else part
            for number, part in enumerate(self.parts)
        )

    def __str__(self) -> str:
        """Return the message for a result that has no secrets."""
        return self.in_words(str)


KEYS: Final = frozenset(
    name
    for one in (_Members, _Point, _Order, _Metric, _Market, _Prices)
    for name in one.__struct_fields__
)
"""The keys of a result that are read."""


def split_result(body: bytes) -> tuple[bytes, msgspec.Raw | None]:
    """Return an answer without its `result`, and the JSON of that, None if there is none.

    Of an answer with a result only the members that are read are returned; any other is returned
    unchanged.
    """
    try:
        answer = msgspec.json.decode(strict_text(body), type=_Answer)
    except (ValueError, msgspec.ValidationError):
        return body, None
    if not _size(answer.result):
        return body, None
    members = {
        name: item
        for name in _Answer.__struct_fields__
        if name != "result" and _size(item := getattr(answer, name))
    }
    is_null = _size(answer.result) == len(_NULL_TEXT) and bytes(answer.result) == _NULL_TEXT
    return msgspec.json.encode(members), None if is_null else answer.result


def parse_result(data: bytes | msgspec.Raw) -> BacktestResult:
    """Read the JSON of the API's `result`.

    What is not needed, such as indicators, stays text. What is needed takes up to seven times the
    memory of its text, whatever its shape; the rest of a result may have 1 MiB a member.

    Raises:
        WrongResultError: something in it is not as it should be.
    """
    try:
        text = strict_text(data)
    except ValueError as error:
        raise WrongResultError("", "result", f" cannot be read: {error}") from error
    members: _Members = _decode(text, _Members, "result")
    account_values = _account_values(members.account_values)
    trades = _trades(members.trades)
    rest = _convert({name: _member(members, name) for name in _Rest.__struct_fields__}, _Rest)
    return BacktestResult(
        exchange=rest.exchange,
        symbols=rest.symbols,
        quote_asset=rest.quote_asset,
        start_time=rest.start_time,
        stop_time=rest.stop_time,
        account_values=account_values,
        trades=trades,
        trades_sha256=fingerprint(trades, rest.start_time),
        metrics=tuple(_metrics(rest.metrics)),
        initial_account_value=rest.initial_account_value,
        final_account_value=rest.final_account_value,
        market=_market(members.market),
        raw=JsonText(text),
    )


def _member(members: _Members, name: str) -> Any:
    """Return the value of a member that is small."""
    raw: msgspec.Raw = getattr(members, name)
    if _size(raw) > _LARGEST_MEMBER:
        raise WrongResultError("", name, f" is larger than {_LARGEST_MEMBER >> 20} MiB")
    return msgspec.json.decode(raw)


def _size(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _account_values(data: msgspec.Raw) -> AccountValues:
    points: list[_Point] = _decode(data, list[_Point] | None, "account_values") or []
    time_of = attrgetter("time")
    times = array("d", map(time_of, points))
    if not _is_sorted(times):
        points.sort(key=time_of)
        times = array("d", map(time_of, points))
    values = [math.nan if point.value is None else point.value for point in points]
    return AccountValues(times, array("d", values))


def _is_sorted(times: array[float]) -> bool:
    return all(map(le, times, islice(times, 1, None)))


def _market(data: msgspec.Raw) -> Market | None:
    found: _Market | None = _decode(data, _Market | None, "market")
    if found is None:
        return None
    return Market(
        use_price=found.use_price,
        initial_values=found.initial_values,
        start_value=found.start_value,
        benchmark_symbol=found.benchmark_symbol or "",
        prices=tuple(map(_prices, found.prices)),
    )


def _prices(found: _Prices) -> Prices:
    times, values = found.times, found.values
    if None in values or len(times) != len(values) or times != sorted(times):
        known = [pair for pair in zip(times, values, strict=False) if pair[1] is not None]
        known.sort(key=itemgetter(0))
        times, values = [time for time, _ in known], [value for _, value in known]
    return Prices(
        symbol=sys.intern(found.symbol),
        base=found.base,
        quote=found.quote,
        resolution=found.resolution,
        asked_start=found.asked_start,
        asked_end=found.asked_end,
        maker_fee=found.maker_fee,
        taker_fee=found.taker_fee,
        bars=found.bars,
        times=array("d", times),
        values=array("d", [value for value in values if value is not None]),
    )


def _trades(data: msgspec.Raw) -> tuple[Trade, ...]:
    orders: list[_Order] = _decode(data, list[_Order], "trades")
    return tuple(map(_trade, orders))


def _trade(order: _Order) -> Trade:
    return Trade(
        symbol=sys.intern(order.symbol),  # most trades share these three
        side=sys.intern(order.side),
        type=sys.intern(order.type),
        size=order.size,
        price=order.price,
        time=order.time,
        was_filled=_was_filled(order),
        filled_at=order.executed_time,
    )


def _was_filled(order: _Order) -> bool:
    """Market orders are filled at once; others have a time of execution or the status `done`.

    The package notes `executed_time` for its type `limit` alone; a filled `stop_loss` has only the
    status `done`. Cancelled orders are not in its list at all.
    """
    if order.type in MARKET_ORDERS or order.executed_time is not None:
        return True
    return bytes(order.status) == b'"done"' and bytes(order.canceled_time) == _NULL_TEXT


def _metrics(items: Mapping[str, Any]) -> Iterator[Metric]:
    for name, item in items.items():
        metric = _convert(item, _Metric, f"metrics.{name}")
        yield Metric(
            id=name,
            display_name=_fitting(metric.display_name, str, "") or name,
            kind=_fitting(metric.type, str, ""),
            value=None if isinstance(metric.value, str) else metric.value,
            reason="" if isinstance(metric.value, float) else metric.value or NOT_A_NUMBER,
        )


def parse_run(raw: object) -> BacktestRun | None:
    """Return how a backtest was run; None where the server does not say. Odd values are blank."""
    if not isinstance(raw, dict):
        return None
    digest = _fitting(raw.get("bundleSha256"), str, "")
    return BacktestRun(
        python=_fitting(raw.get("python"), str, ""),
        wanted_python=_fitting(raw.get("wantedPython"), str, ""),
        blankly=_fitting(raw.get("blankly"), str, ""),
        constraints=_texts(raw.get("constraints")),
        environment_seconds=_fitting(raw.get("environmentSeconds"), float, 0.0),
        model_seconds=_fitting(raw.get("modelSeconds"), float, 0.0),
        schedule=tuple(
            ScheduledCall(
                kind=_fitting(call.get("kind"), str, ""),
                symbol=_fitting(call.get("symbol"), str, ""),
                resolution=_fitting(call.get("resolution"), float, None),
            )
            for call in _fitting(raw.get("schedule"), list, [])
            if isinstance(call, dict)
        ),
        exchanges=_texts(raw.get("exchanges")),
        symbols=_texts(raw.get("symbols")),
        callback_calls=_fitting(raw.get("callbackCalls"), int, None),
        bundle_sha256=digest if _DIGEST.fullmatch(digest) else "",
        arguments=_fitting(raw.get("arguments"), dict, None),
        argument_sources=_fitting(raw.get("argumentSources"), dict[str, str], {}),
        pinned=_fitting(raw.get("pinned"), dict, {}),
        parallel=_fitting(raw.get("parallel"), _Parallel, None),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in _fitting(value, list, []) if isinstance(text, str))


def _fitting(value: object, kind: type[_Value], otherwise: _Otherwise) -> _Value | _Otherwise:
    """Return the value if it is of that kind."""
    try:
        return msgspec.convert(value, kind)
    except _NO_SUCH_VALUE:
        return otherwise


def _decode(data: Any, kind: Any, place: str) -> Any:
    """Return what is in JSON that passed `strict_text`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        is_small = memoryview(data).nbytes <= _LARGEST_MEMBER
        value = msgspec.json.decode(data) if is_small else _UNKNOWN
        raise _fault(str(error), value, place) from error


def _convert(value: object, kind: type[_Value], place: str = "") -> _Value:
    try:
        return msgspec.convert(value, kind)
    except _NO_SUCH_VALUE as error:
        raise _fault(str(error), value, place) from error


def _fault(refusal: str, value: Any, place: str) -> WrongResultError:
    """Translate what msgspec says, and show the value at fault."""
    found = _REFUSAL.fullmatch(refusal)
    path, missing, kind = found.group("path", "missing", "kind") if found else ("", "", "")
    where = f"{place}{path or ''}{'.' if missing else ''}{missing or ''}".lstrip(".")
    if missing:
        return WrongResultError("", where, " is null or missing")
    if value is _UNKNOWN:
        return WrongResultError(
            "", where, f" should be {_KINDS[kind]}" if kind else " is too large"
        )
    for step in re.findall(r"\w+", path or ""):
        value = value[int(step) if isinstance(value, list) else step]
    shown = (" is null or missing",) if value is None else (" is ", json.dumps(value), "")
    wrong = f" and should be {_KINDS[kind]}" if kind else ", which is too large"
    return WrongResultError("", where, *shown[:-1], shown[-1] + wrong)
