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
from dataclasses import dataclass, field
from hashlib import file_digest
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from isal import isal_zlib

from deploy_action.bundle.packing import (
    PART_BYTES,
    Member,
    Outgrown,
    Packed,
    pack_outgrown,
    packed_in_order,
)
from deploy_action.bundle.selection import Selection
from deploy_action.bundle.zip_writer import Zip64Limits, ZipWriter
from deploy_action.errors import InvalidInputError, Problem, RefusedError
from deploy_action.regular_files import Tree

ROOT: Final = "model/"
# Incompressible data grows by less than this share, which decides on zip64 fields beforehand.
_EXPANSION: Final = 64
_MOST_WORKERS: Final = 4
_LARGEST_SHOWN: Final = 10
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
    gets the bytes packed and the bytes to pack, about every MiB. `workers` (default: one per
    processor, at most four) has no influence on the bytes. On errors `destination` stays as it was.

    Raises:
        InvalidInputError: a file changed since it was selected, or cannot be read.
        RefusedError: the bundle cannot be written.
    """
    members = _members(selection, injected)
    total = sum(member.size for member in members)
    with _replacing(destination) as (stream, temporary):
        appender = _Appender(ZipWriter(stream, limits), total, on_progress)
        _pack(members, selection.tree, appender, workers or _processors())
        stream.flush()
        size = stream.tell()
        with temporary.open("rb") as finished:
            digest = file_digest(finished, "sha256").hexdigest()
    on_progress(total, total)
    return Bundle(
        path=destination,
        sha256=digest,
        size=size,
        file_count=len(appender.files),
        unpacked_size=appender.done,
        largest=tuple(
            heapq.nsmallest(_LARGEST_SHOWN, appender.files, key=lambda file: (-file[1], file[0]))
        ),
        scripts=frozenset(name for name, _ in appender.files if name.endswith(".py")),
    )


def _processors() -> int:
    """Return the processors this process may use, at most four; a container may have fewer."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    return min(_MOST_WORKERS, os.cpu_count() or 1)


def _members(selection: Selection, injected: Mapping[str, bytes]) -> list[Member]:
    """Return selected and injected files, sorted by name."""
    selected = [entry for entry in selection.entries if entry.name not in injected]
    for name in injected:
        if any(entry.name.startswith(f"{name}/") for entry in selected):
            clash = f"{name} would be a file and a directory in the bundle"
            message = f"{clash}, because {name} is added to it."
            hint = f"Rename {name} in the model."
            raise InvalidInputError(Problem(message=message, hint=hint, path=name))
    members = [Member(entry.name, entry.size, entry) for entry in selected]
    members += [Member(name, len(data), None, data) for name, data in injected.items()]
    return sorted(members, key=attrgetter("name"))


@contextmanager
def _replacing(destination: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a temporary file that becomes `destination`, or is deleted on any failure."""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "w+b", buffering=PART_BYTES) as stream:
            yield stream, temporary
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


def _pack(members: Sequence[Member], tree: Tree, appender: _Appender, workers: int) -> None:
    with closing(packed_in_order(members, tree, workers)) as results:
        for result in results:
            for item in result:
                parts = pack_outgrown(item.member, tree) if isinstance(item, Outgrown) else (item,)
                for part in parts:
                    appender.append(part)
    appender.archive.finish()


@dataclass(slots=True)
class _Appender:
    """Adds packed parts to the archive, and reports progress about every MiB.

    It counts the unpacked bytes that are `done` of the `total`, and lists the names and sizes of
    `files`. `crc` and `size` are sums over the parts of a large file.
    """

    archive: ZipWriter
    total: int
    on_progress: Callable[[int, int], None]
    done: int = 0
    files: list[tuple[str, int]] = field(default_factory=list)
    crc: int = 0
    size: int = 0
    _reported: int = 0

    def append(self, part: Packed) -> None:
        if part.member.is_directory:
            self.archive.add_directory(ROOT + part.member.name)
            return
        if part.is_first and part.is_last:
            self._append_whole(part)
        else:
            self._append_part(part)
        self.done += part.size
        if self.done - self._reported >= PART_BYTES:
            self._reported = self.done
            self.on_progress(min(self.done, self.total), self.total)

    def _append_whole(self, part: Packed) -> None:
        self.archive.add_file(
            ROOT + part.member.name,
            b"".join(part.data),
            part.method,
            crc=part.crc,
            size=part.size,
            executable=part.member.executable,
        )
        self.files.append((part.member.name, part.size))

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
            self.files.append((name, self.size))
            if file is not None:
                file.finish()
