"""The models that were found in a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A directory with a `blankly.json`: its POSIX path in the workspace, and the model's name.

    `changed` are the files for which it is listed, `is_new` says that there was no model then.
    `lacks` are lines for `include`, of what changed and it imports from outside of its bundle.
    """

    path: str
    name: str
    is_new: bool = False
    changed: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def is_listed(self) -> bool:
        """Whether it differs from what it was compared with."""
        return self.is_new or bool(self.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The models to list, and those that did not change, both sorted by path.

    `since` is the ref that they were compared with, and `commit` the full id of its commit; both
    are blank without a comparison, which lists all. `gone` are the paths of models that were
    there then. `problems` are warnings and notices.
    """

    models: tuple[FoundModel, ...] = ()
    unchanged: tuple[FoundModel, ...] = ()
    since: str = ""
    commit: str = ""
    commit_url: str | None = None
    gone: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
