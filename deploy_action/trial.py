"""The backtests that decide: of the candidate, and of the base that it is compared with.

Both get the same arguments and run side by side. What they show is compared, judged by the gates,
and looked at with suspicion; only a trial that nothing refuses lets a run go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from deploy_action.comparison import (
    Base,
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.errors import (
    DeadlineError,
    DeployActionError,
    InterruptedRunError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.gate_messages import problem_of
from deploy_action.gates import judge
from deploy_action.metrics import METRICS
from deploy_action.model_changes import LiveModel, compare_models
from deploy_action.plausibility import find_too_good
from deploy_action.requirements_file import read_requirements
from deploy_action.settings import UNWANTED_WARNINGS, Mode
from deploy_action.submission import Submitter, backtest_upload
from deploy_action.text import tidy

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.api import Backtested, DeploymentApi, Submission
    from deploy_action.backtest_result import BacktestResult, BacktestRun
    from deploy_action.base_model import PreparedBase
    from deploy_action.located_json import JsonValue
    from deploy_action.manifest import Manifest
    from deploy_action.preparation import PreparedModel
    from deploy_action.record import RunRecord

_NO_RESULT: Final = "the server gave no result"
_NO_RESULT_HINT: Final = (
    "Use `api-url: local`, which backtests on the runner and tells the result; mode `deploy` with "
    "gates does so by itself."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Backtests a candidate, beside its base where there is one, and decides.

    `submitter` sends the candidate to where it is tested, `open_api` returns another connection
    to there, `record` is the run's, and `on_candidate_done` is called when only the base goes on.
    """

    submitter: Submitter
    base: PreparedBase | None
    record: RunRecord
    open_api: Callable[[], DeploymentApi]
    on_candidate_done: Callable[[], None]

    def run(self, on_progress: Callable[[int, int], None]) -> None:
        """Backtest, compare, judge; everything that is found goes into the record.

        Raises:
            RefusedError: the backtest failed, a gate did not pass, or there are warnings where
                none are wanted.
        """
        # Now, for a model may write into its own directory.
        versions = self._versions()
        submission = self.submitter.create_missing(self.submitter.look_up())
        beside = self._begin_base(submission)
        backtested = self.submitter.backtest(submission, on_progress)
        self._take(backtested)
        if failures := _errors(backtested):
            # They say all there is to say of gates for which nothing was computed.
            self._judge("the backtest failed")
            raise RefusedError(*failures)
        if self.base is not None:
            self.on_candidate_done()
            base = self._finish_base(self.base, submission, backtested, beside)
            self.record.comparison = self._compare(base, backtested, versions)
        self._warn(backtested)
        self._decide()

    def _versions(self) -> tuple[LiveModel | None, LiveModel]:
        """Return base and candidate as they would run in production."""
        base, candidate = self.base, self.submitter.model
        now = self._live(candidate, candidate.directory, candidate.manifest)
        if base is None or base.directory is None or base.manifest is None:
            return None, now
        return self._live(base, base.directory, base.manifest), now

    def _live(
        self, model: PreparedModel | PreparedBase, directory: Path, manifest: Manifest
    ) -> LiveModel:
        return LiveModel(
            plan=model.plan,
            python_version=model.python_version,
            schedule=model.schedule,
            requirements=read_requirements(directory, manifest.requirements),
            bundle_path=model.bundle.path if model.bundle else None,
            arguments=self.submitter.model.backtest_args,
            run=None,
        )

    def _take(self, backtested: Backtested) -> None:
        record = self.record
        record.backtest, record.backtest_run = backtested.result, backtested.run
        record.backtest_id = backtested.backtest_id or ""
        if record.mode == Mode.DEPLOY and backtested.run is not None:
            record.tested_sha256 = backtested.run.bundle_sha256
        record.problems += [
            one for one in backtested.problems if one.severity is not Severity.ERROR
        ]

    def _begin_base(self, submission: Submission) -> Future[Backtested] | None:
        """Start the base's backtest beside the candidate's, where there is one to start."""
        base = self.base
        if base is None or base.bundle is None or self._is_same(base):
            return None
        if submission.model_id is None:
            return None  # the candidate's upload is to make the model; two would make two
        return self._in_background(base, submission)

    def _in_background(self, base: PreparedBase, submission: Submission) -> Future[Backtested]:
        future: Future[Backtested] = Future()

        def work() -> None:
            try:
                future.set_result(self._backtest_base(base, submission))
            except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
                future.set_exception(error)

        # A daemon, which does not keep a run alive whose candidate has failed.
        threading.Thread(target=work, name="base", daemon=True).start()
        return future

    def _backtest_base(self, base: PreparedBase, submission: Submission) -> Backtested:
        if base.bundle is None:
            raise AssertionError("what is not packed cannot be backtested")
        api = self.open_api()
        upload = backtest_upload(base.bundle, lambda _done, _total: None)
        description = tidy(f"Base {base.ref} of: {submission.description}")
        changed = replace(submission, description=description, python_version=base.python_version)
        try:
            return api.backtest(changed, upload)
        finally:
            api.transport.close()

    def _is_same(self, base: PreparedBase) -> bool:
        """Whether base and candidate are the same bytes, run by the same Python."""
        candidate = self.submitter.model
        return (
            base.bundle is not None
            and base.bundle.sha256 == candidate.bundle.sha256
            and base.python_version == candidate.python_version
        )

    def _finish_base(
        self,
        base: PreparedBase,
        submission: Submission,
        candidate: Backtested,
        beside: Future[Backtested] | None,
    ) -> Base:
        """Wait for the base's backtest, and return what became of it; it never fails the run."""
        known = Base(
            ref=base.ref,
            commit=base.commit,
            commit_url=base.commit_url,
            bundle=base.bundle,
            state=BaseState.ABSENT if base.is_absent else BaseState.FAILED,
            reason=base.reason,
        )
        if base.bundle is None:
            return known
        if self._is_same(base):
            return _with_result(known, candidate, is_same_bundle=True)
        # Where the upload made the model, its id is known by now.
        submission = replace(submission, model_id=candidate.model_id or submission.model_id)
        try:
            backtested = (beside or self._in_background(base, submission)).result()
            if arguments := _other_arguments(backtested, candidate):
                again = replace(submission, backtest_args=arguments)
                backtested = self._in_background(base, again).result()
        except (DeadlineError, InterruptedRunError):
            raise
        except DeployActionError as error:
            return replace(known, reason=_reason(error.problems))
        return _with_result(known, backtested)

    def _compare(
        self, base: Base, candidate: Backtested, versions: tuple[LiveModel | None, LiveModel]
    ) -> Comparison:
        before, now = versions
        changes = None
        if before is not None:
            changes = compare_models(replace(before, run=base.run), replace(now, run=candidate.run))
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

    def _warn(self, candidate: Backtested) -> None:
        """Note what a trader has to know of the results, and what fails nothing by itself."""
        base = self.record.comparison.base if self.record.comparison else None
        if base is not None and base.result is None:
            self.record.problems.append(_without_base(base))
        if base is not None and (odd := _unlike_arguments(base.run, candidate.run)):
            self.record.problems.append(odd)
        if candidate.result is not None:
            self.record.problems += find_too_good(candidate.result, base.result if base else None)

    def _decide(self) -> None:
        refusals = self._judge()
        if self.submitter.settings.fail_on_warning and self.record.of(Severity.WARNING):
            refusals.append(UNWANTED_WARNINGS)
        if refusals:
            raise RefusedError(*refusals)

    def _judge(self, no_result: str = _NO_RESULT) -> list[Problem]:
        """Note what came of all gates, and return a problem for each that did not pass."""
        result, comparison = self.record.backtest, self.record.comparison
        base = comparison.base if comparison else None
        self.record.verdicts = judge(
            self.submitter.settings.gates,
            {} if result is None else result.contract_metrics(),
            base.result.contract_metrics() if base and base.result else None,
            reasons=_reasons(result) if result else dict.fromkeys(METRICS, no_result),
            no_base="`compare-with` is not set" if base is None else base.reason,
        )
        problems = [one for one in map(problem_of, self.record.verdicts) if one is not None]
        if result is None:
            return [replace(problem, hint=_NO_RESULT_HINT) for problem in problems]
        return problems


