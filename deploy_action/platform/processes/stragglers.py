"""Ends the processes of a run whose launcher was killed: otherwise the launcher ends them all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.records import dataclass

# A process that forks while a round runs may be missed, so the search ends only after several
# rounds in a row that found nothing.
_ROUNDS: Final = 50
_EMPTY_ROUNDS: Final = 3
_PAUSE_SECONDS: Final = 0.01
_ENDED: Final = frozenset({b"Z", b"X"})


def end_stragglers(private: Path, user: int | None = None, *, marker: str | None = None) -> int:
    """Kill every process of a run that lost its launcher; return how many could not be killed.

    `private` is the run's directory. Its processes are those of its `user`, those that have
    `marker` in their environment (`NAME=VALUE`, by default `BACKTESTING_ID` with the name of the
    directory), and, of a run without a user of its own, those whose working directory is in there.
    Does nothing outside Linux.
    """
    return _end(_Run(private, user, (marker or f"BACKTESTING_ID={private.name}").encode()))


def end_marked(marker: str, user: int | None = None) -> int:
    """Kill every process of a user, and those that have `marker` in their environment.

    As `end_stragglers`, where a process of anybody's may be in the directory.
    """
    return _end(_Run(None, user, marker.encode()))


def _end(run: _Run) -> int:
    empty = 0
    found: list[Path] = []
    for _ in range(_ROUNDS):
        if run.user is not None:
            _end_all_of(run.user)
        found = [process for process in _processes() if run.has(process)]
        empty = 0 if found else empty + 1
        if empty == _EMPTY_ROUNDS:
            break
        for process in found:
            _kill(process, run)
        time.sleep(_PAUSE_SECONDS)
    return len(found)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the processes of a run have in common."""

    private: Path | None
    user: int | None
    marker: bytes

    def has(self, process: Path) -> bool:
        """Return whether a process is one of them."""
        task = _living(process)
        if task is None:
            return False
        if self.user is not None and _owner(process) == self.user:
            return True
        with suppress(OSError):  # it has ended, or is another user's
            if self.marker in (task / "environ").read_bytes().split(b"\0"):
                return True
        # All processes of a user of its own were found above. Others are an operator's shell.
        if self.private is None or self.user is not None:
            return False
        with suppress(OSError):
            return (task / "cwd").readlink().is_relative_to(self.private)
        return False


def has_processes(user: int) -> bool:
    """Return whether any process of a user runs."""
    return any(_owner(process) == user and _living(process) for process in _processes())


def _end_all_of(user: int) -> None:
    """Have the user kill all it may: no fork escapes the kernel's own loop (kill(2), pid -1)."""
    subprocess.run(  # a fixed command
        ["/bin/sh", "-c", "kill -KILL -1"],
        env={},
        cwd="/",
        user=user,
        group=user,
        extra_groups=(),
        stderr=subprocess.DEVNULL,  # "No such process" is the usual case: nothing was left
        check=False,
    )


def _processes() -> Iterator[Path]:
    with suppress(FileNotFoundError):  # not Linux
        yield from (
            path
            for path in Path("/proc").iterdir()
            if path.name.isdecimal() and int(path.name) != os.getpid()
        )


def _owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except OSError:  # it has ended
        return None


def _kill(process: Path, run: _Run) -> None:
    """Kill a process if it still is one of the run: its id may be another's by now."""
    number = int(process.name)
    try:
        descriptor = os.pidfd_open(number)
    except OSError as error:
        if error.errno == errno.ENOSYS:  # a kernel before 5.3
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)
        return
    try:
        if run.has(process):
            with suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _living(process: Path) -> Path | None:
    """Return a running thread: the main thread may have ended before the others."""
    try:
        return next((task for task in (process / "task").iterdir() if _lives(task)), None)
    except OSError:  # it has ended
        return None


def _lives(task: Path) -> bool:
    # As bytes: the process name is cut to 15 bytes and may not be valid UTF-8.
    return (task / "stat").read_bytes().rpartition(b")")[2].split()[0] not in _ENDED
