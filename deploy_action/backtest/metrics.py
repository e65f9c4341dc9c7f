"""The twelve metrics that gates, comparisons and outputs know: their names, units and directions.

The units are those of the `blankly` package, which is their source: its `metrics/portfolio.py`
computes them, its `format_platform_result` multiplies some by 100.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

# Sums and products of two numbers in the range of floats (1e-324 to 1e308) have fewer digits.
EXACTLY: Final = Context(prec=2_000)


class Unit(Enum):
    """What a metric is measured in."""

    RATIO = auto()
    PER_CENT = auto()
    """Of 100: 16 is 16%."""
    FRACTION = auto()
    """Of 1: 0.16 is 16%."""
    AMOUNT = auto()
    """Of the quote asset."""
    COUNT = auto()


class Better(Enum):
    """Which way a metric is better, all else being equal."""

    HIGHER = auto()
    LOWER = auto()
    NEITHER = auto()


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One metric: `name` is what people call it."""

    id: str
    name: str
    unit: Unit
    better: Better


METRICS: Final[Mapping[str, MetricKind]] = MappingProxyType(
    {
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
            # Both are losses, as positive amounts.
            MetricKind("value_at_risk", "Value at risk", Unit.AMOUNT, Better.LOWER),
            MetricKind("cvar", "Conditional value at risk", Unit.AMOUNT, Better.LOWER),
            MetricKind("trades", "Trades", Unit.COUNT, Better.NEITHER),
            MetricKind("final_account_value", "Final value", Unit.AMOUNT, Better.HIGHER),
        )
    }
)

# The ids of the package's `format_platform_result`, by ours. It counts no trades, and has the final
# value beside its metrics.
PACKAGE_IDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        metric: "cavr" if metric == "cvar" else metric
        for metric in METRICS
        if metric not in {"trades", "final_account_value"}
    }
)
# The package rounds these to whole per cents, as fractions, and multiplies them by 100 afterwards:
# 0.29 becomes 28.999999999999996.
WHOLE_PER_CENTS: Final = frozenset({"cagr", "cum_returns", "max_drawdown"})
# Why a metric has no value, where the package gives null.
NOT_A_NUMBER: Final = "not a number"


def known(value: float | None) -> float | None:
    """Return a value that is a number; with NaN and infinity nothing can be compared."""
    return value if value is not None and math.isfinite(value) else None


def in_decimals(value: float) -> Decimal:
    """Return what a float is in decimals as people read it: 1.1, where its bits say 1.100…0888."""
    return Decimal(repr(value))


def nearest_float(number: Decimal) -> float:
    """Return the finite float that is nearest to a number, which may lie beyond all of them."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(number)))