def _with_result(known: Base, backtested: Backtested, *, is_same_bundle: bool = False) -> Base:
    if backtested.result is None:
        return replace(known, reason=_reason(_errors(backtested)) or _NO_RESULT)
    return replace(
        known,
        state=BaseState.BACKTESTED,
        reason="",
        is_same_bundle=is_same_bundle,
        backtest_id=backtested.backtest_id or "",
        result=backtested.result,
        run=backtested.run,
    )


def _errors(backtested: Backtested) -> list[Problem]:
    return [one for one in backtested.problems if one.severity is Severity.ERROR]


def _reason(problems: Sequence[Problem]) -> str:
    """Return the first problem with its place, to stand after a colon."""
    if not problems:
        return ""
    first = problems[0]
    place = ":".join(str(part) for part in (first.path, first.line) if part)
    return f"{place}: {first.message}" if place else first.message


def _other_arguments(base: Backtested, candidate: Backtested) -> Mapping[str, JsonValue] | None:
    """Return the candidate's arguments where the base ran with others of its own.

    Without any in `blankly.json` and the input, each ran with those of its own script.
    """
    if base.run is None or candidate.run is None:
        return None
    wanted = candidate.run.arguments
    return wanted if wanted and base.run.arguments != wanted else None


def _unlike_arguments(base: BacktestRun | None, candidate: BacktestRun | None) -> Problem | None:
    if base is None or candidate is None or base.arguments == candidate.arguments:
        return None
    return Problem(
        message="Base and candidate were not backtested with the same arguments: their scripts "
        "give different ones.",
        hint="Give both the same with `backtest_args` of `blankly.json` or the input "
        "`backtest-args`.",
        severity=Severity.WARNING,
    )


def _without_base(base: Base) -> Problem:
    """Say why there is no comparison: a new model is no fault, all else may be one."""
    is_new = base.state is BaseState.ABSENT
    return Problem(
        message=f"There is nothing to compare with: {base.reason.removesuffix('.')}.",
        hint="" if is_new else "The candidate's own results hold; gates with `base` do not pass.",
        severity=Severity.NOTICE if is_new else Severity.WARNING,
    )


def _reasons(result: BacktestResult) -> Mapping[str, str]:
    """Return, by metric, why it has no value."""
    return {name: reason for name in METRICS if (reason := result.metric(name).reason)}
