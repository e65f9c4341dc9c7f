"""Ends processes of a run that left its process group by starting their own session."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# A process that forks while a round runs may be missed, so the search ends only after several
# rounds in a row that found nothing.
_ROUNDS: Final = 50
_EMPTY_ROUNDS: Final = 3
_PAUSE_SECONDS: Final = 0.01
_ENDED: Final = frozenset({b"Z", b"X"})


def end_stragglers(backtest_id: str, user: int | None = None) -> None:
    """Kill every process of a run: those of its user, and those that have its id.

    A model's processes have `BACKTESTING_ID` in their environment; their children inherit it. Does
    nothing outside Linux.
    """
    if user is not None:
        _end_all_of(user)
    marker = f"BACKTESTING_ID={backtest_id}".encode()
    empty = 0
    for _ in range(_ROUNDS):
        found = [process for process in _processes() if _names_run(process, marker)]
        empty = 0 if found else empty + 1
        if empty == _EMPTY_ROUNDS:
            return
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(process.name), signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


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


def _names_run(process: Path, marker: bytes) -> bool:
    task = _living(process)
    try:
        return task is not None and marker in (task / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return False


def _living(process: Path) -> Path | None:
    """Return a running thread: the main thread may have ended before the others."""
    try:
        return next((task for task in (process / "task").iterdir() if _lives(task)), None)
    except OSError:  # it has ended
        return None


def _lives(task: Path) -> bool:
    # As bytes: the process name is cut to 15 bytes and may not be valid UTF-8.
    return (task / "stat").read_bytes().rpartition(b")")[2].split()[0] not in _ENDED
