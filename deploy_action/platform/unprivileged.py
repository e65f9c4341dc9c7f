"""A user for each run of code that is not ours, where we are root: all it has is its own copy.

Without this a model could write to the files by which a runner takes outputs and the environment
of later steps, and into kept environments, and read the bundles of other models, or the copy of
one that runs beside it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy_action.platform.stragglers import has_processes

# Set aside for users that exist as long as a service runs: no account is to have one of these
# (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
_TRANSIENT: Final = range(61_184, 65_520)


def is_root() -> bool:
    """Tell whether we may become somebody else."""
    return os.geteuid() == 0


def unprivileged_user(needed: Iterable[Path]) -> int | None:
    """Return a user that nobody else is, or None to stay who we are.

    None where we are not root, where a user namespace knows no such users, and where one of the
    paths, which that user has to reach, lies in a directory that is closed to others.
    """
    if not is_root() or not _are_mapped(_TRANSIENT) or not all(map(_is_reachable, needed)):
        return None
    return next(user for user in iter(_any_transient, None) if not has_processes(user))


def _any_transient() -> int:
    return secrets.choice(_TRANSIENT)


def hand_over(directory: Path, user: int) -> None:
    """Make a directory, and all in it, the user's; links are not followed."""
    os.lchown(directory, user, user)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.lchown(Path(parent, name), user, user)


def _are_mapped(users: range) -> bool:
    """Tell whether the user namespace we are in has these users (user_namespaces(7))."""
    try:
        ranges = Path("/proc/self/uid_map").read_text("ascii").splitlines()
    except OSError:
        return True  # no Linux, no namespaces
    starts = [tuple(map(int, line.split())) for line in ranges]
    return any(start <= users.start and users.stop <= start + length for start, _, length in starts)


def _is_reachable(path: Path) -> bool:
    """Tell whether others may pass through all directories on the way, links resolved."""
    parents = {*path.absolute().parents, *path.resolve().parents}
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in parents)
