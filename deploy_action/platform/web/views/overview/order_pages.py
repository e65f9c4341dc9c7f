"""The orders of a model, and what there is to explain one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.platform.api.request import ApiError
from deploy_action.platform.storage.records import Model, Version, VersionStatus
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.forge_links import commit_of
from deploy_action.platform.web.log_lines import STREAMS, Line, LogLines
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.platform.web.views.order_words import OrderWords, order_in_words
from deploy_action.platform.web.views.overview.reported_words import EventWords, event_in_words

_ORDERS_A_PAGE: Final = 100
_MOST_DIGITS: Final = 15  # of a number in an address
_EVENT_SECONDS: Final = 600.0  # events so long before and after an order are shown with it
_MOST_EVENTS: Final = 50
_LINES_BEFORE: Final = 25
_LINES_AFTER: Final = 15


def show_orders(site: Site, visit: Visit) -> Answer:
    """Show a hundred orders: the latest, or those before one of a number."""
    text = visit.query.get("before", "")
    before = _number(text) if text else None
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        key = model.project_id, model.id
        kept = snapshot.reports.latest(*key, "order", _ORDERS_A_PAGE + 1, before=before)
        return Page(
            "orders.html",
            {
                **frame(site, snapshot, model, "overview"),
                "orders": [order_in_words(each) for each in kept[::-1][:_ORDERS_A_PAGE]],
                "has_older": len(kept) > _ORDERS_A_PAGE,
                "is_newest": before is None,
                "order_count": snapshot.reports.count(*key, "order"),
                "are_some_gone": snapshot.reports.named(*key, "pruned", "") is not None,
            },
        )


def show_order(site: Site, visit: Visit) -> Answer:
    """Show an order with all that may explain it."""
    number = _number(visit.path["order"])
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        kept = snapshot.reports.numbered(model.project_id, model.id, "order", number)
        if kept is None:
            raise ApiError("There is no such order here: only the latest 10,000 are kept.", 404)
        order = order_in_words(kept)
        version = _version(snapshot, model, order)
        events = _events(snapshot, model, order.time)
        values = {
            **frame(site, snapshot, model, "overview"),
            "order": order,
            "version": version,
            "commit": None
            if version is None
            else commit_of(version.commit, version.commit_repository),
            "events": events,
            "event_versions": snapshot.live.versions({each.version_id for each in events}),
            "event_minutes": int(_EVENT_SECONDS // 60),
            "before": _neighbour(
                snapshot.reports.latest(model.project_id, model.id, "order", 1, before=number)
            ),
        }
    return Page("order.html", values | _log(site.store, version, order.time))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ApiError("There is no such order here.", 404)
    return int(text)


def _neighbour(kept: Sequence[Kept]) -> OrderWords | None:
    return order_in_words(kept[0]) if kept else None


def _version(snapshot: Transaction, model: Model, order: OrderWords) -> Version | None:
    """Return the version that sent an order, None if that was not kept with it, or is gone."""
    version = None
    if order.version_id:
        version = snapshot.live.version(model.project_id, model.id, order.version_id)
    return None if version is None or version.status == VersionStatus.BACKTEST else version


def _events(snapshot: Transaction, model: Model, at: float) -> list[EventWords]:
    """Return what happened around a time, the oldest first."""
    begin, end = at - _EVENT_SECONDS, at + _EVENT_SECONDS
    found = [
        event_in_words(kept, source)
        for kind, source in (("event", "model"), ("note", "platform"))
        for kept in snapshot.reports.between(
            model.project_id, model.id, kind, begin, end, _MOST_EVENTS
        )
    ]
    return sorted(found, key=lambda one: one.time)


def _log(store: Store, version: Version | None, at: float) -> dict[str, object]:
    """Return the lines of a version's log around a time."""
    if version is None:
        return {"lines_before": (), "lines_after": ()}
    lines = LogLines(store.logs.reader(version.id), frozenset(STREAMS))
    place = lines.since(at)
    before: list[Line] = lines.before(place, _LINES_BEFORE)
    return {"lines_before": before, "lines_after": lines.after(place, _LINES_AFTER)}
