"""Unpacks a checked bundle, and finds the parts of the model in it."""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from deploy_action.errors import Problem
from deploy_action.platform.storage.archives import MANIFEST, ROOT, ArchiveError

_EXECUTABLE = 0o111
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

    The bundle has passed `check_archive`, so its names are safe. Only unpacking shows whether the
    content of an entry is intact.

    Raises:
        ArchiveError: an entry is damaged.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            for entry in archive.infolist():
                _unpack_entry(archive, entry, destination / entry.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"The model is not a sound zip file: {error}") from error
    return destination / ROOT


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # zipfile yields at most the declared size, and raises on a wrong checksum.
    with archive.open(entry) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        if (entry.external_attr >> 16) & _EXECUTABLE:
            os.fchmod(target.fileno(), 0o755)


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
