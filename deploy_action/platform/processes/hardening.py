"""What keeps the secrets of this process from the processes that it starts."""

from __future__ import annotations

import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def conceal_process() -> None:
    """Make the kernel refuse others a look into this process's memory and environment.

    A model runs as the same user, which may otherwise read `/proc/PID/environ` of the action, with
    all its inputs in it. Those with CAP_SYS_PTRACE still can; in a container root has it not. See
    prctl(2), PR_SET_DUMPABLE. Elsewhere than on Linux nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
