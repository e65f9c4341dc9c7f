"""The repository that `init` works on, and the models in it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy_action.bundle.secret_files import may_hold_secrets
from deploy_action.bundle.selection import select_files
from deploy_action.commands.init.changes import read_text
from deploy_action.commands.init.workflow import ModelInRepository, Needs
from deploy_action.errors import InvalidInputError
from deploy_action.git.branches import Habits, find_ignored, find_untracked, read_habits
from deploy_action.git.repository import find_root
from deploy_action.model.leaks import KEYS_NAME
from deploy_action.model.live.code import read_code
from deploy_action.model.live.outside import Outside
from deploy_action.model.manifest import Manifest, peek_manifest
from deploy_action.model.manifest_search import MANIFEST_NAME, find_models
from deploy_action.records import dataclass, field

_ATTRIBUTES: Final = ".gitattributes"
_KEYS: Final = (KEYS_NAME, "notify.json")
WORKFLOW: Final = Path(".github", "workflows", "blankly.yml")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that was found: its path from the root, and its `blankly.json`, if it is readable."""

    path: str
    manifest: Manifest | None = field(repr=False)
    files: tuple[str, ...] = field(default=(), repr=False)
    include: tuple[str, ...] = ()
    has_large_files: bool = False

    @classmethod
    def at(cls, directory: Path, root: Path) -> FoundModel:
        """Look at a model; `files` are those that are packed, by their paths in the model.

        `include` is what its scripts import from elsewhere in the repository. It
        `has_large_files` if one of its files is kept by Git LFS.
        """
        path, manifest = directory.relative_to(root).as_posix(), peek_manifest(directory)
        if not path.isprintable():
            raise InvalidInputError.of(
                message=f"The directory {path!r} has a name that is not text in UTF-8, or has "
                "control characters: a workflow cannot name it.",
                hint="Rename the directory.",
            )
        if manifest is None:
            return cls(path, None)
        selection = select_files(directory, manifest.ignore_files)
        outside = Outside(root, directory, for_runner=False)
        code = read_code(manifest.main_script, selection)
        return cls(
            path,
            manifest,
            tuple(entry.name for entry in selection.entries),
            tuple(entry for entry, _ in outside.missing(manifest, selection, code)),
            any(map(_uses_lfs, _attributes(directory, root))),
        )

    @property
    def in_workflow(self) -> ModelInRepository:
        """What the workflow has to know of it."""
        if self.manifest is None:
            return ModelInRepository(self.path)
        return ModelInRepository(self.path, is_screener=self.manifest.type == "screener")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository, or a directory that is none yet, and the models in a part of it."""

    root: Path
    is_git: bool
    habits: Habits
    searched: Path
    models: tuple[FoundModel, ...]
    ignored: tuple[Path, ...]

    @classmethod
    def around(cls, directory: Path) -> Repository:
        """Return the repository that a directory is in, with the models in the directory."""
        searched = directory.resolve()
        try:
            root, is_git, habits = find_root(searched), True, read_habits(searched)
        except InvalidInputError:
            root, is_git, habits = searched, False, Habits()
        found = find_models(searched).models
        ignored = find_ignored(root, [one / MANIFEST_NAME for one in found])
        models = tuple(
            FoundModel.at(one, root) for one in found if one / MANIFEST_NAME not in ignored
        )
        return cls(
            root=root,
            is_git=is_git,
            habits=habits,
            searched=searched,
            models=models,
            ignored=tuple(sorted(path.parent for path in ignored)),
        )

    def name_of(self, path: Path) -> str:
        """Return a path as a person in the current directory would write it."""
        here = Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    def shown_path(self, model: FoundModel) -> str:
        """Return the directory of a model as a person would write it."""
        return self.name_of(self.root / model.path)

    def command(self, mode: str, model: FoundModel) -> str:
        """Return the command that does for a model what its step of the workflow does."""
        flags = (f"--include {shlex.quote(one)}" for one in model.include)
        shown = self.shown_path(model)
        path = shlex.quote(f"./{shown}" if shown.startswith("-") else shown)  # it is no flag
        return " ".join([f"blankly-deploy {mode} {path}", *flags])

    @property
    def needs(self) -> Needs:
        """What the models need of a checkout, and from elsewhere in the repository."""
        return Needs(
            lfs=any(one.has_large_files for one in self.models),
            submodules=any(map(self._is_in_model, _submodules(self.root))),
            include=self.included,
        )

    def _is_in_model(self, place: Path) -> bool:
        wanted = [self.root / one.path for one in self.models]
        wanted += [self.root / entry.partition(" =>")[0] for entry in self.included]
        return any(place.is_relative_to(one) or one.is_relative_to(place) for one in wanted)

    @property
    def included(self) -> tuple[str, ...]:
        """What the models' scripts import from elsewhere in the repository."""
        return tuple(dict.fromkeys(entry for one in self.models for entry in one.include))

    @property
    def has_strategies(self) -> bool:
        """Whether there is a model that can be backtested."""
        return any(not one.in_workflow.is_screener for one in self.models)

    @property
    def untracked(self) -> tuple[Path, ...]:
        """What of the models git does not have yet, without files of keys."""
        files = [
            self.root / one.path / file
            for one in self.models
            for file in (MANIFEST_NAME, *one.files)
        ]
        places = [self.root / entry.partition(" =>")[0] for entry in self.included]
        shared = [file for one in places for file in (one, *one.rglob("*.py")) if file.is_file()]
        return find_untracked(self.root, [one for one in (*files, *shared) if not _has_keys(one)])

    @property
    def keys_to_hide(self) -> tuple[str, ...]:
        """Names of files with keys that `git add` would take with the directories to add."""
        added = [one for one in self.untracked if one.is_dir()]
        found = [file for one in added for file in one.rglob("*") if _has_keys(file)]
        ignored = find_ignored(self.root, found)
        return tuple(sorted({file.name for file in found if file not in ignored}))


def _has_keys(file: Path) -> bool:
    return file.name in _KEYS or may_hold_secrets(file.name, file)


def _attributes(directory: Path, root: Path) -> Iterator[Path]:
    """Yield the files that may say that files of a directory are kept by Git LFS."""
    around = [directory, *directory.parents]
    yield from (one / _ATTRIBUTES for one in around if one.is_relative_to(root))
    yield from directory.glob(f"*/{_ATTRIBUTES}")


def _uses_lfs(path: Path) -> bool:
    return "filter=lfs" in (read_text(path) or "")


def _submodules(root: Path) -> Iterator[Path]:
    """Yield the directories of submodules."""
    for line in (read_text(root / ".gitmodules") or "").splitlines():
        key, _, value = map(str.strip, line.partition("="))
        if key == "path" and value:
            yield root / value.strip('"')
