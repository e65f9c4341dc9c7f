"""The bodies of requests to a Deployment API: a form, or a form with a file, which is streamed."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from deploy_action.errors import RefusedError
from deploy_action.http.exchange import LARGEST_ANSWER
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Blocks that are hashed together on another thread; a job for each would take longer than hashing.
_HASHED_TOGETHER: Final = 8


class AlteredFileError(RefusedError):
    """The file does not have the expected digest; the server did not get the whole request."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send as the part `model` of a multipart body.

    `sha256` is the file's digest in hexadecimal: a file with another one is never sent completely.
    `on_progress` gets the bytes sent and the total. The answer may have `largest_answer` bytes.
    It is awaited until `reserve` seconds before the deadline of the run. A server that knows the
    header `Idempotency-Key` acts once on all uploads with the same `key`; blank for none. `now` is
    the header `Backtest-Now`, the time from which a backtest's arguments count back.
    """

    path: Path
    sha256: str
    on_progress: Callable[[int, int], None]
    largest_answer: int = LARGEST_ANSWER
    reserve: float = 0.0
    key: str = ""
    now: str = ""


class FormBody(io.BytesIO):
    """A URL-encoded form of text fields.

    `is_started` tells whether any of it was sent. `sent_at` is when the last of it was, by the
    monotonic clock; None while the server cannot have all of it.
    """

    content_type: Final = "application/x-www-form-urlencoded"
    is_started = False
    sent_at: float | None = None

    def __init__(self, fields: Mapping[str, str]) -> None:
        from urllib.parse import urlencode

        super().__init__(urlencode(fields).encode())

    def __len__(self) -> int:
        return self.getbuffer().nbytes

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next block of at most `size` bytes, empty at the end."""
        self.is_started = True
        block = super().read(size)
        if self.tell() == len(self):
            self.sent_at = time.monotonic()
        return block


class MultipartBody:
    """A multipart form, streamed: `read` returns the fields, then the file block by block.

    The body's length is sent as `Content-Length`, and one block of it is held at a time.
    `is_started` tells whether anything was read, that is, sent. `sent_at` is when the last of it
    was, by the monotonic clock; None while the server cannot have all of it.

    The file's last block is returned only if the whole file had the right digest. Without it the
    body is shorter than announced, and no server acts on that (RFC 9112, section 8).
    """

    def __init__(self, fields: Mapping[str, str], upload: Upload) -> None:
        """Open the file and encode the fields (RFC 7578).

        Raises:
            OSError: the file cannot be read.
        """
        boundary = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.is_started = False
        self.sent_at: float | None = None
        self._upload = upload
        self._file_size = upload.path.stat().st_size
        self._sent = 0
        self._digest = _BlocksDigest()
        head, tail = _encode_head(fields, boundary), f"\r\n--{boundary}--\r\n".encode()
        self._length = len(head) + self._file_size + len(tail)
        self._streams = (io.BytesIO(head), upload.path.open("rb", buffering=0), io.BytesIO(tail))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._digest.close()
        for stream in self._streams:
            stream.close()

    def __len__(self) -> int:
        return self._length

    def read(self, size: int) -> bytes:
        """Return the next block of at most `size` bytes, empty at the end."""
        self.is_started = True
        head, file, tail = self._streams
        if block := head.read(size):
            return block
        # Send only the size measured at the start; ignore bytes appended since.
        block = file.read(min(size, self._file_size - self._sent)) or b""
        self._digest.update(block)
        self._sent += len(block)
        is_end = not block or self._sent == self._file_size
        if is_end and not (self._sent == self._file_size and self._has_right_digest):
            raise self._altered()
        if not block:
            self.sent_at = time.monotonic()
            return tail.read(size)
        self._upload.on_progress(self._sent, self._file_size)
        return block

    @property
    def _has_right_digest(self) -> bool:
        return self._digest.hexdigest() == self._upload.sha256

    def _altered(self) -> AlteredFileError:
        return AlteredFileError.of(
            message="The bundle was changed since it was packed, when its SHA-256 was "
            f"{self._upload.sha256}: the upload was stopped before its end.",
            hint="Find out what writes into the directory for temporary files; it may be the "
            "model itself.",
        )


class _BlocksDigest:
    """The SHA-256 of blocks, hashed on a thread while the next ones are sent."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._blocks: list[bytes] = []
        self._job: Future[None] | None = None
        self._executor: ThreadPoolExecutor | None = None

    def update(self, block: bytes) -> None:
        self._blocks.append(block)
        if len(self._blocks) < _HASHED_TOGETHER:
            return
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(1, thread_name_prefix="digest")
        if self._job is not None:
            self._job.result()  # so that no more blocks wait in memory
        blocks, self._blocks = self._blocks, []
        self._job = self._executor.submit(self._hash, blocks)

    def hexdigest(self) -> str:
        if self._job is not None:
            self._job.result()
        self._hash(self._blocks)
        self._blocks = []
        return self._digest.hexdigest()

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _hash(self, blocks: Sequence[bytes]) -> None:
        for block in blocks:
            self._digest.update(block)


def _encode_head(fields: Mapping[str, str], boundary: str) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"; filename="model.zip"\r\n'
        "Content-Type: application/zip\r\n\r\n"
    )
    return "".join(parts).encode()
