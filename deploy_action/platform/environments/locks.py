"""File locks between processes and threads; the kernel releases them when the holder dies."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.records import dataclass

_POLL_SECONDS: Final = 0.1
_MODE: Final = 0o644


@dataclass(slots=True)
class FileLock:
    """A shared or exclusive lock on a file, which is created if missing."""

    path: Path
    _descriptor: int = -1

    @property
    def descriptor(self) -> int:
        """The lock's file; a process that inherits it holds the lock, too. -1 if it is not open."""
        return self._descriptor

    def __enter__(self) -> Self:
        """Return the lock, not yet held."""
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def share(self, stop: threading.Event) -> None:
        """Wait for the shared lock.

        Going from exclusive to shared releases the lock for a moment: what it protects may have
        changed.

        Raises:
            StoppedError: `stop` was set.
        """
        self._wait(fcntl.LOCK_SH, stop)

    def take(self, stop: threading.Event) -> None:
        """Wait for the exclusive lock; as `share`."""
        self._wait(fcntl.LOCK_EX, stop)

    def try_take(self) -> bool:
        """Take the exclusive lock if nobody holds the lock; return whether it was taken."""
        return self._try(fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the file of an exclusive lock; those who wait for it make a new one."""
        self.path.unlink(missing_ok=True)

    def _wait(self, kind: int, stop: threading.Event) -> None:
        if self._descriptor >= 0:
            # Converting a lock is not atomic, and differs between systems: release it first.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        while not self._try(kind):
            if stop.wait(_POLL_SECONDS):
                raise StoppedError

    def _try(self, kind: int) -> bool:
        if self._descriptor < 0:
            self._open()
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            is_held = True
        except BlockingIOError:
            is_held = False
        if self._is_current():
            return is_held
        self._close()  # the file was removed while we waited, and perhaps made again
        return False

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _MODE)
        with suppress(PermissionError):  # another user's file
            os.fchmod(self._descriptor, _MODE)  # whatever our umask is

    def _is_current(self) -> bool:
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        held = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def taken_if_free(path: Path) -> Iterator[FileLock | None]:
    """Hold the exclusive lock inside the block, or yield None if somebody holds the lock."""
    with FileLock(path) as lock:
        yield lock if lock.try_take() else None
