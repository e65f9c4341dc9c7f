"""The points of the curves that charts draw: few enough to tell apart, no extreme lost."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from deploy_action.backtest.account import AccountValues

# Values closer together than this share of their size are equal; only rounding sets them apart.
NOISE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Curves:
    """The series in one chart: the candidate's, and the base's if there is one."""

    candidate: AccountValues
    base: AccountValues | None = None

    def on_one_grid(self, most: int, most_of_two: int, fewest: int) -> Grid:
        """Return the points to draw, as many as these limits allow.

        There are at most `most` (`most_of_two` with a base, both even) and at least `fewest`.
        """
        if self.base is None:
            times, values = _points(self.candidate, most, fewest)
            return Grid(times, (values,))
        return _shared(self.candidate, self.base, most_of_two, fewest)


@dataclass(frozen=True, slots=True)
class Grid:
    """Points to draw: each line has a value for each time; the candidate's line is first."""

    times: list[float]
    lines: tuple[list[float], ...]

    @property
    def lowest(self) -> float:
        """The lowest value of all lines."""
        return min(map(min, self.lines))

    @property
    def highest(self) -> float:
        """The highest value of all lines."""
        return max(map(max, self.lines))


def thinned(values: Sequence[float], most: int) -> list[int]:
    """Return the positions of at most `most` values (an even number), in order.

    The first and the last value stay. Between them, each of `most / 2 - 1` equal stretches gives
    its lowest and its highest value, so that no extreme is lost.
    """
    if len(values) <= most:
        return list(range(len(values)))
    stretches, inner = most // 2 - 1, len(values) - 2
    chosen = [0]
    for number in range(stretches):
        start = 1 + number * inner // stretches
        stretch = values[start : 1 + (number + 1) * inner // stretches]
        extremes = (stretch.index(min(stretch)), stretch.index(max(stretch)))
        chosen += sorted(start + position for position in extremes)
    return [*chosen, len(values) - 1]


def _points(known: AccountValues, most: int, fewest: int) -> tuple[list[float], list[float]]:
    """Return times and values to draw: at most `most`, and at least `fewest`.

    With few points, the dates of the first and the last would be cut off on a narrow page. More
    points, on the lines between the known ones, move those dates inwards.
    """
    chosen = thinned(known.values, most)
    times = [known.times[position] for position in chosen]
    values = [known.values[position] for position in chosen]
    pieces = math.ceil((fewest - 1) / (len(chosen) - 1))
    return _divided(times, pieces), _divided(values, pieces)


def _divided(numbers: Sequence[float], pieces: int) -> list[float]:
    """Divide the way from each number to the next into equal steps."""
    between = [
        start * (1 - step / pieces) + stop * (step / pieces)
        for start, stop in pairwise(numbers)
        for step in range(pieces)
    ]
    return [*between, numbers[-1]]


def _shared(candidate: AccountValues, base: AccountValues, most: int, fewest: int) -> Grid:
    """Return both series over the same times: at most `most` (an even number) of them.

    If there are few values, all are drawn. Otherwise the time is divided into equal stretches, and
    each line has two points in each stretch: its lowest and its highest value there, in the order
    in which they occurred. So no extreme is lost, and none is far from its time.
    """
    series = (candidate, base)
    times = sorted({*candidate.times[: most + 1], *base.times[: most + 1]})
    if len(times) <= most and all(
        one < other for line in series for one, other in pairwise(line.times)
    ):
        lines = [[_value_at(one, time) for time in times] for one in series]
        pieces = math.ceil((fewest - 1) / (len(times) - 1))
        return Grid(_divided(times, pieces), tuple(_divided(line, pieces) for line in lines))
    first = min(min(one.times) for one in series)
    last = max(max(one.times) for one in series)
    edges = _divided([first, last], most // 2 - 1)
    middles = [
        start * (1 - share) + stop * share
        for start, stop in pairwise(edges)
        for share in (0.25, 0.75)
    ]
    return Grid([first, *middles, last], tuple(_extremes(one, edges) for one in series))


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
