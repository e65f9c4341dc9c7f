"""Locks between processes and threads that end with their holder, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from deploy_action.platform.processes.child_process import StoppedError

_POLL_SECONDS: Final = 0.1
_MODE: Final = 0o644


@dataclass(slots=True)
class FileLock:
    """A lock on a file, which is made where it does not exist."""

    path: Path
    _descriptor: int = -1

    def __enter__(self) -> Self:
        """Return the lock, which is not held yet."""
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def share(self, stop: threading.Event) -> None:
        """Wait until nobody has it alone, and hold it together with others.

        Whoever held it alone gave it up for a moment: what it protects may have changed.

        Raises:
            StoppedError: `stop` was set meanwhile.
        """
        self._wait(fcntl.LOCK_SH, stop)

    def take(self, stop: threading.Event) -> None:
        """Wait until nobody has it, and hold it alone; as `share`."""
        self._wait(fcntl.LOCK_EX, stop)

    def try_take(self) -> bool:
        """Hold the lock alone if nobody has it; tell whether that came off."""
        return self._try(fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the file of a lock that is held alone: whoever waits for it makes a new one."""
        self.path.unlink(missing_ok=True)

    def _wait(self, kind: int, stop: threading.Event) -> None:
        if self._descriptor >= 0:
            # One kind is not changed into another in one step, and not on all systems alike.
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
        self._close()  # removed while we waited: the name is another file's by now, or free
        return False

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _MODE)
        with suppress(PermissionError):  # it is another user's
            os.fchmod(self._descriptor, _MODE)  # whatever the mask of this process is

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
    """Hold a lock alone inside the block if nobody has it; None if somebody does."""
    with FileLock(path) as lock:
        yield lock if lock.try_take() else None
