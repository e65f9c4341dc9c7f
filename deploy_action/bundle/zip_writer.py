"""Writes a zip around compressed data: headers, directory and zip64 records.

It follows APPNOTE.TXT 6.3.10. Nothing depends on the run or the machine: one fixed date, two modes
for files, no extra fields except zip64's. Sizes are in the local headers (no data descriptors), so
that streaming readers can read it too.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from deploy_action.records import dataclass

_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")
_CENTRAL_HEADER: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_EXTRA_HEADER: Final = struct.Struct("<2H")

_UNIX: Final = 3 << 8
_VERSION_DEFLATE: Final = 20
_VERSION_ZIP64: Final = 45
_FLAG_UTF8: Final = 0x800
_ZIP64_EXTRA: Final = 1
_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFF_FFFF
# The earliest date the format has: 1980-01-01 00:00:00, as (date, time).
_DATE: Final = (1 << 5) | 1
_TIME: Final = 0
_MODE_DIRECTORY: Final = 0o40755
_MODE_EXECUTABLE: Final = 0o100755
_MODE_FILE: Final = 0o100644
_DOS_DIRECTORY: Final = 0x10
# The two headers of a file without zip64 fields: what they have in common, and what is around that.
_SHARED: Final = struct.Struct("<5H3L2H")
_LOCAL_START: Final = b"PK\x03\x04"
_CENTRAL_START: Final = struct.pack("<4sH", b"PK\x01\x02", _UNIX | _VERSION_DEFLATE)
_CENTRAL_END: Final = struct.Struct("<3H2L")


class Method(IntEnum):
    """How a member's data is packed; the values are the format's."""

    STORED = 0
    DEFLATED = 8


@dataclass(frozen=True, slots=True)
class Zip64Limits:
    """The values from which 64-bit fields are used; tests lower them.

    A full field means "look in the 64-bit field", so the largest value that fits is one less.
    """

    size: int = _FULL_32
    offset: int = _FULL_32
    count: int = _FULL_16


class Output(Protocol):
    """A seekable binary file, such as `open(…, "wb")` returns."""

    def write(self, data: bytes | bytearray, /) -> int:
        """Append `data`."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a place."""


class _Member(NamedTuple):
    name: bytes
    flags: int
    method: Method
    mode: int
    offset: int
    wide: bool


