"""The repository that `init` works on, and the models in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy_action.commands.init.workflow import ModelInRepository
from deploy_action.errors import InvalidInputError
from deploy_action.git.branches import Habits, find_ignored, read_habits
from deploy_action.git.repository import find_root
from deploy_action.model.leaks import KEYS_NAME
from deploy_action.model.manifest import Manifest, peek_manifest
from deploy_action.model.manifest_search import MANIFEST_NAME, find_models

_KEYS: Final = (KEYS_NAME, ".env")
WORKFLOW: Final = Path(".github", "workflows", "blankly.yml")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that was found: its path from the root, and its `blankly.json`, if it is readable."""

    path: str
    manifest: Manifest | None = field(repr=False)

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
            FoundModel(one.relative_to(root).as_posix(), peek_manifest(one))
            for one in found
            if one / MANIFEST_NAME not in ignored
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

    @property
    def has_strategies(self) -> bool:
        """Whether there is a model that can be backtested."""
        return any(not one.in_workflow.is_screener for one in self.models)

    @property
    def keys_to_hide(self) -> tuple[str, ...]:
        """Names of files with keys that a commit of the models would have."""
        places = [self.root / one.path for one in self.models]
        found = [place / name for name in _KEYS for place in places if (place / name).exists()]
        ignored = find_ignored(self.root, found)
        return tuple(dict.fromkeys(path.name for path in found if path not in ignored))
