"""Writes a selection as a bundle: a zip that is identical wherever the same files are packed.

All members are below `model/`, sorted by name, and nothing in the zip depends on the machine.
"""

from __future__ import annotations

import errno
import heapq
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import file_digest
from itertools import chain
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from isal import isal_zlib

from deploy_action.bundle.digest import GrowingDigest
from deploy_action.bundle.packing import (
    PART_BYTES,
    Outgrown,
    Packed,
    pack_outgrown,
    packed_in_order,
)
from deploy_action.bundle.selection import Entry, Selection
from deploy_action.bundle.zip_writer import Zip64Limits, ZipWriter
from deploy_action.errors import InvalidInputError, Problem, RefusedError
from deploy_action.records import dataclass, field

ROOT: Final = "model/"
# Incompressible data grows by less than this share, which decides on zip64 fields beforehand.
_EXPANSION: Final = 64
# More would compress faster than one thread writes, and take more memory.
_MOST_WORKERS: Final = 6
_LARGEST_SHOWN: Final = 10
# Of so many files at once, the largest are picked: all would take much memory, single ones time.
_MOST_NOTED: Final = 1_000
_NOTHING_INJECTED: Final[Mapping[str, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished bundle.

    `sha256` is in hex, sizes are in bytes, `file_count` excludes directories. `largest` has name
    and unpacked size of the ten largest files, the largest first. `scripts` are the names of its
    Python files.
    """

    path: Path
    sha256: str
    size: int
    file_count: int
    unpacked_size: int
    largest: tuple[tuple[str, int], ...]
    scripts: frozenset[str] = frozenset()

    def sha256_now(self) -> str:
        """Return the digest that the file has now, to notice a change after packing."""
        with self.path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()


def ignore_progress(_done: int, _total: int) -> None:
    """Do nothing with bytes packed and bytes to pack."""


def write_bundle(
    selection: Selection,
    destination: Path,
    *,
    injected: Mapping[str, bytes] = _NOTHING_INJECTED,
    on_progress: Callable[[int, int], None] = ignore_progress,
    workers: int | None = None,
    limits: Zip64Limits | None = None,
) -> Bundle:
    """Pack the selection into the zip `destination`, readable by its owner only.

    `injected` are files by name at the top of the model, which replace selected ones. `on_progress`
    gets the bytes packed and the bytes to pack, about every MiB. The number of `workers` (default:
    as many as make it fastest) has no influence on the bytes. On errors `destination` stays as it
    was.

    Raises:
        InvalidInputError: a file changed since it was selected, or cannot be read.
        RefusedError: the bundle cannot be written.
    """
    members = _members(selection, injected)
    total = sum(member.size for member in members)
    with _replacing(destination) as stream, GrowingDigest(stream) as digest:
        appender = _Appender(ZipWriter(stream, limits), digest, total, on_progress)
        workers = workers or _workers(total)
        with closing(packed_in_order(members, selection.tree, injected, workers)) as results:
            for item in chain.from_iterable(results):
                if isinstance(item, Outgrown):
                    for part in pack_outgrown(item.member, selection.tree):
                        appender.append(part)
                else:
                    appender.append(item)
        size = appender.archive.finish()
        sha256 = digest.finish(size)
    on_progress(total, total)
    return Bundle(
        path=destination,
        sha256=sha256,
        size=size,
        file_count=appender.count,
        unpacked_size=appender.done,
        largest=appender.largest(),
        scripts=frozenset(appender.scripts),
    )


def _workers(total: int) -> int:
    """Return how many threads pack so many bytes: at most one for each processor, and six.

    One part is packed before the modules for threads are loaded. A container may have fewer
    processors than the machine.
    """
    if total <= PART_BYTES:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    return min(_MOST_WORKERS, os.cpu_count() or 1)


def _members(selection: Selection, injected: Mapping[str, bytes]) -> Sequence[Entry]:
    """Return selected and injected files, sorted by name."""
    if not injected:
        return selection.entries
    selected = [entry for entry in selection.entries if entry.name not in injected]
    for name in injected:
        if any(entry.name.startswith(f"{name}/") for entry in selected):
            clash = f"{name} would be a file and a directory in the bundle"
            message = f"{clash}, because {name} is added to it."
            hint = f"Rename {name} in the model."
            raise InvalidInputError(Problem(message=message, hint=hint, path=name))
    added = (
        Entry(name, "", len(data), executable=False, is_directory=False)
        for name, data in injected.items()
    )
    return sorted((*selected, *added), key=attrgetter("name"))


@contextmanager
def _replacing(destination: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file that becomes `destination`, or is deleted on any failure."""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "w+b", buffering=PART_BYTES) as stream:
            yield stream
        temporary.replace(destination)
    except OSError as error:
        raise RefusedError(_unwritable(destination, error)) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _unwritable(destination: Path, error: OSError) -> Problem:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return Problem(
        message=f"The bundle {destination} cannot be written: {error.strerror or error}.",
        hint="Free some space, or add large files that the model does not need to ignore_files."
        if full
        else "Check that the directory exists and is writable.",
    )


@dataclass(slots=True)
class _Appender:
    """Adds packed parts to the archive; about every MiB it reports progress and goes on hashing.

    It counts the files, and the unpacked bytes that are `done` of the `total`, and lists the names
    of `scripts`. `crc` and `size` are sums over the parts of a large file.
    """

    archive: ZipWriter
    digest: GrowingDigest
    total: int
    on_progress: Callable[[int, int], None]
    done: int = 0
    count: int = 0
    scripts: list[str] = field(default_factory=list)
    crc: int = 0
    size: int = 0
    _reported: int = 0
    _large: list[tuple[str, int]] = field(default_factory=list)

    def largest(self) -> tuple[tuple[str, int], ...]:
        """Return names and sizes of the ten largest files, the largest first."""
        found = heapq.nsmallest(_LARGEST_SHOWN, self._large, key=lambda file: (-file[1], file[0]))
        return tuple(found)

    def _note(self, name: str, size: int) -> None:
        """Note a file that is in the archive."""
        self.count += 1
        if name.endswith(".py"):
            self.scripts.append(name)
        self._large.append((name, size))
        if len(self._large) > _MOST_NOTED:
            self._large[:] = self.largest()

    def append(self, part: Packed) -> None:
        if part.is_first and part.is_last:
            self._append_whole(part)
        else:
            self._append_part(part)
        self.done += part.size
        if self.done - self._reported >= PART_BYTES:
            self._reported = self.done
            self.digest.follow(self.archive.final_bytes)
            self.on_progress(min(self.done, self.total), self.total)

    def _append_whole(self, part: Packed) -> None:
        member, size = part.member, part.size
        name = ROOT + member.name
        if member.is_directory:
            self.archive.add_directory(name)
            return
        self.archive.add_file(
            name, part.data, part.method, crc=part.crc, size=size, executable=member.executable
        )
        self._note(member.name, size)

    def _append_part(self, part: Packed) -> None:
        name, file = part.member.name, part.file
        if part.is_first:
            self.crc = self.size = 0
            most = part.file_size + part.file_size // _EXPANSION
            self.archive.begin_file(
                ROOT + name, part.method, most=most, executable=part.member.executable
            )
        for data in part.data:
            self.archive.write_part(data)
        self.crc = isal_zlib.crc32_combine(self.crc, part.crc, part.size)
        self.size += part.size
        if part.is_last:
            self.archive.end_file(crc=self.crc, size=self.size)
            self._note(name, self.size)
            if file is not None:
                file.finish()
