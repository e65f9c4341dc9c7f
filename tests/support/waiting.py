"""Waits for a state of other processes and threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Seconds. Far more than what is waited for takes, even on a busy machine: only a hang exceeds it.
PATIENCE: Final = 120.0


def wait_for(
    condition: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.02
) -> None:
    """Wait until the condition holds; fail when it takes longer than that.

    Between two looks there is a `pause`: those that ask a server take time from it.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        time.sleep(pause)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone, before or after it was opened
        return False
    return state != b"Z"
