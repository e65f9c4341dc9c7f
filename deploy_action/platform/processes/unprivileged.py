"""A user for each run of code that is not ours, where we are root: all it has is its own copy.

Without this a model could write to the files by which a runner takes outputs and the environment
of later steps, and into kept environments, and read the bundles of other models, or the copy of
one that runs beside it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy_action.platform.processes.stragglers import has_processes

# Set aside for users that exist as long as a service runs: no account is to have one of these
# (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
_TRANSIENT: Final = range(61_184, 65_520)
_drawing: Final = threading.Lock()
_drawn: Final[set[int]] = set()
_TRIAL: Final = 'for path; do [ -r "$path" ] || [ -x "$path" ] || exit 1; done'


def is_root() -> bool:
    """Tell whether we may be able to become somebody else."""
    return os.geteuid() == 0


def unprivileged_user(needed: Iterable[Path]) -> int | None:
    """Return a user that nobody else is, or None to stay who we are.

    None where we are not root, where root may not become somebody else, and where that user could
    not reach one of the paths, each a file to be read or run, or a directory to pass through.
    """
    if not is_root():
        return None
    user = next(user for user in iter(_any_transient, None) if not has_processes(user))
    try:
        trial = subprocess.run(  # noqa: S603  # a fixed script; paths are its arguments
            ["/bin/sh", "-c", _TRIAL, "sh", *map(str, needed)],
            env={},
            cwd="/",
            user=user,
            group=user,
            extra_groups=(),
            check=False,
        )
    except OSError:  # without the capabilities, or in a user namespace that knows no such user
        return None
    return user if trial.returncode == 0 else None


def hand_over(directory: Path, user: int) -> None:
    """Make a directory, and all in it, the user's; links are not followed.

    By a program: Python's own walk ends where directories are nested deeper than its stack.
    """
    owner = f"{user}:{user}"
    subprocess.run(["chown", "-hR", owner, "--", directory], check=True)  # noqa: S603, S607  # coreutils


def _any_transient() -> int:
    """Draw a user that was not drawn before: two runs that begin at once would share one."""
    with _drawing:
        if len(_drawn) == len(_TRANSIENT):
            _drawn.clear()
        user = secrets.choice([one for one in _TRANSIENT if one not in _drawn])
        _drawn.add(user)
    return user
