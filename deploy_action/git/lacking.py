"""Finds what the checkout lacks of a model: a bundle without it would be deployed in silence.

Contents of Git LFS are found by the pointers in their place. Submodules that were not fetched, and
files outside a sparse checkout, are in git's index, which is read only where a sign asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.git.index import read_entries
from deploy_action.git.pointer import LARGEST, SMALLEST, parse_pointer
from deploy_action.git.repository import Repository, find_root, open_repository, reading
from deploy_action.git.trees import MODULE
from deploy_action.records import dataclass, field, replace
from deploy_action.regular_files import read_regular
from deploy_action.text.harmless import one_line

if TYPE_CHECKING:
    from deploy_action.bundle.selection import Selection

_MOST_NAMED: Final = 3
_OR_IGNORE: Final = "Or add what the model does not need to ignore_files."


@dataclass(frozen=True, slots=True)
class _Indexed:
    """An entry of git's index: a submodule, or what a sparse checkout leaves out.

    `path` is relative to the repository; that of a directory ends with a slash.
    """

    path: str
    is_module: bool

    def holds(self, path: str) -> bool:
        """Whether a path is that of the entry, or below it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class Checkout:
    """Tells what is lacking, with hints for a workflow, or else for a terminal."""

    for_runner: bool
    _indexes: dict[Path, tuple[_Indexed, ...]] = field(default_factory=dict)

    def lacks(self, selection: Selection) -> tuple[Problem, ...]:
        """Return what is lacking of the files that would be packed, and where links lead to."""
        empty = (
            Path(selection.tree.path, one.source) for one in selection.entries if one.is_directory
        )
        found = (
            *self._pointers(tuple(_pointers(selection))),
            *(problem for path in empty if (problem := self._module(path)) is not None),
            *self._skipped(selection),
            *self._links(selection),
        )
        return tuple(replace(one, hint=f"{one.hint} {_OR_IGNORE}") for one in found)

    def explain(self, path: Path) -> Problem | None:
        """Return why a file or directory is missing, or is a pointer; None if git does not say.

        `path` is absolute, without links.
        """
        with suppress(OSError):
            if parse_pointer(read_regular(path, LARGEST)):
                return next(self._pointers((path.name,)))
        if path.exists():
            return None
        if (module := self._module(path)) is not None:
            return module
        root = _root_of(path)
        if root is None or not _is_sparse(root):
            return None
        place = path.relative_to(root).as_posix()
        for one in self._index(root):
            if not one.is_module and (one.holds(place) or one.path.startswith(f"{place}/")):
                return self._left_out((place,), place)
        return None

    def left_out(self, directory: Path, name: str) -> Iterator[Problem]:
        """Yield notices of what is lacking below a directory where files of that name may be.

        `directory` is absolute, without links.
        """
        root = _root_of(directory)
        if root is None or not (_is_sparse(root) or (root / ".gitmodules").exists()):
            return
        place = directory.relative_to(root).as_posix()
        below = [
            one for one in self._index(root) if place == "." or one.path.startswith(f"{place}/")
        ]
        for one in below:
            if one.is_module and (module := self._module(root / one.path)) is not None:
                yield replace(module, severity=Severity.NOTICE)
        lacking = [
            one.path for one in below if not one.is_module and not (root / one.path).exists()
        ]
        if named := [path for path in lacking if path.rpartition("/")[2] == name]:
            where = named[0].rpartition("/")[0] or "."
            yield replace(self._left_out(named, where), severity=Severity.NOTICE)

    def _index(self, root: Path) -> tuple[_Indexed, ...]:
        if root not in self._indexes:
            try:
                with open_repository(root) as repository, reading(root):
                    self._indexes[root] = tuple(_read_index(repository))
            except InvalidInputError:  # damaged, or not all here: then nothing is known of it
                self._indexes[root] = ()
        return self._indexes[root]

    def _links(self, selection: Selection) -> Iterator[Problem]:
        for one in selection.problems:
            target = selection.dead_links.get(one.path or "")
            if target is None or one.severity is not Severity.ERROR:
                continue
            if (why := self.explain(Path(target))) is not None:
                yield replace(why, message=f"{one.message} {why.message}", path=one.path)

    def _pointers(self, names: Sequence[str]) -> Iterator[Problem]:
        if names:
            are = "is a pointer" if len(names) == 1 else "are pointers"
            yield Problem(
                message=f"{_listed(names)} {are} of Git LFS: the checkout lacks the contents.",
                hint=self.hint("Set `lfs: true` of `actions/checkout`.", "Run `git lfs pull`."),
                path=names[0],
            )

    def _module(self, path: Path) -> Problem | None:
        """Return the problem of a missing path, or an empty directory, in a submodule."""
        root = _root_of(path)
        if root is None:
            return None
        place = path.relative_to(root).as_posix()
        found = next((one for one in self._index(root) if one.is_module and one.holds(place)), None)
        if found is None or not _is_empty(root / found.path):
            return None
        name = one_line(found.path)
        # A repository of which `.git` is a file may be a submodule itself.
        value, option = ("recursive", " --recursive") if (root / ".git").is_file() else ("true", "")
        return Problem(
            message=f"The submodule `{name}` was not fetched: its directory is empty.",
            hint=self.hint(
                f"Set `submodules: {value}` of `actions/checkout`, and a `token` that may read it "
                "if it is private.",
                f"Run `git submodule update --init{option}`.",
            ),
        )

    def _skipped(self, selection: Selection) -> Iterator[Problem]:
        """Yield a problem where a sparse checkout leaves out files that would be packed."""
        for name, real in (("", selection.files.root), *selection.files.included):
            root = _root_of(Path(real))
            if root is None or not _is_sparse(root):
                continue
            place = Path(real).relative_to(root).as_posix()
            prefix = "" if place == "." else f"{place}/"
            lacking = [
                one.path[len(prefix) :]
                for one in self._index(root)
                if not one.is_module
                and one.path.startswith(prefix)
                and not (root / one.path).exists()
            ]
            named = [f"{name}/{one}" if name else one for one in lacking]
            if named := [one for one in named if not selection.leaves_out(one)]:
                yield self._left_out(named, place if prefix else named[0].split("/")[0])

    def _left_out(self, names: Sequence[str], place: str) -> Problem:
        are, place = "is" if len(names) == 1 else "are", one_line(place)
        return Problem(
            message=f"{_listed(names)} {are} not in the checkout, which is a sparse one.",
            hint=self.hint(
                f"Add `{place}` to `sparse-checkout` of `actions/checkout`, or remove that input.",
                f"Run `git sparse-checkout add {place}`, or `git sparse-checkout disable`.",
            ),
        )

    def hint(self, in_a_workflow: str, on_a_terminal: str) -> str:
        """Return the one of two hints that is for the reader."""
        return in_a_workflow if self.for_runner else on_a_terminal


