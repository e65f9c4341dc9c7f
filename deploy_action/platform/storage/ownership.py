"""Whether a data directory is ours alone: another user may have prepared it, or may change it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError
from deploy_action.records import dataclass

_HINT: Final = (
    "Use a directory that only this user can write to, or one that does not exist yet, or run this "
    "program as its owner."
)
_HINT_ABOVE: Final = (
    "Use a directory of this user in a place that no other user may change, such as /var/lib or "
    "this user's home."
)


@dataclass(frozen=True, slots=True)
class _Trusted:
    """Users who may own everything, and directories above which nothing is checked."""

    users: frozenset[int]
    places: frozenset[Path]


def check_ownership(data: Path, homes: Iterable[Path] = ()) -> None:
    """Check the directory and what is directly in it; close an empty one that all may write to.

    Everything has to belong to us, to root, or to the owner of one of `homes`, and so do the
    directories above, up to one of them: on a runner, the container is root, and its directories
    are the runner's. Links to files are refused, because the modes of some files are set.

    Raises:
        InvalidInputError: something belongs to another user, is a link, or could be changed by
            other users before; or another user could replace the directory.
        OSError: the directory cannot be read.
    """
    found = [home for home in homes if home.is_dir()]
    trusted = _Trusted(
        users=frozenset({os.geteuid(), 0, *(home.stat().st_uid for home in found)}),
        places=frozenset(place for home in found for place in (home.absolute(), home.resolve())),
    )
    _check_above(data, trusted)
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(data, directory, trusted)
        with os.scandir(directory) as entries:
            for entry in entries:
                _check_entry(data / entry.name, directory, trusted)
    finally:
        os.close(directory)


def _check_above(path: Path, trusted: _Trusted) -> None:
    """Check the links and directories that lead to a path, and to where its links lead."""
    for place in dict.fromkeys((path.absolute(), path.resolve())):
        for step in (place, *place.parents):
            if step in trusted.places:
                break
            status = step.lstat()
            if step == place and not stat.S_ISLNK(status.st_mode):
                continue
            if status.st_uid not in trusted.users:
                why = f"may be replaced by the owner of {step} ({status.st_uid})"
                raise _refused(place, why, _HINT_ABOVE)
            is_open = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IWOTH
            if is_open and not status.st_mode & stat.S_ISVTX:
                why = f"may be replaced by all users, who may write to {step}"
                raise _refused(place, why, _HINT_ABOVE)


def _check_entry(path: Path, directory: int, trusted: _Trusted) -> None:
    # Without waiting for the other end of a FIFO.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    is_link = False
    try:
        status = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        is_link = stat.S_ISLNK(status.st_mode)
        is_ours = is_link and status.st_uid in trusted.users
        if is_ours and stat.S_ISDIR(os.stat(path.name, dir_fd=directory).st_mode):
            _check_above(path, trusted)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        elif not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise _refused(path, "is a link or a device, and should be a file or a directory")
        descriptor = os.open(path.name, flags, dir_fd=directory)
    except FileNotFoundError:
        if is_link:
            raise _refused(path, "is a link to nothing") from None
        return  # another process removed its temporary file
    try:
        _check(path, descriptor, trusted, may_be_closed=not is_link)
    finally:
        os.close(descriptor)


def _check(path: Path, descriptor: int, trusted: _Trusted, *, may_be_closed: bool = True) -> None:
    status = os.fstat(descriptor)
    is_file = stat.S_ISREG(status.st_mode)
    if status.st_uid not in trusted.users:
        raise _refused(path, f"belongs to another user ({status.st_uid})")
    if is_file and status.st_nlink > 1:
        raise _refused(path, "has a second name elsewhere (a hard link)")
    if status.st_mode & stat.S_IWOTH:
        is_owner = os.geteuid() in {0, status.st_uid}
        if is_file or not (is_owner and may_be_closed) or not _is_empty(descriptor):
            raise _refused(path, "can be written by all users, who may have changed it")
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))


def _is_empty(directory: int) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def _refused(path: Path, why: str, hint: str = _HINT) -> InvalidInputError:
    return InvalidInputError.of(message=f"{path} {why}, so it is not used.", hint=hint)
