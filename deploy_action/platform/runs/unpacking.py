"""Unpacks a checked bundle, and finds the parts of the model in it."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from deploy_action.errors import Problem
from deploy_action.platform.storage.archives import MANIFEST, ROOT, read_entries
from deploy_action.platform.storage.zip_reader import Entry
from deploy_action.records import dataclass

_EXECUTABLE = 0o111
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What the `blankly` package writes into a new `blankly.json`.
_DEFAULTS = {
    "main_script": "./bot.py",
    "requirements": "./requirements.txt",
    "working_directory": ".",
}


class UnusableModelError(Exception):
    """The model cannot be run; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of a model's parts: relative to its root, normalised, inside it."""

    main_script: str
    requirements: str
    working_directory: str


def unpack(bundle: Path, destination: Path) -> Path:
    """Unpack a bundle into an existing directory, and return the root of the model in it.

    The bundle has passed the checks of the upload. It is checked again as it is read: it may have
    been damaged since.

    Raises:
        ArchiveError: it is not the bundle that was checked.
    """
    for entry, content in read_entries(bundle):
        _unpack_entry(entry, content, destination / entry.name)
    return destination / ROOT


def _unpack_entry(entry: Entry, content: Iterator[bytes], path: Path) -> None:
    if entry.is_directory:
        _make_directories(path)
        return
    _make_directories(path.parent)
    mode = 0o700 if entry.mode & _EXECUTABLE else 0o600
    with os.fdopen(os.open(path, _NEW, mode), "wb") as target:
        target.writelines(content)


def _make_directories(path: Path) -> None:
    """Make a directory and those above it that are missing, for their owner alone."""
    if not path.is_dir():
        _make_directories(path.parent)
        path.mkdir(mode=0o700)


def read_layout(model: Path) -> Layout:
    """Return the paths that the model's `blankly.json` names.

    Raises:
        UnusableModelError: one of them cannot be used.
    """
    manifest = json.loads((model / posixpath.basename(MANIFEST)).read_bytes().decode("utf-8-sig"))
    layout = Layout(**{key: _path(manifest, key) for key in _DEFAULTS})
    if not (model / layout.main_script).is_file():
        raise _unusable(f"`main_script` is `{layout.main_script}`, which does not exist.")
    if not (model / layout.working_directory).is_dir():
        raise _unusable(
            f"`working_directory` is `{layout.working_directory}`, and there is no such directory."
        )
    return layout


def _path(manifest: dict[str, object], key: str) -> str:
    value = manifest.get(key, _DEFAULTS[key])
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _unusable(f"`{key}` is not a path.")
    path = posixpath.normpath(value)
    if posixpath.isabs(path) or path == ".." or path.startswith("../"):
        raise _unusable(f"`{key}` is `{path}`, which is outside the model.")
    return path


def _unusable(message: str) -> UnusableModelError:
    hint = "Correct it in blankly.json."
    return UnusableModelError(Problem(message=message, hint=hint, path="blankly.json"))
