"""Extracts the model of another commit from `.git` into a directory."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import DeployActionError, Problem
from deploy_action.git.repository import Repository, open_repository
from deploy_action.git.revision import find_commit
from deploy_action.git.trees import MODULE, Entry, parse_tree, shown
from deploy_action.regular_files import open_regular

if TYPE_CHECKING:
    from dulwich.objects import ObjectID

# Errors for names that are valid on another file system.
_NAME_FAULTS: Final = frozenset({errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL, errno.EILSEQ})
_PART_BYTES: Final = 1024 * 1024
# The pointer that git has instead of a file in Git LFS, always below 1,024 bytes:
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_LARGEST_POINTER: Final = 1_024
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?P<extensions>(?:ext-.+\n)*)"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\n"
    rb"size (?P<size>[0-9]{1,18})\n?"
)


@dataclass(frozen=True, slots=True)
class PastModel:
    """A model as it was at `commit`, a full hexadecimal id.

    `directory` holds its files; None if the model did not exist then.
    """

    commit: str
    directory: Path | None


class UnusablePastError(DeployActionError):
    """The model of `commit` cannot be restored; `reason` is one or more sentences."""

    def __init__(self, reason: str, commit: str = "") -> None:
        super().__init__(Problem(message=reason))
        self.reason = reason
        self.commit = commit


def extract_model(directory: Path, ref: str, destination: Path, *, manifest: str) -> PastModel:
    """Write the files of the model in `directory`, as they are at `ref`, into `destination`.

    A directory is a model if it has a file called `manifest`. `destination` is created. Files keep
    their executable bit, links stay links, and files in Git LFS get their contents if the clone has
    them. The checkout, its index and its refs do not change.

    Raises:
        InvalidInputError: there is no repository, or it lacks that commit or a part of it.
        UnusablePastError: the model existed, but cannot be restored as it was.
    """
    with open_repository(directory) as repository:
        commit = find_commit(repository, ref)
        path = os.fsencode(os.path.relpath(directory.resolve(), repository.root))
        extraction = _Extraction(repository, commit.sha)
        entries = extraction.find(commit.tree, path)
        if not any(one.name == manifest.encode() and not one.is_tree for one in entries):
            return PastModel(commit.sha, None)
        extraction.write(entries, destination)
    return PastModel(commit.sha, destination)


@dataclass(frozen=True, slots=True)
class _Extraction:
    """Reads the trees of one commit, and writes one of them into a new directory."""

    repository: Repository
    commit: str

    def find(self, root: ObjectID, path: bytes) -> tuple[Entry, ...]:
        """Return the entries of the directory at a path; none if there is no such directory."""
        entries = self._entries(root, b"")
        for part in [] if path == b"." else path.split(b"/"):
            entry = next((one for one in entries if one.name == part), None)
            if entry is None:
                return ()
            if entry.mode == MODULE:
                raise self._unusable(part, "was a submodule, and what is in those is not fetched")
            if stat.S_ISLNK(entry.mode):
                raise self._unusable(part, "was a link then, and is a directory now")
            if not entry.is_tree:
                return ()
            entries = self._entries(entry.sha, part)
        return entries

    def write(self, root: tuple[Entry, ...], destination: Path) -> None:
        """Write entries and everything below them into a new directory, links last."""
        links: list[tuple[bytes, Path, str]] = []
        destination.mkdir(mode=0o700)
        pending = [(root, b"")]
        while pending:
            entries, prefix = pending.pop()
            for entry in entries:
                path = prefix + entry.name
                place = destination / os.fsdecode(path)
                if entry.is_tree:
                    with self._placing(path):
                        place.mkdir(mode=0o700)
                    pending.append((self._entries(entry.sha, path), path + b"/"))
                elif stat.S_ISLNK(entry.mode):
                    links.append((path, place, self._target(entry.sha, path)))
                else:
                    self._write_file(path, place, entry)
        # Links come last, so that no file is written through one.
        for path, place, target in links:
            with self._placing(path):
                place.symlink_to(target)

    def _write_file(self, path: bytes, place: Path, entry: Entry) -> None:
        if entry.mode == MODULE:
            raise self._unusable(path, "is a submodule, and what is in those is not fetched")
        blob = self._blob(entry.sha, path)
        # Git has one mode with executable bits.
        permissions = 0o700 if entry.mode & stat.S_IXUSR else 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with self._placing(path):
            descriptor = os.open(place, flags, permissions)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in self._contents(blob, path):
                file.write(chunk)

    @contextmanager
    def _placing(self, path: bytes) -> Iterator[None]:
        """Translate the refusal of a name by this file system, but not a full disk."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NAME_FAULTS:
                raise
            raise self._unusable(path, f"cannot be written here ({error.strerror})") from error

    def _target(self, sha: ObjectID, path: bytes) -> str:
        target = self._blob(sha, path)
        if not target or b"\0" in target:
            raise self._unusable(path, "is a link to nothing")
        return os.fsdecode(target)

    def _entries(self, sha: ObjectID, path: bytes) -> tuple[Entry, ...]:
        """Return the entries of a tree: valid file names, all different."""
        from dulwich.objects import Tree

        raw = self.repository.read_raw(sha, Tree)
        if raw is None:
            raise self._missing(path)
        try:
            entries = tuple(parse_tree(raw, len(sha) // 2))
        except ValueError as error:
            raise self._unusable(path, f"is damaged in git ({error})") from error
        if len({entry.name for entry in entries}) < len(entries):
            raise self._unusable(path, "holds a name twice in git")
        return entries

    def _blob(self, sha: ObjectID, path: bytes) -> bytes:
        from dulwich.objects import Blob

        raw = self.repository.read_raw(sha, Blob)
        if raw is None:
            raise self._missing(path)
        return raw

    def _missing(self, path: bytes) -> DeployActionError:
        what = f"`{shown(path)}`" if path else "The root of the repository"
        return self.repository.missing_object(f"{what}, as it was at commit {self.commit},")

    def _contents(self, blob: bytes, path: bytes) -> Iterator[bytes]:
        """Yield the contents of a file; for a pointer to Git LFS, what it points to."""
        pointer = _POINTER.fullmatch(blob) if len(blob) < _LARGEST_POINTER else None
        if pointer is None:
            yield blob
            return
        if pointer["extensions"]:
            raise self._unusable(
                path, "is in Git LFS with an extension, which is not supported here"
            )
        yield from self._large_contents(pointer["oid"].decode(), int(pointer["size"]), path)

    def _large_contents(self, oid: str, size: int, path: bytes) -> Iterator[bytes]:
        """Yield a file of Git LFS; after the last part, its digest and size are checked."""
        place = self.repository.large_files / oid[:2] / oid[2:4] / oid
        digest, left = sha256(), size
        try:
            with os.fdopen(open_regular(place)[0], "rb") as file:
                while chunk := file.read(_PART_BYTES):
                    digest.update(chunk)
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise self._unusable(
                path,
                "is in Git LFS, and the checkout lacks the contents that it had then: set "
                "`lfs: true` of `actions/checkout`, and fetch them with `git lfs fetch origin "
                f"{self.commit}` in a step before this one",
            ) from error
        if left or digest.hexdigest() != oid:
            raise self._unusable(path, "is in Git LFS, and its contents there are damaged")

    def _unusable(self, path: bytes, what: str) -> UnusablePastError:
        name = f"`{shown(path)}`" if path else "the repository's root"
        return UnusablePastError(f"{name} {what}.", self.commit)
