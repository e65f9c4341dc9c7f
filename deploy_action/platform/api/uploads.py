"""The body of a request: its fields, and the file that comes with them, straight to disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import parse_qsl

MAX_FIELD_BYTES = 1 << 20  # all fields of a request together
MAX_FIELDS = 100
CHUNK_BYTES = 1 << 20


class ByteStream(Protocol):
    """Where a body comes from."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, at most `size`; none at the end."""


class HurriedStream(ByteStream, Protocol):
    """A body that a server gives up when it comes too slowly."""

    def hurry(self, seconds: float, /) -> None:
        """Give the rest so many seconds."""


class UploadError(Exception):
    """The body cannot be taken; `status` is the answer's, the message is for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Body:
    """A request's body, read once, front to back."""

    def __init__(self, stream: ByteStream, length: int | None) -> None:
        """Read `length` bytes of `stream`, or to its end when that is None."""
        self._stream = stream
        self._left = length
        self._allowance: int | None = None
        self._broken = False

    def restrict(self, size: int, seconds: float) -> None:
        """Let at most `size` bytes more come, within `seconds` if the server can see to that."""
        self._allowance = size
        self.hurry(seconds)

    def trust(self) -> None:
        """Lift the restriction."""
        if self._allowance is not None:
            self._allowance = None
            self.hurry(math.inf)

    def hurry(self, seconds: float) -> None:
        """Give the rest so many seconds."""
        if hasattr(self._stream, "hurry"):
            cast("HurriedStream", self._stream).hurry(seconds)

    def read(self, size: int) -> bytes:
        """Return some bytes, at most `size`; none at the end.

        Raises `UploadError` when the client sends less than it announced, or nothing for too long,
        or more than it may.
        """
        wanted = size if self._left is None else min(size, self._left)
        if wanted == 0 or self._broken:
            return b""
        try:
            data = self._stream.read(wanted)
        except (OSError, ValueError) as error:
            self._broken = True
            raise UploadError(400, "The request was cut off") from error
        self._count(data)
        if not data and self._left is not None:
            self._broken = True
            raise UploadError(400, "The request was cut off")
        if self._left is not None:
            self._left -= len(data)
        return data

    def _count(self, data: bytes) -> None:
        if self._allowance is None:
            return
        self._allowance -= len(data)
        if self._allowance < 0:
            self._broken = True
            raise UploadError(413, "The request is too large for a client that is not signed in")

    def drain(self) -> None:
        """Read what is left, so that the client comes to listening to the answer."""
        while self.read(CHUNK_BYTES):
            pass


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that came in: where it is, its size in bytes, its lower-case hex SHA-256."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a request, and its file if there was one."""

    fields: Mapping[str, object]
    file: StoredFile | None = None


@dataclass(frozen=True, slots=True)
class FileSlot:
    """The file part that is wanted, by its field's name, and where it goes."""

    field: str
    path: Path


def read_form(body: Body, content_type: str, slot: FileSlot | None = None) -> Form:
    """Read a body to its end, the file for the slot straight to disk.

    Files that nobody asked for are skipped. Raises `UploadError`, and `OSError` when the disk
    fails.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _read_multipart(body, content_type, slot)
    if kind == "application/json":
        return Form(_parse_json(_read_small(body)))
    if kind == "application/x-www-form-urlencoded":
        return Form(_parse_urlencoded(_read_small(body)))
    body.drain()
    return Form({})


def _read_small(body: Body) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data := body.read(CHUNK_BYTES):
        size += len(data)
        if size > MAX_FIELD_BYTES:
            raise _too_large()
        parts.append(data)
    return b"".join(parts)


def _too_large() -> UploadError:
    return UploadError(413, f"The fields of the request are larger than {MAX_FIELD_BYTES} bytes")


def _parse_json(data: bytes) -> Mapping[str, object]:
    if not data:
        return {}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UploadError(400, "The request is not valid JSON") from error
    if not isinstance(value, dict):
        raise UploadError(400, "The request is not a JSON object")
    # A null is how a client leaves a field out.
    return {name: item for name, item in value.items() if item is not None}


def _parse_urlencoded(data: bytes) -> Mapping[str, object]:
    try:
        return dict(
            parse_qsl(
                data.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_FIELDS,
            )
        )
    except ValueError as error:
        raise UploadError(400, "The fields of the request are not valid") from error


def _read_multipart(body: Body, content_type: str, slot: FileSlot | None) -> Form:
    from multipart import (  # type: ignore[import-untyped]  # it ships no types
        MultipartError,
        PushMultipartParser,
        parse_options_header,
    )

    _, options = parse_options_header(content_type)
    collector = _Collector(slot)
    try:
        with PushMultipartParser(
            options.get("boundary", ""), max_segment_count=MAX_FIELDS
        ) as parser:
            while not parser.closed:
                for event in parser.parse(body.read(CHUNK_BYTES)):
                    collector.take(event)
        body.drain()
        return collector.finish()
    except MultipartError as error:
        raise UploadError(400, "The request is not a valid multipart form") from error
    finally:
        collector.close()


class _Segment(Protocol):
    """What the parser says of a part before its content."""

    name: str
    filename: str | None


class _Collector:
    """Takes the parser's events: fields into memory, the file to disk."""

    def __init__(self, slot: FileSlot | None) -> None:
        self._slot = slot
        self._fields: dict[str, object] = {}
        self._field_bytes = 0
        self._sink: _Sink | None = None
        self._name = ""
        self._parts: list[bytes] = []
        self._write: Callable[[bytes], None] = self._skip

    def take(self, event: _Segment | bytes | None) -> None:
        """Take the beginning, a piece, or the end of a part."""
        if event is None:
            self._end_part()
        elif isinstance(event, bytes):
            self._write(event)
        else:
            self._begin_part(event)

    def finish(self) -> Form:
        """Return everything, the file safely on disk."""
        return Form(self._fields, self._sink.finish() if self._sink else None)

    def close(self) -> None:
        """Close the file, whatever happened."""
        if self._sink is not None:
            self._sink.close()

    def _begin_part(self, segment: _Segment) -> None:
        self._name = segment.name
        self._parts = []
        if self._slot is not None and segment.name == self._slot.field:
            if self._sink is not None:
                raise UploadError(400, f"More than one file called {segment.name}")
            self._sink = _Sink(self._slot.path)
            self._write = self._sink.write
        elif segment.filename is not None:
            self._write = self._skip
        else:
            self._write = self._keep

    def _end_part(self) -> None:
        if self._write == self._keep:
            try:
                self._fields[self._name] = b"".join(self._parts).decode()
            except UnicodeDecodeError as error:
                raise UploadError(400, f"{self._name} is not UTF-8") from error

    def _keep(self, data: bytes) -> None:
        self._field_bytes += len(data)
        if self._field_bytes > MAX_FIELD_BYTES:
            raise _too_large()
        self._parts.append(data)

    def _skip(self, data: bytes) -> None:
        """Let a file nobody asked for go by."""


class _Sink:
    """A file being written, and its digest."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._path = path
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)

    def write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> StoredFile:
        os.fsync(self._file.fileno())
        self._file.close()
        return StoredFile(self._path, self._size, self._sha256.hexdigest())

    def close(self) -> None:
        self._file.close()
