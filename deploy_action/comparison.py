"""A backtest beside the one of the model as it was: metric by metric, and trade by trade."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy_action.backtest_result import BacktestResult, BacktestRun, Trade
    from deploy_action.bundle import Bundle
    from deploy_action.model_changes import ModelChanges


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
