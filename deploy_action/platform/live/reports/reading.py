"""Reads the reports of models: checks the fields, and turns them into what is to be kept.

The kinds are the paths of the original's events API below `/v1`, with its fields. Values may be
JSON, or its text, as forms have it. Everything in them may be made up by a hostile model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from deploy_action.records import dataclass

_LONGEST_NAME: Final = 200  # characters of an id, a symbol, or another name
_LONGEST_TEXT: Final = 2_000  # characters of a text for people
_LONGEST_LINE: Final = 2_000
_DEEPEST: Final = 50  # lists and objects within each other
_LAST_TIME: Final = 253_402_300_799.0  # the end of the year 9999
_MOST_METRICS: Final = 100
_MOST_MISSING: Final = 100  # names of assets that an account's value leaves out
_MOST_WORTH: Final = 1e15  # of any currency: pages and charts compute with it
_LONGEST_ASSET: Final = 30  # characters
_LARGEST_INTEGER: Final = 10**300  # no float is much larger, and Python may refuse to write it


class ReportError(Exception):
    """A report is refused; the message is for who sent it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a report changes.

    It adds an entry of a kind (`name` is None), or replaces the one of its name. With `merges` it
    changes only the given values of that one; `needs` says that there has to be one. With `daily`
    there is one of that name for each day, in UTC. With `extends` the value becomes the latest
    point of the line of that name.
    """

    kind: str
    name: str | None
    document: Mapping[str, object]
    merges: bool = False
    needs: bool = False
    daily: bool = False
    extends: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most entries of a kind that are kept of a model, and the bytes of each as JSON."""

    entries: int
    bytes: int


BOUNDS: Final[Mapping[str, Bounds]] = {
    "order": Bounds(10_000, 2 << 10),
    "event": Bounds(500, 16 << 10),
    "note": Bounds(500, 16 << 10),  # events of the platform's own
    "screener": Bounds(50, 512 << 10),
    "log": Bounds(1_000, 16 << 10),
    "exchange": Bounds(50, 1 << 10),
    "symbol": Bounds(1_000, 1 << 10),
    "variable": Bounds(100, 4 << 10),
    "metric": Bounds(_MOST_METRICS, 4 << 10),
    "pnl": Bounds(1, 256 << 10),
    "lifecycle": Bounds(1, 8 << 10),
    "backtest": Bounds(20, 16 << 10),
    "result": Bounds(10, 2 << 20),  # of those backtests
    "lost": Bounds(1, 1 << 10),
    "account": Bounds(1_000, 4 << 10),  # values of accounts: ten days of one every 15 minutes
    "accountDay": Bounds(3_660, 4 << 10),  # the last one of each day: ten years of one account
    "accountLine": Bounds(10, 16 << 10),  # of each account: the points of a small picture
}

Fields = Mapping[str, object]


def read_report(kind: str, fields: Fields) -> list[Change]:
    """Return what a report changes. Raises `ReportError`."""
    reader = _READERS.get(kind) or _OWN_READERS.get(kind)
    if reader is None:
        raise ReportError(f"There are no reports of the kind {kind[:_LONGEST_NAME]}")
    changes = reader(_Reader(fields))
    for each in changes:
        most = BOUNDS[each.kind].bytes
        if len(json.dumps(each.document)) > most:
            raise ReportError(f"The report is larger than {most:,} bytes")
    return changes


