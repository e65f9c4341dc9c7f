"""If we are root, each run of foreign code gets its own user, who owns only a copy of the model.

Otherwise a model could write to the files by which a runner reads outputs and the environment of
later steps, change cached environments, and read other models' bundles and working copies.
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

# Reserved for users that exist only while a service runs, so no account has one of these ids
# (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
_TRANSIENT: Final = range(61_184, 65_520)
_drawing: Final = threading.Lock()
_drawn: Final[set[int]] = set()
_TRIAL: Final = 'for path; do [ -r "$path" ] || [ -x "$path" ] || exit 1; done'


def is_root() -> bool:
    """Return whether we may be able to switch to another user."""
    return os.geteuid() == 0


def unprivileged_user(needed: Iterable[Path]) -> int | None:
    """Return an unused user id, or None to keep the current user.

    None if we are not root, if root may not switch users, or if that user could not reach one of
    the `needed` paths: files to read or run, and directories to traverse.
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
    except OSError:  # no capability to do so, or the user namespace has no such user
        return None
    return user if trial.returncode == 0 else None


def hand_over(directory: Path, user: int) -> None:
    """Make a user the owner of a directory and its contents; links are not followed.

    Uses chown(1), because Python's own walk fails if directories are nested too deeply.
    """
    owner = f"{user}:{user}"
    subprocess.run(["chown", "-hR", owner, "--", directory], check=True)  # noqa: S603, S607  # coreutils


def _any_transient() -> int:
    """Draw an id that was not drawn before, so that simultaneous runs do not share one."""
    with _drawing:
        if len(_drawn) == len(_TRANSIENT):
            _drawn.clear()
        user = secrets.choice([one for one in _TRANSIENT if one not in _drawn])
        _drawn.add(user)
    return user
