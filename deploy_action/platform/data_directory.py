"""The directory the platform keeps its data in: made, recognised, and locked while it changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_action.errors import InvalidInputError, Problem

DATABASE = "platform.sqlite"
INCOMING = "incoming"  # uploads on their way in
BUNDLES = "bundles"  # VERSION_ID.zip
REFRESH_TOKEN = "refresh-token"  # noqa: S105  the name of a file
_LOCK = ".lock"
# A freshly made file system that is mounted as the directory holds this one.
_HARMLESS = frozenset({"lost+found"})
_OURS = frozenset({DATABASE, INCOMING, BUNDLES, REFRESH_TOKEN, _LOCK})


def prepare(data: Path) -> None:
    """Make `data` (mode 0700) where it does not exist; refuse a directory of someone else's.

    Raises `InvalidInputError` when it cannot be made or holds files that are not the platform's.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {entry.name for entry in data.iterdir()}
    except OSError as error:
        raise InvalidInputError(
            Problem(
                message=f"The platform's data directory {data} cannot be used: {error.strerror}.",
                hint="Name a directory that can be written to, or one that does not exist yet.",
            )
        ) from error
    if DATABASE not in names and any(not _is_ours(name) for name in names):
        raise InvalidInputError(
            Problem(
                message=f"{data} is not empty, and not a data directory of this platform.",
                hint="Name an empty directory, or one that does not exist yet.",
            )
        )


def _is_ours(name: str) -> bool:
    return name in _OURS | _HARMLESS or name.startswith(f".{REFRESH_TOKEN}.")


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Keep other processes from setting up the same directory meanwhile.

    The kernel drops the lock when the process ends, however it ends.
    """
    import fcntl

    descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make names that were just added to `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
