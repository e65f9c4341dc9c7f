"""Reads the body of a request: fields into memory, the file straight to disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from deploy_action.platform.api.request import ApiError, StoredFile
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

MAX_FIELD_BYTES = 1 << 20  # all fields of a request together
# As much as the original server takes. Anybody may send JSON, which needs 25 times its size.
MAX_JSON_BYTES = 100 << 10
MAX_FIELDS = 100
MAX_EVENT_BYTES = 4 << 20  # a backtest that was run elsewhere, its values and trades as files
_BATCH_BYTES = 1 << 20


class Body:
    """A request's body, read once, front to back."""

    def __init__(
        self, request: HttpRequest, most: int | None = None, seconds: float | None = None
    ) -> None:
        """Read the body of `request`: at most `most` bytes, in `seconds` from now."""
        self._pieces = request.stream()
        self._end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self._left = most
        # The client sends nothing before we begin to read.
        self._is_held_back = request.headers.get("expect", "").lower() == "100-continue"

    async def read(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises `ApiError`, once, when the client sends less than it announced, or too slowly, or
        more than it may.
        """
        self._is_held_back = False
        try:
            async with asyncio.timeout_at(self._end):
                data = await anext(self._pieces, b"")
        except (ClientDisconnect, OSError) as error:
            raise ApiError("The request was cut off") from error
        if self._left is not None:
            if len(data) > self._left:
                await self._pieces.aclose()
                message = "The request is too large for a client that is not signed in"
                raise ApiError(message, 413)
            self._left -= len(data)
        return data

    async def drain(self) -> None:
        """Read the rest: some clients read the answer only after they have sent everything."""
        if self._is_held_back:
            return
        try:
            while await self.read():
                pass
        except ApiError:
            return  # the first error is the one to report


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a request, and its file if there was one."""

    fields: Mapping[str, object]
    file: StoredFile | None = None


@dataclass(frozen=True, slots=True)
class FileSlot:
    """The name of the file part to keep, and the path to write it to."""

    field: str
    path: Path


@dataclass(slots=True)
class _Fields:
    """The fields of a form, `most` bytes together; with `repeats`, of an event."""

    most: int
    repeats: bool = False
    values: dict[str, object] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        """Add a field. Of one that is there several times the last one counts, or all of them."""
        before = self.values.get(name)
        if not self.repeats or before is None:
            self.values[name] = text
        elif isinstance(before, list):
            before.append(text)
        else:
            self.values[name] = [before, text]


async def read_event(body: Body, content_type: str) -> Mapping[str, object]:
    """Read the fields of an event to the end of the body. Raises `ApiError`.

    Files are fields, too. A field that is there several times is a list: Python clients send lists
    so, and of objects the names.
    """
    return (await _read(body, content_type, None, _Fields(MAX_EVENT_BYTES, repeats=True))).fields


async def read_form(body: Body, content_type: str, slot: FileSlot | None = None) -> Form:
    """Read a body to its end, the file for the slot straight to disk.

    Other files are skipped. Raises `ApiError`, and `OSError` when the disk fails.
    """
    return await _read(body, content_type, slot, _Fields(MAX_FIELD_BYTES))


async def _read(body: Body, content_type: str, slot: FileSlot | None, fields: _Fields) -> Form:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_multipart(body, content_type, slot, fields)
    if kind == "application/json":
        return Form(await run_in_threadpool(_parse_json, await _read_small(body, MAX_JSON_BYTES)))
    if kind == "application/x-www-form-urlencoded":
        data = await _read_small(body, MAX_FIELD_BYTES)
        await run_in_threadpool(_parse_urlencoded, data, fields)
        return Form(fields.values)
    while await body.read():
        pass
    return Form({})


async def _read_small(body: Body, most: int) -> bytes:
    received = bytearray()
    while data := await body.read():
        received += data
        if len(received) > most:
            raise _too_large(most)
    return bytes(received)


def _too_large(most: int) -> ApiError:
    return ApiError(f"The fields of the request are larger than {most} bytes", 413)


def _parse_json(data: bytes) -> Mapping[str, object]:
    if not data:
        return {}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ApiError("The request is not valid JSON") from error
    if not isinstance(value, dict):
        raise ApiError("The request is not a JSON object")
    # Clients leave a field out by sending null.
    return {name: item for name, item in value.items() if item is not None}


def _parse_urlencoded(data: bytes, fields: _Fields) -> None:
    try:
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise ApiError("The fields of the request are not valid") from error
    for name, text in pairs:
        fields.add(name, text)


async def _read_multipart(
    body: Body, content_type: str, slot: FileSlot | None, fields: _Fields
) -> Form:
    reader = await run_in_threadpool(_MultipartReader, content_type, slot, fields)
    batches = _batches(body)
    batch = await anext(batches, b"")
    try:
        while batch:
            # The next batch comes in while a thread parses, digests and writes this one.
            fed = asyncio.ensure_future(run_in_threadpool(reader.feed, batch))
            try:
                batch = await anext(batches, b"")
            finally:
                await fed
        return await run_in_threadpool(reader.finish)
    finally:
        reader.close()


async def _batches(body: Body) -> AsyncIterator[bytes]:
    """Yield a body in batches of about a MiB: threads are too slow for single blocks."""
    pieces, size = list[bytes](), 0
    while data := await body.read():
        pieces.append(data)
        size += len(data)
        if size >= _BATCH_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    yield b"".join(pieces)


class _Segment(Protocol):
    """What the parser yields before the content of a part."""

    name: str
    filename: str | None


class _MultipartReader:
    """Reads a multipart form: fields into memory, the file to disk."""

    def __init__(self, content_type: str, slot: FileSlot | None, fields: _Fields) -> None:
        """Raise `ApiError` when the content type names no boundary, as `feed` and `finish` do."""
        from multipart import (  # type: ignore[import-untyped]  # it ships no types
            PushMultipartParser,
            parse_options_header,
        )

        self._slot = slot
        self._fields = fields
        self._field_bytes = 0
        self._sink: _Sink | None = None
        self._name = ""
        self._parts: list[bytes] = []
        self._write: Callable[[bytes], None] = self._skip
        _, options = parse_options_header(content_type)
        with _form_errors_refused():
            self._parser = PushMultipartParser(
                options.get("boundary", ""), max_segment_count=MAX_FIELDS
            )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body; what follows the form is ignored."""
        if self._parser.closed:
            return
        with _form_errors_refused():
            for event in self._parser.parse(data):
                self._take(event)

    def finish(self) -> Form:
        """Return everything, the file safely on disk."""
        with _form_errors_refused():
            self._parser.close()
        return Form(self._fields.values, self._sink.finish() if self._sink else None)

    def close(self) -> None:
        """Close the file, whatever happened."""
        if self._sink is not None:
            self._sink.close()

    def _take(self, event: _Segment | bytes | None) -> None:
        """Take the beginning, a piece, or the end of a part."""
        if event is None:
            self._end_part()
        elif isinstance(event, bytes):
            self._write(event)
        else:
            self._begin_part(event)

    def _begin_part(self, segment: _Segment) -> None:
        self._name = segment.name
        self._parts = []
        if self._slot is not None and segment.name == self._slot.field:
            if self._sink is not None:
                raise ApiError(f"More than one file called {segment.name}")
            self._sink = _Sink(self._slot.path)
            self._write = self._sink.write
        elif segment.filename is not None and not self._fields.repeats:
            self._write = self._skip
        else:
            self._write = self._keep

    def _end_part(self) -> None:
        if self._write == self._keep:
            try:
                self._fields.add(self._name, b"".join(self._parts).decode())
            except UnicodeDecodeError as error:
                raise ApiError(f"{self._name} is not UTF-8") from error

    def _keep(self, data: bytes) -> None:
        self._field_bytes += len(data)
        if self._field_bytes > self._fields.most:
            raise _too_large(self._fields.most)
        self._parts.append(data)

    def _skip(self, data: bytes) -> None:
        """Skip a part of a file that is not wanted."""


@contextmanager
def _form_errors_refused() -> Iterator[None]:
    from multipart import MultipartError

    try:
        yield
    except MultipartError as error:
        raise ApiError("The request is not a valid multipart form") from error


class _Sink:
    """A file that is being written, with its digest."""

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