class ZipWriter:
    """Writes members one after the other; the caller checks and sorts their names."""

    def __init__(self, output: Output, limits: Zip64Limits | None = None) -> None:
        """Start an archive at the beginning of `output`."""
        self._output = output
        self._limits = limits or Zip64Limits()
        self._position = 0
        self._central = bytearray()
        self._count = 0
        self._member: _Member | None = None
        self._data_start = 0

    @property
    def final_bytes(self) -> int:
        """The number of bytes at the start of the archive that will not be written again."""
        return self._position if self._member is None else self._member.offset

    def add_directory(self, name: str) -> None:
        """Add an empty directory; `name` is without the trailing slash."""
        member = self._new_member(name + "/", Method.STORED, _MODE_DIRECTORY, 0)
        self._write(_local_header(member, 0, 0, 0))
        self._list(member, 0, 0, 0)

    def add_file(
        self,
        name: str,
        data: Collection[bytes],
        method: Method,
        *,
        crc: int,
        size: int,
        executable: bool,
    ) -> None:
        """Add a file with its packed `data`; `size` is the unpacked size in bytes."""
        packed = sum(map(len, data))
        limits = self._limits
        if size >= limits.size or self._position >= limits.offset:
            member = self._new_member(name, method, _file_mode(executable=executable), size)
            self._write(b"".join((_local_header(member, crc, packed, size), *data)))
            self._list(member, crc, packed, size)
            return
        # A model may have many of these, so this does in a third of the time what the above does.
        encoded = name.encode()
        flags = 0 if len(encoded) == len(name) else _FLAG_UTF8
        shared = _SHARED.pack(
            _VERSION_DEFLATE, flags, method, _TIME, _DATE, crc, packed, size, len(encoded), 0
        )
        end = _CENTRAL_END.pack(0, 0, 0, _file_mode(executable=executable) << 16, self._position)
        self._central += b"".join((_CENTRAL_START, shared, end, encoded))
        self._count += 1
        self._write(b"".join((_LOCAL_START, shared, encoded, *data)))

    def begin_file(self, name: str, method: Method, *, most: int, executable: bool) -> None:
        """Start a file that comes in parts, with at most `most` bytes packed and unpacked."""
        self._member = self._new_member(name, method, _file_mode(executable=executable), most)
        self._write(_local_header(self._member, 0, 0, 0))
        self._data_start = self._position

    def write_part(self, data: bytes) -> None:
        """Append packed data to the current file."""
        self._write(data)

    def end_file(self, *, crc: int, size: int) -> None:
        """Close the current file; `size` is the unpacked size in bytes."""
        member = self._member
        if member is None:
            message = "no file was begun"
            raise ValueError(message)
        packed = self._position - self._data_start
        if not member.wide and max(packed, size) >= self._limits.size:
            message = "the file is larger than was announced"
            raise ValueError(message)
        self._output.seek(member.offset)
        self._output.write(_local_header(member, crc, packed, size))
        self._output.seek(self._position)
        self._list(member, crc, packed, size)
        self._member = None

    def finish(self) -> int:
        """Write the directory of the archive. Returns the archive's size in bytes."""
        start = self._position
        self._write(self._central)
        size = self._position - start
        limits = self._limits
        if self._count >= limits.count or start >= limits.offset or size >= limits.size:
            end64 = _END64.pack(
                b"PK\x06\x06", _END64.size - 12, _UNIX | _VERSION_ZIP64, _VERSION_ZIP64,
                0, 0, self._count, self._count, size, start,
            )  # fmt: skip
            locator = _END64_LOCATOR.pack(b"PK\x06\x07", 0, self._position, 1)
            self._write(end64 + locator)
        count = self._count if self._count < limits.count else _FULL_16
        short_size = size if size < limits.size else _FULL_32
        short_start = start if start < limits.offset else _FULL_32
        self._write(_END.pack(b"PK\x05\x06", 0, 0, count, count, short_size, short_start, 0))
        return self._position

    def _new_member(self, name: str, method: Method, mode: int, most: int) -> _Member:
        encoded = name.encode()
        return _Member(
            name=encoded,
            flags=0 if name.isascii() else _FLAG_UTF8,
            method=method,
            mode=mode,
            offset=self._position,
            wide=most >= self._limits.size,
        )

    def _write(self, data: bytes | bytearray) -> None:
        self._output.write(data)
        self._position += len(data)

    def _list(self, member: _Member, crc: int, packed: int, size: int) -> None:
        """Add a member to the directory of the archive."""
        name, flags, method, mode, offset, wide = member
        far = offset >= self._limits.offset
        extra = b""
        if wide or far:
            extra = _zip64_extra(*((size, packed) if wide else ()), *((offset,) if far else ()))
        version = _VERSION_ZIP64 if extra else _VERSION_DEFLATE
        attributes = mode << 16 | (_DOS_DIRECTORY if mode == _MODE_DIRECTORY else 0)
        self._central += _CENTRAL_HEADER.pack(
            b"PK\x01\x02", _UNIX | version, version, flags, method, _TIME, _DATE, crc,
            _FULL_32 if wide else packed, _FULL_32 if wide else size,
            len(name), len(extra), 0, 0, 0, attributes, _FULL_32 if far else offset,
        )  # fmt: skip
        self._central += name
        self._central += extra
        self._count += 1


def _file_mode(*, executable: bool) -> int:
    return _MODE_EXECUTABLE if executable else _MODE_FILE


def _local_header(member: _Member, crc: int, packed: int, size: int) -> bytes:
    name, flags, method, _, _, wide = member
    extra = _zip64_extra(size, packed) if wide else b""
    header = _LOCAL_HEADER.pack(
        b"PK\x03\x04", _VERSION_ZIP64 if wide else _VERSION_DEFLATE, flags, method, _TIME, _DATE,
        crc, _FULL_32 if wide else packed, _FULL_32 if wide else size, len(name), len(extra),
    )  # fmt: skip
    return header + name + extra


def _zip64_extra(*values: int) -> bytes:
    if not values:
        return b""
    return _EXTRA_HEADER.pack(_ZIP64_EXTRA, 8 * len(values)) + struct.pack(
        f"<{len(values)}Q", *values
    )
