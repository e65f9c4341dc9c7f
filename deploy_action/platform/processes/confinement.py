"""How the process of a model is confined: memory, user, and no look into this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

_PR_SET_DUMPABLE: Final = 4


@dataclass(frozen=True, slots=True)
class Confinement:
    """Limits of a command; `launcher.py` sets them.

    `memory_bytes` limits the data segment of each process (Linux only). `user` is the user id it
    runs as; its group id is the same number, and it is in no other groups. `control_group` is the
    directory of a control group (version 2) that it joins. `stack_bytes` is the size of the stacks
    of its threads, which count as data.
    """

    memory_bytes: int | None = None
    user: int | None = None
    umask: int = 0o077
    control_group: str | None = None
    stack_bytes: int | None = None


UNCONFINED: Final = Confinement()


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
