"""The list of a model's backtests, from which two can be chosen to be compared."""

from __future__ import annotations

from typing import Final

from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.backtests.rows import Row, rows_of
from deploy_action.platform.web.paging import asked_part
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame

_A_PAGE: Final = 50
_MOST_REPORTED: Final = 20


def show_backtests(site: Site, visit: Visit) -> Answer:
    """Show a page of a model's backtests, the newest first.

    A backtest that is named as `a` is compared with the one that is chosen.
    """
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        key = model.project_id, model.id
        total = snapshot.figures.count(*key)
        part = asked_part(visit.query, total, _A_PAGE)
        listed = snapshot.figures.page(*key, most=_A_PAGE, skipped=part.skipped)
        rows = rows_of(snapshot, listed, site.credentials.given_variables)
        fixed = snapshot.backtest(*key, visit.query.get("a", ""))
        reported = snapshot.reports.latest(*key, "backtest", _MOST_REPORTED)
        values = {
            "rows": rows,
            "fixed": fixed,
            "chosen": _chosen(rows),
            "total": total,
            "part": part,
            "reported": reported[::-1],
        }
        return Page("backtests.html", {**frame(site, snapshot, model, "backtests"), **values})


def _chosen(rows: list[Row]) -> tuple[str | None, str | None]:
    """Return which two are compared if nobody chooses others: the latest two, the older first."""
    comparable = [row.backtest_id for row in rows if row.is_comparable]
    return (comparable[1], comparable[0]) if len(comparable) > 1 else (None, None)
