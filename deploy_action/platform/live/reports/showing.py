"""What a model reported, as the API shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from deploy_action.platform.live.reports.accounts import Account, read_accounts
from deploy_action.platform.live.reports.profit import Profit, profits
from deploy_action.platform.live.reports.reading import BOUNDS
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass

_MOST_SHOWN: Final = 100
_MOST_RESULTS: Final = 10
_MOST_RESULT_BYTES: Final = 1 << 20
_MOST_NOTES: Final = 50  # so many events of the platform are shown, however many the model sends


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The latest reports of a model, the oldest first; times are in seconds since 1970.

    `notes` are the platform's own events. `accounts` are those whose value was read. `profits` are
    computed from all orders, `pnl` is what the model says itself. `lost` is how many
    reports were not kept. `result` is that of the backtest that is wanted.
    """

    orders: list[Kept]
    events: list[Kept]
    notes: list[Kept]
    screener_results: list[Kept]
    log: list[Kept]
    variables: list[Kept]
    metrics: list[Kept]
    backtests: list[Kept]
    result: Mapping[str, Any] | None
    exchanges: list[str]
    symbols: list[str]
    lifecycle: Mapping[str, Any] | None
    profits: list[Profit]
    accounts: list[Account]
    pnl: Mapping[str, Any]
    lost: int


def read_reports(
    snapshot: Transaction, project_id: str, model_id: str, backtest_id: str
) -> Reported:
    """Return what a model reported, with the result of one backtest if there is one of this id."""
    tables = snapshot.reports

    def latest(kind: str, most: int = _MOST_SHOWN) -> list[Kept]:
        return tables.latest(project_id, model_id, kind, most)

    def single(kind: str, name: str = "") -> Mapping[str, Any] | None:
        kept = tables.named(project_id, model_id, kind, name)
        return None if kept is None else kept.document

    orders = latest("order", BOUNDS["order"].entries)
    notes = latest("note", _MOST_NOTES)
    return Reported(
        orders=orders[-_MOST_SHOWN:],
        events=latest("event", _MOST_SHOWN - len(notes)),
        notes=notes,
        screener_results=_fitting(latest("screener", _MOST_RESULTS)),
        log=latest("log"),
        variables=latest("variable"),
        metrics=latest("metric"),
        backtests=latest("backtest", BOUNDS["backtest"].entries),
        result=single("result", backtest_id),
        exchanges=_names(latest("exchange", BOUNDS["exchange"].entries)),
        symbols=_names(latest("symbol", BOUNDS["symbol"].entries)),
        lifecycle=single("lifecycle"),
        profits=_profits(snapshot, project_id, model_id, orders),
        accounts=read_accounts(snapshot, project_id, model_id),
        pnl=single("pnl") or {},
        lost=(single("lost") or {"count": 0})["count"],
    )


def read_profits(snapshot: Transaction, project_id: str, model_id: str) -> list[Profit]:
    """Return the profit of each symbol of a model, that of the latest order last."""
    most = BOUNDS["order"].entries
    orders = snapshot.reports.latest(project_id, model_id, "order", most)
    return _profits(snapshot, project_id, model_id, orders)


def _profits(
    snapshot: Transaction, project_id: str, model_id: str, orders: list[Kept]
) -> list[Profit]:
    is_complete = snapshot.reports.named(project_id, model_id, "pruned", "") is None
    return profits((each.document for each in orders), is_complete=is_complete)


def _fitting(results: list[Kept]) -> list[Kept]:
    """Return the latest results that there is room for."""
    room, fitting = _MOST_RESULT_BYTES, list[Kept]()
    for each in reversed(results):
        room -= len(json.dumps(each.document))
        if room < 0:
            break
        fitting.insert(0, each)
    return fitting


def _names(kept: list[Kept]) -> list[str]:
    return [each.name for each in kept if each.name is not None]
