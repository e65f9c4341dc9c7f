"""Reads SQLite's write-ahead log as SQLite does, which takes a damaged one for one that ends early.

The format is that of https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import struct
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, Final

from deploy_action.records import dataclass

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = 0x377F0682  # plus one where checksums are of big-endian words
_HEADER_CHECKED: Final = 24  # bytes, which the header's checksum is of
_FRAME_CHECKED: Final = 8
_WORD: Final = 0xFFFFFFFF
_LOOKS: Final = 3
_MOST_TORN: Final = 1  # commits that a power cut leaves half-written

_Sums = tuple[int, int]


def log_fault(log: Path) -> str | None:
    """Return what is wrong with a log, None if nothing is.

    A log without anything behind its header has no changes: a power cut may leave it so. While
    another process writes to the log, a frame that is only half there is found now and then.
    """
    looks = (_fault(log) for _ in range(_LOOKS))
    faults = list(takewhile(lambda fault: fault is not None, looks))
    return faults[-1] if len(faults) == _LOOKS else None


def _fault(log: Path) -> str | None:
    try:
        with log.open("rb") as file:
            head = file.read(_HEADER.size)
            if not file.read(1):
                return None
            fault = _header_fault(head) or _frames_fault(file, head)
            file.seek(0)  # whoever begins the log anew changes the header
            return fault if file.read(_HEADER.size) == head else None
    except FileNotFoundError:
        return None


def _header_fault(head: bytes) -> str | None:
    magic, *_, first, second = _HEADER.unpack(head)
    if magic not in (_MAGIC, _MAGIC + 1):
        return "has none of its header"
    if _Checksum(magic).of(head[:_HEADER_CHECKED]) != (first, second):
        return "has a header that does not fit its checksum"
    return None


def _frames_fault(file: BinaryIO, head: bytes) -> str | None:
    """Return what is wrong if there are commits behind the frame at which SQLite stops reading.

    What an earlier use of the log left there does not count: it has another salt.
    """
    magic, _, page_bytes, _, *salts, first, second = _HEADER.unpack(head)
    checksum, sums, is_whole, lost = _Checksum(magic), (first, second), True, 0
    file.seek(_HEADER.size)
    while len(frame := file.read(_FRAME.size + page_bytes)) == _FRAME.size + page_bytes:
        _, pages_after_commit, *own_salts, first, second = _FRAME.unpack(frame[: _FRAME.size])
        is_ours = own_salts == salts
        if is_whole:
            if is_ours:
                sums = checksum.of(frame[:_FRAME_CHECKED], sums)
                sums = checksum.of(frame[_FRAME.size :], sums)
            is_whole = is_ours and sums == (first, second)
            if is_whole or not is_ours:
                continue
        lost += is_ours and pages_after_commit > 0
    return "cannot be read to its end" if lost > _MOST_TORN else None


@dataclass(frozen=True, slots=True)
class _Checksum:
    """The checksums of a log, which depend on all before it."""

    magic: int

    def of(self, content: bytes, sums: _Sums = (0, 0)) -> _Sums:
        """Return the sums behind some content, from those before it."""
        words = struct.unpack(f"{'>' if self.magic & 1 else '<'}{len(content) // 4}I", content)
        first, second = sums
        pairs = iter(words)
        for one, other in zip(pairs, pairs, strict=True):
            first = (first + one + second) & _WORD
            second = (second + other + first) & _WORD
        return first, second
