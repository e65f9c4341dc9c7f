"""Removes and measures directory trees, whatever a model has made of them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 512  # of `st_blocks`, on Linux and macOS


def remove_tree(directory: Path) -> None:
    """Remove a directory tree in which a model may have changed modes.

    What `shutil.rmtree` leaves, chmod and rm remove: it fails on directories nested deeper than
    Python's stack.
    """
    with suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)
    if not os.path.lexists(directory):
        return
    if os.geteuid() != 0:
        _run_quietly("chmod", "-R", "u+rwX", "--", str(directory))
    _run_quietly("rm", "-rf", "--", str(directory))


def _run_quietly(*command: str) -> None:
    import subprocess

    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # noqa: S603  # coreutils


def directories_in(directory: Path) -> Iterator[str]:
    """Yield a directory and all below it; `os.walk` fails if they are nested too deeply."""
    pending = [str(directory)]
    while pending:
        name = pending.pop()
        yield name
        pending += [one.path for one in os.scandir(name) if one.is_dir(follow_symlinks=False)]


def size_of(path: Path) -> int:
    """Return how many bytes a file takes on the disk, or all files in a directory; 0 for none."""
    total = 0
    pending = [str(path)]
    while pending:
        with suppress(OSError):  # removed meanwhile
            name = pending.pop()
            status = os.lstat(name)
            if stat.S_ISDIR(status.st_mode):
                pending += [entry.path for entry in os.scandir(name)]
            else:
                total += status.st_blocks * _BLOCK_BYTES
    return total
