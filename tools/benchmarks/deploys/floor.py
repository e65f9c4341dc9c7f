"""The floor of a deploy: read all files once, deflate on all cores, write once, send once.

    python -I floor.py DIRECTORY HOST PORT TEMPORARY

No zip, no rules on what is packed, no checks, no checksums. ISA-L at level 0 is the fastest deflate
that can be had for Python, and each core has a process of its own, so that no lock of Python's is
in the way. What does not become smaller is kept as it is. The packed bytes go into one unnamed file
for each process, for they have to be somewhere while the first ones are sent: a model of 2 GB need
not fit into memory. Then the kernel sends them (sendfile).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

from isal import isal_zlib

_PART_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 14
_WORTHWHILE = 0.97
_RAW_DEFLATE = -15

Job = list[tuple[str, int]]
"""Files, or a part of one: where to begin to read each."""


def main() -> None:
    """Do it."""
    directory, host, port, temporary = sys.argv[1:]
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = list(_jobs(directory))
    handles = [os.open(temporary, os.O_TMPFILE | os.O_RDWR, 0o600) for _ in range(workers or 1)]
    children = []
    for number, handle in enumerate(handles):
        child = os.fork()
        if not child:
            try:
                _pack(jobs[number :: len(handles)], handle)
            except BaseException:  # noqa: BLE001  # nothing of the parent's may run here
                os._exit(1)
            os._exit(0)
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):  # noqa: C419  # waits for all
        sys.exit("a process failed")
    _send(handles, host, int(port))


def _jobs(directory: str) -> Iterator[Job]:
    """Yield parts of large files, and batches of small ones of about the same size."""
    waiting, batch, batched = [directory], [], 0
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                if entry.is_dir():
                    waiting.append(entry.path)
                    continue
                size = entry.stat().st_size
                if size > _PART_BYTES:
                    yield from ([(entry.path, start)] for start in range(0, size, _PART_BYTES))
                    continue
                batch.append((entry.path, 0))
                batched += size
                if batched >= _PART_BYTES:
                    yield batch
                    batch, batched = [], 0
    if batch:
        yield batch


def _pack(jobs: list[Job], handle: int) -> None:
    for job in jobs:
        data = b"".join(_read(path, start) for path, start in job)
        sample = data[:_SAMPLE_BYTES]
        if len(isal_zlib.compress(sample, 0, _RAW_DEFLATE)) < len(sample) * _WORTHWHILE:
            data = isal_zlib.compress(data, 0, _RAW_DEFLATE)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]


def _read(path: str, start: int) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.pread(handle, _PART_BYTES, start)
    finally:
        os.close(handle)


def _send(handles: list[int], host: str, port: int) -> None:
    sizes = [os.fstat(handle).st_size for handle in handles]
    head = f"POST /model/deploy HTTP/1.1\r\nHost: {host}\r\nContent-Length: {sum(sizes)}\r\n\r\n"
    with socket.create_connection((host, port)) as connection:
        connection.sendall(head.encode())
        for handle, size in zip(handles, sizes, strict=True):
            sent = 0
            while sent < size:
                sent += os.sendfile(connection.fileno(), handle, sent, size - sent)
        if b" 200 " not in connection.recv(1 << 16):
            sys.exit("it was not accepted")


if __name__ == "__main__":
    main()
