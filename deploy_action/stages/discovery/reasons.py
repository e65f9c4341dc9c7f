"""Why a model counts as changed: which of the files that make it differ from another commit."""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy_action.bundle.ignore_rules import IgnoreRules, compile_rules
from deploy_action.bundle.never_packed import NEVER_PACKED
from deploy_action.git.changes import Changes
from deploy_action.inputs.settings import Settings
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.model.requirements import files_read
from deploy_action.records import dataclass
from deploy_action.regular_files import SourceTree


@dataclass(frozen=True, slots=True)
class Reasons:
    """Finds what of a model changed. `names` are the changed files of the repository, sorted."""

    changes: Changes
    names: Sequence[str]
    workspace: Path
    settings: Settings

    @classmethod
    def of(cls, changes: Changes, settings: Settings, workspace: Path) -> Reasons:
        """Return the reasons for one comparison; `workspace` has no links."""
        return cls(changes, sorted(changes.changed), workspace, settings)

    def is_new(self, directory: Path) -> bool:
        """Whether there was no model at this place then; of a submodule that is not known."""
        name = self.name_of(directory / MANIFEST_NAME)
        return not any(one in self.changes.past for one in (name, *_above(name)))

    def changed(self, directory: Path, manifest: Manifest | None) -> Iterator[str]:
        """Yield the changed files of a model: its own that may be packed, then what it takes in.

        Its own are relative to `directory`, which has no links, others to the repository.
        """
        place = self.name_of(directory)
        ignored = () if manifest is None else manifest.ignore_files
        rules = compile_rules([*ignored, *self.settings.ignore])[0]
        yield from (own for _, own in self._packed(place, "", rules))
        for one in self.settings.include:
            for source in self._places(self.workspace / one.source):
                for name, _ in self._packed(source, one.name, rules):
                    yield f"{name} (included)"
        outside: set[str] = set()
        for path in self._requirements(directory, manifest):
            outside |= {name for name in self._places(path) if not _is_below(name, place)}
        for source in sorted(outside):
            yield from (f"{name} (requirements)" for name in self._touched(source))

    def _packed(self, place: str, packed: str, rules: IgnoreRules) -> Iterator[tuple[str, str]]:
        """Yield changed files at a place, with their names in the bundle, where it is `packed`."""
        for name in self._touched(place):
            inner = posixpath.normpath(posixpath.join(packed, posixpath.relpath(name, place)))
            # What holds the place, as a submodule does, has no name in the bundle.
            if inner.startswith("..") or not _is_left_out(inner, rules):
                yield name, inner

    def _requirements(self, directory: Path, manifest: Manifest | None) -> Iterator[Path]:
        if manifest is not None and manifest.requirements:
            start = (directory / manifest.requirements).relative_to(self.workspace).as_posix()
            for name in files_read(SourceTree.at(self.workspace), posixpath.normpath(start)):
                yield self.workspace / name

    def _places(self, path: Path) -> list[str]:
        """Return the names of a path: as it is written, and of what it is a link to."""
        return sorted({self.name_of(path), self.name_of(path.resolve())})

    def touched(self, path: Path) -> Iterator[str]:
        """Yield the changed files at a path of the workspace and below it."""
        for place in self._places(path):
            yield from self._touched(place)

    def name_of(self, path: Path) -> str:
        """Return the name of a path as git has it: relative to the repository."""
        return Path(os.path.relpath(path, self.changes.root)).as_posix()

    def _touched(self, place: str) -> Iterator[str]:
        """Yield the changed names that are at a place, below it or above it."""
        if place.startswith("../"):  # git does not know it
            yield place
            return
        yield from (one for one in _above(place) if one in self.changes.changed)
        if place in self.changes.changed:
            yield place
        start = "" if place == "." else f"{place}/"
        for name in self.names[bisect_left(self.names, start) :]:
            if not name.startswith(start):
                break
            yield name


def _above(place: str) -> Iterator[str]:
    """Yield the directories that hold a place; in git, one that is a submodule is a file."""
    while place := posixpath.dirname(place):
        yield place


def _is_below(name: str, place: str) -> bool:
    return place in {".", name} or name.startswith(f"{place}/")


def _is_left_out(own: str, rules: IgnoreRules) -> bool:
    """Whether a file, or a directory that it is in, is never packed or ignored."""
    parts = own.split("/")
    if not NEVER_PACKED.isdisjoint(parts):
        return True
    paths = ["/".join(parts[: at + 1]) for at in range(len(parts))]
    return any(
        rules.ignoring(path, name, is_directory=path != own)
        for path, name in zip(paths, parts, strict=True)
    )
