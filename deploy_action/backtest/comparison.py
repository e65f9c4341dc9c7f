"""Compares a backtest with that of the base, metric by metric and trade by trade."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.metrics import (
    EXACTLY,
    METRICS,
    Better,
    in_decimals,
    known,
    nearest_float,
)
from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.backtest.trades import Trade, canonical_trade
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.model_changes import ModelChanges
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.errors import Problem

# Metrics are sums of many floats: such a share, or amount, is the order in which they were added.
_SAME: Final = 1e-9


class Direction(StrEnum):
    """Whether a change is better or worse for the trader."""

    BETTER = "better"
    WORSE = "worse"
    NEUTRAL = "neutral"


class BaseState(StrEnum):
    """Whether there is a base to compare with."""

    BACKTESTED = "backtested"
    ABSENT = "absent"
    """The model does not exist at that ref."""
    FAILED = "failed"
    """The model exists there, but could not be packed or backtested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model as it was at the git ref `ref`, which is `commit` (40 hexadecimal digits).

    `reason` says why there is no result, and `problems` are warnings about it. `is_same_bundle`:
    its bundle has the candidate's digest, so one backtest serves both. `windows` are those of the
    run, of the base.
    """

    ref: str
    commit: str
    state: BaseState
    reason: str = ""
    commit_url: str | None = None
    bundle: Bundle | None = None
    is_same_bundle: bool = False
    backtest_id: str = ""
    result: BacktestResult | None = None
    run: BacktestRun | None = None
    windows: tuple[WindowBacktest, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric of both; `difference` is candidate minus base, None if either is unknown."""

    metric: str
    base: float | None
    candidate: float | None
    difference: float | None
    direction: Direction


@dataclass(frozen=True, slots=True)
class TradeDifference:
    """The first trade that differs; `index` counts from 0. None: that model made no more trades."""

    index: int
    base: Trade | None
    candidate: Trade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The findings of a comparison; without a result of the base, only `base` is set."""

    base: Base
    metrics: tuple[MetricChange, ...] = ()
    first_difference: TradeDifference | None = None
    changes: ModelChanges | None = None

    @property
    def is_identical(self) -> bool:
        """Whether both models made the same trades."""
        return self.base.result is not None and self.first_difference is None


def compare_metrics(
    base: Mapping[str, float | None], candidate: Mapping[str, float | None]
) -> tuple[MetricChange, ...]:
    """Return all metrics of both, in the order of `METRICS`, each in its unit.

    Differences are decimal: 0.3 is 0.1 more than 0.2, not 0.09999999999999998. What differs in the
    last digits of a float only is the same.
    """
    return tuple(
        _compare(metric, known(base.get(metric)), known(candidate.get(metric)))
        for metric in METRICS
    )


def _compare(metric: str, base: float | None, candidate: float | None) -> MetricChange:
    if base is None or candidate is None:
        return MetricChange(metric, base, candidate, None, Direction.NEUTRAL)
    if math.isclose(candidate, base, rel_tol=_SAME, abs_tol=_SAME):
        return MetricChange(metric, base, candidate, 0.0, Direction.NEUTRAL)
    difference = EXACTLY.subtract(in_decimals(candidate), in_decimals(base))
    better, direction = METRICS[metric].better, Direction.NEUTRAL
    if better is not Better.NEITHER:
        is_better = (candidate > base) is (better is Better.HIGHER)
        direction = Direction.BETTER if is_better else Direction.WORSE
    return MetricChange(metric, base, candidate, nearest_float(difference), direction)


def first_difference(base: BacktestResult, candidate: BacktestResult) -> TradeDifference | None:
    """Return the first trade that differs, or None if both have the same fingerprint.

    Trades are compared by what is fingerprinted: symbol, side, type, size, price, and the time
    since the start of the backtest.
    """
    if base.trades_sha256 == candidate.trades_sha256:
        return None
    pairs = zip_longest(base.trades, candidate.trades)
    for index, (before, now) in enumerate(pairs):
        if (
            before is None
            or now is None
            or canonical_trade(before, base.start_time)
            != canonical_trade(now, candidate.start_time)
        ):
            return TradeDifference(index, before, now)
    return None
