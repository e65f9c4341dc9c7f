"""The prices that models downloaded: a store for each model, which only the platform writes to.

A store is a directory with files of prices, named after what is in them and after their SHA-256.
What they hold is what a model's process said: nothing here vouches for it. So models of which not
everybody is trusted alike have stores of their own (see `store_keys`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_READABLE: Final = 0o755  # models run as other users, and so does a workflow's cache
_OUTBOX_MODE: Final = 0o700
_FILE: Final = 0o644
_NAME: Final = re.compile(r"[0-9a-f]{32}(?:_-?[0-9]{1,12}){5}_([0-9a-f]{64})\.csv")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_PART: Final = ".part"
_BLOCK: Final = 1 << 20
_LARGEST_FILE: Final = 256 << 20
_MOST_FILES: Final = 1_000  # that one run hands over
_MOST_BYTES: Final = 512 << 20
_LARGEST: Final = 2 << 30  # of all stores together
_CUT_OFF_SECONDS: Final = 3600.0


def store_keys(*model: str, scope: str) -> tuple[str, ...]:
    """Return the names of a model's stores: of the one that a run writes to, then of all it reads.

    `scope` separates runs of which later runs of the model must not believe prices, such as those
    of a pull request; blank for others. They read what the others kept, and not the reverse.
    """
    scopes = [scope, ""] if scope else [""]
    return tuple(hashlib.sha256(json.dumps([model, one]).encode()).hexdigest() for one in scopes)


class KeptPrices:
    """The stores in one directory, which several processes may use at once."""

    def __init__(self, directory: Path, largest: int = _LARGEST) -> None:
        """Prepare; the directory is created on first use. Keep `largest` bytes at most."""
        self._directory = directory
        self._largest = largest

    @contextmanager
    def outbox(self, outbox: Path, keys: Sequence[str]) -> Iterator[Outbox | None]:
        """Create the outbox of a run and the stores with these keys; None if that is impossible.

        The oldest files above the limit are removed before.
        """
        stores = [self._directory / key for key in keys]
        try:
            for directory in (self._directory, *stores):
                directory.mkdir(mode=_READABLE, parents=True, exist_ok=True)
                if directory.stat().st_uid == os.geteuid():
                    directory.chmod(_READABLE)  # whatever our umask is
            outbox.mkdir(mode=_OUTBOX_MODE)
            descriptor = os.open(outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # such as a disk that is full: the prices are downloaded once more
            yield None
            return
        try:
            for path in self.unneeded():
                _remove(path)
            yield Outbox(outbox, stores, descriptor)
        finally:
            os.close(descriptor)

    def unneeded(self, before: float = 0.0) -> list[Path]:
        """Return the files above the limit, the oldest ones, and those kept before a time."""
        kept: list[tuple[float, int, Path]] = []
        found: list[Path] = []
        for path, status in self._files():
            if _NAME.fullmatch(path.name):
                kept.append((status.st_mtime, status.st_size, path))
            elif time.time() - status.st_mtime > _CUT_OFF_SECONDS:
                found.append(path)
        total = sum(size for _, size, _ in kept)
        for moment, size, path in sorted(kept):
            if total > self._largest or moment < before:
                found.append(path)
                total -= size
        return found

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        with suppress(OSError):  # nothing was kept yet
            for store in self._directory.iterdir():
                if _KEY.fullmatch(store.name):
                    for path in store.iterdir():
                        with suppress(OSError):  # another process has removed it
                            yield path, path.lstat()


class Outbox:
    """The directory in which one run hands over files."""

    def __init__(self, outbox: Path, stores: Sequence[Path], descriptor: int) -> None:
        """Use the open `descriptor`: the model may put something else in the directory's place.

        The model's process finds the files of all `stores`; the first gets new ones.
        """
        self.places = (outbox, *stores)
        self._store = stores[0]
        self._descriptor = descriptor
        self._files = 0
        self._bytes = 0

    def hear(self, event: Mapping[str, object]) -> None:
        """Do what an event of the model asks for: keep a new file, or drop a kept one.

        Nothing else tells the model's process that it was done: the file is gone from the outbox.
        """
        kept, dropped = event.get("keep"), event.get("drop")
        if isinstance(kept, str) and (match := _NAME.fullmatch(kept)):
            with suppress(OSError):  # the disk is full: the next run downloads again
                self._take(kept, match[1])
            with suppress(OSError):
                os.unlink(kept, dir_fd=self._descriptor)
        if isinstance(dropped, str) and _NAME.fullmatch(dropped):
            _remove(self._store / dropped)

    def _take(self, name: str, digest: str) -> None:
        """Copy a file if its content has this digest, so that it is one that the model could read.

        Files that are there stay as they are.
        """
        target = self._store / name
        # The model controls what is there: do not follow a link, do not wait for a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=self._descriptor), "rb") as source:
            status = os.fstat(source.fileno())
            size = status.st_size
            is_allowed = self._files < _MOST_FILES and self._bytes + size <= _MOST_BYTES
            is_usual = stat.S_ISREG(status.st_mode) and size <= _LARGEST_FILE
            if not is_allowed or not is_usual or target.exists():
                return
            self._files += 1
            self._bytes += size
            part = self._store / f".{uuid.uuid4()}{_PART}"
            try:
                found = hashlib.sha256()
                with part.open("xb") as file:
                    left = size
                    while left and (block := source.read(min(left, _BLOCK))):
                        found.update(block)
                        file.write(block)
                        left -= len(block)
                    os.fchmod(file.fileno(), _FILE)
                if found.hexdigest() == digest:
                    os.utime(
                        part, ns=(time.time_ns(),) * 2
                    )  # the order in which files are preferred
                    part.rename(target)
            finally:
                part.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    with suppress(OSError):  # it is gone, or a directory, which nobody makes here
        path.unlink()
