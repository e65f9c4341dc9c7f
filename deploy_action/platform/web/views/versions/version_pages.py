"""The list of a model's versions, and the page of one."""

from __future__ import annotations

from typing import Final

from deploy_action.pages.addresses import in_path
from deploy_action.platform.api.operations.plans import LIVE_PLANS
from deploy_action.platform.api.request import ApiError
from deploy_action.platform.storage.records import Version
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.versions import Tested
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.storage.zip_reader import ArchiveError
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.backtests.identity import (
    ComparedVariables,
    Variables,
    variables_of,
)
from deploy_action.platform.web.backtests.rows import told_row
from deploy_action.platform.web.changes.bundles import File, list_files
from deploy_action.platform.web.paging import asked_part
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.platform.web.views.versions.shelf import Shelf
from deploy_action.platform.web.views.versions.words import REFUSALS

_A_PAGE: Final = 50
_MOST_FILES: Final = 500
_MOST_BACKTESTS: Final = 20


def show_versions(site: Site, visit: Visit) -> Answer:
    """Show a page of a model's versions, the newest first."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        shelf = Shelf.of(site, snapshot, model)
        total = snapshot.uploaded.count(model.project_id, model.id)
        part = asked_part(visit.query, total, _A_PAGE)
        found = snapshot.uploaded.newest(model.project_id, model.id, _A_PAGE, part.skipped)
        values = {
            **frame(site, snapshot, model, "versions"),
            "total": total,
            "part": part,
            "seen": shelf.seen,
            "plans": tuple(LIVE_PLANS),
            "versions": [shelf.show(version) for version in found],
        }
    return Page("versions.html", values)


def show_version(site: Site, visit: Visit) -> Answer:
    """Show one version, with the names of its files."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        shelf = Shelf.of(site, snapshot, model)
        version = shelf.find(in_path(visit.path["version"]))
        if version is None:
            raise ApiError("There is no such version of this model. It may have been deleted.", 404)
        before = snapshot.uploaded.before(version)
        own = site.credentials.given_variables(snapshot.live.environment(version.id))
        told = told_row(snapshot, version, site.credentials.given_variables)
        values = {
            **frame(site, snapshot, model, "versions"),
            "seen": shelf.seen,
            "plans": tuple(LIVE_PLANS),
            "shown": shelf.show(version),
            "refusal": REFUSALS.get(visit.query.get("refused", ""), ""),
            "before": before,
            "backtests": _tested(snapshot, version, own),
            "told": told,
            "told_variables": told and ComparedVariables.of(told.variables, own),
            "current": None if shelf.status is None else shelf.status.version,
        }
    files, fault = _files(site.store, version.id)
    return Page("version.html", {**values, "files": files, "fault": fault})


def _tested(
    snapshot: Transaction, version: Version, own: Variables
) -> list[tuple[Tested, ComparedVariables | None]]:
    """Return the latest backtests of a version's bytes, each with what to say of its variables.

    Those of one that has not ended are not told yet.
    """
    return [
        (each, ComparedVariables.of(variables_of(each.run), own) if each.run else None)
        for each in snapshot.uploaded.backtests_of_bundle(version, _MOST_BACKTESTS)
    ]


def _files(store: Store, version_id: str) -> tuple[list[File], str]:
    """Return the first files of a version's bundle, or why they cannot be read."""
    held = store.hold_bundle(version_id)
    if held is None:
        return [], "The bundle was removed: the server keeps only newer ones."
    with held:
        try:
            return list(list_files(store.bundle_path(version_id), _MOST_FILES).files.values()), ""
        except (ArchiveError, OSError) as error:
            return [], f"The bundle cannot be read: {error}"
