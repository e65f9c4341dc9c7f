"""A backtest beside the one of the model as it was: metric by metric, and trade by trade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING

from deploy_action.backtest.metrics import (
    EXACTLY,
    METRICS,
    Better,
    in_decimals,
    known,
    nearest_float,
)
from deploy_action.backtest.result import canonical_trade

if TYPE_CHECKING:
    from deploy_action.backtest.model_changes import ModelChanges
    from deploy_action.backtest.result import BacktestResult, BacktestRun, Trade
    from deploy_action.bundle.bundle import Bundle


class Direction(StrEnum):
    """What a difference means for who trades with the model."""

    BETTER = "better"
    WORSE = "worse"
    NEUTRAL = "neutral"


class BaseState(StrEnum):
    """Whether there is something to compare with."""

    BACKTESTED = "backtested"
    ABSENT = "absent"
    """The model did not exist at that ref."""
    FAILED = "failed"
    """It existed, and could not be packed or backtested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model as it was at the git ref `ref`, which is `commit` (40 hexadecimal digits).

    `reason` says, where there is no result, why not. `is_same_bundle`: its bundle has the
    candidate's digest, so it was backtested once for both.
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


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric of both; `difference` is candidate minus base, None where one is not known."""

    metric: str
    base: float | None
    candidate: float | None
    difference: float | None
    direction: Direction


@dataclass(frozen=True, slots=True)
class TradeDifference:
    """The first trade that differs: `index` counts from 0; None where one model made no more."""

    index: int
    base: Trade | None
    candidate: Trade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that a comparison found; where the base has no result, the base alone says something."""

    base: Base
    metrics: tuple[MetricChange, ...] = ()
    first_difference: TradeDifference | None = None
    changes: ModelChanges | None = None

    @property
    def is_identical(self) -> bool:
        """Whether both did the same, trade for trade."""
        return self.base.result is not None and self.first_difference is None


def compare_metrics(
    base: Mapping[str, float | None], candidate: Mapping[str, float | None]
) -> tuple[MetricChange, ...]:
    """Return all twelve metrics of both, in the order of `METRICS`, each in its unit.

    A difference is one of decimals: 0.3 is 0.1 more than 0.2, and not 0.09999999999999998.
    """
    return tuple(
        _compare(metric, known(base.get(metric)), known(candidate.get(metric)))
        for metric in METRICS
    )


def _compare(metric: str, base: float | None, candidate: float | None) -> MetricChange:
    if base is None or candidate is None:
        return MetricChange(metric, base, candidate, None, Direction.NEUTRAL)
    difference = EXACTLY.subtract(in_decimals(candidate), in_decimals(base))
    direction = _direction(METRICS[metric].better, rises=candidate > base, falls=candidate < base)
    return MetricChange(metric, base, candidate, nearest_float(difference), direction)


def _direction(better: Better, *, rises: bool, falls: bool) -> Direction:
    if better is Better.NEITHER or not (rises or falls):
        return Direction.NEUTRAL
    return Direction.BETTER if rises is (better is Better.HIGHER) else Direction.WORSE


def first_difference(base: BacktestResult, candidate: BacktestResult) -> TradeDifference | None:
    """Return the first trade that differs, None exactly where both have the same fingerprint.

    Trades are compared as they are fingerprinted: by symbol, side, type, size, price, and the time
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
