"""Compresses files on all processors into parts that arrive in order, in bounded memory.

Files are cut into parts of a fixed size that are compressed independently, so that the bytes do not
depend on the number of threads. Each part except the last ends with a sync flush, on a byte
boundary, so that the joined parts are one deflate stream, as in pigz.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final, NamedTuple

from isal import isal_zlib

from deploy_action.bundle.deflate import deflated
from deploy_action.bundle.selection import Entry, reason_of
from deploy_action.bundle.zip_writer import Method
from deploy_action.errors import InvalidInputError, Problem
from deploy_action.records import dataclass
from deploy_action.regular_files import OpenTree, Tree

# Part of the format: another size would give other bytes for the same files.
PART_BYTES: Final = 1 << 20
_SAMPLE_BYTES: Final = 1 << 16
# Deflate must save at least 3%; less is not worth the time that unpacking takes.
_WORTHWHILE: Final = 0.97
# Passing a job to a thread costs as much as packing a few small files, so they go in batches.
_BATCH_FILES: Final = 256
# Threads wait for one another at every call to the system, and make files that are smaller than
# this, in bytes, slower rather than faster.
_WORTH_A_THREAD: Final = 4096
# Jobs beyond one for each thread, so that none is idle while a result is written: each takes a MiB.
_WAITING_JOBS: Final = 2


@dataclass(slots=True)
class OpenFile:
    """An open file whose parts several threads read, and its status when it was opened."""

    member: Entry
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
            return _read(self.handle, offset, count)
        except OSError as error:
            raise _unpackable(self.member.name, reason_of(error)) from error

    def finish(self) -> None:
        """Close the file after its last part; raise InvalidInputError if it changed meanwhile."""
        now = os.fstat(self.handle)
        self.close()
        _refuse_change(self.member, self.status, now)

    def close(self) -> None:
        """Close the file; may be called again."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


@dataclass(slots=True)
class Packed:
    """The packed data of a member, or of one part of a large one."""

    member: Entry
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

    member: Entry


Packing = Callable[[], Sequence[Packed | Outgrown]]


class Job(NamedTuple):
    """Packs a part of a file, or some files, on another thread if that makes it faster."""

    pack: Packing
    on_thread: bool = True


def packed_in_order(
    members: Sequence[Entry], tree: Tree, injected: Mapping[str, bytes], workers: int
) -> Generator[Sequence[Packed | Outgrown], None, None]:
    """Pack members below `tree` with `workers` threads; close the generator to end them early.

    `injected` has the contents of the members that have no file. Large files come as parts that
    share an OpenFile, which is closed when the generator is.
    Raises InvalidInputError when a file is not what it was.
    """
    opened: list[OpenFile] = []
    try:
        jobs = _jobs(members, tree, injected, opened)
        yield from (job.pack() for job in jobs) if workers == 1 else _on_threads(jobs, workers)
    finally:
        while opened:
            opened.pop().close()


def pack_outgrown(member: Entry, tree: Tree) -> Iterator[Packed]:
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
    from concurrent.futures import ThreadPoolExecutor

    pending: deque[Packing] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="pack")
    try:
        for job in jobs:
            pending.append(executor.submit(job.pack).result if job.on_thread else job.pack)
            if len(pending) > workers + _WAITING_JOBS:
                yield pending.popleft()()
        while pending:
            yield pending.popleft()()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _jobs(
    members: Sequence[Entry], tree: Tree, injected: Mapping[str, bytes], opened: list[OpenFile]
) -> Iterator[Job]:
    batch: list[Entry] = []
    batched = 0
    for member in members:
        large = member.size > PART_BYTES
        if batch and (large or batched + member.size > PART_BYTES or len(batch) == _BATCH_FILES):
            yield _batch_job(batch, batched, tree, injected)
            batch = []
            batched = 0
        if large and member.name not in injected:
            yield from _large_file_jobs(member, tree, opened)
        else:
            batch.append(member)
            batched += member.size
    if batch:
        yield _batch_job(batch, batched, tree, injected)


def _batch_job(batch: Sequence[Entry], size: int, tree: Tree, injected: Mapping[str, bytes]) -> Job:
    pack = partial(_pack_batch, batch, tree, injected)
    return Job(pack, on_thread=size >= _WORTH_A_THREAD * len(batch))


