"""What the backtests of a run found: of the candidate, and of the base it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.comparison import Base, Comparison
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.backtest.result import BacktestResult, BacktestRun
    from deploy_action.backtest.sweep.combinations import Swept
    from deploy_action.backtest.sweep.shards import Part
    from deploy_action.errors import Problem
    from deploy_action.gates.judgement import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtests:
    """The candidate's result and how it was run, the comparison with the base, and the verdicts.

    None where the server tells no result. `verdicts` are in the order of the gates; `problems` are
    warnings of the server and of our own. `windows` are the candidate's, in the order that was
    asked for; those of the base are in it. `part` says which part of a whole run this is, if it is
    one: then not all windows and combinations have their backtests here. `parts` is the number of
    parts that it was put together from, 0 if one runner did it all.
    """

    backtest_id: str = ""
    result: BacktestResult | None = None
    run: BacktestRun | None = None
    comparison: Comparison | None = None
    windows: tuple[WindowBacktest, ...] = ()
    sweep: Swept | None = None
    part: Part | None = None
    parts: int = 0
    verdicts: tuple[Verdict, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def base(self) -> Base | None:
        """The base that the candidate was compared with; None without a comparison."""
        return None if self.comparison is None else self.comparison.base
