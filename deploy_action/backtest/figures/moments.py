"""The moments of a series of returns, from which the odds of a Sharpe ratio follow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of `count` returns.

    `sharpe` is the mean over the standard deviation of one return, not annualised, after the
    risk-free rate. `skewness` and `kurtosis` are those of all there are: 0 and 3 for the normal
    distribution.
    """

    count: int
    sharpe: float
    skewness: float
    kurtosis: float


def moments_of(returns: Sequence[float], risk_free: float) -> Moments | None:
    """Return the moments; `risk_free` is the rate for one return. None without any spread."""
    count = len(returns)
    if count < 2:  # noqa: PLR2004  # one return has no spread
        return None
    mean = math.fsum(returns) / count
    second, third, fourth = (
        math.fsum((one - mean) ** power for one in returns) / count for power in (2, 3, 4)
    )
    spread = math.sqrt(second)
    if not math.isfinite(fourth) or spread**4 <= 0:
        return None
    sample = math.sqrt(second * count / (count - 1))
    found = Moments(count, (mean - risk_free) / sample, third / spread**3, fourth / spread**4)
    is_finite = all(map(math.isfinite, (found.sharpe, found.skewness, found.kurtosis)))
    return found if is_finite else None