def _large_file_jobs(member: Entry, tree: Tree, opened: list[OpenFile]) -> Iterator[Job]:
    file = _open_one(member, tree)
    opened.append(file)
    file.method = _method_for(file)
    for start in _starts(file):
        yield Job(partial(_pack_part_of_many, file, start))


def _starts(file: OpenFile) -> Sequence[int]:
    return range(0, max(1, file.size), PART_BYTES)


def _method_for(file: OpenFile) -> Method:
    """Decide from samples of the start, the middle and the end whether to deflate a large file."""
    offsets = (0, file.size // 2, max(0, file.size - _SAMPLE_BYTES))
    samples = [file.read(offset, _SAMPLE_BYTES) for offset in offsets]
    packed = sum(len(data) for sample in samples for data in deflated(sample))
    return _better(packed, sum(map(len, samples)))


def _better(packed: int, size: int) -> Method:
    return Method.DEFLATED if packed < size * _WORTHWHILE else Method.STORED


def _pack_part_of_many(file: OpenFile, start: int) -> Sequence[Packed]:
    return (_pack_part(file, start),)


def _pack_part(file: OpenFile, start: int) -> Packed:
    is_last = start + PART_BYTES >= file.size
    raw = file.read(start, PART_BYTES)
    data: tuple[bytes, ...] = (raw,)
    if file.method is Method.DEFLATED:
        data = deflated(raw, is_last=is_last)
    crc = isal_zlib.crc32(raw)
    return Packed(file.member, file.method, data, crc, len(raw), start == 0, is_last, file)


def _pack_batch(
    members: Sequence[Entry], tree: Tree, injected: Mapping[str, bytes]
) -> Sequence[Packed | Outgrown]:
    with _opened(members[0], tree) as files:
        return [_pack_whole(member, files, injected.get(member.name)) for member in members]


def _pack_whole(member: Entry, files: OpenTree, raw: bytes | None) -> Packed | Outgrown:
    """Pack a member with the contents `raw`; if they are None, with those of its file."""
    if member.is_directory:
        return Packed(member, Method.STORED, (), 0, 0)
    if raw is None:
        raw = _read_whole(member, files)
        if raw is None:
            return Outgrown(member)
    data = deflated(raw)
    method = _better(sum(map(len, data)), len(raw))
    kept = data if method is Method.DEFLATED else (raw,)
    return Packed(member, method, kept, isal_zlib.crc32(raw), len(raw))


def _read_whole(member: Entry, files: OpenTree) -> bytes | None:
    """Return what is in a member's file; None if that is more than a part.

    Of small files there may be many, so this goes without an OpenFile.
    """
    try:
        handle, before = files.open(member.source)
        try:
            if before.st_size > PART_BYTES:
                return None
            raw = _read(handle, 0, before.st_size)
            now = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unpackable(member.name, reason_of(error)) from error
    _refuse_change(member, before, now)
    return raw


def _read(handle: int, offset: int, count: int) -> bytes:
    """Return `count` bytes at `offset` of an open file, fewer if it was cut short."""
    data = os.pread(handle, count, offset)
    while len(data) < count:
        more = os.pread(handle, count - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _refuse_change(member: Entry, before: os.stat_result, now: os.stat_result) -> None:
    """Raise InvalidInputError if a file changed while it was open."""
    if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        now.st_size,
        now.st_mtime_ns,
        now.st_ctime_ns,
    ):
        raise _unpackable(member.name, "it changed while it was packed")


@contextmanager
def _opened(member: Entry, tree: Tree) -> Iterator[OpenTree]:
    """Open the model's directory; a problem with it is one of its next member."""
    with ExitStack() as stack:
        try:
            files = stack.enter_context(tree.opened())
        except OSError as error:
            raise _unpackable(member.name, reason_of(error)) from error
        yield files


def _open_one(member: Entry, tree: Tree) -> OpenFile:
    with _opened(member, tree) as files:
        return _open(member, files)


def _open(member: Entry, files: OpenTree) -> OpenFile:
    """Open a member's file; refuse anything that is no longer a regular file of the model."""
    try:
        handle, status = files.open(member.source)
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
