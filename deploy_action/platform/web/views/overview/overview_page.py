"""What a model does, and what it did last."""

from __future__ import annotations

from deploy_action.platform.live.reports import read_reports
from deploy_action.platform.storage.records import Model, Version
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.forge_links import Commit, commit_of
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.account_words import account_in_words
from deploy_action.platform.web.views.left_words import DOWN, left_in_words
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.platform.web.views.model_states import since_callbacks_failed
from deploy_action.platform.web.views.overview.reported_words import reported_in_words
from deploy_action.platform.web.views.overview.screener_words import screener_in_words
from deploy_action.platform.web.views.overview.switches import switch_values


def show_overview(site: Site, visit: Visit) -> Answer:
    """Show a model."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        return Page("overview.html", _values(site, snapshot, model, visit))


def _values(site: Site, snapshot: Transaction, model: Model, visit: Visit) -> dict[str, object]:
    key = model.project_id, model.id
    told = read_reports(snapshot, *key, "")
    status = site.live.status(snapshot, *key)
    start_id = None if status is None else status.start_id
    next_id = None if status is None else status.next_id
    shown = None if status is None else status.version
    reported = reported_in_words(told)
    versions = snapshot.live.versions({each for each in (start_id, next_id) if each})
    left = left_in_words(told.profits)
    orders = snapshot.reports.count(*key, "order")
    return {
        **frame(site, snapshot, model, "overview"),
        **switch_values(site, snapshot, model, visit.query, left),
        "reported": reported,
        "event_versions": snapshot.live.versions({each.version_id for each in reported.events}),
        "accounts": [account_in_words(each, status, snapshot.now) for each in told.accounts],
        "screener": screener_in_words(status) if status and model.is_screener else None,
        "left": left,
        "is_down": status is not None and status.state in DOWN,
        "since_callbacks_failed": since_callbacks_failed(status) if status else "",
        "order_count": orders,
        "shown": shown,
        "shown_commit": _commit(shown),
        "next": versions.get(next_id or ""),
        "start": versions.get(start_id or ""),
        "start_commit": _commit(versions.get(start_id or "")),
    }


def _commit(version: Version | None) -> Commit | None:
    return None if version is None else commit_of(version.commit, version.commit_repository)
