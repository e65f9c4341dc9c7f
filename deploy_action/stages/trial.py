"""The backtests that decide: of the candidate, and of the base that it is compared with.

Both get the same arguments and run side by side. What they show is compared, judged by the gates,
and looked at with suspicion; only a trial that nothing refuses lets a run go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.model_changes import LiveModel, compare_models
from deploy_action.backtest.warning_signs import find_warning_signs
from deploy_action.errors import DeployActionError, Problem, RefusedError, Severity
from deploy_action.gates.judgement import State, Verdict, judge
from deploy_action.gates.messages import problem_of, warning_of
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import UNWANTED_WARNINGS
from deploy_action.model.requirements import read_requirements
from deploy_action.stages.base_backtest import NO_RESULT, BaseBacktest

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.backtest.result import BacktestResult
    from deploy_action.deployment_api.client import Backtested, DeploymentApi
    from deploy_action.interruption import Deadline
    from deploy_action.model.manifest import Manifest
    from deploy_action.outcome.record import RunRecord
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.stages.preparation import PreparedModel
    from deploy_action.stages.submission import Submitter

_NO_RESULT_HINT: Final = (
    "Use `api-url: local`, which backtests on the runner and tells the result; mode `deploy` with "
    "gates does so by itself."
)
_NEW_MODEL_HINT: Final = (
    "A model that is new, or was moved or renamed, has no base yet: give it gates with numbers, "
    "and add those with `base` when it is merged; or merge it in spite of this."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Backtests a candidate, beside its base where there is one, and decides.

    `submitter` sends the candidate to where it is tested, `open_api` returns another connection
    to there, and `record` is the run's. `when_candidate_runs` calls what it is given when the
    candidate's backtest has begun, where that is known; `on_candidate_done` is called when only
    the base goes on.
    """

    submitter: Submitter
    base: PreparedBase | None
    record: RunRecord
    deadline: Deadline
    open_api: Callable[[], DeploymentApi]
    when_candidate_runs: Callable[[Callable[[], None]], None] | None
    on_candidate_done: Callable[[], None]

    def run(self, on_progress: Callable[[int, int], None]) -> None:
        """Backtest, compare, judge; everything that is found goes into the record.

        Raises:
            RefusedError: the backtest failed, a gate did not pass, or there are warnings where
                none are wanted.
        """
        try:
            self._run(on_progress)
        except DeployActionError:
            if not self.record.verdicts:
                # Whatever went wrong, no gate was passed.
                self._judge("the backtest has no result")
            raise

    def _run(self, on_progress: Callable[[int, int], None]) -> None:
        # Now, for a model may write into its own directory.
        before, now = self._versions()
        submission = self.submitter.create_missing(self.submitter.look_up())
        base = None
        if self.base is not None:
            base = BaseBacktest(
                base=self.base,
                candidate=self.submitter.model,
                submission=submission,
                deadline=self.deadline,
                open_api=self.open_api,
            )
            on_progress = self._beginning(base, on_progress)
        candidate = self.submitter.backtest(submission, on_progress)
        self._take(candidate)
        if base is not None:
            self.on_candidate_done()
            found = base.finish(candidate)
            before = before and replace(before, arguments=base.own_arguments, run=found.run)
            self.record.comparison = _compare(found, candidate, before, _as_run(now, candidate))
        self._decide()

    def _beginning(
        self, base: BaseBacktest, on_progress: Callable[[int, int], None]
    ) -> Callable[[int, int], None]:
        """Have the base begin when the candidate runs, or was sent where nobody says that."""
        if self.when_candidate_runs is not None:
            self.when_candidate_runs(base.begin)
            return on_progress

        def report(done: int, total: int) -> None:
            on_progress(done, total)
            if done >= total:
                base.begin()

        return report

    def _versions(self) -> tuple[LiveModel | None, LiveModel]:
        """Return base and candidate as they would run in production, as far as files say."""
        base, model = self.base, self.submitter.model
        # The plan of where it is deployed to, which may not be where it is tested.
        now = replace(_live(model, model.directory, model.manifest), plan=self.record.plan)
        if base is None or base.directory is None or base.manifest is None:
            return None, now
        return _live(base, base.directory, base.manifest), now

    def _take(self, candidate: Backtested) -> None:
        """Note the candidate's result.

        Raises:
            RefusedError: it has none, because its backtest failed; no gate passes then.
        """
        record, run = self.record, candidate.run
        record.backtest, record.backtest_run = candidate.result, run
        record.backtest_id = candidate.backtest_id or ""
        if record.mode == Mode.DEPLOY and run is not None:
            record.tested_sha256 = run.bundle_sha256
        failures = [one for one in candidate.problems if one.severity is Severity.ERROR]
        record.problems += [one for one in candidate.problems if one not in failures]
        if failures:
            # They say all there is to say of gates for which nothing was computed.
            self._judge("the backtest failed")
            raise RefusedError(*failures)

    def _decide(self) -> None:
        """Note what smells, and let nothing through that the gates or the inputs refuse."""
        result, comparison = self.record.backtest, self.record.comparison
        base = comparison.base if comparison else None
        if base is not None and base.state is BaseState.FAILED:
            self.record.problems.append(_without_base(base))
        if result is not None:
            self.record.problems += find_warning_signs(result, base.result if base else None)
        self._judge(NO_RESULT)
        warnings = map(warning_of, self.record.verdicts)
        self.record.problems += [warning for warning in warnings if warning is not None]
        refusals = [
            self._with_way_on(verdict, problem)
            for verdict in self.record.verdicts
            if (problem := problem_of(verdict)) is not None
        ]
        if self.submitter.settings.fail_on_warning and self.record.of(Severity.WARNING):
            refusals.append(UNWANTED_WARNINGS)
        if refusals:
            raise RefusedError(*refusals)

    def _judge(self, no_result: str) -> None:
        result, comparison = self.record.backtest, self.record.comparison
        base = comparison.base if comparison else None
        self.record.verdicts = judge(
            self.submitter.settings.gates,
            {} if result is None else result.contract_metrics(),
            base.result.contract_metrics() if base and base.result else None,
            reasons=_reasons(result) if result else dict.fromkeys(METRICS, no_result),
            no_base=base.reason if base else self._why_no_base,
        )

    @property
    def _why_no_base(self) -> str:
        """Why there is no base yet; blank where none was asked for."""
        return "" if self.base is None else self.base.reason or "its backtest was not over"

    def _with_way_on(self, verdict: Verdict, problem: Problem) -> Problem:
        """Say what to do where the gate itself cannot know."""
        comparison = self.record.comparison
        if self.record.backtest is None:
            return replace(problem, hint=_NO_RESULT_HINT)
        is_new = comparison is not None and comparison.base.state is BaseState.ABSENT
        if is_new and verdict.state is State.NO_BASE:
            return replace(problem, hint=_NEW_MODEL_HINT)
        return problem


