"""Reads what a repository's owner would know of it: its default branch, and what it ignores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError
from deploy_action.git.index import open_index
from deploy_action.git.library import ignore_rules
from deploy_action.git.repository import open_repository, reading
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from dulwich.refs import Ref

_HEADS: Final = b"refs/heads/"
_ORIGIN: Final = b"refs/remotes/origin/"
_USUAL: Final = (b"main", b"master")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """The branch to deploy from, how it is known that it is the one, and what there is so far."""

    branch: str = "main"
    known_by: str = "there is no other yet"
    has_commits: bool = False
    has_origin: bool = False


def read_habits(directory: Path) -> Habits:
    """Return what a repository has as its default branch, or the likeliest one.

    Raises:
        InvalidInputError: there is no repository, or it cannot be read.
    """
    with open_repository(directory) as repository, reading(repository.root):
        refs = repository.repo.refs
        branch, known_by = _default_branch(refs.get_symrefs(), set(refs))
        return Habits(
            branch=branch,
            known_by=known_by,
            has_commits=any(one.startswith((_HEADS, _ORIGIN)) for one in refs),
            has_origin=repository.repo.get_config().has_section((b"remote", b"origin")),
        )


def _default_branch(pointing: Mapping[Ref, Ref], known: set[Ref]) -> tuple[str, str]:
    named = {os.fsencode(name): os.fsencode(ref) for name, ref in pointing.items()}
    followed = named.get(_ORIGIN + b"HEAD", b"")
    if followed.startswith(_ORIGIN):
        return _shown(followed.removeprefix(_ORIGIN)), "the default branch of origin"
    current = named.get(b"HEAD", b"").removeprefix(_HEADS)
    for usual in _USUAL:
        if current != usual and {_ORIGIN + usual, _HEADS + usual} & known:
            return _shown(usual), "there is a branch of that name"
    if current:
        return _shown(current), "the current branch"
    return Habits().branch, Habits().known_by


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def find_ignored(directory: Path, files: Iterable[Path]) -> frozenset[Path]:
    """Return those files that `.gitignore` keeps out of commits; none outside a repository.

    A file that is tracked all the same is not among them.
    """
    try:
        with open_repository(directory) as repository, reading(repository.root):
            tracked = open_index(repository.repo)
            rules = ignore_rules(repository.repo)
            return frozenset(
                file
                for file in files
                if file.is_relative_to(repository.root)
                and os.fsencode(name := file.relative_to(repository.root).as_posix()) not in tracked
                and rules.is_ignored(name)
            )
    except InvalidInputError:
        return frozenset()


def find_untracked(directory: Path, files: Iterable[Path]) -> tuple[Path, ...]:
    """Return what to add to git so that these files are in a commit, sorted; ignored ones are not.

    A directory without any tracked file stands for its files. Outside a repository, these are all
    there is.
    """
    files = tuple(files)
    try:
        with open_repository(directory) as repository, reading(repository.root):
            root, names = repository.root, tuple(open_index(repository.repo))
    except InvalidInputError:
        root, names = directory, ()
    tracked = {root / os.fsdecode(name) for name in names}
    folders = {parent for file in tracked for parent in file.parents}
    left = [file for file in files if file not in tracked]
    ignored = find_ignored(directory, left)
    return tuple(
        sorted({_highest(file, directory, folders) for file in left if file not in ignored})
    )


def _highest(file: Path, directory: Path, folders: set[Path]) -> Path:
    """Return the highest directory around a file, in another one, that holds no tracked file."""
    around = (one for one in file.parents if one != directory and one.is_relative_to(directory))
    inside = [one for one in around if one not in folders]
    return inside[-1] if inside else file
