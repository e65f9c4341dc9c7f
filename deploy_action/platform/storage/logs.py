"""The logs of deployed versions: bounded, and each line with its time and its stream.

A line is `TIME STREAM TEXT`: UTC in milliseconds as in ISO 8601, then `out`, `err` or `platform`.
Each version has a directory of numbered files. A file only grows, and the oldest is removed when
there are too many, so a place in a log, a file's number and an offset, stays what it is.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self
from weakref import WeakValueDictionary

from deploy_action.platform.allowance import Allowance
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.records import dataclass
from deploy_action.text.harmless import plain
from deploy_action.text.quantities import count, size
from deploy_action.text.redaction import beginning

PLATFORM: Final = "platform"
LONGEST_LINE: Final = 4_000  # in characters, before those that are written as escapes
# A line before it is redacted.
_LONGEST_READ: Final = 4 * LONGEST_LINE
_TIME_BYTES: Final = len("2023-11-14T22:13:20.000")
_BLOCK_BYTES: Final = 1 << 16  # more than any line
_WRITABLE: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_PLACE: Final = re.compile(r"([0-9]{1,12})-([0-9]{1,12})")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept of a version's log, and how fast each stream of it may grow.

    A stream may write `lines_a_second` and `bytes_a_second` for ever, and at once what that makes
    in `burst_seconds`. When it has written too much, it is dropped until that has passed for which
    it may write `pause_seconds` again. This is the only limit on what models print; docs/server.md
    tells it.
    """

    file_bytes: int = 1 << 20
    files: int = 8
    lines_a_second: int = 100
    bytes_a_second: int = 16 << 10
    burst_seconds: float = 50
    pause_seconds: float = 10


class Place(NamedTuple):
    """A place between two lines of a log: the number of a file, and an offset in bytes."""

    file: int = 0
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that `str` wrote, None if it did not write this."""
        found = _PLACE.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.file}-{self.offset}"


class LogReader:
    """Reads a version's log, while it is written or after."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        """Read the log in `directory`, which may not exist yet."""
        self._directory = directory
        self._clock = clock

    def tail(self, lines: int) -> list[str]:
        """Return at most so many lines, the last ones."""
        blocks = (block for _, block in self.blocks(self.place_before(lines)))
        return b"".join(blocks).decode("utf-8", "replace").split("\n")[:-1]

    def place_before(self, lines: int) -> Place:
        """Return the place before the last `lines` lines, or before all if there are fewer."""
        numbers = self._numbers()
        for number in reversed(numbers):
            try:
                offset, found = _offset_before(self._path(number), lines)
            except OSError:
                continue  # it was removed meanwhile
            if found >= lines:
                return Place(number, offset)
            lines -= found
        return Place(numbers[0] if numbers else 0)

    def place_since(self, time: float) -> Place:
        """Return the place before the first line that was written at a time or later."""
        begin, place = format_line(time, "")[:_TIME_BYTES], Place()
        for at, block in self.blocks(place):
            if block[block.rfind(b"\n", 0, -1) + 1 :] < begin:
                place = at
                continue
            before = (line for line in block.splitlines(keepends=True) if line < begin)
            return Place(at.file, at.offset - len(block) + sum(map(len, before)))
        return place

    def blocks(self, place: Place) -> Iterator[tuple[Place, bytes]]:
        """Yield what there is from a place on: whole lines, and the place after them."""
        while (found := self.read(place))[1]:
            yield found
            place = found[0]

    def blocks_before(self, place: Place) -> Iterator[tuple[Place, bytes]]:
        """Yield what there is before a place, the newest first: whole lines, and their place."""
        for number in reversed(self._numbers()):
            if number <= place.file:
                end = place.offset if number == place.file else None
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    for start, block in _blocks_before(self._path(number), end):
                        yield Place(number, start), block

    def read(self, place: Place) -> tuple[Place, bytes]:
        """Return some of the lines from a place on, and the place after them.

        There are none if nothing more was written yet. If the place is gone, a line says so.
        """
        if self._is_at_end(place):
            return place, b""
        numbers = self._numbers()
        if numbers and place.file < numbers[0]:
            first = Place(numbers[0])
            if place == Place():
                return self.read(first)
            gone = "lines may be missing here: they were removed to make room for later ones"
            return first, format_line(self._clock(), gone)
        later = [number for number in numbers if number > place.file]
        # Looked for before this is read: a file that has a follower is complete.
        with suppress(FileNotFoundError):
            data = _read_lines(self._path(place.file), place.offset)
            if data:
                return Place(place.file, place.offset + len(data)), data
        return self.read(Place(later[0])) if later else (place, b"")

    def _is_at_end(self, place: Place) -> bool:
        """Whether nothing was written since; this is cheap, because followers ask it often."""
        if self._path(place.file + 1).exists():
            return False
        try:
            return self._path(place.file).stat().st_size == place.offset
        except OSError:
            return False

    def _numbers(self) -> list[int]:
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(name[:-4]) for name in names if re.fullmatch(r"[0-9]{1,12}\.log", name))

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.log"


