"""The value of an account over time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from itertools import accumulate
from operator import sub, truediv
from typing import Final

from deploy_action.records import dataclass

# Keeps the drawdown of an account that is deep in debt from overflowing.
_DEEPEST_DRAWDOWN: Final = -1e11


@dataclass(frozen=True, slots=True)
class AccountValues:
    """The account's value over time as (time, value); None if the package had no number.

    Kept in two arrays, in which a missing value is NaN: a million values take 16 MB.
    """

    times: array[float]
    values: array[float]

    def __iter__(self) -> Iterator[tuple[float, float | None]]:
        for time, value in zip(self.times, self.values, strict=True):
            yield time, None if math.isnan(value) else value

    def __len__(self) -> int:
        """Return the number of points, including those without a value."""
        return len(self.times)

    def known(self) -> AccountValues:
        """Return the points that have a value."""
        if not any(map(math.isnan, self.values)):
            return self
        pairs = [(time, value) for time, value in self if value is not None]
        return AccountValues(
            array("d", [time for time, _ in pairs]), array("d", [value for _, value in pairs])
        )

    def drawdowns(self) -> AccountValues | None:
        """Return how far each value is below the highest so far, in per cent of it: 0 or less.

        None if the account is empty or starts at 0 or below. All values have to be known.
        """
        if not self.values or self.values[0] <= 0:
            return None
        peaks = array("d", accumulate(self.values, max))
        falls = map((100.0).__mul__, map(sub, self.values, peaks))
        below = array("d", map(truediv, falls, peaks))
        if min(below) < _DEEPEST_DRAWDOWN:
            below = array("d", [max(one, _DEEPEST_DRAWDOWN) for one in below])
        return AccountValues(self.times, below)
