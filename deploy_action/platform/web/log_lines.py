"""Lines of a version's log for a page: the last ones, those around a place, those with a text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import accumulate, islice
from typing import Final

from deploy_action.platform.storage.logs import PLATFORM, LogReader, Place
from deploy_action.records import dataclass

STREAMS: Final = ("out", "err", PLATFORM)
MOST_FOUND: Final = 200
_MOST_BYTES: Final = 1 << 20  # of the lines of one page, so that long ones do not make it huge
_SEARCH_SECONDS: Final = 1.0
_AFTER_TIME: Final = 25  # where the stream begins
_MOST_MARKS: Final = 20  # in a line, of a text such as a single letter


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log: the place before it, its time in UTC as in ISO 8601, its stream, its text.

    `found` are the parts of the text, of which each second one was searched for.
    """

    place: Place
    time: str
    stream: str
    text: str
    found: tuple[str, ...] = ()

    @property
    def day(self) -> str:
        """The date, such as `2026-11-29`."""
        return self.time[:10]

    @property
    def clock(self) -> str:
        """The time of day, to the second."""
        return self.time[11:19]

    @property
    def seconds(self) -> float:
        """When it was written, in seconds since 1970."""
        return datetime.fromisoformat(self.time).timestamp()


@dataclass(frozen=True, slots=True)
class Found:
    """The lines with a text, the newest first, and how far the search came.

    `searched_bytes` were read. `stopped_by` is blank if that was the whole log, else `number` or
    `time`; then nothing older than `since` was looked at.
    """

    lines: tuple[Line, ...]
    searched_bytes: int
    stopped_by: str
    since: str


class LogLines:
    """Reads lines of some streams from a log."""

    def __init__(self, reader: LogReader, streams: frozenset[str]) -> None:
        """Read the lines of `streams`, each one of `STREAMS`."""
        self._reader = reader
        streams_pattern = "|".join(sorted(streams))
        self._pattern = re.compile(
            rf"^([0-9T:.-]{{23}}Z) ({streams_pattern}) (.*)$".encode(), re.MULTILINE
        )

    def end(self) -> Place:
        """Return the place after the last line."""
        return self._reader.place_before(0)

    def before(self, place: Place, number: int) -> list[Line]:
        """Return at most so many lines before a place, the oldest first."""
        lines = _bounded(islice(self._backwards(place), number))
        return lines[::-1]

    def after(self, place: Place, number: int) -> list[Line]:
        """Return at most so many lines from a place on, the oldest first."""
        return _bounded(islice(self._forwards(place), number))

    def since(self, seconds: float) -> Place:
        """Return the place before the first line that was written at a time or later."""
        return self._reader.place_since(seconds)

    def first(self) -> Line | None:
        """Return the oldest line that is kept."""
        return next(self._forwards(Place()), None)

    def last(self) -> Line | None:
        """Return the newest line."""
        return next(self._backwards(self.end()), None)

    def search(
        self,
        text: str,
        most: int = MOST_FOUND,
        clock: Callable[[], float] = time.monotonic,
    ) -> Found:
        """Look for a text, whatever its case, in the whole log, for a second of `clock`."""
        wanted, ends_at = text.lower(), clock() + _SEARCH_SECONDS
        lines: list[Line] = []
        searched, since = 0, ""
        for place, block in self._reader.blocks_before(self.end()):
            if searched and clock() > ends_at:
                return Found(tuple(lines), searched, "time", since)
            searched += len(block)
            since = block[: block.find(b" ")].decode("ascii", "replace")
            lines += (_marked(line, wanted) for line in self._with(wanted, place, block))
            if len(lines) >= most:
                is_all = len(lines) == most and not any(self._reader.blocks_before(place))
                found = tuple(lines[:most])
                return Found(found, searched, "" if is_all else "number", found[-1].time)
        return Found(tuple(lines), searched, "", since)

    def _backwards(self, place: Place) -> Iterator[Line]:
        for at, block in self._reader.blocks_before(place):
            yield from reversed(list(self._lines(at, block)))

    def _forwards(self, place: Place) -> Iterator[Line]:
        for after, block in self._reader.blocks(place):
            # A block from a place that is gone says so, and is at no place of the log.
            start = max(0, after.offset - len(block))
            yield from self._lines(Place(after.file, start), block)

    def _lines(self, place: Place, block: bytes) -> Iterator[Line]:
        return (_line(place, found) for found in self._pattern.finditer(block))

    def _with(self, wanted: str, place: Place, block: bytes) -> Iterator[Line]:
        """Yield the lines of a block whose text has a lower-case one in any case, newest first."""
        lowered = block.decode("utf-8", "replace").lower()
        if wanted not in lowered:
            return
        # Only the text counts: the digits of a time are in every line.
        found = [
            number
            for number, line in enumerate(lowered.split("\n"))
            if line.find(wanted, line.find(" ", _AFTER_TIME) + 1) >= 0
        ]
        starts = [0, *accumulate(len(line) + 1 for line in block.split(b"\n"))] if found else []
        for number in reversed(found):
            if match := self._pattern.match(block, starts[number]):
                yield _line(place, match)


def _bounded(lines: Iterator[Line]) -> list[Line]:
    kept: list[Line] = []
    left = _MOST_BYTES
    for line in lines:
        left -= len(line.text)
        if kept and left < 0:
            break
        kept.append(line)
    return kept


def _line(place: Place, found: re.Match[bytes]) -> Line:
    """Return a line that was found in the block at a place."""
    time, stream, text = (part.decode("utf-8", "replace") for part in found.groups())
    return Line(Place(place.file, place.offset + found.start()), time, stream, text)


def _marked(line: Line, wanted: str) -> Line:
    """Return the line with the parts around the first places of a lower-case text."""
    parts = re.split(f"({re.escape(wanted)})", line.text, maxsplit=_MOST_MARKS, flags=re.IGNORECASE)
    return Line(line.place, line.time, line.stream, line.text, tuple(parts))
