"""What changed between two versions."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Lock
from typing import Final

from deploy_action.platform.api.request import ApiError
from deploy_action.platform.storage.records import Version
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.zip_reader import ArchiveError
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.changes.comparison import BundleChanges, compare_kept
from deploy_action.platform.web.changes.secrecy import secret_values
from deploy_action.platform.web.changes.settings import changed_settings, changed_variables
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.platform.web.views.versions.shelf import Shelf

_ONE_AT_A_TIME: Final = Lock()


def compare(site: Site, visit: Visit) -> Answer:
    """Show what changed from version `a` to `b`, by default to the current one from that before."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        shelf = Shelf.of(site, snapshot, model)
        after = _asked(shelf, visit.query.get("b", "")) or _current(shelf)
        before = _asked(shelf, visit.query.get("a", "")) or _predecessor(shelf, after)
        values = {**frame(site, snapshot, model, "versions"), "before": None, "after": None}
        if after is None or before is None:
            return Page("version_changes.html", values)
        environments = [snapshot.live.environment(each.id) for each in (before, after)]
        values |= {"before": shelf.show(before), "after": shelf.show(after)}
    changes, fault = _changes(site.store, before, after, environments)
    return Page(
        "version_changes.html",
        {
            **values,
            "settings": changed_settings(before, after),
            "variables": changed_variables(*environments),
            "changes": changes,
            "fault": fault,
        },
    )


def _asked(shelf: Shelf, version_id: str) -> Version | None:
    """Return the version that an address names, None if it names none."""
    if not version_id:
        return None
    version = shelf.find(version_id)
    if version is None:
        raise ApiError("There is no such version of this model. It may have been deleted.", 404)
    return version


def _current(shelf: Shelf) -> Version | None:
    if shelf.status is not None and shelf.status.version is not None:
        return shelf.status.version
    newest = shelf.snapshot.uploaded.newest(shelf.model.project_id, shelf.model.id, 1)
    return newest[0] if newest else None


def _predecessor(shelf: Shelf, version: Version | None) -> Version | None:
    """Return what ran before the current version, or was uploaded before another one."""
    status = shelf.status
    if version is None:
        return None
    is_current = status is not None and status.version == version
    if status is not None and is_current and status.previous_id is not None:
        return shelf.find(status.previous_id)
    return shelf.snapshot.uploaded.before(version)


def _changes(
    store: Store, before: Version, after: Version, environments: list[dict[str, str]]
) -> tuple[BundleChanges | None, str]:
    """Return what changed between the files, or why that is not known."""
    if before.sha256 == after.sha256:
        return BundleChanges(same=after.files), ""
    with ExitStack() as held:
        for version in (before, after):
            file = store.hold_bundle(version.id)
            if file is None:
                removed = f"The bundle of version {version.label} was removed"
                return None, f"{removed}: the server keeps only newer ones."
            held.enter_context(file)
        secrets = secret_values(environments[0]) | secret_values(environments[1])
        try:
            paths = store.bundle_path(before.id), store.bundle_path(after.id)
            with _ONE_AT_A_TIME:  # whoever asks for the same waits, and gets it
                return compare_kept(*paths, frozenset(secrets)), ""
        except (ArchiveError, OSError) as error:
            return None, f"A bundle cannot be read: {error}"
