"""Finds the models below a directory, and the `blankly.json` that was meant where none is."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from deploy_action.bundle.never_packed import ENVIRONMENT_MARKS
from deploy_action.errors import Problem
from deploy_action.records import dataclass

MANIFEST_NAME = "blankly.json"
_SEARCH_DEPTH = 3
_MAX_DIRECTORIES_SEARCHED = 1000
_MAX_FOUND = 5
_NOT_SEARCHED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def missing_manifest(model_dir: Path, *, for_runner: bool) -> Problem:
    """Return the problem for a directory without a manifest; the hint names one nearby.

    Hints are for a workflow, or without `for_runner` for a terminal.
    """
    if not model_dir.is_dir():
        message = f"The model's directory {model_dir} does not exist, or is not a directory."
        return Problem(message=message, hint="Correct model-path, and check out the repository.")
    found = [_for_model_path(path, model_dir) for path in _find_nearby(model_dir)]
    name_it = "set model-path: " if for_runner else "name "
    if len(found) > 1:
        begin = "Set model-path to" if for_runner else "Name"
        hint = f"{begin} one of these: {', '.join(found)}"
    elif found:
        hint = f"There is one further down: {name_it}{found[0]}"
    elif misnamed := _misnamed(model_dir):
        hint = f"Rename {misnamed} to {MANIFEST_NAME}."
    elif for_runner:
        hint = "Set model-path to the directory of the model, and check out the repository first."
    else:
        hint = "Name the directory of the model; `blankly-deploy init` says how a model looks."
    return Problem(message=f"There is no {MANIFEST_NAME} in {model_dir}.", hint=hint)


def _find_nearby(model_dir: Path) -> list[Path]:
    """Return directories below that hold a manifest, the nearest first."""
    found: list[Path] = []
    waiting = deque([(model_dir, 0)])
    searched = 0
    while waiting and searched < _MAX_DIRECTORIES_SEARCHED and len(found) < _MAX_FOUND:
        directory, depth = waiting.popleft()
        searched += 1
        folder = read_folder(directory)
        if folder.is_environment and depth:
            continue
        if folder.is_model:
            found.append(directory)
        if depth < _SEARCH_DEPTH:
            waiting.extend((child, depth + 1) for child in folder.children)
    return found


@dataclass(frozen=True, slots=True)
class Search:
    """The directories that hold a manifest, and those that could not be read, sorted."""

    models: tuple[Path, ...]
    unreadable: tuple[Path, ...]


def find_models(root: Path) -> Search:
    """Find the models in a directory and below it, models inside of models among them.

    Hidden directories, environments, and what package managers fill are not searched; links are
    not followed. What is in a `blankly.json` does not matter.
    """
    models: list[Path] = []
    unreadable: list[Path] = []
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        folder = read_folder(directory)
        if folder.is_environment and directory != root:
            continue
        if folder.is_unreadable:
            unreadable.append(directory)
        if folder.is_model:
            models.append(directory)
        waiting.extend(folder.children)
    return Search(tuple(sorted(models)), tuple(sorted(unreadable)))


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory: whether it holds a manifest, and the directories in it that are searched."""

    is_model: bool = False
    children: tuple[Path, ...] = ()
    is_environment: bool = False
    is_unreadable: bool = False


def read_folder(directory: Path) -> Folder:
    """Return what a directory is and which others in it are searched."""
    try:
        with os.scandir(directory) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        return Folder(is_unreadable=True)
    return Folder(
        is_model=found.get(MANIFEST_NAME) is False,
        is_environment=not ENVIRONMENT_MARKS.isdisjoint(found),
        children=tuple(
            directory / name
            for name in sorted(found)
            if found[name] and not name.startswith(".") and name not in _NOT_SEARCHED
        ),
    )


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
