"""If we are root, each run of foreign code gets its own user, who owns only a copy of the model.

Otherwise a model could write to the files by which a runner reads outputs and the environment of
later steps, change cached environments, and read other models' bundles and working copies.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy_action.platform.processes.stragglers import has_processes

# Reserved for users that exist only while a service runs, so no account has one of these ids
# (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
_TRANSIENT: Final = range(61_185, 65_520)
# One more of these, as which nothing ever runs: it owns what is kept for later users.
NOBODYS_ID: Final = 61_184
_drawing: Final = threading.Lock()
# The latest. One that was drawn may have no process yet; two of the same id would end each other.
_drawn: Final[deque[int]] = deque(maxlen=len(_TRANSIENT) // 2)
# Prints the first path that a user may neither read nor run, or a directory that he may not enter.
_REACHES: Final = (
    'for path; do [ -x "$path" ] || { [ ! -d "$path" ] && [ -r "$path" ]; } || '
    '{ printf %s "$path"; exit; }; done'
)
_WRITES: Final = 'for path; do [ ! -w "$path" ] || printf "%s\\0" "$path"; done'


class NotIsolatedError(Exception):
    """Foreign code cannot get a user of its own: `reason` says why, and `hint` what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def is_root() -> bool:
    """Return whether we may be able to switch to another user."""
    return os.geteuid() == 0


def is_transient(user: int) -> bool:
    """Return whether a user id is one of those that runs get, which no account has."""
    return user in _TRANSIENT


def draw_user(needed: Iterable[Path]) -> int:
    """Return an unused user id that reaches all `needed` paths.

    It may read or run the files, and enter the directories.

    Raises:
        NotIsolatedError: root may not become another user, or that user does not reach one of them.
    """
    user = next(user for user in iter(_any_transient, None) if not has_processes(user))
    paths = [step for path in needed for step in _steps(path)]
    if obstacle := _try_as(user, _REACHES, paths):
        what, right = ("enter", "o+x") if Path(obstacle).is_dir() else ("read", "o+r")
        raise NotIsolatedError(
            f"a model's own user may not {what} {obstacle}",
            f"Allow it to every user with `chmod {right} {shlex.quote(obstacle)}`, or keep what "
            "the model needs elsewhere: Python, this program, the files that pip or uv are set to "
            "read, and the platform's data (`platform-data`, or `--data`).",
        )
    return user


def writable_by(user: int, paths: Iterable[Path]) -> list[Path]:
    """Return those of the existing paths that a user may write to."""
    found = _try_as(user, _WRITES, paths)
    return [Path(path) for path in found.split("\0") if path]


def hand_over(directory: Path, user: int, *, of: int | None = None) -> None:
    """Make a user the owner of a directory and its contents; links are not followed.

    With `of`, only of what belongs to that user: another one may have put hard links there.

    Uses chown(1), because Python's own walk fails if directories are nested too deeply.

    Raises:
        NotIsolatedError: root may not do that.
    """
    only = [] if of is None else [f"--from={of}"]
    command = ["chown", "-hR", *only, f"{user}:{user}", "--", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603  # coreutils
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition(": ")[2] or "chown failed"
        raise NotIsolatedError(
            f"root may not give a model files of its own here ({reason})",
            "Allow the container the capabilities CHOWN, DAC_OVERRIDE, FOWNER, SETGID and SETUID, "
            "which engines give by default, and use a file system that keeps owners.",
        )


def remove_of_others(directory: Path, user: int) -> None:
    """Remove what is in a directory of a user and another one's: a hard link, made to get the file.

    Raises:
        NotIsolatedError: that fails.
    """
    command = ["find", str(directory), "-mindepth", "1", "!", "-uid", str(user), "-delete"]
    try:
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True)  # noqa: S603  # findutils
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotIsolatedError(
            f"what is not the model's cannot be removed from {directory}",
            "Install the program `find`, from the package findutils.",
        ) from error


def let_all_read(directory: Path, user: int) -> None:
    """Let all read what a user owns in a directory, and nobody but the owner change it.

    The user does it: a hard link may lead to what is another one's.
    """
    subprocess.run(  # noqa: S603  # coreutils
        ["chmod", "-R", "a-s,u+rwX,go+rX,go-w", "--", str(directory)],  # noqa: S607  # as above
        env={},
        cwd="/",
        user=user,
        group=user,
        extra_groups=(),
        stderr=subprocess.DEVNULL,  # "Operation not permitted" for all that is another one's
        check=False,
    )


def _steps(path: Path) -> Iterable[Path]:
    """Return all directories that lead to a path, behind links and as written, and the path."""
    for one in dict.fromkeys((path.resolve(), path.absolute())):
        yield from (*reversed(one.parents), one)


def _try_as(user: int, script: str, paths: Iterable[Path]) -> str:
    """Return what a script of the shell prints about paths when a user runs it."""
    try:
        return subprocess.run(  # noqa: S603  # a fixed script; paths are its arguments
            ["/bin/sh", "-c", script, "sh", *map(str, paths)],
            env={},
            cwd="/",
            user=user,
            group=user,
            extra_groups=(),
            stdout=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "strerror", None) or "the shell does not start"
        raise NotIsolatedError(
            f"root may not become another user here ({reason})",
            "Allow the container the capabilities SETGID and SETUID, which engines give by "
            "default, and map the user ids up to 65535 into its user namespace. Or run this "
            "program as a user who is not root.",
        ) from error


def _any_transient() -> int:
    """Draw an id that was not drawn lately, so that simultaneous runs do not share one."""
    with _drawing:
        drawn = set(_drawn)
        user = secrets.choice([one for one in _TRANSIENT if one not in drawn])
        _drawn.append(user)
    return user
