"""Rows of versions, as an upload adds them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from deploy_action.platform.storage.records import Version, VersionStatus


def a_version(project_id: str, model_id: str, **changes: Any) -> Version:
    """Return a version that was uploaded for a backtest; `changes` replace fields."""
    version = Version(
        id=str(uuid.uuid4()),
        project_id=project_id,
        model_id=model_id,
        status=VersionStatus.BACKTEST,
        description="Raise the stop",
        python_version="3.11",
        plan="nano",
        schedule=None,
        sha256="a" * 64,
        bytes=1_000,
        files=2,
        created_at=1_700_000_000.0,
    )
    return replace(version, **changes)
