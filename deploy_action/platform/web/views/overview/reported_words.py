"""What a model reported, in words and within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deploy_action.platform.api.operations.live_documents import PROFIT_NOTE
from deploy_action.platform.live.reports import Reported
from deploy_action.platform.live.reports.profit import Profit
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.web.views.order_words import NO_REAL_MONEY, OrderWords, order_in_words
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import exact

_LONGEST_VALUE: Final = 500  # characters of a value, in a line of a table
_LONGEST_RESULT: Final = 10_000  # of a screener's result
_MOST_ORDERS: Final = 25
_MOST_PROFITS: Final = 50
_UNKNOWN: Final = "–"  # noqa: RUF001  # as the pages write it


@dataclass(frozen=True, slots=True)
class EventWords:
    """Something that happened; `source` is who says so, `model` or `platform`.

    `more` is what the model added as JSON, blank without. `version_id` is "" if it is not known.
    """

    time: float
    source: str
    type: str
    text: str
    more: str
    version_id: str


@dataclass(frozen=True, slots=True)
class ResultWords:
    """A screener's result as text: `length` is that of the whole."""

    time: float
    text: str
    length: int
    version_id: str


@dataclass(frozen=True, slots=True)
class ValueWords:
    """The last value that a model told under a name."""

    time: float
    name: str
    value: str
    about: str


@dataclass(frozen=True, slots=True)
class ProfitWords:
    """The profit of a symbol; what is not known is a dash, and `problem` says why.

    `unreal` says that no real money was traded, blank where that is not known.
    """

    exchange: str
    unreal: str
    symbol: str
    fills: int
    pending: int
    realised: str
    position: str
    average_price: str
    ordered: str
    problem: str


@dataclass(frozen=True, slots=True)
class ReportedWords:
    """What a page shows of a model's reports, the newest first.

    `profits` is None where the model wants none computed; `profits_total` are the symbols that
    there are. `own_profit` is what the model says of its profit last: a time and a value.
    """

    orders: Sequence[OrderWords]
    events: Sequence[EventWords]
    results: Sequence[ResultWords]
    lines: Sequence[Kept]
    variables: Sequence[ValueWords]
    metrics: Sequence[ValueWords]
    profits: Sequence[ProfitWords] | None
    profits_total: int
    profit_note: str
    own_profit: tuple[float | None, str] | None
    exchanges: Sequence[str]
    symbols: Sequence[str]
    lost: int


def reported_in_words(reported: Reported) -> ReportedWords:
    """Return what a model reported, for its page."""
    events = [
        *(event_in_words(each, "model") for each in reported.events),
        *(event_in_words(each, "platform") for each in reported.notes),
    ]
    is_wanted = reported.pnl.get("auto", True)
    shown = reported.profits[::-1][:_MOST_PROFITS]
    return ReportedWords(
        orders=[order_in_words(each) for each in reported.orders[: -_MOST_ORDERS - 1 : -1]],
        events=sorted(events, key=lambda one: one.time, reverse=True),
        results=[_result(each) for each in reversed(reported.screener_results)],
        lines=reported.log[::-1],
        variables=[_value(each, each.document.get("description")) for each in reported.variables],
        metrics=[_metric(each) for each in reported.metrics],
        profits=[_profit(each) for each in shown] if is_wanted else None,
        profits_total=len(reported.profits),
        profit_note=PROFIT_NOTE,
        own_profit=_own_profit(reported.pnl.get("values")),
        exchanges=reported.exchanges,
        symbols=reported.symbols,
        lost=reported.lost,
    )


def event_in_words(kept: Kept, source: str) -> EventWords:
    """Return an event in words."""
    get = kept.document.get
    more = [f"{name}: {_text(get(name))}" for name in ("args", "response") if get(name)]
    return EventWords(
        time=kept.time,
        source=source,
        type=str(get("type") or ""),
        text=str(get("text") or ""),
        more=cut("\n".join(more), _LONGEST_VALUE),
        version_id=str(get("versionId") or ""),
    )


def _result(kept: Kept) -> ResultWords:
    result = kept.document.get("result")
    if isinstance(result, Mapping) and set(result) == {"screener", "status"}:
        text = f"{_text(result['screener'])}\n\nstatus: {_text(result['status'])}"
    else:
        text = _text(result)
    version_id = str(kept.document.get("versionId") or "")
    return ResultWords(kept.time, cut(text, _LONGEST_RESULT), len(text), version_id)


def _value(kept: Kept, about: object, name: str = "") -> ValueWords:
    value = cut(_text(kept.document.get("value"), indent=None), _LONGEST_VALUE)
    return ValueWords(kept.time, name or kept.name or "", value, str(about or ""))


def _metric(kept: Kept) -> ValueWords:
    shown = str(kept.document.get("displayName") or "")
    return _value(kept, kept.document.get("type"), shown)


def _profit(profit: Profit) -> ProfitWords:
    return ProfitWords(
        exchange=profit.exchange,
        unreal=NO_REAL_MONEY if profit.is_test else "",
        symbol=profit.symbol,
        fills=profit.fills,
        pending=profit.pending,
        realised=_number(profit.realised),
        position=_number(profit.position),
        average_price=_number(profit.average_price),
        ordered=_number(profit.ordered),
        problem=profit.problem or "",
    )


def _own_profit(values: object) -> tuple[float | None, str] | None:
    if not isinstance(values, list) or not values:
        return None
    time, value = values[-1]
    return time, _number(value)


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else exact(value)


def _text(value: Any, indent: int | None = 1) -> str:
    """Return a JSON value as text: a text as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=indent)
