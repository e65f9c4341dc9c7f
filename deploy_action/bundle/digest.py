"""Computes the SHA-256 of a file beside its writing, on a thread."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, Final, Self

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# A job hashes so much, for some milliseconds. Less is not worth one, and more would delay the end
# of a run that is interrupted.
_JOB_BYTES: Final = 8 << 20
_BLOCK_BYTES: Final = 1 << 18


class GrowingDigest:
    """The digest of a file that is written meanwhile; it reads what cannot change any more.

    Use it as a context: at the end, its thread has ended, too.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Start at the beginning of `stream`, which is open for reading and writing."""
        self._stream = stream
        self._digest = sha256()
        self._passed_on = 0
        self._jobs: list[Future[None]] = []
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def follow(self, end: int) -> None:
        """Go on to about the byte `end`: what is before it was written, and stays as it is."""
        if end - self._passed_on < _JOB_BYTES:
            return
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._stream.flush()
        while end - self._passed_on >= _JOB_BYTES:
            start, self._passed_on = self._passed_on, self._passed_on + _JOB_BYTES
            self._jobs.append(self._executor.submit(self._hash, start, self._passed_on))

    def finish(self, size: int) -> str:
        """Return the digest, in hex, of the file of `size` bytes; raises OSError."""
        self._stream.flush()
        for job in self._jobs:
            job.result()
        self._hash(self._passed_on, size)
        return self._digest.hexdigest()

    def _hash(self, start: int, end: int) -> None:
        block = memoryview(bytearray(_BLOCK_BYTES))
        while start < end:
            count = os.preadv(self._stream.fileno(), [block[: end - start]], start)
            if not count:
                raise OSError("it became shorter while it was written")
            self._digest.update(block[:count])
            start += count
