"""Finds the files that differ between a commit and what is checked out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError
from deploy_action.git.index import open_index
from deploy_action.git.repository import Repository, open_repository, reading
from deploy_action.git.revision import find_commit
from deploy_action.git.trees import MODULE, parse_tree, shown
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from dulwich.index import Index, IndexEntry
    from dulwich.objects import ObjectID

    from deploy_action.git.revision import FoundCommit

# The kind of a file, and its owner's executable bit; old commits have other permissions, too.
_KIND: Final = 0o170100
_State = tuple[int, bytes]
# A few small trees that hold each other many times are more files than fit into memory.
_MOST_FILES: Final = 2_000_000
_LONGEST_PATH: Final = 4096
# A file that is larger than this, and may have changed, has: it is read as a whole.
_LARGEST_READ: Final = 1 << 30


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
        past, index = _sides(repository, commit)
        with reading(repository.root):
            differing = _differing(index, past, repository)
            left_out = (path for path, entry in _entries(index) if entry.skip_worktree)
            return Changes(
                root=repository.root,
                commit=commit.sha,
                past=frozenset(map(os.fsdecode, past)),
                changed=frozenset(map(os.fsdecode, differing)),
                left_out=frozenset(map(os.fsdecode, left_out)),
            )


def _sides(
    repository: Repository, commit: FoundCommit, only: AbstractSet[bytes] | None = None
) -> tuple[dict[bytes, _State], Index]:
    """Return the files of a commit and those of the index; with `only`, no others than these."""
    with reading(repository.root):
        past = dict(_files(repository, commit, only))
        return past, open_index(repository.repo, only)


def _files(
    repository: Repository, commit: FoundCommit, only: AbstractSet[bytes] | None
) -> Iterator[tuple[bytes, _State]]:
    """Yield the path of each file of a commit, with what would differ if it was changed."""
    folders = None if only is None else _folders_of(only)
    from dulwich.objects import Tree

    pending: list[tuple[ObjectID, bytes]] = [(commit.tree, b"")]
    left = _MOST_FILES
    while pending:
        sha, prefix = pending.pop()
        raw = repository.read_raw(sha, Tree)
        if raw is None:
            what = f"The directory `{shown(prefix) or '.'}` of commit {commit.sha}"
            raise repository.missing_object(what)
        for entry in parse_tree(raw, len(sha) // 2):
            path = prefix + entry.name
            left -= 1
            if left < 0 or len(path) > _LONGEST_PATH:
                raise _too_many(commit)
            if entry.is_tree:
                if folders is None or path in folders:
                    pending.append((entry.sha, path + b"/"))
            elif only is None or path in only:
                yield path, (entry.mode & _KIND, entry.sha)


def _folders_of(files: Iterable[bytes]) -> AbstractSet[bytes]:
    """Return the directories that hold files, and those that hold these."""
    found: set[bytes] = set()
    for file in files:
        folder = file.rpartition(b"/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition(b"/")[0]
    return found


def _too_many(commit: FoundCommit) -> InvalidInputError:
    return InvalidInputError.of(
        message=f"Commit {commit.sha} has more than {_MOST_FILES:,} files, or names of more than "
        f"{_LONGEST_PATH:,} bytes.",
        hint="Name a commit of this repository that is like what is checked out.",
    )


def _differing(
    index: Index, past: Mapping[bytes, _State], repository: Repository
) -> Iterator[bytes]:
    """Yield the files that differ: in the index, or from it. Files may be yielded twice."""
    from dulwich.index import Index, get_unstaged_changes

    root = repository.root
    present = {path: (entry.mode & _KIND, entry.sha) for path, entry in _entries(index)}
    yield from (path for path, state in present.items() if past.get(path) != state)
    yield from past.keys() - present.keys()
    # Where files have no permissions, git is told not to look at them.
    has_modes = repository.repo.get_config().get_boolean((b"core",), b"filemode", default=True)
    unread = set(_unread(index, root, has_modes=bool(has_modes)))
    yield from unread
    # The library follows links of directories, and reads what it finds as a whole.
    readable = index
    if unread:
        readable = Index(index.path, read=False, object_format=index.object_format)
        for path, entry in index.iteritems():
            if path not in unread:
                readable[path] = entry
    # The time of a change of the inode depends on where a container mounts the checkout.
    for path in get_unstaged_changes(readable, str(root), trust_ctime=False):
        # The library looks for submodules in the current directory.
        if path not in present or present[path][0] != MODULE:
            yield path


def _unread(index: Index, root: Path, *, has_modes: bool) -> Iterator[bytes]:
    """Yield tracked files that are not looked into: they count as changed.

    A link is in place of a directory on the way, something else in place of the file, it is large
    and has another size, or it was made executable or no longer is.
    """
    top, real = os.fsencode(root), {b"": True}

    def is_real(folder: bytes) -> bool:
        unknown = []  # a path may have more folders than Python calls functions within each other
        while folder not in real:
            unknown.append(folder)
            folder = folder.rpartition(b"/")[0]
        is_known = real[folder]
        for one in reversed(unknown):
            is_known = is_known and not os.path.islink(top + b"/" + one)  # noqa: PTH114  # bytes
            real[one] = is_known
        return is_known

    for path, entry in _entries(index):
        if not entry.skip_worktree and (
            not is_real(path.rpartition(b"/")[0])
            or _is_odd(top + b"/" + path, entry, has_modes=has_modes)
        ):
            yield path


def _is_odd(place: bytes, entry: IndexEntry, *, has_modes: bool) -> bool:
    """Whether a file's place has something else, or a file that git has not seen so."""
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return False
    except OSError:  # such as a file in place of a directory
        return True
    if stat.S_IFMT(status.st_mode) not in {stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR}:
        return True
    are_files = stat.S_ISREG(status.st_mode) and stat.S_ISREG(entry.mode)
    if has_modes and are_files and (status.st_mode ^ entry.mode) & stat.S_IXUSR:
        return True
    return status.st_size > _LARGEST_READ and status.st_size & 0xFFFF_FFFF != entry.size


def _entries(index: Index) -> Iterator[tuple[bytes, IndexEntry]]:
    """Yield the entries without those in conflict."""
    from dulwich.index import IndexEntry

    for path, entry in index.iteritems():
        if isinstance(entry, IndexEntry):
            yield path, entry


def is_committed(directory: Path, files: Iterable[str]) -> bool:
    """Whether these files are as in the commit that is checked out around `directory`.

    They are absolute, without links. True where that cannot be known: there is no repository, or it
    cannot be read.
    """
    names = frozenset(map(os.fsencode, files))
    try:
        with open_repository(directory) as repository:
            top = os.fsencode(os.path.realpath(repository.root)).rstrip(b"/") + b"/"
            if not all(name.startswith(top) for name in names):
                return False
            names = frozenset(name[len(top) :] for name in names)
            past, index = _sides(repository, find_commit(repository, "HEAD", "HEAD"), names)
            with reading(repository.root):
                differing = _differing(index, past, repository)
                return names == past.keys() and next(differing, None) is None
    except InvalidInputError:
        return True


def is_lost(directory: Path, commit: str) -> bool:
    """Whether the clone around `directory` has all of its branches, and not this commit.

    Raises:
        InvalidInputError: there is no repository, or it cannot be read.
    """
    from dulwich.objects import ObjectID

    with open_repository(directory) as repository:
        return not repository.is_shallow and repository.read(ObjectID(commit.encode())) is None
