"""The points of the curves that charts draw: few enough to tell apart, no extreme lost."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from deploy_action.backtest.account import AccountValues
from deploy_action.records import dataclass

# Values closer together than this share of their size are equal; only rounding sets them apart.
NOISE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Grid:
    """Points to draw: each line has a value for each time; the model's line is first."""

    times: Sequence[float]
    lines: tuple[Sequence[float], ...]

    @property
    def lowest(self) -> float:
        """The lowest value of all lines."""
        return min(map(min, self.lines))

    @property
    def highest(self) -> float:
        """The highest value of all lines."""
        return max(map(max, self.lines))


@dataclass(frozen=True, slots=True)
class Axis:
    """The times of a chart, which charts of the same series share.

    With few values each is drawn at its own time, `pieces` points from one to the next. Otherwise
    `known` are the edges of equal stretches of time, and each line has two points in each stretch:
    its lowest and its highest value there, in the order in which they occurred. So no extreme is
    lost, and none is far from its time.
    """

    times: Sequence[float]
    known: Sequence[float]
    pieces: int

    @classmethod
    def of(cls, series: Sequence[AccountValues], most: int, fewest: int) -> Axis:
        """Return an axis of at most `most` points, an even number, and of at least `fewest`.

        With few points, the dates of the first and the last would be cut off on a narrow page. More
        points, on the lines between the known ones, move those dates inwards.
        """
        times = sorted({time for one in series for time in one.times[: most + 1]})
        if len(times) <= most and all(
            one < other for line in series for one, other in pairwise(line.times)
        ):
            pieces = math.ceil((fewest - 1) / (len(times) - 1))
            return cls(_divided(times, pieces), times, pieces)
        first = min(min(one.times) for one in series)
        last = max(max(one.times) for one in series)
        edges = _divided([first, last], most // 2 - 1)
        middles = [
            start * (1 - share) + stop * share
            for start, stop in pairwise(edges)
            for share in (0.25, 0.75)
        ]
        return cls([first, *middles, last], edges, 0)

    def grid(self, series: Sequence[AccountValues]) -> Grid:
        """Return the points of some of the series of this axis."""
        return Grid(self.times, tuple(map(self._line, series)))

    def _line(self, series: AccountValues) -> Sequence[float]:
        if not self.pieces:
            return _extremes(series, self.known)
        return _divided([_value_at(series, time) for time in self.known], self.pieces)


def _divided(numbers: Sequence[float], pieces: int) -> list[float]:
    """Divide the way from each number to the next into equal steps."""
    between = [
        start * (1 - step / pieces) + stop * (step / pieces)
        for start, stop in pairwise(numbers)
        for step in range(pieces)
    ]
    return [*between, numbers[-1]]


def _extremes(series: AccountValues, edges: Sequence[float]) -> list[float]:
    """Return the first value, two values for each stretch between edges, and the last value."""
    found = [series.values[0]]
    start = 0
    for left, right in pairwise(edges):
        # The last stretch takes all that remain: unordered times lose no value.
        is_last = right == edges[-1]
        stop = len(series) if is_last else bisect_left(series.times, right, start)
        stretch = series.values[start:stop]
        if stretch:
            low, high = min(stretch), max(stretch)
            found += [low, high] if stretch.index(low) <= stretch.index(high) else [high, low]
        else:
            times = (left * (1 - share) + right * share for share in (0.25, 0.75))
            found += [_value_at(series, time, start) for time in times]
        start = stop
    return [*found, series.values[-1]]


def _value_at(series: AccountValues, time: float, position: int | None = None) -> float:
    """Interpolate the value at a time; the line is level before its start and after its end.

    `position` is the index of the first point at or after the time, if the caller knows it.
    """
    if position is None:
        position = bisect_left(series.times, time)
    if position == 0 or position == len(series):
        return series.values[min(position, len(series) - 1)]
    # Halved, because their difference could overflow.
    start, stop = series.times[position - 1] / 2, series.times[position] / 2
    share = min(max((time / 2 - start) / (stop - start), 0.0), 1.0) if stop > start else 1.0
    return series.values[position - 1] * (1 - share) + series.values[position] * share
