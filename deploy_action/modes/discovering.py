"""The mode that lists the models of a repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_action.errors import InvalidInputError, Severity
from deploy_action.inputs.settings import UNWANTED_WARNINGS, Settings
from deploy_action.outcome.ending import Ending, Status

if TYPE_CHECKING:
    from deploy_action.outcome.discovery import Discovery


def discover(
    settings: Settings,
    environ: Mapping[str, str],
    on_found: Callable[[Discovery], None],
    redact: Callable[[str], str],
) -> Ending:
    """List the models of the workspace; nothing is sent, and no model is checked."""
    from deploy_action.github.event import read_event
    from deploy_action.stages.discovery.models import discover_models

    workspace = Path(environ.get("GITHUB_WORKSPACE") or ".")
    discovery = discover_models(settings, read_event(environ), workspace, redact)
    on_found(discovery)
    problems = (*settings.warnings, *discovery.problems)
    if settings.fail_on_warning and any(one.severity is Severity.WARNING for one in problems):
        raise InvalidInputError(UNWANTED_WARNINGS)
    return Ending(status=Status.DISCOVERED)
