"""How the process of a model is confined: memory, user, and no look into this process."""

from __future__ import annotations

import sys
from typing import Final

from deploy_action.records import dataclass

# With this variable, somebody changes what the files of a model may take, in GB; 0 is no limit.
DISK_VARIABLE: Final = "BLANKLY_DEPLOY_MODEL_DISK"
MOST_DISK_BYTES: Final = 10_000_000_000
_PR_SET_DUMPABLE: Final = 4


@dataclass(frozen=True, slots=True)
class Confinement:
    """Limits of a command; `launcher.py` sets them.

    `memory_bytes` limits the data segment of each process (Linux only). `user` is the user id it
    runs as; its group id is the same number, and it is in no other groups. `control_group` is the
    directory of a control group (version 2) that it joins. `stack_bytes` is the size of the stacks
    of its threads, which count as data. `disk_bytes` limits each file that it writes, and all files
    in `places` together, with those of a user of its own in directories of everybody's.
    """

    memory_bytes: int | None = None
    user: int | None = None
    umask: int = 0o077
    control_group: str | None = None
    stack_bytes: int | None = None
    disk_bytes: int | None = None
    places: tuple[str, ...] = ()


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
