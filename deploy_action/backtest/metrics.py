"""The metrics that gates, comparisons and outputs know: their names, units and directions.

`docs/metrics.md` defines them. Units are those of the `blankly` package, whose
`format_platform_result` multiplies some by 100.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from enum import Enum, StrEnum, auto
from statistics import median_high, median_low
from typing import Final

from deploy_action.records import dataclass

_ALIKE: Final = 1e-9  # of a number, or of its size

# Enough digits for any sum or product of two floats (1e-324 to 1e308).
EXACTLY: Final = Context(prec=2_000)


class Unit(Enum):
    """What a metric is measured in."""

    RATIO = auto()
    PER_CENT = auto()
    """16 is 16%."""
    FRACTION = auto()
    """0.16 is 16%."""
    AMOUNT = auto()
    """In the quote asset."""
    COUNT = auto()
    DAYS = auto()


class Better(Enum):
    """Whether a higher or a lower value is better, all else being equal."""

    HIGHER = auto()
    LOWER = auto()
    NEITHER = auto()


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One metric; `name` is for people."""

    id: str
    name: str
    unit: Unit
    better: Better


METRICS: Final[Mapping[str, MetricKind]] = {
    kind.id: kind
    for kind in (
        MetricKind("sharpe", "Sharpe ratio", Unit.RATIO, Better.HIGHER),
        MetricKind("sortino", "Sortino ratio", Unit.RATIO, Better.HIGHER),
        MetricKind("calmar", "Calmar ratio", Unit.RATIO, Better.HIGHER),
        MetricKind("cagr", "Annual growth", Unit.PER_CENT, Better.HIGHER),
        MetricKind("cum_returns", "Return", Unit.PER_CENT, Better.HIGHER),
        MetricKind("max_drawdown", "Maximum drawdown", Unit.PER_CENT, Better.LOWER),
        MetricKind("volatility", "Volatility", Unit.FRACTION, Better.LOWER),
        MetricKind("variance", "Variance", Unit.PER_CENT, Better.LOWER),
        # Both are losses, as positive amounts, of the worst 5% of days.
        MetricKind("value_at_risk", "Value at risk", Unit.AMOUNT, Better.LOWER),
        MetricKind("cvar", "Conditional value at risk", Unit.AMOUNT, Better.LOWER),
        MetricKind("trades", "Trades", Unit.COUNT, Better.NEITHER),
        MetricKind("final_account_value", "Final value", Unit.AMOUNT, Better.HIGHER),
        MetricKind("hold_return", "Return of holding", Unit.PER_CENT, Better.NEITHER),
        MetricKind("excess_return", "Return beyond holding", Unit.PER_CENT, Better.HIGHER),
        MetricKind("round_trips", "Round trips", Unit.COUNT, Better.NEITHER),
        MetricKind("win_rate", "Win rate", Unit.PER_CENT, Better.HIGHER),
        MetricKind("profit_factor", "Profit factor", Unit.RATIO, Better.HIGHER),
        MetricKind("expectancy", "Expectancy", Unit.AMOUNT, Better.HIGHER),
        MetricKind("exposure", "Exposure", Unit.PER_CENT, Better.NEITHER),
        MetricKind("longest_drawdown_days", "Longest drawdown", Unit.DAYS, Better.LOWER),
    )
}

# Our ids to those of the package's `format_platform_result`, for the metrics that it computes. It
# reports the final value outside its metrics.
PACKAGE_IDS: Final[Mapping[str, str]] = {
    "sharpe": "sharpe",
    "sortino": "sortino",
    "calmar": "calmar",
    "cagr": "cagr",
    "cum_returns": "cum_returns",
    "max_drawdown": "max_drawdown",
    "volatility": "volatility",
    "variance": "variance",
    "value_at_risk": "value_at_risk",
    "cvar": "cavr",
}
# The metrics that holding has, too.
HOLDABLE: Final = frozenset({*PACKAGE_IDS, "final_account_value", "longest_drawdown_days"})
# The reason why a metric that the package reports as null has no value.
NOT_A_NUMBER: Final = "not a number"


def known(value: float | None) -> float | None:
    """Return None for NaN and infinity: they cannot be compared."""
    return value if value is not None and math.isfinite(value) else None


def are_alike(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> bool:
    """Whether two backtests have the same metrics, but for the last bits, as processors differ."""
    return one.keys() == other.keys() and all(
        value == other[name] or _are_close(value, other[name]) for name, value in one.items()
    )


def _are_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return math.isclose(one, other, rel_tol=_ALIKE, abs_tol=_ALIKE)


def in_decimals(value: float) -> Decimal:
    """Return a float as the decimal that people read: 1.1 rather than 1.100…0888."""
    return Decimal(repr(value))


def nearest_float(number: Decimal) -> float:
    """Return the nearest finite float; the number may be beyond all of them."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(number)))


class Over(StrEnum):
    """Which backtests a figure is of: the one of the whole period, or windows and combinations."""

    WHOLE = ""
    WORST = "worst"
    MEDIAN = "median"
    BEST = "best"


def over_several(metric: str, over: Over, values: Sequence[float]) -> float:
    """Return the worst, median or best of a metric's values, of which there is at least one.

    The smallest is the worst of a metric that is neither better higher nor lower.
    """
    if over is Over.MEDIAN:
        return median_low(values) / 2 + median_high(values) / 2  # their sum may be too large
    is_low = METRICS[metric].better is Better.LOWER
    return max(values) if is_low is (over is Over.WORST) else min(values)
