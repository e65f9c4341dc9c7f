"""The verdict on what the backtests of a run found: warning signs, gates, and the refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.comparison import Base, BaseState
from deploy_action.backtest.likeness import IN_A_RUN, unlike
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.coverage import coverage_warnings
from deploy_action.backtest.warning_signs import find_warning_signs, without_trades
from deploy_action.errors import Problem, RefusedError, Severity
from deploy_action.gates.judgement import (
    AnyGate,
    Evidence,
    State,
    Verdict,
    inside,
    judge,
    not_judged,
)
from deploy_action.gates.messages import problem_of, warning_of, warning_of_best
from deploy_action.inputs.settings import UNWANTED_WARNINGS
from deploy_action.records import dataclass, replace
from deploy_action.stages.backtests.beside import NO_RESULT
from deploy_action.stages.backtests.remarks import Named, named, problems_of

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.outcome.backtests import Backtests

_NO_RESULT_HINT: Final = (
    "Use `api-url: local`, which backtests on the runner and tells the result; mode `deploy` with "
    "gates does so by itself."
)
_NOTHING: Final = Problem(
    message="No combination of the sweep has a result.",
    hint="The warnings say why.",
)
_NEW_MODEL_HINT: Final = (
    "A model that is new, or was moved or renamed, has no base yet: give it gates with numbers, "
    "and add those with `base` when it is merged; or merge it anyway."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Judges backtests by the gates of a run; whatever ran them.

    `redact` hides secrets in reasons, which messages cut. `why_no_base` says why there is no base
    yet; it is blank if none was asked for. `wants_several` says that windows or combinations were
    asked for.
    """

    gates: Sequence[AnyGate]
    fail_on_warning: bool
    redact: Callable[[str], str]
    why_no_base: str = ""
    wants_several: bool = False

    def conclude(self, found: Backtests) -> Backtests:
        """Return it with its warnings about all backtests, its verdicts and their warnings."""
        several = problems_of(found.windows, found.sweep, redact=self.redact)
        found = replace(found, problems=(*found.problems, *several))
        found = _with_warning_signs(found, self.redact, has_gates=bool(self.gates))
        found = self._judged(found, NO_RESULT)
        warnings = [one for one in map(warning_of, found.verdicts) if one is not None]
        if found.sweep is not None:
            tried = len(found.sweep.combinations)
            of_best = (warning_of_best(verdict, tried) for verdict in found.verdicts)
            warnings += [one for one in of_best if one is not None]
        return replace(found, problems=(*found.problems, *warnings))

    def unjudged(self, found: Backtests, no_result: str, why: str) -> Backtests:
        """Return it with verdicts of which none passes; with a result, they say `why`."""
        found = self._judged(found, no_result)
        if found.result is None:
            return found
        return replace(found, verdicts=not_judged(found.verdicts, why))

    def refuse(self, found: Backtests) -> None:
        """Return if the run may go on.

        Raises:
            RefusedError: a gate did not pass, a sweep has no result, or there are warnings where
                none are wanted.
        """
        refusals = [
            _with_way_on(found, verdict, problem)
            for verdict in found.verdicts
            if (problem := problem_of(verdict)) is not None
        ]
        if found.sweep is not None and not any(found.sweep.known()):
            refusals.append(_NOTHING)
        severities = {one.severity for one in found.problems}
        if self.fail_on_warning and Severity.WARNING in severities:
            refusals.append(UNWANTED_WARNINGS)
        if refusals:
            raise RefusedError(*refusals)

    def _judged(self, found: Backtests, no_result: str) -> Backtests:
        result, base, redact = found.result, found.base, self.redact
        several = list(named(found.windows, found.sweep, redact))
        verdicts = judge(
            self.gates,
            Evidence(
                metrics={} if result is None else result.analysis.judged_metrics,
                reasons=_reasons(result, redact) if result else dict.fromkeys(METRICS, no_result),
                base=base.result.analysis.judged_metrics if base and base.result else None,
                no_base=redact(base.reason if base else self.why_no_base),
                is_identical=_is_identical(found),
                holding=_of_holding(result),
                no_holding=_why_no_holding(result, no_result, redact),
                several=_metrics_of(several),
                several_names=[redact(name) for name, one in several if one.figures is not None],
                no_several=redact(self._why_no_several(several)),
                base_several=_metrics_of(named(base.windows, None, redact)) if base else (),
                no_base_several=redact(_why_no_base_windows(found, base)) if base else "",
            ),
        )
        return replace(found, verdicts=verdicts)

    def _why_no_several(self, several: Sequence[Named]) -> str:
        """Say why they cannot be judged; blank if they can, or none were asked for."""
        if self.wants_several and not several:
            return "they were not backtested"
        return _failed(several)