def _live(model: PreparedModel | PreparedBase, directory: Path, manifest: Manifest) -> LiveModel:
    return LiveModel(
        plan=model.plan,
        python_version=model.python_version,
        schedule=model.schedule,
        requirements=read_requirements(directory, manifest.requirements),
        bundle_path=model.bundle.path if model.bundle else None,
        arguments=model.backtest_args or None,
        run=None,
    )


def _as_run(version: LiveModel, backtested: Backtested) -> LiveModel:
    """Return a version with how it was run, and with its script's arguments if it has no others."""
    run = backtested.run
    if run is None:
        return version
    return replace(version, run=run, arguments=version.arguments or run.arguments)


def _compare(
    base: Base, candidate: Backtested, before: LiveModel | None, now: LiveModel
) -> Comparison:
    """Compare what is known of both.

    Raises:
        RefusedError: a bundle cannot be read any more.
    """
    try:
        changes = compare_models(before, now) if before is not None else None
    except (OSError, BadZipFile) as error:
        raise RefusedError(
            Problem(
                message=f"The bundles were changed since they were packed: {error}.",
                hint="Look for what writes into the directory for temporary files, such as the "
                "model itself.",
            ),
        ) from error
    if base.result is None or candidate.result is None:
        return Comparison(base=base, changes=changes)
    return Comparison(
        base=base,
        metrics=compare_metrics(
            base.result.contract_metrics(), candidate.result.contract_metrics()
        ),
        first_difference=first_difference(base.result, candidate.result),
        changes=changes,
    )


def _without_base(base: Base) -> Problem:
    return Problem(
        message=f"There is nothing to compare with: {base.reason.removesuffix('.')}.",
        hint="The candidate's own results hold; gates with `base` do not pass.",
        severity=Severity.WARNING,
    )


def _reasons(result: BacktestResult) -> Mapping[str, str]:
    """Return, by metric, why it has no value."""
    return {name: reason for name in METRICS if (reason := result.metric(name).reason)}