def check_time(seconds: float) -> float:
    """Return a time in seconds since 1970. Raises `ReportError` if there is no year for it."""
    if not 0 <= seconds <= _LAST_TIME:
        raise ReportError("The time is not in seconds since 1970")
    return seconds


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads single fields. Every method raises `ReportError` with the name of the field."""

    fields: Fields

    def has(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def require(self, *names: str) -> None:
        for name in names:
            if not self.has(name):
                raise ReportError(f"Missing required body key: {name}")

    def name(self, name: str) -> str:
        """Return an id or a name, which must be there."""
        self.require(name)
        text = self._written(name)
        if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
            raise ReportError(f"{name} must be 1 to {_LONGEST_NAME} printable characters")
        return text

    def text(self, name: str, longest: int = _LONGEST_TEXT) -> str | None:
        """Return a text, cut where it is too long."""
        if not self.has(name):
            return None
        text = self._written(name)
        return text if len(text) <= longest else text[: longest - 1] + "…"

    def number(self, name: str) -> float | None:
        """Return a finite number, also if it is written as text; None if it is blank."""
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        try:
            found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # or TypeError
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found):
            raise ReportError(f"{name} must be a number")
        return found

    def moment(self, name: str) -> float | None:
        value = self.number(name)
        return None if value is None else check_time(value)

    def flag(self, name: str) -> bool:
        """Return a switch; Python's and JSON's ways to write it are taken."""
        written = self._written(name).lower()
        if written not in {"true", "false"}:
            raise ReportError(f"{name} must be true or false")
        return written == "true"

    def json(self, name: str) -> object:
        """Return a JSON value, or a text that is none."""
        value = self.fields.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return value
        return _clean(value, name)

    def _written(self, name: str) -> str:
        value = self.fields.get(name)
        if isinstance(value, str):
            return value
        return json.dumps(_clean(value, name))


def _clean(value: object, name: str, depth: int = 0) -> Any:
    """Return what strict JSON can hold of a value: other numbers become null."""
    if depth > _DEEPEST:
        raise ReportError(f"{name} is nested more than {_DEEPEST} deep")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _clean(item, name, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item, name, depth + 1) for item in value]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGEST_INTEGER else None
    return str(value)


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


# ------------------------------------------------------------------ orders


def _market(reader: _Reader) -> list[Change]:
    return _order(reader, {"type": "market"})


def _limit(reader: _Reader) -> list[Change]:
    reader.require("price")
    activate = reader.number("activate")
    # The client `slate` sends its stop orders as limit orders.
    order_type = "limit" if activate is None else "stop"
    return _order(reader, _given(type=order_type, activate=activate))


def _stop(reader: _Reader) -> list[Change]:
    return _order(reader, _given(type="stop", activate=reader.number("activate")))


def _order(reader: _Reader, more: Mapping[str, object]) -> list[Change]:
    names = {name: reader.name(name) for name in ("symbol", "side", "exchange")}
    if not reader.has("size") and not reader.has("funds"):
        raise ReportError("Missing required body key: size")
    document = {**_order_values(reader, is_update=False), **names, **more}
    return [Change("order", reader.name("id"), document, merges=True)]


def _order_values(reader: _Reader, *, is_update: bool) -> dict[str, object]:
    """Return what is told of an order; its status when it was sent is hardly ever the last one."""
    executed_at, canceled_at = reader.moment("executed_time"), reader.moment("canceled_time")
    status = reader.text("status", _LONGEST_NAME)
    if executed_at is not None:
        status = "filled"
    elif canceled_at is not None:
        status = "canceled"
    return _given(
        **{name: reader.number(name) for name in ("size", "funds", "price")},
        status=status,
        updated=True if status and (is_update or executed_at or canceled_at) else None,
        annotation=reader.text("annotation"),
        testAccount=reader.flag("test_account") if reader.has("test_account") else None,
        executedAt=executed_at,
        canceledAt=canceled_at,
    )


def _update(reader: _Reader) -> list[Change]:
    order_id = reader.name("id")
    names = ("symbol", "side", "exchange", "type")
    document = {
        **_order_values(reader, is_update=True),
        **{name: reader.name(name) for name in names if reader.has(name)},
        **_given(activate=reader.number("activate")),
    }
    return [Change("order", order_id, document, merges=True, needs=True)]


def _annotation(reader: _Reader) -> list[Change]:
    name = reader.name("id")
    reader.require("annotation")
    document = {"annotation": reader.text("annotation")}
    return [Change("order", name, document, merges=True, needs=True)]


# ------------------------------------------------------------------ other reports


def _event(reader: _Reader) -> list[Change]:
    document = {
        "type": reader.name("type"),
        "text": reader.text("annotation"),
        "args": reader.json("args"),
        "response": reader.json("response"),
    }
    return [Change("event", None, document)]


def _screener(reader: _Reader) -> list[Change]:
    reader.require("result")
    return [Change("screener", None, {"result": reader.json("result")})]


def _log(reader: _Reader) -> list[Change]:
    reader.require("line", "type")
    document = {"line": reader.text("line", _LONGEST_LINE), "type": reader.name("type")}
    return [Change("log", None, document)]


def _any_log(reader: _Reader) -> list[Change]:
    """Return a line of a backtest, or of whatever it does not name."""
    (change,) = _log(reader)
    if not reader.has("backtest_id"):
        return [change]
    return [Change("log", None, {**change.document, "backtestId": reader.name("backtest_id")})]


def _exchange(reader: _Reader) -> list[Change]:
    return [Change("exchange", reader.name("exchange"), {})]


def _symbol(reader: _Reader) -> list[Change]:
    return [Change("symbol", reader.name("symbol"), {})]


def _variable(reader: _Reader) -> list[Change]:
    document = {"value": reader.json("value"), "description": reader.text("description")}
    return [Change("variable", reader.name("name"), document)]


def _metrics(reader: _Reader) -> list[Change]:
    reader.require("metrics")
    metrics = reader.json("metrics")
    if not isinstance(metrics, dict) or not 0 < len(metrics) <= _MOST_METRICS:
        raise ReportError(f"metrics must be an object of 1 to {_MOST_METRICS} metrics")
    changes = []
    for identifier, metric in metrics.items():
        if not isinstance(metric, dict):
            raise ReportError("Each of metrics must be an object")
        inner = _Reader({**metric, "metrics": identifier})
        document = {
            "value": inner.json("value"),
            "displayName": inner.text("display_name", _LONGEST_NAME),
            "type": inner.text("type", _LONGEST_NAME),
        }
        changes.append(Change("metric", inner.name("metrics"), document))
    return changes


def _pnl(reader: _Reader) -> list[Change]:
    reader.require("values")
    values = reader.json("values")
    if not isinstance(values, list):
        raise ReportError("values must be a list")
    points = []
    for each in values:
        if not isinstance(each, dict):
            raise ReportError("Each of values must have a time and a value")
        inner = _Reader(each)
        inner.require("time", "value")
        points.append([inner.moment("time"), inner.number("value")])
    return [Change("pnl", "", {"values": points}, merges=True)]


def _auto_pnl(reader: _Reader) -> list[Change]:
    reader.require("enabled")
    return [Change("pnl", "", {"auto": reader.flag("enabled")}, merges=True)]


def _lifecycle(reader: _Reader) -> list[Change]:
    document = _given(
        message=reader.text("message"),
        startAt=reader.moment("start_at"),
        endAt=reader.moment("end_at"),
        running=reader.flag("running") if reader.has("running") else None,
    )
    changes = [Change("lifecycle", "", document, merges=True)]
    if "message" in document:
        event = {"type": "lifecycle", "text": document["message"]}
        changes.append(Change("event", None, event))
    return changes


def _backtest_result(reader: _Reader) -> list[Change]:
    names = (
        *("symbols", "quote_asset", "start_time", "stop_time", "account_values", "trades"),
        *("exchange", "metrics", "indicators", "initial_account_value", "final_account_value"),
    )
    result = {name: _unwrapped(reader.json(name), name) for name in names if reader.has(name)}
    backtest_id = reader.name("backtest_id")
    return [
        Change("backtest", backtest_id, {}, merges=True),
        Change("result", backtest_id, result),
    ]


def _unwrapped(value: object, name: str) -> object:
    """Return a value, which the client `slate` sends as a file of an object with its name."""
    return value[name] if isinstance(value, dict) and set(value) == {name} else value


def _backtest_status(reader: _Reader) -> list[Change]:
    document = _given(
        successful=reader.flag("successful") if reader.has("successful") else None,
        summary=reader.text("status_summary"),
        details=reader.text("status_details"),
        seconds=reader.number("time_elapsed"),
        description=reader.text("description"),
        label=reader.text("label", _LONGEST_NAME),
    )
    return [Change("backtest", reader.name("backtest_id"), document, merges=True)]


def _account(reader: _Reader) -> list[Change]:
    """Return the value of an account, as the model's process read it; None where it is not known.

    `missing` are the assets that the value leaves out, because they have no price. `began` is when
    the process began: it tells the values of one run of the model from those of another.
    """
    document: dict[str, object] = {
        "exchange": reader.name("exchange"),
        "portfolio": reader.name("portfolio") if reader.has("portfolio") else None,
        "quote": reader.name("quote") if reader.has("quote") else None,
        "simulated": reader.flag("simulated"),
        "value": _worth(reader),
        "missing": _missing(reader),
        "problem": reader.text("problem", 300),
        "every": reader.number("every"),
        "began": reader.moment("began"),
    }
    changes = [Change("account", None, document)]
    name = _account_name(document)
    if document["value"] is not None:
        changes.append(Change("accountDay", name, document, daily=True))
    return [*changes, Change("accountLine", name, document, extends=True)]


def _account_name(sample: Mapping[str, Any]) -> str:
    """Return what is the same for all values of an account, and of no other account."""
    simulated = "simulated" if sample["simulated"] else ""
    return json.dumps([sample["exchange"], sample["portfolio"], simulated])


def _worth(reader: _Reader) -> float | None:
    value = reader.number("value")
    if value is not None and abs(value) > _MOST_WORTH:
        raise ReportError(f"value must be at most {_MOST_WORTH:g}")
    return value


def _missing(reader: _Reader) -> list[str]:
    names = reader.json("missing") if reader.has("missing") else []
    if not isinstance(names, list) or len(names) > _MOST_MISSING:
        raise ReportError(f"missing must be a list of at most {_MOST_MISSING} assets")
    if not all(isinstance(name, str) and 0 < len(name) <= _LONGEST_ASSET for name in names):
        raise ReportError(f"Each of missing must be 1 to {_LONGEST_ASSET} characters")
    return names


_READERS: Final[Mapping[str, Callable[[_Reader], list[Change]]]] = {
    "live/spot-market": _market,
    "live/spot-limit": _limit,
    "live/spot-stop": _stop,
    "live/update-trade": _update,
    "live/update-annotation": _annotation,
    "live/event": _event,
    "live/screener-result": _screener,
    "live/log": _log,
    "live/variable": _variable,
    "live/set-custom-metric": _metrics,
    "live/set-pnl": _pnl,
    "live/auto-pnl": _auto_pnl,
    "model/used-exchange": _exchange,
    "model/used-symbol": _symbol,
    "model/lifecycle": _lifecycle,
    "backtest/result": _backtest_result,
    "backtest/status": _backtest_status,
    "backtest/log": _any_log,
}
# What only the processes report that this server started: the events API does not take it.
_OWN_READERS: Final[Mapping[str, Callable[[_Reader], list[Change]]]] = {"account": _account}
KINDS: Final = tuple(_READERS)
