"""Prices of one asset, replayed from a file of bars."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bar:
    """What the price did from `time` on, in epoch seconds."""

    time: float
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Market:
    """Replays bars, the first from `begins` on, each for `seconds`.

    Before the first and after the last bar the prices go back the way they came, so that there is
    a price at any time, and no jump.
    """

    rows: tuple[Bar, ...]
    begins: float
    seconds: float

    @classmethod
    def from_csv(
        cls, path: Path, *, begins: float | None = None, seconds: float | None = None
    ) -> Market:
        """Read a file of bars as `PriceReader` does; by default they have the times it says."""
        with path.open(encoding="ascii", newline="") as file:
            rows = tuple(
                Bar(**{name: float(value) for name, value in row.items()})
                for row in csv.DictReader(file)
            )
        return cls(
            rows,
            rows[0].time if begins is None else begins,
            rows[1].time - rows[0].time if seconds is None else seconds,
        )

    def price(self, time: float) -> float:
        """Return the price at a time: within a bar it goes straight from open to close."""
        position = (time - self.begins) / self.seconds
        row = self._row(math.floor(position))
        return row.open + (row.close - row.open) * (position % 1)

    def bars(self, start: float, stop: float, seconds: float, now: float) -> list[Bar]:
        """Return the bars of that length that begin in a period and have ended by now."""
        first, last = math.ceil(start / seconds), math.floor(min(stop, now - seconds) / seconds)
        return [self._bar(number * seconds, seconds) for number in range(first, last + 1)]

    def _bar(self, time: float, seconds: float) -> Bar:
        if seconds < self.seconds:
            ends = self.price(time), self.price(time + seconds)
            return Bar(time, ends[0], max(ends), min(ends), ends[1], volume=100.0)
        first = math.floor((time - self.begins) / self.seconds)
        last = math.ceil((time + seconds - self.begins) / self.seconds)
        # In twice their number, every row occurs.
        rows = [self._row(index) for index in range(first, min(last, first + 2 * len(self.rows)))]
        return Bar(
            time,
            open=rows[0].open,
            high=max(row.high for row in rows),
            low=min(row.low for row in rows),
            close=self._row(last - 1).close,
            volume=sum(row.volume for row in rows),
        )

    def _row(self, index: int) -> Bar:
        lap, place = divmod(index, len(self.rows))
        if lap % 2 == 0:
            return self.rows[place]
        row = self.rows[-1 - place]
        return replace(row, open=row.close, close=row.open)
