"""One backtest: how it stands, and everything that is known of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from deploy_action.errors import Problem, Severity, read_problems
from deploy_action.pages.addresses import in_path
from deploy_action.platform.api.request import ApiError
from deploy_action.platform.storage.records import Backtest, BacktestStatus
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.backtests.identity import Uploads, variables_of
from deploy_action.platform.web.backtests.results import Lack, ShownResult, show_result
from deploy_action.platform.web.backtests.windows import windows_of
from deploy_action.platform.web.paging import Part, asked_part
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.trades import Trade
    from deploy_action.pages.order_rows import OrderRow
    from deploy_action.pages.round_trips import TripRow, TripsView

_ROWS: Final = 100
_DESCENDING: Final = "desc"
_STOPPED: Final = (
    "Nobody noted why: its client may have left, the server ended while the backtest ran, or its"
    " disk had no room to note it."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a backtest stands: a word with its tone, and what that means."""

    label: str
    tone: str
    sentence: str


_STANDINGS: Final = {
    BacktestStatus.QUEUED: Standing("queued", "busy", "It waits for a backtest that runs to end."),
    BacktestStatus.RUNNING: Standing("running", "busy", "It has no result yet."),
    BacktestStatus.FINISHED: Standing("finished", "", ""),
    BacktestStatus.FAILED: Standing("failed", "bad", "It failed."),
    BacktestStatus.STOPPED: Standing("stopped", "warn", "It was stopped before its end."),
}
_FAILED_LATE: Final = Standing(
    "failed after its end",
    "bad",
    "The backtest came to its end, and its result is below. What the script did then failed.",
)


@dataclass(frozen=True, slots=True)
class SortLink:
    """Where the header of a column leads, and its `aria-sort`, blank if it is not sorted by it."""

    url: str
    order: str


@dataclass(frozen=True, slots=True)
class OrdersPage:
    """A part of the table of orders, with how many there are."""

    part: Part
    rows: Sequence[OrderRow]
    total: int


@dataclass(frozen=True, slots=True)
class TripsPage:
    """A part of the table of round trips; `asked` is the query for their order."""

    part: Part
    rows: Sequence[TripRow]
    links: Sequence[SortLink]
    asked: Mapping[str, str]


def show_backtest(site: Site, visit: Visit) -> Answer:
    """Show a backtest of a model."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        ids = (model.project_id, model.id)
        backtest = snapshot.backtest(*ids, in_path(visit.path["backtest"]))
        if backtest is None:
            raise ApiError("There is no such backtest of this model.", 404)
        version = snapshot.live.version(*ids, backtest.version_id)
        windows = windows_of(snapshot, backtest, version, site.store.clock())
        window = backtest.window
        whole = None if window is None else snapshot.backtest(*ids, window.whole)
        if version is not None:  # what is uploaded for a backtest knows no commit
            uploads = Uploads.of(snapshot, [version], site.credentials.given_variables)
            version = uploads.same(version, variables_of(backtest.run)) or version
        values = frame(site, snapshot, model, "backtests")
    found = show_result(site.store.result_path(backtest.id), backtest)
    shown = found if isinstance(found, ShownResult) else None
    problems = read_problems(backtest.run.get("problems"))
    return Page(
        "backtest.html",
        {
            **values,
            "backtest": backtest,
            "version": version,
            "standing": _standing(backtest, shown),
            "windows": windows,
            "whole": whole,
            "is_over": backtest.ended_at is not None,
            "reason": _reason(backtest, problems),
            "problems": problems,
            "lack": found if isinstance(found, Lack) else None,
            "shown": shown,
            "page": None if shown is None else _trips_page(shown.view.trips, visit.query),
            "orders": None if shown is None else _orders_page(shown.orders, visit.query),
        },
    )


def _standing(backtest: Backtest, shown: ShownResult | None) -> Standing:
    if shown is not None and backtest.status == BacktestStatus.FAILED:
        return _FAILED_LATE
    return _STANDINGS[BacktestStatus(backtest.status)]


def _reason(backtest: Backtest, problems: Sequence[Problem]) -> str:
    """Return why it was stopped, if no problem says that."""
    has_error = any(one.severity is Severity.ERROR for one in problems)
    return _STOPPED if backtest.status == BacktestStatus.STOPPED and not has_error else ""


def _orders_page(orders: Sequence[Trade], query: Mapping[str, str]) -> OrdersPage:
    """Return a hundred orders, those of the part that was asked for."""
    from deploy_action.pages.order_rows import order_rows

    part = asked_part(query, len(orders), _ROWS, name="orders")
    return OrdersPage(part, order_rows(orders[part.items]), len(orders))


def _trips_page(trips: TripsView, query: Mapping[str, str]) -> TripsPage:
    """Return a hundred round trips in the order that was asked for."""
    from deploy_action.pages.round_trips import sorted_trips, trip_rows

    columns = [one.id for one in trips.columns]
    column = query.get("sort", "") if query.get("sort") in columns else ""
    is_descending = query.get("order") == _DESCENDING
    part = asked_part(query, len(trips.closed), _ROWS)
    ordered = sorted_trips(trips.closed, column, descending=is_descending)
    rows = trip_rows(ordered[part.items])
    return TripsPage(
        part=part,
        rows=rows,
        links=[
            _sort_link(one.id, is_number=one.is_number, sorted_by=column, descending=is_descending)
            for one in trips.columns
        ],
        asked=_asked(column, descending=is_descending),
    )


def _sort_link(column: str, *, is_number: bool, sorted_by: str, descending: bool) -> SortLink:
    """Return the way to the other order; what was largest is first in a column of numbers."""
    if column != sorted_by:
        return SortLink(_address(column, descending=is_number), "")
    order = "descending" if descending else "ascending"
    return SortLink(_address(column, descending=not descending), order)


def _address(column: str, *, descending: bool) -> str:
    return f"?{urlencode(_asked(column, descending=descending))}#round-trips"


def _asked(column: str, *, descending: bool) -> Mapping[str, str]:
    """Return the query for an order, without anything if `column` is blank."""
    return {"sort": column, "order": _DESCENDING if descending else "asc"} if column else {}
