"""What was measured: rows beside a peer and a target, curves over sizes, and sections of both.

All of it is data, so that it can be kept as JSON: see `written/`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

Unit = Literal["s", "B", "share"]
Values = tuple[float, ...]

_HARDLY = 1.25
"""What is less than so many times as large at the largest size as at the smallest hardly grows."""
_ROOM = 0.2


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """The most that ours may be: `most` times the peer's and `plus`, or just `most`."""

    most: float
    of_peer: bool = True
    plus: float = 0.0


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our values and a peer's, one of each round: `ours[0]` and `theirs[0]` are a pair.

    Values are in seconds, bytes, or shares of 1. No values: it was not measured, and `remark` says
    why.
    """

    what: str
    ours: Values = ()
    unit: Unit = "s"
    peer: str = ""
    theirs: Values = ()
    target: Target | None = None
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        """Our value divided by the peer's: the median of the pairs."""
        return ratio_of(self.ours, self.theirs)

    @property
    def distance(self) -> float | None:
        """Our value divided by the most that it may be: up to 1, the target is met."""
        target = self.target
        if target is None or not self.ours:
            return None
        ours = statistics.median(self.ours)
        if not target.of_peer:
            return ours / target.most
        if self.ratio is None:
            return None
        if not target.plus:
            return self.ratio / target.most
        return ours / (target.most * statistics.median(self.theirs) + target.plus)


class Curve(msgspec.Struct, frozen=True):
    """What something takes at several sizes: for each one, the values of all rounds.

    Each size is as many times the one before. `of` says what there is more and more of, in the
    singular; `unit` is that of the values.
    """

    what: str
    of: str
    sizes: tuple[int, ...]
    values: tuple[Values, ...]
    unit: Unit = "s"

    @property
    def medians(self) -> Values:
        return tuple(map(statistics.median, self.values))

    @property
    def exponent(self) -> float:
        """The k in c + a * size^k through the three largest sizes: c is start-up, and no growth.

        Where it hardly grows, or not steadily, it is the slope of the line through all values.
        """
        less, more = self._increments(self.medians, self.medians)
        if less <= 0 or more <= 0 or self.medians[-1] < _HARDLY * self.medians[0]:
            return _slope(self.sizes, self.medians)
        return math.log(more / less) / math.log(self.sizes[-1] / self.sizes[-2])

    @property
    def most(self) -> float:
        """The exponent that n log n has at these sizes, and some more, for caches that overflow."""
        work = tuple(size * math.log(max(size, 2)) for size in self.sizes)
        less, more = self._increments(work, work)
        return math.log(more / less) / math.log(self.sizes[-1] / self.sizes[-2]) + _ROOM

    @property
    def is_fine(self) -> bool:
        """Whether it grows no faster than n log n, or only as much as values differ by chance."""
        if self.exponent <= self.most:
            return True
        lows, highs = tuple(map(min, self.values)), tuple(map(max, self.values))
        less, more = self._increments(lows, highs)
        factor: float = (self.sizes[-1] / self.sizes[-2]) ** self.most
        return more <= less * factor

    def _increments(self, lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
        """Return by how much it grows to the last size but one, at most, and then, at least."""
        return highs[-2] - lows[-3], lows[-1] - highs[-2]


class Machine(msgspec.Struct, frozen=True):
    """What was measured on and with; nothing in it names this very machine."""

    cores: int
    processor: str
    memory_bytes: int
    system: str
    versions: dict[str, str]


class Section(msgspec.Struct, frozen=True):
    """All that one section measured, and under which circumstances.

    `load` is the average of a minute before it. `others` is the share of all cores that other
    programs had meanwhile, None where the system does not tell. A quick one is of tiny sizes.
    """

    date: str
    seconds: float
    load: float
    others: float | None
    is_quick: bool
    machine: Machine
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...] = ()


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the median of the ratios of pairs; of different numbers, the ratio of the medians."""
    if not ours or not theirs or not all(theirs):
        return None
    if len(ours) == len(theirs):
        return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return statistics.median(ours) / statistics.median(theirs)


def _slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the least squares line through the logarithms."""
    line = statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(max(value, 1e-9)) for value in values]
    )
    return line.slope