def _pointers(selection: Selection) -> Iterator[str]:
    """Yield the names of files that are pointers of Git LFS."""
    with suppress(OSError), selection.tree.opened() as tree:
        for one in selection.entries:
            if one.is_directory or not SMALLEST <= one.size <= LARGEST:
                continue
            # What cannot be read is a problem of the packer.
            with suppress(OSError):
                if parse_pointer(tree.read(one.source, LARGEST)):
                    yield one.name


def _root_of(path: Path) -> Path | None:
    try:
        return find_root(path)
    except InvalidInputError:
        return None


def _is_sparse(root: Path) -> bool:
    """Whether a sparse checkout is, or was, configured: git keeps its patterns in a file."""
    git = root / ".git"
    with suppress(OSError, ValueError):
        if git.is_file():  # a linked work tree, or a submodule
            written = read_regular(git, 4096).decode().removeprefix("gitdir:").strip()
            git = root / written
        return (git / "info" / "sparse-checkout").is_file()
    return False


def _read_index(repository: Repository) -> Iterator[_Indexed]:
    from dulwich.index import EXTENDED_FLAG_SKIP_WORKTREE

    for one in read_entries(repository.repo):
        if one.mode == MODULE or one.extended_flags & EXTENDED_FLAG_SKIP_WORKTREE:
            yield _Indexed(os.fsdecode(one.name), one.mode == MODULE)


def _is_empty(directory: Path) -> bool:
    try:
        return next(directory.iterdir(), None) is None
    except OSError:
        return True


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(one) for one in names[:_MOST_NAMED])
    left = len(names) - _MOST_NAMED
    return f"{shown} and {left:,} more" if left > 0 else shown
