"""What a deployed model does and reports, as `POST /model/details` shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, TypedDict, TypeVar, cast

from deploy_action.platform.live.reports import Reported
from deploy_action.platform.live.reports.accounts import Account
from deploy_action.platform.live.reports.profit import Profit
from deploy_action.platform.live.status import LiveStatus, settings_digest
from deploy_action.platform.storage.records import State, Version, Wanted
from deploy_action.platform.storage.tables.reports import Kept

_NOTHING_RUNS: Final = "nothing runs here after the job"
PROFIT_NOTE: Final = (
    "Realised profit by the average price of what was bought, before fees, from the orders that"
    " were reported as filled, limit orders at their limit. What is still held is not valued."
)
_Document = TypeVar("_Document")
_MOST_PROFITS: Final = 1_000  # clients refuse endless answers
# The original's words, where it had some.
_MESSAGES: Final = {
    State.PREPARING: "Deploying",
    State.RUNNING: "Started",
    State.STOPPING: "Stopping",
    State.STOPPED: "Not Running",
    State.FINISHED: "Exited",
    State.RESTARTING: "Process Exited",
    State.FAILED: "Not Running",
    State.SCHEDULED: "Scheduled",
}


class NextDocument(TypedDict):
    """A version that is prepared while another one runs."""

    versionId: str
    state: Literal["preparing"]


class LiveDocument(TypedDict):
    """What a deployed model does, and what it should do.

    `versionId` is the version that `state` is about. `startVersionId` is the one that a start would
    run, `previousVersionId` the one that a rollback would. `settingsSha256` covers plan, Python
    version, schedule and type. `callbacksFail` says that no callback has succeeded since the latest
    one that raised, `callbacksFailSince` when the first of those failed. Exit codes do
    not tell whether a model worked.
    """

    state: str
    versionId: str | None
    since: str
    restarts: int
    exitCode: int | None
    problem: str | None
    callbackErrors: int
    callbacksFail: bool
    callbacksFailSince: str | None
    lastOutputAt: str | None
    bundleSha256: str | None
    settingsSha256: str | None
    commit: str | None
    wanted: str
    startVersionId: str | None
    previousVersionId: str | None
    next: NextDocument | None
    nextRunAt: str | None
    strategyStarted: bool


class LifecycleDocument(TypedDict):
    """The state of a model in the words of the original; of one that runs elsewhere, in its own."""

    message: str
    startAt: str | None
    endAt: str | None
    running: bool


class OrderDocument(TypedDict):
    """An order as the model reported it; what it did not report is null.

    `updated` says whether `status` was told after the order was sent; else it is the first one.
    `testAccount` says that it went to an account for tests; null where that is not known.
    `versionId` is the version that ran when it was sent, if that is known. `tornDownFor` says that
    it was sent while the teardown of that version ran, and why that was called; else it is null.
    """

    time: str
    id: str
    symbol: str | None
    side: str | None
    type: str | None
    size: float | None
    funds: float | None
    price: float | None
    activate: float | None
    status: str | None
    updated: bool
    exchange: str | None
    testAccount: bool | None
    annotation: str | None
    executedAt: str | None
    canceledAt: str | None
    versionId: str | None
    tornDownFor: Literal["stop", "replace", "shutdown"] | None


class EventDocument(TypedDict):
    """Something that happened: `source` is who says so, the `model` or the `platform`.

    `versionId` is the version that it was about, if that is known.
    """

    time: str
    source: Literal["model", "platform"]
    type: str
    text: str | None
    args: Any
    response: Any
    versionId: str | None


class VariableDocument(TypedDict):
    """A variable that the model exported, as it was at that time."""

    time: str
    name: str
    value: Any
    description: str | None


class MetricDocument(TypedDict):
    """A metric of the model's own."""

    time: str
    name: str
    displayName: str | None
    value: Any
    type: str | None


class ScreenerResultDocument(TypedDict):
    """The result of a run of a screener, of the version `versionId` if that is known."""

    time: str
    result: Any
    versionId: str | None


class LineDocument(TypedDict):
    """A line that a model which runs elsewhere reported."""

    time: str
    type: str
    line: str
    backtestId: str | None


class ProfitDocument(TypedDict):
    """The profit of a symbol; null where `problem` says why it is not known.

    `testAccount` says that its orders went to an account for tests; null where that is not known.
    `pending` are orders that were not reported as filled or canceled. `ordered` is what was bought
    less what was sold, if all that were not canceled were filled; null if a size is not known.
    """

    exchange: str
    symbol: str
    testAccount: bool | None
    fills: int
    pending: int
    realised: float | None
    position: float | None
    averagePrice: float | None
    ordered: float | None
    problem: str | None


