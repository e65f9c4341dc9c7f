"""What is kept of the result of one of many backtests: windows, and combinations of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deploy_action.backtest.figures.analysis import unjudged
from deploy_action.backtest.figures.moments import Moments
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFigures:
    """The figures of a result.

    `metrics` has every id of `METRICS`; they are the package's if not `is_exact`. `covered` is the
    least share of the period, from 0 to 1, for which a symbol has prices; 1 if that is unknown.
    `moments` are those of the returns; None if there are too few.
    """

    metrics: Mapping[str, float | None]
    trades_sha256: str
    is_exact: bool = True
    covered: float = 1.0
    moments: Moments | None = None

    @classmethod
    def of(cls, result: BacktestResult) -> KeptFigures:
        """Return the figures of a result."""
        analysis = result.analysis
        return cls(
            metrics=analysis.metrics,
            trades_sha256=result.trades_sha256,
            is_exact=analysis.is_exact,
            covered=min((one.share for one in analysis.coverage), default=1.0),
            moments=analysis.moments,
        )

    @property
    def judged_metrics(self) -> Mapping[str, float | None]:
        """What gates judge: the metrics without those that mean something else."""
        return {**self.metrics, **dict.fromkeys(unjudged(is_exact=self.is_exact))}
