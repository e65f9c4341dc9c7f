"""Pieces of downloaded prices, as files whose names say what is in them.

The package keeps prices, too (`cache_location`), but joins them at the wrong bars: in blankly
1.18.25b0, a period that does not end at a bar leaves one bar out where the next one begins, two
that touch share one, and one within another has its own end taken for the end of both. So what is
kept here is its downloads, and its own files stay in the run's private copy of the model.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from typing import Any

from .checks import find_gaps

_DAY = 86_400
# Longer than this without a bar is no weekend or holiday: the exchange may have failed to answer.
_LONGEST_SILENCE = 7 * _DAY
# The package asks for parts of 100 bars and more. An exchange may fail to answer one of them.
_SHORTEST_PART = 90  # bars
_LARGEST = 256 << 20
_NUMBER = r"(-?[0-9]{1,12})"
_NAME = re.compile(rf"([0-9a-f]{{32}})_{'_'.join([_NUMBER] * 5)}_([0-9a-f]{{64}})\.csv")


class DamagedPieceError(Exception):
    """A file with prices that is not what its name says."""

    def __init__(self, piece: Piece) -> None:
        super().__init__(piece.name)
        self.piece = piece


class Piece:
    """The bars of one download; times are whole seconds since 1970.

    `asked` is the first and the last time that a bar could have, and `kept` the part of it in
    which later runs need not ask again. `now` is the time from which the run counts back. `store`
    is the directory with the file, None for what this process downloaded.
    """

    def __init__(
        self,
        series: str,
        asked: tuple[int, int],
        kept: tuple[int, int],
        now: int,
        digest: str,
    ) -> None:
        self.asked = asked
        self.kept = kept
        self.now = now
        self.name = "_".join([series, *map(str, (*asked, *kept, now)), digest]) + ".csv"
        self.store: str | None = None
        self._digest = digest
        self._frame: Any = None

    def known(self, now: int) -> tuple[int, int]:
        """Return the range that it answers for a run with this "now": all in the same run."""
        return self.asked if now == self.now else self.kept

    def frame(self, pandas: Any) -> Any:
        """Return the bars.

        Raises:
            DamagedPieceError: the file was cut off or changed.
        """
        if self._frame is None:
            assert self.store is not None  # noqa: S101  # it is one or the other
            try:
                content = _read(os.path.join(self.store, self.name))
                if hashlib.sha256(content).hexdigest() != self._digest:
                    raise ValueError("it is damaged")  # noqa: TRY301  # like what else is wrong
                self._frame = _parse(content, pandas)
            except (OSError, ValueError) as error:
                raise DamagedPieceError(self) from error
        return self._frame

    def holds(self, content: bytes, pandas: Any) -> None:
        """Take over the content of the file that it will be."""
        self._frame = _parse(content, pandas)


def list_pieces(stores: list[str], series: str) -> list[Piece]:
    """Return the pieces of a series, the oldest first: a later one never replaces one."""
    found = []
    for store in stores:
        try:
            names = os.listdir(store)
        except OSError:
            continue
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None or match[1] != series:
                continue
            try:
                age = os.lstat(os.path.join(store, name)).st_mtime_ns
            except OSError:  # it was removed
                continue
            first, last, kept_first, kept_last, now = map(int, match.groups()[1:6])
            piece = Piece(series, (first, last), (kept_first, kept_last), now, match[7])
            piece.store = store
            found.append((age, name, piece))
    return [piece for _, _, piece in sorted(found, key=lambda one: one[:2])]


def make_piece(
    series: str, frame: Any, asked: tuple[int, int], now: int, clock: float, resolution: int
) -> tuple[Piece, bytes]:
    """Return a download as a piece, and the content of its file.

    Its bars are those of the file, so that everybody gets the same ones.
    """
    content = frame.to_csv(index=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    kept = kept_range([int(time) for time in frame["time"]], asked, clock, resolution)
    return Piece(series, asked, kept, now, digest), content


def kept_range(
    times: list[int], asked: tuple[int, int], clock: float, resolution: int
) -> tuple[int, int]:
    """Return the range in which later runs need not ask again; empty if its end is before it.

    `clock` is the time of the download. The last bars may still change, and bars of the last day
    may still come. Silence at an end or in the middle that is too long for a weekend may be a
    fault: the range ends there, and is the longest one of several.
    """
    first, last = asked[0], min(asked[1], int(clock) - 2 * resolution)
    final = sorted(time for time in times if time <= last)
    if not final:
        return first, first - 1
    silence = max(_LONGEST_SILENCE, 2 * resolution)
    if final[0] - first > silence:
        first = final[0]
    if last - final[-1] > silence or clock - last < _DAY:
        last = final[-1]
    least = min(silence, _SHORTEST_PART * resolution)
    gaps = sorted(gap for gap in find_gaps(final, resolution) if gap[1] - gap[0] > least)
    firsts = [first, *(int(end) for _, end in gaps)]
    lasts = [*(int(start) - resolution for start, _ in gaps), last]
    return max(zip(firsts, lasts), key=lambda one: one[1] - one[0])


def _parse(content: bytes, pandas: Any) -> Any:
    # Of the parsers of pandas, only this one reads each number as it was written.
    return pandas.read_csv(io.BytesIO(content), float_precision="round_trip")


def _read(path: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            raise ValueError("it is no file of prices")
        return file.read(_LARGEST)
