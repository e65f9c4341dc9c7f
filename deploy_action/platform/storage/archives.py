"""Whether an uploaded file is a bundle that can be unpacked safely, without unpacking it.

What passes is a strict subset of what `zipfile` reads, and reads the same way: the directory at
the end must be the only possible one, and each entry's own header must repeat what the directory
says. So whoever unpacks the bundle later sees exactly what was checked here.
Layout: PKWARE's APPNOTE.TXT 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ROOT = "model"
MANIFEST = f"{ROOT}/blankly.json"
MAX_ENTRIES = 300_000
MAX_DIRECTORY_BYTES = 256 << 20
MAX_MANIFEST_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 64 << 30
# A zip bomb: it unpacks to more bytes than the first number, at a ratio above the second.
# Ordinary price files and logs stay below 100:1; DEFLATE itself ends at 1032:1.
_BOMBS = ((64 << 20, 500), (1 << 30, 100))
_DEFLATE_LIMIT = 1032
# DEFLATE stores incompressible data in blocks of 16 KiB or more, with five extra bytes each.
_BLOCK_BYTES = 16 << 10
_BLOCK_OVERHEAD = 5
_DEFLATE_OVERHEAD = 64

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCATOR64_SIGNATURE = b"PK\x06\x07"
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_CENTRAL_SIGNATURE = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_MAX_COMMENT = 0xFFFF
_SATURATED32 = 0xFFFF_FFFF
_ZIP64_EXTRA = 1
_UNICODE_PATH_EXTRA = 0x7075
_STORED = 0
_DEFLATED = 8
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCHED = 1 << 5
_SIZES_FOLLOW = 1 << 3
_UTF8 = 1 << 11
_NEWEST_VERSION = 63  # zipfile refuses entries that need a later one
_MAX_COMPONENT_BYTES = 255  # of a file name, on every file system we unpack to


class ArchiveError(Exception):
    """The upload is not a bundle; the message says why, for the client."""


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What a bundle holds: how many files, and their size in bytes once unpacked."""

    files: int
    unpacked_bytes: int


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where the central directory is: its offset and size in bytes, its number of entries."""

    offset: int
    size: int
    entries: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry, as the central directory describes it."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    unpacked: int
    offset: int

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


def check_archive(path: Path) -> ArchiveFacts:
    """Return what the bundle at `path` holds. Raises `ArchiveError` when it is not acceptable."""
    with path.open("rb") as file:
        directory = _find_directory(file)
        names = _Names()
        spans: list[tuple[int, int, str]] = []
        manifest: tuple[_Entry, int] | None = None
        unpacked = 0
        for entry in _read_directory(file, directory):
            names.add(entry)
            start = _check_local_header(file, entry, directory.offset)
            spans.append((entry.offset, start + entry.packed, entry.name))
            unpacked += entry.unpacked
            if entry.name == MANIFEST:
                manifest = (entry, start)
        _check_overlaps(spans, directory.offset)
        _check_bomb(unpacked, path.stat().st_size)
        if manifest is None:
            raise ArchiveError(f"The model has no {MANIFEST}")
        _check_manifest(file, *manifest)
    return ArchiveFacts(files=names.files, unpacked_bytes=unpacked)


# ------------------------------------------------------------------ the end of the file


def _find_directory(file: BinaryIO) -> _Directory:
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(_END_SIGNATURE)
    if found < 0 or found + _END.size > len(tail):
        raise ArchiveError("The model is not a zip file, or it was cut off")
    end = _END.unpack_from(tail, found)
    if found + _END.size + end[7] != len(tail):
        raise _unsound("there is something after its end")
    if end[1:3] != (0, 0) or end[3] != end[4]:
        raise ArchiveError("The model is one part of a zip file that was split")
    directory = _Directory(offset=end[6], size=end[5], entries=end[4])
    directory, position = _find_directory64(file, directory, tail_start + found)
    if directory.offset + directory.size != position:
        raise _unsound("its directory is not at its end")
    if directory.entries > MAX_ENTRIES or directory.size > MAX_DIRECTORY_BYTES:
        raise ArchiveError(f"The model has more than {MAX_ENTRIES} entries")
    return directory


def _find_directory64(file: BinaryIO, plain: _Directory, end: int) -> tuple[_Directory, int]:
    """Return the directory and where it must end, from the zip64 records if there are any.

    They count even where the plain record would do, because `zipfile` lets them.
    """
    locator_at = end - _LOCATOR64.size
    if locator_at < 0:
        return plain, end
    file.seek(locator_at)
    signature, disk, position, disks = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
    if signature != _LOCATOR64_SIGNATURE:
        return plain, end
    if disk != 0 or disks != 1 or position + _END64.size != locator_at:
        raise _unsound("its zip64 end is out of place")
    file.seek(position)
    record = _END64.unpack(file.read(_END64.size))
    entries, size, offset = record[7:]
    if (
        record[:2] != (_END64_SIGNATURE, _END64.size - 12)
        or record[4:6] != (0, 0)
        or record[6] != entries
    ):
        raise _unsound("its zip64 end is damaged")
    return _Directory(offset=offset, size=size, entries=entries), position


def _unsound(reason: str) -> ArchiveError:
    return ArchiveError(f"The model is not a sound zip file: {reason}")


# ------------------------------------------------------------------ the central directory


def _read_directory(file: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    """Yield the entries. The caller must not move the file's position meanwhile."""
    file.seek(directory.offset)
    left = directory.size
    for _ in range(directory.entries):
        fields, left = _take(file, _CENTRAL.size, left)
        header = _CENTRAL.unpack(fields)
        if header[0] != _CENTRAL_SIGNATURE:
            raise _unsound("its directory is damaged")
        name_length, extra_length, comment_length = header[12:15]
        raw_name, left = _take(file, name_length, left)
        extra, left = _take(file, extra_length, left)
        _, left = _take(file, comment_length, left)
        yield _parse_entry(header, raw_name, extra)
    if left:
        raise _unsound("its directory is damaged")