def _why_no_base_windows(found: Backtests, base: Base) -> str:
    if found.sweep is not None:
        return "the base is not backtested with the values of the sweep"
    return _failed(named(base.windows, None, str))


def _with_warning_signs(
    found: Backtests, redact: Callable[[str], str], *, has_gates: bool
) -> Backtests:
    result, base = found.result, found.base
    warnings = []
    if base is not None and base.state is BaseState.FAILED:
        warnings.append(_without_base(base))
    if result is not None:
        of_base = base.result if base else None
        if has_gates or (of_base is not None and of_base.filled_trades):
            warnings += without_trades(result)
        warnings += find_warning_signs(result, of_base)
        coverage = result.analysis.coverage
        warnings += coverage_warnings(coverage, "", redact)
        if of_base is not None:
            warnings += unlike(of_base, result, replace(IN_A_RUN, redact=redact))
            others = [one for one in of_base.analysis.coverage if one not in coverage]
            warnings += coverage_warnings(others, "Base: ", redact)
    return replace(found, problems=(*found.problems, *warnings))


def _without_base(base: Base) -> Problem:
    return Problem(
        message=f"There is nothing to compare with: {base.reason.removesuffix('.')}.",
        hint="The candidate's own results hold; gates with `base` do not pass.",
        severity=Severity.WARNING,
    )


def _with_way_on(found: Backtests, verdict: Verdict, problem: Problem) -> Problem:
    """Return the problem with a better hint where the gate itself cannot know one."""
    if found.result is None:
        return replace(problem, hint=_NO_RESULT_HINT)
    is_new = found.base is not None and found.base.state is BaseState.ABSENT
    if is_new and verdict.state is State.NO_BASE:
        return replace(problem, hint=_NEW_MODEL_HINT)
    return problem


def _metrics_of(several: Iterable[Named]) -> Sequence[Mapping[str, float | None]]:
    return [one.figures.judged_metrics for _, one in several if one.figures is not None]


def _failed(several: Iterable[Named]) -> str:
    failed = next(((name, one) for name, one in several if one.figures is None), None)
    if failed is None:
        return ""
    name, one = failed
    return f"{inside(name)} failed: {one.reason}"


def _is_identical(found: Backtests) -> bool | None:
    """Whether the trades are those of the base; None without a result of the base."""
    comparison = found.comparison
    if comparison is None or comparison.base.result is None:
        return None
    return comparison.is_identical


def _of_holding(result: BacktestResult | None) -> Mapping[str, float | None] | None:
    holding = None if result is None else result.analysis.holding
    return None if holding is None else holding.metrics


def _why_no_holding(
    result: BacktestResult | None, no_result: str, redact: Callable[[str], str]
) -> str:
    return no_result if result is None else redact(result.analysis.reasons.get("hold_return", ""))


def _reasons(result: BacktestResult, redact: Callable[[str], str]) -> Mapping[str, str]:
    """Return the reasons for missing values, by metric."""
    reasons = {**result.analysis.reasons, **result.analysis.unjudged}
    return {name: redact(reason) for name, reason in reasons.items()}
