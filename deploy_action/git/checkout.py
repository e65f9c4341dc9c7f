"""Extracts the model of another commit from `.git` into a directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import DeployActionError, Problem
from deploy_action.git.pointer import parse_pointer
from deploy_action.git.repository import Repository, find_root, open_repository
from deploy_action.git.revision import find_commit
from deploy_action.git.trees import MODULE, Entry, parse_tree, shown
from deploy_action.regular_files import open_regular

if TYPE_CHECKING:
    from dulwich.objects import ObjectID

# Errors for names that are valid on another file system.
_NAME_FAULTS: Final = frozenset({errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL, errno.EILSEQ})
_PART_BYTES: Final = 1024 * 1024


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


def extract_model(
    directory: Path,
    ref: str,
    destination: Path,
    *,
    manifest: str,
    workspace: Path | None = None,
    included: Sequence[Path] = (),
    for_runner: bool = True,
) -> PastModel:
    """Write the files of the model in `directory`, as they are at `ref`, into `destination`.

    A directory is a model if it has a file called `manifest`. `included` are other files and
    directories of the `workspace`; what is absent at `ref` is left out. All these are absolute,
    without links, and written to where they are in the workspace, which `destination` stands for.
    Files keep their executable bit, links stay links, and files in Git LFS get their contents if
    the clone has them. The checkout, its index and its refs do not change. Hints of errors are for
    a workflow, or without `for_runner` for a terminal.

    Raises:
        InvalidInputError: there is no repository, or it lacks that commit or a part of it.
        UnusablePastError: the model existed, but cannot be restored as it was.
    """
    top = workspace or directory
    with open_repository(directory, for_runner=for_runner) as repository:
        commit = find_commit(repository, ref)
        extraction = _Extraction(repository, commit.sha)
        if not extraction.is_model(extraction.find(commit.tree, directory), manifest.encode()):
            return PastModel(commit.sha, None)
        written: list[Path] = []
        for path in (directory, *sorted(included, key=lambda one: len(one.parts))):
            if any(path.is_relative_to(one) for one in written):
                continue  # it is there already
            found = extraction.find(commit.tree, path)
            if found is None:
                continue
            name = path.relative_to(top)
            (destination / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            extraction.write(found, destination / name, b"" if path == directory else bytes(name))
            written.append(path)
    return PastModel(commit.sha, destination / directory.relative_to(top))


@dataclass(frozen=True, slots=True)
class _Extraction:
    """Reads the trees of one commit, and writes one of them into a new directory."""

    repository: Repository
    commit: str

    def is_model(self, entry: Entry | None, manifest: bytes) -> bool:
        """Whether an entry is a directory with a file, or a link, of that name."""
        entries = self._entries(entry.sha, entry.name) if entry and entry.is_tree else ()
        return any(one.name == manifest and not one.is_tree for one in entries)

    def find(self, root: ObjectID, path: Path) -> Entry | None:
        """Return what was at a path that has no links now, None if nothing was."""
        top = self.repository.root
        is_ours = path.is_relative_to(top)
        found = self._found(root, bytes(path.relative_to(top)).split(b"/")) if is_ours else None
        if not is_ours or (found is None and find_root(path) != top):
            raise self._unusable(bytes(path), "is not in the repository of the model")
        return found

    def _found(self, root: ObjectID, path: list[bytes]) -> Entry | None:
        found = Entry(b"", stat.S_IFDIR, root)
        for part in [] if path == [b"."] else path:
            entries = self._entries(found.sha, found.name) if found.is_tree else ()
            entry = next((one for one in entries if one.name == part), None)
            if entry is None:
                return None
            if entry.mode == MODULE:
                raise self._unusable(part, "was a submodule, and what is in those is not fetched")
            if stat.S_ISLNK(entry.mode):
                raise self._unusable(part, "was a link then, and is none now")
            found = entry
        return found

    def write(self, entry: Entry, destination: Path, name: bytes) -> None:
        """Write an entry and everything below it to a new place, links last.

        `name` is how errors call it: blank for the model itself.
        """
        if not entry.is_tree:
            self._write_file(name, destination, entry)
            return
        links: list[tuple[bytes, Path, str]] = []
        destination.mkdir(mode=0o700)
        pending = [(entry, destination, name)]
        while pending:
            tree, directory, parent = pending.pop()
            for one in self._entries(tree.sha, parent):
                path = parent + b"/" + one.name if parent else one.name
                place = directory / os.fsdecode(one.name)
                if one.is_tree:
                    with self._placing(path):
                        place.mkdir(mode=0o700)
                    pending.append((one, place, path))
                elif stat.S_ISLNK(one.mode):
                    links.append((path, place, self._target(one.sha, path)))
                else:
                    self._write_file(path, place, one)
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
        pointer = parse_pointer(blob)
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
            fetch = f"`git lfs fetch origin {self.commit}`"
            way = self.repository.hint(
                f"set `lfs: true` of `actions/checkout`, and run {fetch} in a step before this one",
                f"run {fetch}",
            )
            what = "is in Git LFS, and the checkout lacks the contents that it had then"
            raise self._unusable(path, f"{what}: {way}") from error
        if left or digest.hexdigest() != oid:
            raise self._unusable(path, "is in Git LFS, and its contents there are damaged")

    def _unusable(self, path: bytes, what: str) -> UnusablePastError:
        name = f"`{shown(path)}`" if path else "the repository's root"
        return UnusablePastError(f"{name} {what}.", self.commit)