def _read_lines(path: Path, offset: int) -> bytes:
    """Return a block of whole lines."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(_BLOCK_BYTES)
    return data[: data.rfind(b"\n") + 1]


def _blocks_before(path: Path, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines before an offset, or the end, and the offset of each."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        end = size if end is None else min(end, size)
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start)
            first = block.find(b"\n") + 1 if start else 0
            block = block[first : block.rfind(b"\n") + 1]
            end = start + first
            if not block:
                return
            yield end, block


def _offset_before(path: Path, lines: int) -> tuple[int, int]:
    """Return the offset before the last `lines` lines of a file, and how many are after it."""
    with path.open("rb", buffering=0) as file:
        end, found = file.seek(0, os.SEEK_END), 0
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                if found == lines:
                    return start + at + 1, found
                found += 1
            end = start
    return 0, found


@dataclass(slots=True)
class _Stream:
    """What a stream may write, in seconds of its rate, and what was dropped of its present flood.

    Not safe to use from two threads.
    """

    allowance: Allowance
    is_dropping: bool = False
    lines: int = 0
    bytes: int = 0


class VersionLog(LogReader):
    """A version's log, for several threads. Writing it never raises, and never waits for long.

    What cannot be written, because the model writes too fast or the disk is full, is counted, and
    the log says how much that was: after a flood, with the next line or for the next reader.
    """

    def __init__(
        self,
        directory: Path,
        bounds: Bounds,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(directory, clock)
        self._bounds = bounds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._handle: int | None = None
        self._number = self._size = 0
        self._unwritten = 0

    def write(self, stream: str, text: str, redact: Callable[[str], str] = str) -> None:
        """Add a line of a stream: `out`, `err` or `platform`.

        Several lines in one text become lines of the same time. `redact` hides secrets in the text;
        it is not called for what is dropped.
        """
        if not self.takes(stream):
            self.drop(stream, 1, len(text))
            return
        harmless = _shown(text, redact)  # takes long, so others may write meanwhile
        now, bounds = self._clock(), self._bounds
        lines = [format_line(now, one, stream) for one in harmless]
        # What is cut was read, which takes its time, too.
        cost = max(sum(map(len, lines)), min(len(text), _BLOCK_BYTES)) / bounds.bytes_a_second
        with self._lock:
            for line in lines:
                self._append(line)
            of = self._stream(stream)
            of.allowance.use(max(len(lines) / bounds.lines_a_second, cost))
            of.is_dropping = of.allowance.left <= 0

    def takes(self, stream: str, *, is_end: bool = False) -> bool:
        """Return whether lines of a stream are written now; else they would be dropped.

        At the end of the stream, a second's worth of lines is: they explain most failures.
        """
        with self._lock:
            of = self._stream(stream)
            if is_end:
                of.allowance.use(min(0, of.allowance.left - 1))
            self._end_flood(stream, least=1 if is_end else self._bounds.pause_seconds)
            return not of.is_dropping

    def drop(self, stream: str, lines: int, size: int) -> None:
        """Count so many lines, of so many bytes, that are not written."""
        with self._lock:
            of = self._stream(stream)
            of.lines += lines
            of.bytes += size

    def read(self, place: Place) -> tuple[Place, bytes]:
        """Return some of the lines from a place on, and the place after them."""
        if any(each.is_dropping for each in list(self._streams.values())):
            with self._lock:
                for stream in self._streams:
                    self._end_flood(stream, self._bounds.pause_seconds)
        return super().read(place)

    def close(self) -> None:
        """Close the file, after what was dropped is said. It may be written again."""
        with self._lock:
            for stream in self._streams:
                self._say_dropped(stream)
            self._close()

    def _stream(self, name: str) -> _Stream:
        if name not in self._streams:
            allowance = Allowance(self._bounds.burst_seconds, 1, self._monotonic)
            self._streams[name] = _Stream(allowance)
        return self._streams[name]

    def _end_flood(self, stream: str, least: float) -> None:
        """Write lines of a stream again, and say what was dropped, if it may write enough."""
        of = self._stream(stream)
        if of.is_dropping and of.allowance.left >= least:
            of.is_dropping = False
            self._say_dropped(stream)

    def _say_dropped(self, stream: str) -> None:
        of, bounds = self._stream(stream), self._bounds
        if of.lines or of.bytes:
            what = f"{count(of.lines, 'line')} ({size(of.bytes)}) of `{stream}`"
            of.lines = of.bytes = 0
            self._append(
                format_line(
                    self._clock(),
                    f"{what} were dropped here: {bounds.lines_a_second} lines and "
                    f"{size(bounds.bytes_a_second)} a second are kept",
                )
            )

    def _append(self, line: bytes) -> None:
        try:
            if self._unwritten:
                what = f"{count(self._unwritten, 'line')} could not be written here"
                self._append_line(format_line(self._clock(), what))
                self._unwritten = 0
            self._append_line(line)
        except OSError:
            self._unwritten += 1
            self._close()  # opening it again repairs a line that was written in part

    def _append_line(self, line: bytes) -> None:
        handle = self._open()
        if self._size and self._size + len(line) > self._bounds.file_bytes:
            handle = self._begin_file(self._number + 1)
        if os.write(handle, line) < len(line):
            raise OSError("the disk is full")
        self._size += len(line)

    def _open(self) -> int:
        if self._handle is not None:
            return self._handle
        for directory in (self._directory.parent, self._directory):
            directory.mkdir(mode=0o700, exist_ok=True)
        numbers = self._numbers()
        return self._begin_file(numbers[-1] if numbers else 1)

    def _begin_file(self, number: int) -> int:
        self._close()
        handle = os.open(self._path(number), _WRITABLE, 0o600)
        try:
            self._size = _repair(handle)
            for old in self._numbers():
                if old <= number - self._bounds.files:
                    self._path(old).unlink(missing_ok=True)
        except OSError:
            os.close(handle)
            raise
        self._number, self._handle = number, handle
        return handle

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self._close()


def _repair(handle: int) -> int:
    """Remove a last line that was not written to its end; return the size in bytes."""
    end = total = os.lseek(handle, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        kept = os.pread(handle, end - start, start).rfind(b"\n") + 1
        end = start + kept
        if kept:
            break
    if end < total:
        os.ftruncate(handle, end)
    return end


def _shown(text: str, redact: Callable[[str], str]) -> list[str]:
    """Return the lines of a text as they are shown: without secrets, control characters and ends.

    A carriage return begins a line, too, so that no text overwrites what is before it.
    """
    shown = beginning(text, redact, _LONGEST_READ)
    if len(shown) > LONGEST_LINE or len(text) > _LONGEST_READ:
        shown = f"{shown[:LONGEST_LINE]}… (cut: it has {count(len(text), 'character')})"
    return plain(shown).rstrip("\n").split("\n")


def format_line(time: float, text: str, stream: str = PLATFORM) -> bytes:
    """Return a line of a log for a harmless text without line breaks; `time` is since 1970."""
    moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    return f"{moment.removesuffix('+00:00')}Z {stream} {text}\n".encode("utf-8", "replace")


class LogBook:
    """The logs of all versions: `open` to write one, `reader` to read it."""

    def __init__(
        self,
        directory: Path,
        bounds: Bounds = Bounds(),  # noqa: B008  # frozen
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep logs in `directory`. `clock` returns seconds since 1970."""
        self._directory = directory
        self._bounds = bounds
        self.clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._logs: WeakValueDictionary[str, VersionLog] = WeakValueDictionary()
        self.is_closed = False

    def open(self, version_id: str) -> VersionLog:
        """Return the log of a version, the same one to all who hold it at the same time."""
        with self._lock:
            log = self._logs.get(version_id)
            if log is None:
                path = self._directory / version_id
                log = VersionLog(path, self._bounds, self.clock, self._monotonic)
                self._logs[version_id] = log
            return log

    def reader(self, version_id: str) -> LogReader:
        """Return what reads the log of a version, which need not have one."""
        return self.open(version_id)

    def versions(self) -> list[str]:
        """Return the ids of the versions that have a log."""
        try:
            return [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []

    def remove(self, version_id: str) -> None:
        """Remove the log of a version."""
        remove_tree(self._directory / version_id)

    def close(self) -> None:
        """Let those who follow a log know that the server ends."""
        self.is_closed = True
