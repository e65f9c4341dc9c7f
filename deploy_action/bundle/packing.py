"""Compresses files on all processors into parts that arrive in order, in bounded memory.

Files are cut into parts of a fixed size that are compressed independently, so that the bytes do not
depend on the number of threads. Each part except the last ends with a sync flush, on a byte
boundary, so that the joined parts are one deflate stream, as in pigz.

zlib compresses, at level 1. ISA-L is about twice as fast, but at its level 1 the same input gave
other (valid) bytes about once in 15,000 calls, depending on the process (seen with isal 1.9.1 on
x86-64). Only its checksum is used.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from isal import isal_zlib

from deploy_action.bundle.selection import Entry, reason_of
from deploy_action.bundle.zip_writer import Method
from deploy_action.errors import InvalidInputError, Problem
from deploy_action.regular_files import OpenTree, Tree

# Part of the format: another size would give other bytes for the same files.
PART_BYTES: Final = 1 << 20
_SAMPLE_BYTES: Final = 1 << 16
_LEVEL: Final = 1
_RAW_DEFLATE: Final = -15
# Deflate must save at least 3%; less is not worth the time that unpacking takes.
_WORTHWHILE: Final = 0.97
# Passing a job to a thread costs as much as packing a few small files, so they go in batches.
_BATCH_FILES: Final = 256


@dataclass(frozen=True, slots=True)
class Member:
    """A future member of the zip: a selected entry, or bytes injected under its name."""

    name: str
    size: int
    entry: Entry | None
    data: bytes = field(default=b"", repr=False)

    @property
    def executable(self) -> bool:
        """Whether the owner may execute it."""
        return self.entry is not None and self.entry.executable

    @property
    def is_directory(self) -> bool:
        """Whether it is an empty directory."""
        return self.entry is not None and self.entry.is_directory


@dataclass(slots=True)
class OpenFile:
    """An open file whose parts several threads read, and its status when it was opened."""

    member: Member
    handle: int
    status: os.stat_result
    method: Method = Method.STORED

    @property
    def size(self) -> int:
        """Its number of bytes."""
        return self.status.st_size

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes at `offset`, fewer at the end and if the file was cut short."""
        count = min(count, self.size - offset)
        try:
            data = os.pread(self.handle, count, offset)
            while len(data) < count and (
                more := os.pread(self.handle, count - len(data), offset + len(data))
            ):
                data += more
        except OSError as error:
            raise _unpackable(self.member.name, reason_of(error)) from error
        return data

    def finish(self) -> None:
        """Close the file after its last part; raise InvalidInputError if it changed meanwhile."""
        before, now = self.status, os.fstat(self.handle)
        self.close()
        if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
            now.st_size,
            now.st_mtime_ns,
            now.st_ctime_ns,
        ):
            raise _unpackable(self.member.name, "it changed while it was packed")

    def close(self) -> None:
        """Close the file; may be called again."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


@dataclass(frozen=True, slots=True)
class Packed:
    """The packed data of a member, or of one part of a large one."""

    member: Member
    method: Method
    data: tuple[bytes, ...]
    crc: int
    size: int
    is_first: bool = True
    is_last: bool = True
    file: OpenFile | None = None

    @property
    def file_size(self) -> int:
        """The number of bytes of the whole file that are packed."""
        return self.size if self.file is None else self.file.size


@dataclass(frozen=True, slots=True)
class Outgrown:
    """A member that grew too large to be packed at once."""

    member: Member


Job = Callable[[], Sequence[Packed | Outgrown]]


def packed_in_order(
    members: Sequence[Member], tree: Tree, workers: int
) -> Generator[Sequence[Packed | Outgrown], None, None]:
    """Pack members below `tree` with `workers` threads; close the generator to end them early.

    Large files come as parts that share an OpenFile, which is closed when the generator is.
    Raises InvalidInputError when a file is not what it was.
    """
    opened: list[OpenFile] = []
    try:
        jobs = _jobs(members, tree, opened)
        yield from (job() for job in jobs) if workers == 1 else _on_threads(jobs, workers)
    finally:
        while opened:
            opened.pop().close()


def pack_outgrown(member: Member, tree: Tree) -> Iterator[Packed]:
    """Pack a member that outgrew its batch, part by part, in the calling thread."""
    file = _open_one(member, tree)
    try:
        file.method = _method_for(file)
        for start in _starts(file):
            yield _pack_part(file, start)
    finally:
        file.close()


def _on_threads(
    jobs: Iterator[Job], workers: int
) -> Generator[Sequence[Packed | Outgrown], None, None]:
    """Run jobs on threads and yield results in order; only a few are in flight, to bound memory."""
    from concurrent.futures import Future, ThreadPoolExecutor

    pending: deque[Future[Sequence[Packed | Outgrown]]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="pack")
    try:
        for job in jobs:
            pending.append(executor.submit(job))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _jobs(members: Sequence[Member], tree: Tree, opened: list[OpenFile]) -> Iterator[Job]:
    batch: list[Member] = []
    batched = 0
    for member in members:
        large = member.size > PART_BYTES
        if batch and (large or batched + member.size > PART_BYTES or len(batch) == _BATCH_FILES):
            yield partial(_pack_batch, tuple(batch), tree)
            batch.clear()
            batched = 0
        if large and member.entry is not None:
            yield from _large_file_jobs(member, tree, opened)
        else:
            batch.append(member)
            batched += member.size
    if batch:
        yield partial(_pack_batch, tuple(batch), tree)


def _large_file_jobs(member: Member, tree: Tree, opened: list[OpenFile]) -> Iterator[Job]:
    file = _open_one(member, tree)
    opened.append(file)
    file.method = _method_for(file)
    for start in _starts(file):
        yield partial(_pack_part_of_many, file, start)


def _starts(file: OpenFile) -> Sequence[int]:
    return range(0, max(1, file.size), PART_BYTES)


def _method_for(file: OpenFile) -> Method:
    """Decide from samples of the start, the middle and the end whether to deflate a large file."""
    offsets = (0, file.size // 2, max(0, file.size - _SAMPLE_BYTES))
    samples = [file.read(offset, _SAMPLE_BYTES) for offset in offsets]
    packed = sum(len(_deflate(sample)) for sample in samples)
    return _better(packed, sum(map(len, samples)))


def _better(packed: int, size: int) -> Method:
    return Method.DEFLATED if packed < size * _WORTHWHILE else Method.STORED


def _deflate(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL, _RAW_DEFLATE)


def _pack_part_of_many(file: OpenFile, start: int) -> Sequence[Packed]:
    return (_pack_part(file, start),)


def _pack_part(file: OpenFile, start: int) -> Packed:
    is_last = start + PART_BYTES >= file.size
    raw = file.read(start, PART_BYTES)
    data: tuple[bytes, ...] = (raw,)
    if file.method is Method.DEFLATED:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
        end = zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH
        data = (packer.compress(raw), packer.flush(end))
    crc = isal_zlib.crc32(raw)
    return Packed(file.member, file.method, data, crc, len(raw), start == 0, is_last, file)


def _pack_batch(members: Sequence[Member], tree: Tree) -> Sequence[Packed | Outgrown]:
    with _opened(members[0], tree) as files:
        return [_pack_whole(member, files) for member in members]


def _pack_whole(member: Member, files: OpenTree) -> Packed | Outgrown:
    if member.is_directory:
        return Packed(member, Method.STORED, (), 0, 0)
    if member.entry is None:
        raw = member.data
    else:
        file = _open(member, files)
        try:
            if file.size > PART_BYTES:
                return Outgrown(member)
            raw = file.read(0, file.size)
            file.finish()
        finally:
            file.close()
    data = _deflate(raw)
    method = _better(len(data), len(raw))
    kept = data if method is Method.DEFLATED else raw
    return Packed(member, method, (kept,), isal_zlib.crc32(raw), len(raw))


@contextmanager
def _opened(member: Member, tree: Tree) -> Iterator[OpenTree]:
    """Open the model's directory; a problem with it is one of its next member."""
    with ExitStack() as stack:
        try:
            files = stack.enter_context(tree.opened())
        except OSError as error:
            raise _unpackable(member.name, reason_of(error)) from error
        yield files


def _open_one(member: Member, tree: Tree) -> OpenFile:
    with _opened(member, tree) as files:
        return _open(member, files)


def _open(member: Member, files: OpenTree) -> OpenFile:
    """Open a member's file; refuse anything that is no longer a regular file of the model."""
    if member.entry is None:
        message = "injected members have no file"
        raise ValueError(message)
    try:
        handle, status = files.open(member.entry.source)
    except OSError as error:
        raise _unpackable(member.name, reason_of(error)) from error
    return OpenFile(member, handle, status)


def _unpackable(name: str, reason: str) -> InvalidInputError:
    return InvalidInputError(
        Problem(
            message=f"{name} cannot be packed: {reason}.",
            hint="Let nothing write to the model while it is packed, or add the file to "
            "ignore_files.",
            path=name,
        )
    )
