"""Reads what a server sends about a backtest: the package's result, and how it was run."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec

from deploy_action.backtest.metrics import NOT_A_NUMBER
from deploy_action.backtest.result import (
    AccountValues,
    BacktestResult,
    BacktestRun,
    Metric,
    ScheduledCall,
    Trade,
    fingerprint,
)
from deploy_action.text.harmless import cut
from deploy_action.text.strict_json import strict_loads

_Value = TypeVar("_Value")
_Otherwise = TypeVar("_Otherwise")
# Up to the year 31 million; exact in milliseconds.
_Moment = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MARKET: Final = frozenset({"market", "spot-market"})
_LONGEST_SHOWN: Final = 80
# The message with which msgspec refuses a value, and the path to that value.
_REFUSAL: Final = re.compile(
    r"(?:Expected `(?P<kind>\w+)[^`]*`, got|Object missing required field `(?P<missing>\w+)`|)"
    r".*?(?: - at `\$(?P<path>.*)`)?"
)
_KINDS: Final = {"object": "an object", "array": "a list", "str": "a string", "float": "a number"}


class _Point(msgspec.Struct, gc=False):
    time: float
    value: float | None = None


class _Order(msgspec.Struct):
    type: str
    symbol: str
    side: str
    size: float
    time: _Moment
    price: float | None = None
    executed_time: float | None = None
    canceled_time: Any = None
    status: Any = None


class _Metric(msgspec.Struct):
    value: float | str | None = None
    display_name: Any = None
    type: Any = None


class _Result(msgspec.Struct):
    exchange: str
    symbols: tuple[str, ...]
    quote_asset: str
    start_time: _Moment
    stop_time: float
    trades: list[_Order]
    metrics: dict[str, Any]
    initial_account_value: float | None = None
    final_account_value: float | None = None


def parse_result(text: bytes) -> BacktestResult:
    """Read the JSON of the API's `result`; unknown keys are kept in `raw` alone.

    Raises ValueError that says what is wrong and where.
    """
    members: dict[str, Any] = _read(text, dict[str, msgspec.Raw], "result")
    account_values = bytes(members.pop("account_values", b"null"))
    points: list[_Point] = _read(account_values, list[_Point], "account_values")
    raw = {
        key: _read(bytes(value), Any, cut(key, _LONGEST_SHOWN)) for key, value in members.items()
    }
    result = _convert(raw, _Result)
    trades = tuple(map(_trade, result.trades))
    return BacktestResult(
        exchange=result.exchange,
        symbols=result.symbols,
        quote_asset=result.quote_asset,
        start_time=result.start_time,
        stop_time=result.stop_time,
        account_values=_account_values(points),
        trades=trades,
        trades_sha256=fingerprint(trades, result.start_time),
        metrics=tuple(_metrics(result.metrics)),
        initial_account_value=result.initial_account_value,
        final_account_value=result.final_account_value,
        raw=raw,
    )


def _account_values(points: list[_Point]) -> AccountValues:
    values = [math.nan if point.value is None else point.value for point in points]
    return AccountValues(array("d", [point.time for point in points]), array("d", values))


def _trade(order: _Order) -> Trade:
    return Trade(
        symbol=order.symbol,
        side=order.side,
        type=order.type,
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
    if order.type in _MARKET or order.executed_time is not None:
        return True
    return order.status == "done" and order.canceled_time is None


def _metrics(items: Mapping[str, Any]) -> Iterator[Metric]:
    for name, item in items.items():
        metric = _convert(item, _Metric, f"metrics.{cut(name, _LONGEST_SHOWN)}")
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
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in _fitting(value, list, []) if isinstance(text, str))


def _fitting(value: object, kind: type[_Value], otherwise: _Otherwise) -> _Value | _Otherwise:
    """Return the value if it is of that kind."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return otherwise


def _read(text: bytes, kind: Any, place: str) -> Any:
    try:
        return strict_loads(text, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_fault(str(error), strict_loads(text), place)) from error
    except ValueError as error:
        raise ValueError(f"`{place}` cannot be read: {error}") from error


def _convert(value: object, kind: type[_Value], place: str = "") -> _Value:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_fault(str(error), value, place)) from error


def _fault(refusal: str, value: Any, place: str) -> str:
    """Translate what msgspec says, and show the value at fault."""
    found = _REFUSAL.fullmatch(refusal)
    path, missing, kind = found.group("path", "missing", "kind") if found else ("", "", "")
    for step in re.findall(r"\w+", path or ""):
        value = value[int(step) if isinstance(value, list) else step]
    where = f"{place}{path or ''}{'.' if missing else ''}{missing or ''}".lstrip(".")
    if missing:
        return f"`{where}` is null or missing"
    shown = "null or missing" if value is None else f"`{cut(json.dumps(value), _LONGEST_SHOWN)}`"
    if kind:
        return f"`{where}` is {shown} and should be {_KINDS[kind]}"
    return f"`{where}` is {shown}, which is too large"
