"""What a run leaves outside of its process group: processes that made a session of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# Each round kills what it finds; one that forks meanwhile may be found in the next, so it takes
# several in a row that find nothing.
_ROUNDS: Final = 50
_EMPTY_ROUNDS: Final = 3
_PAUSE_SECONDS: Final = 0.01
_ENDED: Final = frozenset({b"Z", b"X"})


def end_stragglers(backtest_id: str, user: int | None = None) -> None:
    """Kill every process of a run: those of its own user, and those that name it.

    A model's processes have `BACKTESTING_ID` in their environment, which those they start inherit.
    Elsewhere than on Linux nothing happens.
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
    """Tell whether a user runs anything."""
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
    with suppress(FileNotFoundError):  # no Linux
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
    """Return a thread that lives: the first one may have ended before the others."""
    try:
        return next((task for task in (process / "task").iterdir() if _lives(task)), None)
    except OSError:  # it has ended
        return None


def _lives(task: Path) -> bool:
    # In bytes: a name is cut to 15 of them, and may be anything.
    return (task / "stat").read_bytes().rpartition(b")")[2].split()[0] not in _ENDED