def _take(file: BinaryIO, count: int, left: int) -> tuple[bytes, int]:
    if count > left:
        raise _unsound("its directory is damaged")
    return file.read(count), left - count


def _parse_entry(header: tuple[int, ...], raw_name: bytes, extra: bytes) -> _Entry:
    wanted_version, flags, method = header[3], header[5], header[6]
    name = _decode_name(raw_name, flags)
    fields = _parse_extra(extra, name)
    packed, unpacked, offset = _resolve_zip64(header, fields.get(_ZIP64_EXTRA, b""), name)
    entry = _Entry(
        raw_name=raw_name,
        name=name,
        flags=flags,
        method=method,
        crc=header[9],
        packed=packed,
        unpacked=unpacked,
        offset=offset,
    )
    _check_name(name)
    if _UNICODE_PATH_EXTRA in fields:
        _check_name(_decode_unicode_path(fields[_UNICODE_PATH_EXTRA], name))
    _check_kind(entry, mode=header[17] >> 16, disk=header[15])
    _check_packing(entry, wanted_version)
    return entry


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"The model has an entry whose name is not UTF-8: {raw!r}") from error


def _parse_extra(extra: bytes, name: str) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(extra):
        header = extra[position : position + 4]
        identifier, size = struct.unpack("<2H", header) if len(header) == 4 else (0, len(extra))  # noqa: PLR2004  two shorts
        position += 4 + size
        if position > len(extra) or identifier in fields:
            raise _unsound(f"the extra fields of {name!r} are damaged")
        fields[identifier] = extra[position - size : position]
    return fields


def _resolve_zip64(header: tuple[int, ...], extra: bytes, name: str) -> tuple[int, int, int]:
    """Return packed size, unpacked size and offset, which may be in the extra field."""
    unpacked, packed, offset = header[11], header[10], header[18]
    wide = [value == _SATURATED32 for value in (unpacked, packed, offset)]
    if len(extra) < 8 * sum(wide):
        raise _unsound(f"the zip64 sizes of {name!r} are missing")
    values = iter(struct.unpack(f"<{sum(wide)}Q", extra[: 8 * sum(wide)]))
    unpacked, packed, offset = (
        next(values) if is_wide else value
        for is_wide, value in zip(wide, (unpacked, packed, offset), strict=True)
    )
    return packed, unpacked, offset


def _decode_unicode_path(field: bytes, name: str) -> str:
    """Return the name in Info-ZIP's Unicode field, which some unpackers prefer."""
    try:
        return field[5:].decode()
    except UnicodeDecodeError as error:
        raise _unsound(f"the Unicode name of {name!r} is damaged") from error


def _check_name(name: str) -> None:
    """Refuse a name that leads outside the model's directory, or is ambiguous."""
    if name == f"{ROOT}/":
        return
    parts = name.removesuffix("/").split("/")
    if (
        name.startswith("/")
        or "\\" in name
        or "\0" in name
        or ".." in parts
        or re.match("[A-Za-z]:", name)
    ):
        raise ArchiveError(f"The model has an entry that escapes its directory: {name!r}")
    if parts[0] != ROOT or len(parts) < 2:  # noqa: PLR2004  the root, and what is in it
        raise ArchiveError(f"The model has an entry outside {ROOT}/: {name!r}")
    if "" in parts or "." in parts:
        raise ArchiveError(f"The model has an entry with an ambiguous name: {name!r}")
    if any(len(part.encode()) > _MAX_COMPONENT_BYTES for part in parts):
        raise ArchiveError(f"The model has an entry whose name is too long: {name!r}")


def _check_kind(entry: _Entry, *, mode: int, disk: int) -> None:
    if disk != 0:
        raise ArchiveError("The model is one part of a zip file that was split")
    kind = stat.S_IFMT(mode)
    allowed = (0, stat.S_IFDIR) if entry.is_directory else (0, stat.S_IFREG)
    if kind == stat.S_IFLNK:
        raise ArchiveError(f"The model has a symbolic link: {entry.name!r}")
    if kind not in allowed:
        raise ArchiveError(f"The model has an entry that is not a regular file: {entry.name!r}")


