"""Reads zip files strictly: what passes is a subset of what `zipfile` reads, and reads the same.

The directory at the end must be the only possible one, and each entry's own header must repeat what
the directory says. So whoever unpacks the file later sees exactly what was checked here.
Layout: PKWARE's APPNOTE.TXT 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from isal import isal_zlib

from deploy_action.records import dataclass
from deploy_action.text.harmless import cut

STORED: Final = 0
DEFLATED: Final = 8
ENCRYPTED: Final = 1 << 0 | 1 << 6 | 1 << 13
PATCHED: Final = 1 << 5
# The longest name of an entry below `model/`, in bytes of UTF-8. The packer has the same limit, in
# `bundle/selection.py`.
LONGEST_NAME: Final = 1_000
_LONGEST_RAW_NAME: Final = len("model/") + LONGEST_NAME + len("/")
_LONGEST_EXTRA: Final = 4_096
_LONGEST_SHOWN: Final = 80

_END: Final = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\x05\x06"
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE: Final = b"PK\x06\x06"
_LOCATOR64: Final = struct.Struct("<4sLQL")
_LOCATOR64_SIGNATURE: Final = b"PK\x06\x07"
_CENTRAL: Final = struct.Struct("<4s4B4HL2L5H2L")
_CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
_LOCAL: Final = struct.Struct("<4s2B4HL2L2H")
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
_MAX_COMMENT: Final = 0xFFFF
_SATURATED32: Final = 0xFFFF_FFFF
_ZIP64_EXTRA: Final = 1
_UNICODE_PATH_EXTRA: Final = 0x7075
_SIZES_FOLLOW: Final = 1 << 3
_UTF8: Final = 1 << 11
_BLOCK: Final = 1 << 18  # in larger ones, the system clears each page of memory anew


class ArchiveError(Exception):
    """The upload is not a bundle; the message says why, for the client."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory is: its offset and size in bytes, its number of entries."""

    offset: int
    size: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, as the central directory describes it.

    `other_name` is the one in Info-ZIP's Unicode field, which some unpackers prefer.
    """

    raw_name: bytes
    name: str
    other_name: str | None
    flags: int
    method: int
    crc: int
    packed: int
    unpacked: int
    offset: int
    mode: int
    disk: int
    wanted_version: int

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, which has no content."""
        return self.name.endswith("/")


def shown(name: str) -> str:
    """Return a name for a message: quoted, and cut if it is long."""
    return repr(cut(name, _LONGEST_SHOWN))


def unsound(reason: str) -> ArchiveError:
    """Return the error for a file that readers may read in different ways, or not at all."""
    return ArchiveError(f"The model is not a sound zip file: {reason}")


# ------------------------------------------------------------------ the end of the file


def find_directory(file: BinaryIO) -> Directory:
    """Return where the central directory is. Raises `ArchiveError` if the file is no zip."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(_END_SIGNATURE)
    if found < 0 or found + _END.size > len(tail):
        raise ArchiveError("The model is not a zip file, or it was cut off")
    end = _END.unpack_from(tail, found)
    if found + _END.size + end[7] != len(tail):
        raise unsound("there is something after its end")
    if end[1:3] != (0, 0) or end[3] != end[4]:
        raise ArchiveError("The model is one part of a zip file that was split")
    directory = Directory(offset=end[6], size=end[5], entries=end[4])
    directory, position = _find_directory64(file, directory, tail_start + found)
    if directory.offset + directory.size != position:
        raise unsound("its directory is not at its end")
    return directory


def _find_directory64(file: BinaryIO, plain: Directory, end: int) -> tuple[Directory, int]:
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
        raise unsound("its zip64 end is out of place")
    file.seek(position)
    record = _END64.unpack(file.read(_END64.size))
    entries, size, offset = record[7:]
    if (
        record[:2] != (_END64_SIGNATURE, _END64.size - 12)
        or record[4:6] != (0, 0)
        or record[6] != entries
    ):
        raise unsound("its zip64 end is damaged")
    return Directory(offset=offset, size=size, entries=entries), position


# ------------------------------------------------------------------ the central directory


def read_directory(file: BinaryIO, directory: Directory) -> Iterator[Entry]:
    """Yield the entries. The caller must not move the file's position meanwhile."""
    file.seek(directory.offset)
    left = directory.size
    for _ in range(directory.entries):
        fields, left = _take(file, _CENTRAL.size, left)
        header = _CENTRAL.unpack(fields)
        if header[0] != _CENTRAL_SIGNATURE:
            raise unsound("its directory is damaged")
        name_length, extra_length, comment_length = header[12:15]
        raw_name, left = _take(file, name_length, left)
        extra, left = _take(file, extra_length, left)
        _, left = _take(file, comment_length, left)
        yield _parse_entry(header, raw_name, extra)
    if left:
        raise unsound("its directory is damaged")


def _take(file: BinaryIO, count: int, left: int) -> tuple[bytes, int]:
    if count > left:
        raise unsound("its directory is damaged")
    return file.read(count), left - count


