"""The backtest of the candidate: run beside that of its base, compared, and judged by the gates.

Both get the same arguments and run side by side. A run goes on only if no gate refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

from deploy_action.backtest.comparison import (
    Base,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.model_changes import LiveModel, compare_models
from deploy_action.errors import DeployActionError, Problem, RefusedError, Severity
from deploy_action.outcome.backtests import Backtests
from deploy_action.records import dataclass, replace
from deploy_action.stages.backtests.base import BaseBacktest
from deploy_action.stages.backtests.beside import Beside
from deploy_action.stages.backtests.judging import Judging
from deploy_action.stages.backtests.several import Several, SeveralBacktests

if TYPE_CHECKING:
    from deploy_action.backtest.runs_on import RunsOn
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import Backtested, DeploymentApi
    from deploy_action.interruption import Deadline
    from deploy_action.outcome.prepared_model import PreparedModel
    from deploy_action.outcome.target import Target
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.stages.submission import Submitter

_WITHOUT_OTHERS: Final = Problem(
    message="Windows and combinations were not backtested: the server gives no result.",
    hint="Use `api-url: local`, which backtests on the runner and tells the results.",
    severity=Severity.WARNING,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateBacktest:
    """Backtests the candidate, and its base if there is one, and judges the candidate.

    `submitter` sends the candidate to the server that runs the backtest; `open_api` returns another
    connection to that server. `model` is the candidate as it would run in production. `on_found`
    gets what is known whenever it grows, so that a run that fails half-way can report it.
    `on_began` takes a function to call once the candidate's backtest has begun, and `on_work` one
    to call with the ids of its version and its backtest once its model is at work; they are None
    where the server does not tell. `on_candidate_done` is called when only the others are left:
    base, windows and combinations. `on_several` gets the share of the last two that is done, and
    `earlier` has their durations in earlier runs.
    """

    submitter: Submitter
    model: PreparedModel
    base: PreparedBase | None
    deadline: Deadline
    open_api: Callable[[], DeploymentApi]
    on_found: Callable[[Backtests], None]
    on_began: Callable[[Callable[[], None]], None] | None
    on_work: Callable[[Callable[[str, str], None]], None] | None
    on_candidate_done: Callable[[], None]
    on_several: Callable[[float, str], None]
    earlier: Mapping[str, float]

    def run(self, on_progress: Callable[[int, int], None]) -> Backtests:
        """Backtest, compare, judge, and return what was found.

        Raises:
            RefusedError: the backtest failed, a gate did not pass, or there are warnings where
                none are wanted.
        """
        found, judging = Backtests(), self._judging
        # One at a time: how much memory they need, the end of the candidate's backtest will tell.
        beside = Beside(self.open_api, self.deadline, 1)
        try:
            target = self.submitter.create_missing(self.submitter.look_up())
            base = self._base_backtest(target, beside)
            several = self._several_backtests(target, beside, base)
            if several is not None and self.on_work is not None:
                self.on_work(several.begin_early)
            if base is not None:
                on_progress = self._beginning(base, on_progress)
            candidate = self.submitter.backtest(target, on_progress)
            found = self._kept(_found_by(candidate))
            if failures := [one for one in candidate.problems if one.severity is Severity.ERROR]:
                # The failures say it all: the gates need no reasons of their own.
                why = "the script failed after its backtest"
                found = self._kept(judging.unjudged(found, "the backtest failed", why))
                raise RefusedError(*failures)
            found = self._finish_others(found, candidate, base, several)
            if found.part is None:
                found = self._kept(judging.conclude(found))
                judging.refuse(found)
        except DeployActionError:
            if not found.verdicts:  # whatever ends the run, no gate passes
                self._kept(
                    judging.unjudged(found, "the backtest has no result", "the run ended before")
                )
            raise
        finally:
            beside.close()
        return found

    def _finish_others(
        self,
        found: Backtests,
        candidate: Backtested,
        base: BaseBacktest | None,
        several: SeveralBacktests | None,
    ) -> Backtests:
        """Wait for the others, of which most begin now that the candidate is done."""
        if base is not None:
            base.go_on(candidate)
        if several is not None:
            several.begin(candidate)
        self.on_candidate_done()
        if base is not None:
            comparison = self._compare(base, candidate)
            known = {f"Base: {one.sentence}" for one in found.problems}
            others = (one for one in comparison.base.problems if one.message not in known)
            problems = (*found.problems, *others)
            found = self._kept(replace(found, comparison=comparison, problems=problems))
        if several is not None:
            found = self._kept(self._with_several(found, several.finish(candidate)))
        return found

    def _with_several(self, found: Backtests, several: Several) -> Backtests:
        if found.result is None:
            if self.submitter.settings.shard is not None:
                raise RefusedError(replace(_WITHOUT_OTHERS, severity=Severity.ERROR))
            return replace(found, problems=(*found.problems, _WITHOUT_OTHERS))
        comparison = found.comparison
        if comparison is not None:
            base = replace(comparison.base, windows=several.base_windows)
            comparison = replace(comparison, base=base)
        return replace(
            found,
            windows=several.windows,
            sweep=several.sweep,
            part=several.part,
            comparison=comparison,
        )

    def _kept(self, found: Backtests) -> Backtests:
        self.on_found(found)
        return found

    def _base_backtest(self, target: Target, beside: Beside) -> BaseBacktest | None:
        if self.base is None:
            return None
        return BaseBacktest(
            base=self.base,
            candidate_sha256=self.model.bundle.sha256,
            submission=self.submitter.submission(target),
            beside=beside,
        )

    def _several_backtests(
        self, target: Target, beside: Beside, base: BaseBacktest | None
    ) -> SeveralBacktests | None:
        if not self.submitter.settings.wants_several:
            return None
        return SeveralBacktests(
            settings=self.submitter.settings,
            bundle=self.model.bundle,
            submission=self.submitter.submission(target),
            base=base,
            beside=beside,
            earlier=self.earlier,
            redact=self.submitter.api.redact,
            on_done=self.on_several,
        )

    def _beginning(
        self, base: BaseBacktest, on_progress: Callable[[int, int], None]
    ) -> Callable[[int, int], None]:
        """Start the base when the candidate runs; if the server does not tell, when it was sent."""
        if self.on_began is not None:
            self.on_began(base.begin)
            return on_progress

        def report(done: int, total: int) -> None:
            on_progress(done, total)
            if done >= total:
                base.begin()

        return report

    def _compare(self, base: BaseBacktest, candidate: Backtested) -> Comparison:
        found, base_arguments = base.finish(candidate)
        runs_on = self.model.described.runs_on
        # A version without arguments in its files has those of its script.
        own = replace(runs_on, arguments=runs_on.arguments or None)
        now = _live(self.model.bundle, own, self.model.requirements)
        if base.base.runs_on is None or base.base.requirements is None:
            return _compare(found, candidate, None, now)
        own = replace(base.base.runs_on, arguments=base_arguments)
        before = _live(base.base.bundle, own, base.base.requirements)
        return _compare(
            found, candidate, replace(before, run=found.run), replace(now, run=candidate.run)
        )

    @property
    def _judging(self) -> Judging:
        base, settings = self.base, self.submitter.settings
        return Judging(
            gates=settings.gates if settings.shard is None else (),
            fail_on_warning=settings.fail_on_warning,
            redact=self.submitter.api.redact,
            why_no_base="" if base is None else base.reason or "its backtest was not over",
            wants_several=settings.wants_several,
        )


def _found_by(candidate: Backtested) -> Backtests:
    """Return what the server found; errors are not in it, for they end the run."""
    return Backtests(
        backtest_id=candidate.backtest_id or "",
        result=candidate.result,
        run=candidate.run,
        problems=tuple(one for one in candidate.problems if one.severity is not Severity.ERROR),
    )


def _live(bundle: Bundle | None, runs_on: RunsOn, requirements: Mapping[str, str]) -> LiveModel:
    path = bundle.path if bundle else None
    return LiveModel(runs_on=runs_on, requirements=requirements, bundle_path=path)


def _compare(
    base: Base, candidate: Backtested, before: LiveModel | None, now: LiveModel
) -> Comparison:
    """Compare metrics, trades and versions, as far as they are known.

    Raises:
        RefusedError: a bundle cannot be read any more.
    """
    try:
        changes = compare_models(before, now) if before is not None else None
    except (OSError, BadZipFile) as error:
        raise RefusedError.of(
            message=f"The bundles were changed since they were packed: {error}.",
            hint="Look for what writes into the directory for temporary files, such as the "
            "model itself.",
        ) from error
    if base.result is None or candidate.result is None:
        return Comparison(base=base, changes=changes)
    return Comparison(
        base=base,
        metrics=compare_metrics(base.result.analysis.metrics, candidate.result.analysis.metrics),
        first_difference=first_difference(base.result, candidate.result),
        changes=changes,
    )
