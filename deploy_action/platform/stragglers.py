"""What a run leaves outside of its process group: processes that made a session of their own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# Each round kills what it finds; one that forks meanwhile is found in the next.
_ROUNDS: Final = 50
_PAUSE_SECONDS: Final = 0.02
_ENDED: Final = frozenset({b"Z", b"X"})


def end_stragglers(backtest_id: str, user: int | None = None) -> None:
    """Kill every process of a run: those of its own user, and those that name it.

    A model's processes have `BACKTESTING_ID` in their environment, which those they start inherit.
    Elsewhere than on Linux nothing happens.
    """
    marker = f"BACKTESTING_ID={backtest_id}".encode()
    for _ in range(_ROUNDS):
        found = [process for process in _processes() if _is_of_run(process, marker, user)]
        if not found:
            return
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(process.name), signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def has_processes(user: int) -> bool:
    """Tell whether a user runs anything."""
    return any(_is_of_run(process, b"", user) for process in _processes())


def _processes() -> Iterator[Path]:
    with suppress(FileNotFoundError):  # no Linux
        yield from (
            path
            for path in Path("/proc").iterdir()
            if path.name.isdecimal() and int(path.name) != os.getpid()
        )


def _is_of_run(process: Path, marker: bytes, user: int | None) -> bool:
    try:
        # In bytes: a name is cut to 15 of them, and may be anything.
        if (process / "stat").read_bytes().rpartition(b")")[2].split()[0] in _ENDED:
            return False
        if user is not None and process.stat().st_uid == user:
            return True
        return bool(marker) and marker in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return False
