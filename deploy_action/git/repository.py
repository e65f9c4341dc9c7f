"""Reads a git repository: its objects, and whether a file is tracked.

It uses a library, because the image has no git, and a git binary would refuse a workspace that
another user owns.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import DeployActionError, InvalidInputError
from deploy_action.git.index import open_index
from deploy_action.git.library import repo_class
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from dulwich.objects import ObjectID, ShaFile
    from dulwich.repo import Repo

AGAIN: Final = "Check out the repository again, into an empty directory."
_SHA1_LENGTH: Final = 40  # in hexadecimal digits; git's other ids are SHA-256


@dataclass(frozen=True, slots=True)
class Repository:
    """An open repository.

    `root` is the directory that holds its `.git`, `repo` is the library's view of it. Hints of
    errors are for a workflow, or without `for_runner` for a terminal. Reading from a damaged
    repository raises `InvalidInputError`.
    """

    root: Path
    repo: Repo
    for_runner: bool = True

    def hint(self, in_a_workflow: str, on_a_terminal: str) -> str:
        """Return the one of two hints that is for the reader."""
        return in_a_workflow if self.for_runner else on_a_terminal

    @property
    def is_shallow(self) -> bool:
        """Whether the clone lacks the parents of some commits (a small `fetch-depth`)."""
        shallow = Path(self.repo.commondir()) / "shallow"
        return shallow.is_file() and shallow.stat().st_size > 0

    @property
    def is_partial(self) -> bool:
        """Whether the clone left objects out on purpose, with `filter` or a sparse checkout."""
        packs = Path(self.repo.commondir()) / "objects" / "pack"
        return any(packs.glob("*.promisor"))

    @property
    def large_files(self) -> Path:
        """Where Git LFS keeps the contents of files, by their SHA-256."""
        return Path(self.repo.commondir()) / "lfs" / "objects"

    def read(self, sha: ObjectID) -> ShaFile | None:
        """Return an object; None if the clone does not have it."""
        from dulwich.objects import ShaFile

        with reading(self.root):
            found = self._checked(sha)
            return None if found is None else ShaFile.from_raw_string(*found, sha)

    def read_raw(self, sha: ObjectID, kind: type[ShaFile]) -> bytes | None:
        """Return the unparsed content of an object; None if the clone has none of that kind."""
        with reading(self.root):
            found = self._checked(sha)
        return None if found is None or found[0] != kind.type_num else found[1]

    def _checked(self, sha: ObjectID) -> tuple[int, bytes] | None:
        """Return the number of its kind and the content of an object; None if it is missing.

        The id is compared with the content: the library takes what a damaged index or file gives.
        """
        from dulwich.errors import ChecksumMismatch
        from dulwich.objects import object_class, object_header

        try:
            number, raw = self.repo.object_store.get_raw(sha)
        except KeyError:
            return None
        if object_class(number) is None:
            raise ValueError(f"{sha.decode()} has the unknown kind {number}")
        algorithm = "sha1" if len(sha) == _SHA1_LENGTH else "sha256"
        digest = hashlib.new(algorithm, object_header(number, len(raw)), usedforsecurity=False)
        digest.update(raw)
        if digest.hexdigest().encode() != sha:
            raise ChecksumMismatch(sha.decode(), digest.hexdigest())
        return number, raw

    def missing_object(self, what: str) -> InvalidInputError:
        """Return the error for a missing object; `what` is the subject of its sentence."""
        if self.is_partial:
            why = "the clone was made with `filter`, or with a sparse checkout, and lacks it"
            hint = self.hint(
                "Remove `filter` and `sparse-checkout` from the inputs of `actions/checkout`.",
                "Clone the repository again, without `--filter`.",
            )
        else:
            why = "it is missing, so the repository is damaged or keeps objects somewhere else"
            hint = AGAIN
        return InvalidInputError.of(message=f"{what} cannot be read: {why}.", hint=hint)


@contextmanager
def open_repository(directory: Path, *, for_runner: bool = True) -> Iterator[Repository]:
    """Open the repository around a directory, whoever owns it; linked work trees work too.

    Hints of errors are for a workflow, or without `for_runner` for a terminal.

    Raises:
        InvalidInputError: there is none, or it cannot be read.
    """
    with reading(directory):
        root = find_root(directory.resolve(), for_runner=for_runner)
        repo = repo_class()(str(root))
    try:
        # The `.git` of a work tree may point to a directory that is not mounted here.
        if not (Path(repo.commondir()) / "objects").is_dir():
            raise InvalidInputError.of(
                message=f"`.git` in {excerpt(str(root))} points to "
                f"{excerpt(repo.controldir())}, and there is no repository there.",
                hint="Let `actions/checkout` run before this step, rather than `git worktree`."
                if for_runner
                else AGAIN,
            )
        yield Repository(root, repo, for_runner)
    finally:
        with suppress(BufferError):  # a signal came while a function looked into a file
            repo.close()


def is_in_repository(directory: Path) -> bool:
    """Whether there is a repository around a directory without links."""
    return any((parent / ".git").exists() for parent in (directory, *directory.parents))


def find_root(directory: Path, *, for_runner: bool = True) -> Path:
    """Return the directory with the `.git` that a file or directory without links is below.

    Raises:
        InvalidInputError: there is none.
    """
    for parent in (directory, *directory.parents):
        git = parent / ".git"
        if git.is_file() or (git / "objects").is_dir():
            return parent
    raise InvalidInputError.of(
        message=f"A git repository is needed to read other commits, and {excerpt(str(directory))} "
        "is not in one.",
        hint="Let `actions/checkout` run before this step, with `fetch-depth: 0`; it needs git in "
        "the job's container to make a repository."
        if for_runner
        else "Run it in a clone of the repository, made with `git clone`.",
    )


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Translate whatever dulwich raises while it reads a damaged repository.

    Raises:
        InvalidInputError: the repository at `place` cannot be read.
    """
    try:
        yield
    except DeployActionError:
        raise  # one of ours, or the deadline or a signal
    except Exception as error:  # a damaged repository makes dulwich raise anything
        from traceback import clear_frames

        clear_frames(error.__traceback__)  # they look into files, which then could not be closed
        why = excerpt(f"{type(error).__name__}: {error}")
        raise InvalidInputError.of(
            message=f"The git repository at {excerpt(str(place))} cannot be read ({why}).",
            hint=AGAIN,
        ) from error


def may_be_tracked(file: Path, *, for_runner: bool = True) -> bool:
    """Whether git tracks `file`; also true where no repository can be read to find out.

    Without a repository, a workflow's files are still those of one: a checkout in a container that
    has no git is made without `.git`. On a terminal, they are nobody's.
    """
    directory = file.parent.resolve()
    try:
        if not for_runner and not is_in_repository(directory):
            return False
        with open_repository(directory) as repository, reading(repository.root):
            name = os.path.relpath(directory / file.name, repository.root)
            return os.fsencode(name) in open_index(repository.repo)
    except InvalidInputError:
        return True