class PnlDocument(TypedDict):
    """Profit: `symbols` from the orders, as `note` says; `values` as the model says itself.

    `symbols` is null where the model wants no computed profit. The one of the latest order is the
    last, and there are 1,000 at most.
    """

    symbols: list[ProfitDocument] | None
    note: str
    values: list[list[float | None]] | None


class AccountDocument(TypedDict):
    """The value of an account that a strategy trades with, in `quote`, as read from the exchange.

    It is that of the whole account: deposits, withdrawals and what other bots did are in it, so its
    change is not the model's profit. `missing` are assets that it leaves out, because they have no
    price in `quote`. `value` is null where `problem` says why it is not known. `simulated` says
    that no real money is in the account. `values` are times in seconds since 1970 and values, 200
    at most, from the first one that is kept; a value of null is a gap.
    """

    exchange: str
    portfolio: str | None
    quote: str | None
    simulated: bool
    time: str
    value: float | None
    missing: list[str]
    problem: str | None
    values: list[list[float | None]]


class ReportedBacktestDocument(TypedDict):
    """A backtest that was run elsewhere; its `result` is there if it was asked for by its id."""

    time: str
    backtestId: str
    successful: bool | None
    summary: str | None
    details: str | None
    seconds: float | None
    description: str | None
    label: str | None
    result: Any


class ReportedDocument(TypedDict):
    """What a model reports, the oldest first, 100 of a kind at most; it may be made up.

    Of the results of a screener, the last 10 are shown, or as many as there are in 1 MiB.
    `reportsLost` is how many reports were not kept, because they were too many or not understood.
    """

    exchanges: list[str]
    tickers: list[str]
    orders: list[OrderDocument]
    events: list[EventDocument]
    variables: list[VariableDocument]
    customMetrics: list[MetricDocument]
    screenerResults: list[ScreenerResultDocument]
    account: list[AccountDocument]
    pnl: PnlDocument
    log: list[LineDocument]
    reportedBacktests: list[ReportedBacktestDocument]
    reportsLost: int


