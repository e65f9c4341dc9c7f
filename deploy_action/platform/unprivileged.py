"""A user for code that is not ours, where we are root: it may change nothing but its own copy.

Without this a model could write to the files by which a runner takes outputs and the environment
of later steps, into kept environments, and read the bundles of other models.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NOBODY: Final = 65_534  # as Debian, and the kernel for what it cannot map, have it


def unprivileged_user(needed: Iterable[Path]) -> int | None:
    """Return the user to run as, or None to stay who we are.

    None where we are not root, where a user namespace knows no such user, and where one of the
    paths, which that user has to reach, lies in a directory that is closed to others.
    """
    if os.geteuid() != 0 or not _is_mapped(NOBODY) or not all(map(_is_reachable, needed)):
        return None
    return NOBODY


def hand_over(directory: Path, user: int) -> None:
    """Make a directory, and all in it, the user's; links are not followed."""
    os.lchown(directory, user, user)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.lchown(Path(parent, name), user, user)


def _is_mapped(user: int) -> bool:
    """Tell whether the user namespace we are in has this user (user_namespaces(7))."""
    try:
        ranges = Path("/proc/self/uid_map").read_text("ascii").splitlines()
    except OSError:
        return True  # no Linux, no namespaces
    starts = [tuple(map(int, line.split())) for line in ranges]
    return any(start <= user < start + length for start, _, length in starts)


def _is_reachable(path: Path) -> bool:
    """Tell whether others may pass through all directories on the way, links resolved."""
    parents = {*path.absolute().parents, *path.resolve().parents}
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in parents)
