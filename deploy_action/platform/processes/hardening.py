"""Process hardening: child processes cannot read the secrets of this one."""

from __future__ import annotations

import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def harden_process() -> None:
    """Have the kernel deny other processes this one's memory and environment.

    A model runs as the same user, who could otherwise read all inputs of the action from
    `/proc/PID/environ`. A process with CAP_SYS_PTRACE still can; root in a container has no such
    capability. See prctl(2), PR_SET_DUMPABLE. Does nothing outside Linux.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
