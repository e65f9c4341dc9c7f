"""Which points of a long series a chart draws: few enough to be quick, and no extreme is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Final

_FEWEST: Final = 2


def kept_points(columns: Sequence[Sequence[float]], most: int) -> list[int]:
    """Return the indices of at most `most` points, in order; all of them if there are no more.

    The columns, at least one, are series over the same times, all of the same length; NaN is a
    value that is not known. The first and the last point stay. Of each of many equal stretches stay
    the lowest and the highest value of every column, and its first point without a value.
    """
    length = len(columns[0])
    if length <= most:
        return list(range(length))
    each = 3 * len(columns)
    stretches = max(1, (most - _FEWEST) // each)
    lists = [list(values) for values in columns]  # an array makes its numbers anew at every look
    kept = {0, length - 1}
    for number in range(stretches):
        start, end = length * number // stretches, length * (number + 1) // stretches
        for values in lists:
            stretch = values[start:end]
            if math.isnan(sum(stretch)):  # `min` and `max` compare with NaN wrongly
                known: Sequence[float] = [value for value in stretch if not math.isnan(value)]
                gaps = (start + at for at, value in enumerate(stretch) if math.isnan(value))
                kept.update(islice(gaps, 1))
            else:
                known = stretch
            if known:
                kept |= {start + stretch.index(min(known)), start + stretch.index(max(known))}
    return sorted(kept)