def _check_packing(entry: _Entry, wanted_version: int) -> None:
    if entry.flags & _ENCRYPTED:
        raise ArchiveError(f"The model has an encrypted entry: {entry.name!r}")
    if (
        entry.method not in (_STORED, _DEFLATED)
        or entry.flags & _PATCHED
        or wanted_version > _NEWEST_VERSION
    ):
        raise ArchiveError(
            f"The model has an entry that is packed in an unsupported way: {entry.name!r}"
            " (only stored and deflated ones are supported)"
        )
    if not _sizes_agree(entry) or (entry.is_directory and entry.unpacked):
        raise ArchiveError(f"The model has an entry whose size cannot be true: {entry.name!r}")


def _sizes_agree(entry: _Entry) -> bool:
    """Return whether DEFLATE can turn the unpacked size into the packed size."""
    if entry.method == _STORED:
        return entry.packed == entry.unpacked
    blocks = entry.unpacked // _BLOCK_BYTES + 1
    most_packed = entry.unpacked + blocks * _BLOCK_OVERHEAD + _DEFLATE_OVERHEAD
    return entry.packed <= most_packed and entry.unpacked <= _DEFLATE_LIMIT * entry.packed


class _Names:
    """The names seen so far; no two entries may have the same path."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._listed_directories: set[str] = set()
        self._directories: set[str] = set()

    @property
    def files(self) -> int:
        return len(self._files)

    def add(self, entry: _Entry) -> None:
        name = entry.name.removesuffix("/")
        listed = self._listed_directories if entry.is_directory else self._files
        other = self._files if entry.is_directory else self._directories
        if name in listed or name in other:
            raise ArchiveError(f"The model has two entries of one name: {entry.name!r}")
        listed.add(name)
        if entry.is_directory:
            self._directories.add(name)
        self._add_parents(name)

    def _add_parents(self, name: str) -> None:
        while (slash := name.rfind("/")) > 0:
            name = name[:slash]
            if name in self._directories:
                return  # and so are its parents
            if name in self._files:
                raise ArchiveError(f"The model has a file and a directory of one name: {name!r}")
            self._directories.add(name)


# ------------------------------------------------------------------ the entries


def _check_local_header(file: BinaryIO, entry: _Entry, end: int) -> int:
    """Compare an entry's own header with the directory; return where its data begins."""
    size = _LOCAL.size + len(entry.raw_name)
    if entry.offset + size > end:
        raise _unsound(f"{entry.name!r} is cut off")
    found = os.pread(file.fileno(), size, entry.offset)
    header = _LOCAL.unpack_from(found)
    flags, method = header[3], header[4]
    sizes = header[8], header[9]
    sizes_agree = sizes == (min(entry.packed, _SATURATED32), min(entry.unpacked, _SATURATED32))
    if (
        header[0] != _LOCAL_SIGNATURE
        or found[_LOCAL.size :] != entry.raw_name
        or header[10] != len(entry.raw_name)
        or method != entry.method
        or (flags ^ entry.flags) & (_ENCRYPTED | _UTF8)
        or not (sizes_agree or flags & _SIZES_FOLLOW or _SATURATED32 in sizes)
    ):
        raise _unsound(f"the header of {entry.name!r} contradicts the directory")
    return entry.offset + size + int(header[11])


def _check_overlaps(spans: list[tuple[int, int, str]], directory_offset: int) -> None:
    spans.sort()
    reached = 0
    for start, end, name in spans:
        if start < reached:
            raise _unsound(f"{name!r} overlaps another entry")
        reached = end
    if reached > directory_offset:
        raise _unsound(f"{spans[-1][2]!r} is cut off")


def _check_bomb(unpacked: int, size: int) -> None:
    if unpacked > MAX_UNPACKED_BYTES or any(
        unpacked > threshold and unpacked > ratio * size for threshold, ratio in _BOMBS
    ):
        raise ArchiveError(
            f"The model looks like a zip bomb: its {size} bytes would unpack to {unpacked}"
        )


def _check_manifest(file: BinaryIO, entry: _Entry, start: int) -> None:
    try:
        manifest = json.loads(_read_entry(file, entry, start).decode("utf-8-sig"))
    except (ValueError, RecursionError, zlib.error) as error:
        raise ArchiveError(f"The model's {MANIFEST} is not valid JSON") from error
    if not isinstance(manifest, dict):
        raise ArchiveError(f"The model's {MANIFEST} is not a JSON object")


def _read_entry(file: BinaryIO, entry: _Entry, start: int) -> bytes:
    if max(entry.unpacked, entry.packed) > MAX_MANIFEST_BYTES:
        raise ArchiveError(f"The model's {MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
    data = os.pread(file.fileno(), entry.packed, start)
    if entry.method == _DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_MANIFEST_BYTES + 1)
    if len(data) != entry.unpacked or zlib.crc32(data) != entry.crc:
        raise _unsound(f"{entry.name!r} is damaged")
    return data
