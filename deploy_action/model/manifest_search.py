"""Finds the `blankly.json` that was meant when the given directory has none."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from deploy_action.errors import Problem

MANIFEST_NAME = "blankly.json"
_SEARCH_DEPTH = 3
_MAX_DIRECTORIES_SEARCHED = 1000
_MAX_FOUND = 5
_NOT_SEARCHED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def missing_manifest(model_dir: Path) -> Problem:
    """Return the problem for a directory without a manifest; the hint names one nearby."""
    if not model_dir.is_dir():
        message = f"The model's directory {model_dir} does not exist, or is not a directory."
        return Problem(message=message, hint="Correct model-path, and check out the repository.")
    found = [_for_model_path(path, model_dir) for path in _find_nearby(model_dir)]
    if len(found) > 1:
        hint = f"Set model-path to one of these: {', '.join(found)}"
    elif found:
        hint = f"There is one further down: set model-path: {found[0]}"
    elif misnamed := _misnamed(model_dir):
        hint = f"Rename {misnamed} to {MANIFEST_NAME}."
    else:
        hint = "Set model-path to the directory of the model, and check out the repository first."
    return Problem(message=f"There is no {MANIFEST_NAME} in {model_dir}.", hint=hint)


def _find_nearby(model_dir: Path) -> list[Path]:
    """Return directories below that hold a manifest, the nearest first."""
    found: list[Path] = []
    waiting = deque([(model_dir, 0)])
    searched = 0
    while waiting and searched < _MAX_DIRECTORIES_SEARCHED and len(found) < _MAX_FOUND:
        directory, depth = waiting.popleft()
        searched += 1
        if (directory / MANIFEST_NAME).is_file():
            found.append(directory)
        if depth < _SEARCH_DEPTH:
            waiting.extend((child, depth + 1) for child in _subdirectories(directory))
    return found


def _subdirectories(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    wanted = (name for name in sorted(names) if not name.startswith("."))
    return [directory / name for name in wanted if name not in _NOT_SEARCHED]


def _for_model_path(found: Path, model_dir: Path) -> str:
    """Return the value of `model-path` for a directory: relative to the workspace if inside it."""
    real = found.resolve()
    workspace = Path.cwd()  # true on the runner; on a terminal, paths start here too
    base = workspace if real.is_relative_to(workspace) else model_dir.resolve()
    return real.relative_to(base).as_posix()


def _misnamed(model_dir: Path) -> str | None:
    """Return a file whose name differs only in case or by an extension that an editor added."""
    lookalikes = {MANIFEST_NAME, MANIFEST_NAME + ".txt", "blankly.jsonc", "blankly.json5"}
    names = sorted(path.name for path in model_dir.iterdir())
    return next((name for name in names if name.lower() in lookalikes), None)