def _parse_entry(header: tuple[int, ...], raw_name: bytes, extra: bytes) -> Entry:
    name = _decode_name(raw_name, header[5])
    fields = _parse_extra(extra, name)
    packed, unpacked, offset = _resolve_zip64(header, fields.get(_ZIP64_EXTRA, b""), name)
    other_name = fields.get(_UNICODE_PATH_EXTRA)
    return Entry(
        raw_name=raw_name,
        name=name,
        other_name=None if other_name is None else _decode_unicode_path(other_name, name),
        flags=header[5],
        method=header[6],
        crc=header[9],
        packed=packed,
        unpacked=unpacked,
        offset=offset,
        mode=header[17] >> 16,
        disk=header[15],
        wanted_version=header[3],
    )


def _decode_name(raw: bytes, flags: int) -> str:
    """Return a name, unless it is too long: nothing is to be built from such a name."""
    encoding = "utf-8" if flags & _UTF8 else "cp437"
    if len(raw) > _LONGEST_RAW_NAME:
        raise too_long(raw[:_LONGEST_SHOWN].decode(encoding, "replace") + "…", len(raw))
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        name = shown(raw.decode(encoding, "backslashreplace"))
        raise ArchiveError(f"The model has an entry whose name is not UTF-8: {name}") from error


def too_long(name: str, size: int) -> ArchiveError:
    """Return the error for a name of `size` bytes."""
    return ArchiveError(
        f"The model has an entry whose name is too long ({size:,} bytes; below model/ at most"
        f" {LONGEST_NAME:,} are allowed): {shown(name)}"
    )


def _parse_extra(extra: bytes, name: str) -> dict[int, bytes]:
    if len(extra) > _LONGEST_EXTRA:
        raise ArchiveError(
            f"The model has an entry with more than {_LONGEST_EXTRA:,} bytes of extra fields:"
            f" {shown(name)}"
        )
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(extra):
        header = extra[position : position + 4]
        identifier, size = struct.unpack("<2H", header) if len(header) == 4 else (0, len(extra))  # noqa: PLR2004  two shorts
        position += 4 + size
        if position > len(extra) or identifier in fields:
            raise unsound(f"the extra fields of {shown(name)} are damaged")
        fields[identifier] = extra[position - size : position]
    return fields


def _resolve_zip64(header: tuple[int, ...], extra: bytes, name: str) -> tuple[int, int, int]:
    """Return packed size, unpacked size and offset, which may be in the extra field."""
    unpacked, packed, offset = header[11], header[10], header[18]
    wide = [value == _SATURATED32 for value in (unpacked, packed, offset)]
    if len(extra) < 8 * sum(wide):
        raise unsound(f"the zip64 sizes of {shown(name)} are missing")
    values = iter(struct.unpack(f"<{sum(wide)}Q", extra[: 8 * sum(wide)]))
    unpacked, packed, offset = (
        next(values) if is_wide else value
        for is_wide, value in zip(wide, (unpacked, packed, offset), strict=True)
    )
    return packed, unpacked, offset


def _decode_unicode_path(field: bytes, name: str) -> str:
    try:
        return field[5:].decode()
    except UnicodeDecodeError as error:
        raise unsound(f"the Unicode name of {shown(name)} is damaged") from error


# ------------------------------------------------------------------ the entries


def find_content(file: BinaryIO, entry: Entry, end: int) -> int:
    """Compare an entry's own header with the directory; return where its data begins."""
    size = _LOCAL.size + len(entry.raw_name)
    if entry.offset + size > end:
        raise unsound(f"{shown(entry.name)} is cut off")
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
        or (flags ^ entry.flags) & (ENCRYPTED | _UTF8)
        or not (sizes_agree or flags & _SIZES_FOLLOW or _SATURATED32 in sizes)
    ):
        raise unsound(f"the header of {shown(entry.name)} contradicts the directory")
    return entry.offset + size + int(header[11])


def read_content(file: BinaryIO, entry: Entry, start: int) -> Iterator[bytes]:
    """Yield the content of an entry in blocks.

    Raises:
        ArchiveError: it is not, to the byte, what the directory says. What was yielded before is
            not to be used then.
    """
    blocks = _read_blocks(file, start, entry.packed)
    size = crc = 0
    try:
        for block in _inflate(blocks) if entry.method == DEFLATED else blocks:
            size += len(block)
            if size > entry.unpacked:
                break
            crc = isal_zlib.crc32(block, crc)
            yield block
    except zlib.error as error:
        raise _damaged(entry, "it cannot be unpacked") from error
    if size != entry.unpacked:
        relation = "more" if size > entry.unpacked else "less"
        raise _damaged(
            entry, f"it unpacks to {relation} than the {entry.unpacked} bytes it declares"
        )
    if crc != entry.crc:
        raise _damaged(entry, "its checksum is wrong")


def _damaged(entry: Entry, how: str) -> ArchiveError:
    return unsound(f"{shown(entry.name)} is damaged: {how}")


def _read_blocks(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    position, end = start, start + size
    while position < end and (
        block := os.pread(file.fileno(), min(_BLOCK, end - position), position)
    ):
        position += len(block)
        yield block


def _inflate(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield inflated blocks. Raises `zlib.error` unless the data ends where DEFLATE does."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for block in blocks:
        if inflater.eof:
            raise zlib.error("there is something after the end")
        yield inflater.decompress(block, _BLOCK)
        while inflater.unconsumed_tail:
            yield inflater.decompress(inflater.unconsumed_tail, _BLOCK)
    yield inflater.flush()
    if not inflater.eof or inflater.unused_data:
        raise zlib.error("the end is missing, or something is after it")