def iso(seconds: float, timespec: str = "seconds") -> str:
    """Return a time as the original does, such as `2026-11-28T11:16:21+00:00`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)


def iso_or_none(seconds: float | None) -> str | None:
    """Return a time, or None if there is none."""
    return None if seconds is None else iso(seconds)


def live_document(status: LiveStatus, model_type: str) -> LiveDocument:
    """Return what a model does as the API shows it."""
    version = status.version
    following: NextDocument | None = None
    if status.next_id is not None:
        following = {"versionId": status.next_id, "state": "preparing"}
    return {
        "state": status.state,
        **_version_part(version, model_type),
        "since": iso(status.since, "milliseconds"),  # which tells one run from the next
        "restarts": status.restarts,
        "exitCode": status.exit_code,
        "problem": status.problem,
        "callbackErrors": status.callback_errors,
        "callbacksFail": status.callbacks_fail,
        "callbacksFailSince": iso_or_none(status.callbacks_fail_since),
        "lastOutputAt": iso_or_none(status.last_output_at),
        "wanted": status.wanted,
        "startVersionId": status.start_id,
        "previousVersionId": status.previous_id,
        "next": following,
        "nextRunAt": iso_or_none(status.next_run_at),
        "strategyStarted": status.strategy_started,
    }


def idle_document(version: Version, model_type: str) -> LiveDocument:
    """Return what a model does on a platform that only stores what is deployed."""
    return {
        "state": State.STOPPED,
        **_version_part(version, model_type),
        "since": iso(version.created_at),
        "restarts": 0,
        "exitCode": None,
        "problem": _NOTHING_RUNS,
        "callbackErrors": 0,
        "callbacksFail": False,
        "callbacksFailSince": None,
        "lastOutputAt": None,
        "wanted": Wanted.STOPPED,
        "startVersionId": None,
        "previousVersionId": None,
        "next": None,
        "nextRunAt": None,
        "strategyStarted": False,
    }


class _VersionPart(TypedDict):
    versionId: str | None
    bundleSha256: str | None
    settingsSha256: str | None
    commit: str | None


def _version_part(version: Version | None, model_type: str) -> _VersionPart:
    if version is None:
        return {"versionId": None, "bundleSha256": None, "settingsSha256": None, "commit": None}
    return {
        "versionId": version.id,
        "bundleSha256": version.sha256,
        "settingsSha256": settings_digest(version, model_type),
        "commit": version.commit or None,
    }


def lifecycle_document(status: LiveStatus | None, reported: Reported) -> LifecycleDocument:
    """Return the state of a model in the original's words.

    What the model says counts only if it runs elsewhere.
    """
    if status is None:
        said = reported.lifecycle
        if said is None:
            message = "Awaiting Setup"
            return {"message": message, "startAt": None, "endAt": None, "running": False}
        return {
            "message": said.get("message", ""),
            "startAt": iso_or_none(said.get("startAt")),
            "endAt": iso_or_none(said.get("endAt")),
            "running": said.get("running", False),
        }
    message = _MESSAGES[status.state]
    if status.state is State.RUNNING and status.strategy_started:
        message = "Monitoring Active"
    is_running = status.state in {State.RUNNING, State.STOPPING}
    since = iso(status.since)
    return {
        "message": message,
        "startAt": since if status.state is State.RUNNING else None,
        "endAt": None if is_running or status.state is State.PREPARING else since,
        "running": is_running,
    }


def reported_document(reported: Reported, backtest_id: str) -> ReportedDocument:
    """Return what a model reports; `backtest_id` is that of the result that was asked for."""
    events: list[tuple[Kept, Literal["model", "platform"]]] = [
        *((each, "model") for each in reported.events),
        *((each, "platform") for each in reported.notes),
    ]
    return {
        "exchanges": reported.exchanges,
        "tickers": reported.symbols,
        "orders": [_order(each) for each in reported.orders],
        "events": [
            _document(EventDocument, each, source=source)
            for each, source in sorted(events, key=lambda pair: pair[0].time)
        ],
        "variables": [
            _document(VariableDocument, each, name=each.name or "") for each in reported.variables
        ],
        "customMetrics": [
            _document(MetricDocument, each, name=each.name or "") for each in reported.metrics
        ],
        "screenerResults": [
            _document(ScreenerResultDocument, each) for each in reported.screener_results
        ],
        "account": [_account(each) for each in reported.accounts],
        "pnl": _pnl(reported),
        "log": [_document(LineDocument, each) for each in reported.log],
        "reportedBacktests": [
            _document(
                ReportedBacktestDocument,
                each,
                backtestId=each.name or "",
                result=reported.result if each.name == backtest_id else None,
            )
            for each in reported.backtests
        ],
        "reportsLost": reported.lost,
    }


def _document(shape: type[_Document], kept: Kept, **known: object) -> _Document:
    """Return a report with all fields of its shape: those that are not `known` as it was kept."""
    told = {name: kept.document.get(name) for name in shape.__annotations__}
    return cast("_Document", {**told, "time": iso(kept.time, "milliseconds"), **known})


def _order(kept: Kept) -> OrderDocument:
    get = kept.document.get
    return _document(
        OrderDocument,
        kept,
        id=kept.name or "",
        updated=get("updated", False),
        executedAt=iso_or_none(get("executedAt")),
        canceledAt=iso_or_none(get("canceledAt")),
    )


def _account(account: Account) -> AccountDocument:
    return {
        "exchange": account.exchange,
        "portfolio": account.portfolio,
        "quote": account.quote,
        "simulated": account.simulated,
        "time": iso(account.time),
        "value": account.value,
        "missing": list(account.missing),
        "problem": account.problem,
        "values": [list(each) for each in account.points],
    }


def _pnl(reported: Reported) -> PnlDocument:
    is_wanted = reported.pnl.get("auto", True)
    shown, note = reported.profits[-_MOST_PROFITS:], PROFIT_NOTE
    if len(reported.profits) > len(shown):
        note += f" Only the {_MOST_PROFITS:,} symbols with the latest orders are shown."
    return {
        "symbols": [_profit(each) for each in shown] if is_wanted else None,
        "note": note,
        "values": reported.pnl.get("values"),
    }


def _profit(profit: Profit) -> ProfitDocument:
    return {
        "exchange": profit.exchange,
        "symbol": profit.symbol,
        "testAccount": profit.is_test,
        "fills": profit.fills,
        "pending": profit.pending,
        "realised": profit.realised,
        "position": profit.position,
        "averagePrice": profit.average_price,
        "ordered": profit.ordered,
        "problem": profit.problem,
    }
