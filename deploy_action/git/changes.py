"""Finds the files that differ between a commit and what is checked out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError
from deploy_action.git.index import open_index
from deploy_action.git.repository import Repository, open_repository, reading
from deploy_action.git.revision import find_commit
from deploy_action.git.trees import MODULE, parse_tree, shown

if TYPE_CHECKING:
    from dulwich.index import Index, IndexEntry
    from dulwich.objects import ObjectID

    from deploy_action.git.revision import FoundCommit

# The kind of a file, and its owner's executable bit; old commits have other permissions, too.
_KIND: Final = 0o170100
_State = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Changes:
    """How the files that git tracks below `root` differ from those of a commit.

    `commit` is its full hexadecimal id. Names are POSIX and relative to `root`, the repository's:
    `past` are all files of the commit, `changed` those that were added, edited, removed or made
    executable since, committed or not. A submodule is one name, which changes with the commit that
    is recorded for it. `left_out` are files that a sparse checkout has in its index only.
    """

    root: Path
    commit: str
    past: frozenset[str]
    changed: frozenset[str]
    left_out: frozenset[str]


def find_changes(directory: Path, ref: str, asked_by: str, *, for_runner: bool = True) -> Changes:
    """Compare the checkout around `directory` with the commit that `ref` names.

    The two are compared directly, and not with their merge base: for a push, `ref` is what ran
    before it, so that what a forced push dropped is a change. Files that git does not track do not
    count. `asked_by` is the input that has the ref. Hints of errors are for a workflow, or without
    `for_runner` for a terminal.

    Raises:
        InvalidInputError: there is no repository, or it lacks that commit or its directories.
    """
    with open_repository(directory, for_runner=for_runner) as repository:
        commit = find_commit(repository, ref, asked_by)
        with reading(repository.root):
            past, index = dict(_files(repository, commit)), open_index(repository.repo)
            differing = _differing(index, past, repository.root)
            left_out = (path for path, entry in _entries(index) if entry.skip_worktree)
            return Changes(
                root=repository.root,
                commit=commit.sha,
                past=frozenset(map(os.fsdecode, past)),
                changed=frozenset(map(os.fsdecode, differing)),
                left_out=frozenset(map(os.fsdecode, left_out)),
            )


def _files(repository: Repository, commit: FoundCommit) -> Iterator[tuple[bytes, _State]]:
    """Yield the path of each file of a commit, with what would differ if it was changed."""
    from dulwich.objects import Tree

    pending: list[tuple[ObjectID, bytes]] = [(commit.tree, b"")]
    while pending:
        sha, prefix = pending.pop()
        raw = repository.read_raw(sha, Tree)
        if raw is None:
            what = f"The directory `{shown(prefix) or '.'}` of commit {commit.sha}"
            raise repository.missing_object(what)
        for entry in parse_tree(raw, len(sha) // 2):
            path = prefix + entry.name
            if entry.is_tree:
                pending.append((entry.sha, path + b"/"))
            else:
                yield path, (entry.mode & _KIND, entry.sha)


def _differing(index: Index, past: Mapping[bytes, _State], root: Path) -> Iterator[bytes]:
    """Yield the files that differ: in the index, or from it. Files may be yielded twice."""
    from dulwich.index import get_unstaged_changes

    present = {path: (entry.mode & _KIND, entry.sha) for path, entry in _entries(index)}
    yield from (path for path, state in present.items() if past.get(path) != state)
    yield from past.keys() - present.keys()
    # The time of a change of the inode depends on where a container mounts the checkout.
    for path in get_unstaged_changes(index, str(root), trust_ctime=False):
        # The library looks for submodules in the current directory.
        if path not in present or present[path][0] != MODULE:
            yield path


def _entries(index: Index) -> Iterator[tuple[bytes, IndexEntry]]:
    """Yield the entries without those in conflict."""
    from dulwich.index import IndexEntry

    for path, entry in index.iteritems():
        if isinstance(entry, IndexEntry):
            yield path, entry


def is_committed(directory: Path, files: Iterable[Path]) -> bool:
    """Whether these files around `directory` are as in the commit that is checked out.

    True where that cannot be known: there is no repository, or it cannot be read.
    """
    try:
        changes = find_changes(directory, "HEAD", "HEAD")
    except InvalidInputError:
        return True
    root = os.path.realpath(changes.root)
    names = {os.path.relpath(os.path.realpath(file), root) for file in files}
    return names <= changes.past - changes.changed


def is_lost(directory: Path, commit: str) -> bool:
    """Whether the clone around `directory` has all of its branches, and not this commit.

    Raises:
        InvalidInputError: there is no repository, or it cannot be read.
    """
    from dulwich.objects import ObjectID

    with open_repository(directory) as repository:
        return not repository.is_shallow and repository.read(ObjectID(commit.encode())) is None
