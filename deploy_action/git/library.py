"""Loads dulwich, and lets it open regular files only.

It opens whatever is in the place of one of git's files: a pipe would block it past any deadline,
and a device such as `/dev/zero` fill the memory.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final

from deploy_action.errors import InvalidInputError
from deploy_action.regular_files import open_regular
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from dulwich.repo import Repo

# Packs are not read whole, and may have any size.
_READ_IN_PARTS: Final = (".pack", ".idx")
_LARGEST: Final = 1 << 30
_NOT_REGULAR: Final = frozenset({errno.EINVAL, errno.ENXIO})  # ENXIO: a socket


@cache
def repo_class() -> type[Repo]:
    """Return the library's class of repositories."""
    import dulwich.file
    import dulwich.reftable
    import dulwich.repo

    # The other modules open files with `GitFile` of the first one.
    for module in (dulwich.file, dulwich.reftable, dulwich.repo):
        vars(module)["open"] = _open
    return dulwich.repo.Repo


def _open(path: str | bytes, mode: str = "rb", _buffer: int = -1) -> BinaryIO:
    """Open a file of a repository in place of the built-in function.

    Raises:
        OSError: it cannot be opened, which the library often takes for a missing file.
        InvalidInputError: it is something else, or too large.
    """
    name = os.fsdecode(path)
    if mode != "rb":
        raise OSError(errno.EROFS, "repositories are only read", name)
    if os.path.realpath(name) == os.devnull:  # how git's settings are switched off
        return BytesIO()
    try:
        handle, status = open_regular(name)
    except OSError as error:
        if error.errno not in _NOT_REGULAR:
            raise
        raise _unreadable(name, "it is not a regular file") from error
    if status.st_size > _LARGEST and not name.endswith(_READ_IN_PARTS):
        os.close(handle)
        raise _unreadable(name, "it is larger than 1 GiB")
    return os.fdopen(handle, "rb")


def _unreadable(name: str, why: str) -> InvalidInputError:
    return InvalidInputError.of(
        message=f"{excerpt(name)} of the git repository cannot be read: {why}.",
        hint="Check out the repository again, into an empty directory.",
    )
