"""Whether a data directory is ours alone: another user may have prepared it, or may change it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError

_HINT: Final = "Use a directory that only this user can write to, or one that does not exist yet."


def check_ownership(data: Path) -> None:
    """Check the directory and what is directly in it; close an empty one that all may write to.

    Everything has to belong to us, to root, or to the owner of the directory above, who could
    replace all of it: on a runner, the container is root, and its directories are the runner's.
    Links to files are refused, because the modes of some files are set.

    Raises:
        InvalidInputError: something belongs to another user, is a link, or could be changed by
            other users before.
        OSError: the directory cannot be read.
    """
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        trusted = {os.geteuid(), 0, os.stat("..", dir_fd=directory).st_uid}
        if data.is_symlink() and data.lstat().st_uid not in trusted:
            raise _refused(data, "is a link that belongs to another user")
        _check(data, directory, trusted)
        with os.scandir(directory) as entries:
            for entry in entries:
                _check_entry(data / entry.name, directory, trusted)
    finally:
        os.close(directory)


def _check_entry(path: Path, directory: int, trusted: set[int]) -> None:
    # Without waiting for the other end of a FIFO.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    is_link = False
    try:
        status = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        is_link = stat.S_ISLNK(status.st_mode)
        is_ours = is_link and status.st_uid in trusted
        if is_ours and stat.S_ISDIR(os.stat(path.name, dir_fd=directory).st_mode):
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


def _check(path: Path, descriptor: int, trusted: set[int], *, may_be_closed: bool = True) -> None:
    status = os.fstat(descriptor)
    is_file = stat.S_ISREG(status.st_mode)
    if status.st_uid not in trusted:
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


def _refused(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError.of(message=f"{path} {why}, so it is not used.", hint=_HINT)
