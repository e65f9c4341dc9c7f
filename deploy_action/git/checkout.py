"""Extracts the model of another commit from `.git` into a directory."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import DeployActionError, InvalidInputError, Problem
from deploy_action.git.pointer import parse_pointer
from deploy_action.git.repository import Repository, find_root, open_repository
from deploy_action.git.revision import find_commit
from deploy_action.git.trees import MODULE, Entry, parse_tree, shown
from deploy_action.records import dataclass, field, replace
from deploy_action.regular_files import open_regular

if TYPE_CHECKING:
    from dulwich.objects import ObjectID

# Errors for names that are valid on another file system.
_NAME_FAULTS: Final = frozenset({errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL, errno.EILSEQ})
_PART_BYTES: Final = 1024 * 1024
# A few small trees that hold each other many times are more files than any disk has.
_MOST_ENTRIES: Final = 300_000


@dataclass(frozen=True, slots=True)
class PastModel:
    """A model as it was at `commit`, a full hexadecimal id.

    `directory` holds its files; None if the model did not exist then. `lacking` says what the clone
    does not have of it: for each file, which is a pointer then, or empty directory, by its path in
    the destination, why, in a sentence.
    """

    commit: str
    directory: Path | None
    lacking: Mapping[Path, str] = field(default_factory=dict)


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
    Files keep their executable bit, links stay links. Files in Git LFS and submodules get their
    contents if the checkout has them. The checkout, its index and its refs do not change. Hints of
    errors are for a workflow, or without `for_runner` for a terminal.

    Raises:
        InvalidInputError: there is no repository, or it lacks that commit or a part of it.
        UnusablePastError: the model existed, but cannot be restored as it was.
    """
    top = workspace or directory
    with open_repository(directory, for_runner=for_runner) as repository:
        commit = find_commit(repository, ref)
        extraction = _Extraction(repository, commit.sha, top, destination)
        if not extraction.is_model(commit.tree, directory, manifest.encode()):
            return PastModel(commit.sha, None)
        written: list[Path] = []
        for path in (directory, *sorted(included, key=lambda one: len(one.parts))):
            if any(path.is_relative_to(one) for one in written):
                continue  # it is there already
            found, place = extraction.find(commit.tree, path)
            if found is None:
                continue
            name = place.relative_to(top)
            (destination / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            extraction.write(found, destination / name, b"" if path == directory else bytes(name))
            written.append(place)
    model = destination / directory.relative_to(top)
    return PastModel(commit.sha, model, extraction.lacking)


@dataclass(frozen=True, slots=True)
class _Extraction:
    """Reads trees of one commit, and writes them where they are in the workspace `top`."""

    repository: Repository
    commit: str
    top: Path
    destination: Path
    lacking: dict[Path, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def is_model(self, root: ObjectID, directory: Path, manifest: bytes) -> bool:
        """Whether the directory had a file, or a link, of that name."""
        found, _ = self.find(root, directory)
        if found is not None and found.mode == MODULE:
            raise self._unusable(found.name, "was a submodule then")
        entries = self._entries(found.sha, found.name) if found and found.is_tree else ()
        return any(one.name == manifest and not one.is_tree for one in entries)

    def find(self, root: ObjectID, path: Path) -> tuple[Entry | None, Path]:
        """Return what was at a path that has no links now, or the submodule on the way there.

        It comes with its own path; None if nothing was there.
        """
        repository = self.repository.root
        if path.is_relative_to(repository):
            found = self._found(root, path.relative_to(repository).parts)
            if found is not None or find_root(path) == repository:
                entry, depth = found or (None, 0)
                return entry, repository.joinpath(*path.relative_to(repository).parts[:depth])
        raise self._unusable(bytes(path), "is not in the repository of the model")

    def _found(self, root: ObjectID, path: Sequence[str]) -> tuple[Entry, int] | None:
        """Return what is at a path, or the submodule on the way, and how deep that is."""
        found = Entry(b"", stat.S_IFDIR, root)
        for depth, part in enumerate(map(os.fsencode, path), 1):
            entries = self._entries(found.sha, found.name) if found.is_tree else ()
            entry = next((one for one in entries if one.name == part), None)
            if entry is None:
                return None
            if stat.S_ISLNK(entry.mode):
                raise self._unusable(part, "was a link then, and is none now")
            if entry.mode == MODULE:
                return entry, depth
            found = entry
        return found, len(path)

    def write(self, entry: Entry, destination: Path, name: bytes) -> None:
        """Write an entry and everything below it to a new place, links last.

        `name` is how errors call it: blank for the model itself.
        """
        if not entry.is_tree:
            self._write_leaf(name, destination, entry)
            return
        links: list[tuple[bytes, Path, str]] = []
        destination.mkdir(mode=0o700)
        pending = [(entry, destination, name)]
        while pending:
            tree, directory, parent = pending.pop()
            for one in self._entries(tree.sha, parent):
                self._count(name)
                path = parent + b"/" + one.name if parent else one.name
                place = directory / os.fsdecode(one.name)
                if one.is_tree:
                    with self._placing(path):
                        place.mkdir(mode=0o700)
                    pending.append((one, place, path))
                elif stat.S_ISLNK(one.mode):
                    links.append((path, place, self._target(one.sha, path)))
                else:
                    self._write_leaf(path, place, one)
        # Links come last, so that no file is written through one.
        for path, place, target in links:
            with self._placing(path):
                place.symlink_to(target)

    def _count(self, name: bytes) -> None:
        self._counts["entries"] += 1
        if self._counts["entries"] > _MOST_ENTRIES:
            raise self._unusable(name, f"has more than {_MOST_ENTRIES:,} files and directories")

    def _write_leaf(self, path: bytes, place: Path, entry: Entry) -> None:
        if entry.mode == MODULE:
            self._write_module(path, place, entry)
        else:
            self._write_file(path, place, entry)

    def _write_module(self, path: bytes, place: Path, entry: Entry) -> None:
        """Write a submodule, from its own repository in the checkout."""
        with ExitStack() as stack:
            where = self.top / place.relative_to(self.destination)
            if (found := self._open_module(stack, where, entry.sha)) is not None:
                module, tree = found
                root = Entry(b"", stat.S_IFDIR, tree)
                with self._placing(path):
                    replace(self, repository=module).write(root, place, path)
                return
        with self._placing(path):
            place.mkdir(mode=0o700)
        way = self.repository.hint(
            "set `submodules: true` and `fetch-depth: 0` of `actions/checkout`",
            "run `git submodule update --init`, and `git fetch` in it",
        )
        what = "is a submodule, and the checkout lacks the commit of it that was used then"
        self._note(place, path, f"{what}: {way}")

    def _open_module(
        self, stack: ExitStack, where: Path, sha: ObjectID
    ) -> tuple[Repository, ObjectID] | None:
        """Return a submodule's repository and the tree of a commit; None if it is not fetched."""
        from dulwich.objects import Commit

        try:
            opened = open_repository(where, for_runner=self.repository.for_runner)
            module = stack.enter_context(opened)
            commit = module.read(sha) if module.root == where else None
        except InvalidInputError:  # damaged, which is as good as not fetched
            return None
        return (module, commit.tree) if isinstance(commit, Commit) else None

    def _write_file(self, path: bytes, place: Path, entry: Entry) -> None:
        blob = self._blob(entry.sha, path)
        # Git has one mode with executable bits.
        permissions = 0o700 if entry.mode & stat.S_IXUSR else 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with self._placing(path):
            descriptor = os.open(place, flags, permissions)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in self._contents(blob, path, place):
                file.write(chunk)

    def _note(self, place: Path, path: bytes, what: str) -> None:
        """Keep that something is lacking; whether it matters depends on what is packed."""
        reason = self._unusable(path, what).reason
        self.lacking[place.relative_to(self.destination)] = reason

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

    def _contents(self, blob: bytes, path: bytes, place: Path) -> Iterator[bytes]:
        """Yield the contents of a file; for a pointer to Git LFS, what it points to if it can."""
        pointer = parse_pointer(blob)
        if pointer is None:
            yield blob
            return
        if pointer["extensions"]:
            self._note(place, path, "is in Git LFS with an extension, which is not supported here")
            yield blob
            return
        oid = pointer["oid"].decode()
        stored = self.repository.large_files / oid[:2] / oid[2:4] / oid
        digest, left = sha256(), int(pointer["size"])
        try:
            with os.fdopen(open_regular(stored)[0], "rb") as file:
                while chunk := file.read(_PART_BYTES):
                    digest.update(chunk)
                    left -= len(chunk)
                    yield chunk
        except OSError:
            fetch = f"`git lfs fetch origin {self.commit}`"
            way = self.repository.hint(
                f"set `lfs: true` of `actions/checkout`, and run {fetch} in a step before this one",
                f"run {fetch}",
            )
            what = "is in Git LFS, and the checkout lacks the contents that it had then"
            self._note(place, path, f"{what}: {way}")
            yield blob
            return
        if left or digest.hexdigest() != oid:
            self._note(place, path, "is in Git LFS, and its contents there are damaged")

    def _unusable(self, path: bytes, what: str) -> UnusablePastError:
        name = f"`{shown(path)}`" if path else "the repository's root"
        return UnusablePastError(f"{name} {what}.", self.commit)
