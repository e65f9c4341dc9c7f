"""Two backtests of a model beside each other."""

from __future__ import annotations

from deploy_action.pages.addresses import model_path
from deploy_action.platform.api.request import ApiError
from deploy_action.platform.storage.records import Backtest, Model
from deploy_action.platform.storage.tables.figures import Listed
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.answers import Answer, Page, SeeOther
from deploy_action.platform.web.backtests.comparing import ComparisonView, compare
from deploy_action.platform.web.backtests.paired_windows import pair_windows
from deploy_action.platform.web.backtests.rows import rows_of
from deploy_action.platform.web.backtests.windows import outcomes_of
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame


def show_comparison(site: Site, visit: Visit) -> Answer:
    """Show what differs between the backtests `a` and `b`, the earlier of which is usually `a`."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        asked = [visit.query.get(name, "") for name in ("a", "b")]
        if not all(asked):
            return SeeOther(f"{model_path(model.project_id, model.id)}/backtests")
        a, b = (_asked(snapshot, model, each) for each in asked)
        versions = snapshot.live.versions({a.version_id, b.version_id})
        listed = [Listed(versions[each.version_id], each, None) for each in (a, b)]
        outcomes = [outcomes_of(snapshot, each, versions[each.version_id]) for each in (a, b)]
        rows = rows_of(snapshot, listed, site.credentials.given_variables)
        values = frame(site, snapshot, model, "backtests")
    found = compare(site.store.result_path(a.id), site.store.result_path(b.id), (a, b))
    view = found if isinstance(found, ComparisonView) else None
    lacks = () if isinstance(found, ComparisonView) else found
    return Page(
        "comparison.html",
        {
            **values,
            "sides": list(zip(("A", "B"), rows, strict=True)),
            "is_twice": a.id == b.id,
            "is_same_bundle": rows[0].version.sha256 == rows[1].version.sha256,
            "view": view,
            "windows": None if a.id == b.id else pair_windows(*outcomes),
            "without_windows": [
                name for name, found in zip(("A", "B"), outcomes, strict=True) if not found
            ],
            "lacks": list(zip(("A", "B"), lacks, strict=False)),
        },
    )


def _asked(snapshot: Transaction, model: Model, backtest_id: str) -> Backtest:
    backtest = snapshot.backtest(model.project_id, model.id, backtest_id)
    if backtest is None:
        raise ApiError("There is no such backtest of this model.", 404)
    return backtest
