"""Models as the store knows them, for pages: no process is started."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from deploy_action.platform.storage.records import (
    Model,
    Progress,
    State,
    Version,
    VersionStatus,
    Wanted,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.reports import Kept

PROJECT = "p-1"


def add_model(
    store: Store, name: str = "Golden cross", *, project: str = PROJECT, kind: str = "strategy"
) -> Model:
    """Add a model to a project, which is added if need be."""
    with store.transaction() as transaction:
        if not transaction.has_project(project):
            transaction.add_project(project, name=f"Project {project}", description="")
        return transaction.add_model(
            project, str(uuid.uuid4()), model_type=kind, name=name, description=""
        )


def add_version(store: Store, model: Model, description: str = "Buy", **changes: Any) -> Version:
    """Add a version with a bundle, which is none to unpack."""
    values: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "status": VersionStatus.DEPLOYED,
        "plan": "nano",
        "schedule": "0 * * * *" if model.is_screener else None,
        "created_at": store.clock(),
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "progress": Progress.RAN,
        **changes,
    }
    version = Version(
        project_id=model.project_id,
        model_id=model.id,
        description=description,
        python_version="3.10",
        sha256="0" * 64,
        bytes=1,
        files=1,
        **values,
    )
    with store.transaction() as transaction:
        transaction.add_version(version, "")
    store.bundle_path(version.id).write_bytes(b"x")
    return version


def put_life(store: Store, model: Model, state: State, **changes: Any) -> None:
    """Set what a model does; it is kept, and wanted, where that makes sense."""
    is_kept = state in {State.RUNNING, State.RESTARTING, State.SCHEDULED, State.PREPARING}
    wanted = Wanted.STOPPED if state is State.STOPPED else Wanted.RUNNING
    values = {"wanted": wanted, "keep": is_kept, "generation": 1, "launched": True, **changes}
    with store.transaction() as transaction:
        life = transaction.live.new_life(model.project_id, model.id)
        transaction.live.enter(life, state, **values)
        version_id = values.get("version_id")
        if version_id is not None:
            transaction.live.note_ran(model.project_id, model.id, str(version_id))


def put_report(
    store: Store,
    model: Model,
    kind: str,
    document: Mapping[str, object],
    *,
    name: str | None = None,
    time: float | None = None,
) -> None:
    """Add something that a model reported."""
    at = store.clock() if time is None else time
    with store.transaction() as transaction:
        kept = Kept(name, at, document)
        transaction.reports.put(model.project_id, model.id, kind, kept)


def running_model(store: Store, name: str = "Golden cross", **changes: Any) -> Model:
    """Add a model with a version that runs."""
    model = add_model(store, name)
    version = add_version(store, model)
    put_life(
        store,
        model,
        State.RUNNING,
        **{"version_id": version.id, "had_strategy": True, "was_running": True, **changes},
    )
    return model
