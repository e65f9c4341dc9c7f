"""Where a host keeps models: their private copies, their lasting state, and their locks."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.platform.environments.locks import FileLock
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.platform.processes.unprivileged import (
    NOBODYS_ID,
    NotIsolatedError,
    hand_over,
    is_root,
    is_transient,
)
from deploy_action.platform.storage.data_directory import LIVE, STATE, make_passable
from deploy_action.records import dataclass, field

PRIVATE: Final = "private"  # in a copy: what belongs to the model's user
_STOP_REASON: Final = "stop-reason"
_ROOM: Final = 32  # characters


def owner_if_transient(path: Path) -> int | None:
    """Return the owner of a directory if it is a model's user of its own, and we may be that."""
    with suppress(OSError):
        user = path.lstat().st_uid
        return user if is_root() and is_transient(user) else None
    return None


def _give(state: Path, user: int) -> None:
    try:
        hand_over(state, user, of=state.lstat().st_uid)
    except NotIsolatedError as error:
        raise PermissionError(errno.EPERM, error.reason) from error


@dataclass(frozen=True, slots=True)
class Copy:
    """A fresh copy of a version, for one start.

    The directory is the server's, which can be entered; what is in `private` is the model's.
    """

    path: Path

    @property
    def private(self) -> Path:
        """The directory that belongs to the model's user, with its home and temporary files."""
        return self.path / PRIVATE

    @property
    def stop_reason(self) -> Path:
        """The file with the reason of a stop, which the model may read and not change."""
        return self.path / _STOP_REASON

    def make_room(self) -> None:
        """Write a file of blanks, so that a reason can be given on a full disk, too."""
        descriptor = os.open(self.stop_reason, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o644)  # whatever our umask is
            file.write(" " * _ROOM)

    def give_reason(self, reason: str) -> None:
        """Write the reason of a stop over the blanks."""
        descriptor = os.open(self.stop_reason, os.O_WRONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(reason)

    @property
    def user(self) -> int | None:
        """The user of its own that the model ran as, if it had one."""
        return owner_if_transient(self.private)

    def remove(self) -> None:
        """Remove it: it may hold exchange keys."""
        remove_tree(self.path)


@dataclass(frozen=True, slots=True)
class Places:
    """The places of all models in a directory, which one server uses at a time.

    `problems` are to be shown with each model.
    """

    directory: Path
    problems: tuple[Problem, ...] = ()
    _ours: set[Path] = field(default_factory=set)

    @classmethod
    def of(cls, data: Path, models: Path) -> Places:
        """Return those of a data directory; `models` is where its models are.

        If that is elsewhere, other servers may have their models there, too.
        """
        if models == data:
            return cls(data.resolve())
        name = hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:16]
        directory = models.resolve() / f"{LIVE}-{name}"
        problem = Problem(
            message=f"What the model keeps in BLANKLY_STATE_DIR is in {directory / STATE}, and in "
            "no backup of the server's data: models cannot reach that.",
            hint=f"Keep the server's data where every user may pass, instead of in {data}.",
            severity=Severity.WARNING,
        )
        return cls(directory, (problem,))

    def make(self) -> None:
        """Make the directories."""
        live = self.directory / LIVE
        for path in (self.directory, live, live / "copies", self.directory / STATE):
            make_passable(path)
        self._locks.mkdir(mode=0o700, exist_ok=True)

    @property
    def _locks(self) -> Path:
        return self.directory / LIVE / "locks"

    def _copies(self, place: str) -> Path:
        return self.directory / LIVE / "copies" / place

    def lock(self, place: str) -> FileLock:
        """Return the lock of a model, not yet held. No other user can open its file."""
        return FileLock(self._locks / place)

    @contextmanager
    def new_copy(self, place: str) -> Iterator[Copy]:
        """Make a directory for a copy, and remove it after the block."""
        make_passable(self._copies(place))
        copy = Copy(self._copies(place) / uuid.uuid4().hex)
        self._ours.add(copy.path)
        try:
            make_passable(copy.path)
            copy.private.mkdir(mode=0o700)
            copy.make_room()
            yield copy
        finally:
            copy.remove()
            self._ours.discard(copy.path)

    def others_copies(self, place: str) -> list[Copy]:
        """Return the copies of a model that an earlier server has left."""
        with suppress(FileNotFoundError):
            found = list(self._copies(place).iterdir())
            return [Copy(path) for path in found if path not in self._ours]
        return []

    def state(self, place: str) -> Path:
        """Return the directory of a model that survives restarts and new versions."""
        return self.directory / STATE / place

    def hand_state(self, place: str, user: int | None) -> None:
        """Make the state directory if there is none, and give it to the model's user.

        Raises:
            OSError: that fails; root may not do it.
        """
        state = self.state(place)
        state.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            _give(state, user)

    def park_state(self, place: str) -> None:
        """Take the state directory from the model's user, whose id others get later.

        Raises:
            OSError: root may not do that.
        """
        state = self.state(place)
        if is_root() and state.is_dir():
            _give(state, NOBODYS_ID)

    def names(self) -> set[str]:
        """Return the names of all models of which there is something."""
        folders = (self.directory / LIVE / "copies", self.directory / STATE, self._locks)
        return {path.name for folder in folders for path in folder.iterdir()}

    def forget(self, place: str) -> None:
        """Remove all of a model; the caller holds its lock."""
        for path in (self._copies(place), self.state(place)):
            remove_tree(path)
