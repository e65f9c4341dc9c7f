"""Which deployed model a run is about: by its inputs, and by `blankly.json` as far as it helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from posixpath import normpath

from deploy_action.errors import InvalidInputError
from deploy_action.github.event import Event
from deploy_action.inputs.settings import Settings
from deploy_action.model.manifest import load_manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.stages.preparation import directory_name, origin_of
from deploy_action.text.harmless import tidy


def identify(
    settings: Settings,
    event: Event,
    workspace: Path,
    on_secrets: Callable[[tuple[str, ...]], None],
    redact: Callable[[str], str],
) -> DescribedModel:
    """Return what is known of the model without checking anything.

    A kill switch works on a broken commit, and without a checkout if the inputs name the model.
    `on_secrets` gets the secrets in `blankly.json`. `redact` hides all in a text.

    Raises:
        InvalidInputError: nothing says which model it is.
    """
    directory = _find_directory(workspace, settings.model_path)
    manifest = None if directory is None else load_manifest(directory)[0]
    name = settings.model_name or ""
    project_id, model_id = settings.project_id, settings.model_id
    if manifest is not None:
        on_secrets(manifest.secrets)
        name = name or manifest.model_name or ""
        model_id = model_id or manifest.model_id
        # The input `project-name` wins over the project id in the manifest.
        project_id = project_id or (None if settings.project_name else manifest.project_id)
    if not name and directory is not None:
        name = directory_name(directory, event)
    if not model_id and not name:
        raise InvalidInputError.of(
            message=f"It is not known which model to {settings.mode}: neither `model-id` nor "
            f"`model-name` is set, and there is no {MANIFEST_NAME} in `{settings.model_path}`.",
            hint="Set `model-id`, which the summary of each deploy shows, or check the repository "
            "out before this step.",
        )
    path, name = normpath(settings.model_path), tidy(name, redact)
    return DescribedModel(
        path="" if directory is None else path,
        name=name,
        origin=origin_of(event, name, path),
        project_id=project_id or "",
        model_id=model_id or "",
    )


def _find_directory(workspace: Path, model_path: str) -> Path | None:
    """Return the model's directory; None if it has no manifest, or leads out of the workspace."""
    try:
        root = workspace.resolve()
        directory = (root / model_path).resolve()
        is_model = directory.is_relative_to(root) and (directory / MANIFEST_NAME).is_file()
    except (OSError, RuntimeError, ValueError):
        return None
    return directory if is_model else None
