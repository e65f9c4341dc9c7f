"""The backtest of the base: beside the candidate's, with the candidate's arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from deploy_action.backtest.comparison import Base, BaseState
from deploy_action.errors import Problem, Severity
from deploy_action.records import dataclass, field, replace
from deploy_action.stages.backtests.beside import NoResultError, result_of
from deploy_action.stages.options import COMBINATIONS
from deploy_action.stages.submission import backtest_upload
from deploy_action.text.harmless import tidy

if TYPE_CHECKING:
    from concurrent.futures import Future

    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import Backtested, DeploymentApi, Submission
    from deploy_action.stages.backtests.beside import Beside
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.text.located_json import JsonValue

_BASE_HINT: Final = (
    "What is better or worse than the base, and gates with `base`, rest on its backtest."
)
NO_MODEL: Final = "the server does not say which model the first upload created"
Arguments: TypeAlias = "Mapping[str, JsonValue] | None"


@dataclass(slots=True, kw_only=True)
class BaseBacktest:
    """Backtests `base` as the `submission` of the candidate says; a failure is its result, too."""

    base: PreparedBase
    candidate_sha256: str
    submission: Submission
    beside: Beside
    _pending: Future[Backtested] | None = field(default=None, init=False)

    def begin(self) -> None:
        """Start beside the candidate, which was sent first: on a single core it also runs first.

        Do nothing if the candidate's upload still has to create the model: a second upload would
        create a second model.
        """
        if self._pending is None and self.submission.model_id is not None:
            self._pending = self._start(self.submission)

    def go_on(self, candidate: Backtested) -> None:
        """Start if that had to wait for the id of the model that the candidate's upload created."""
        self.submission = with_model(self.submission, candidate)
        if self.submission.model_id is None:  # a second upload would create a second model
            return
        self._pending = self._pending or self._start(self.submission)

    @property
    def known(self) -> Backtested | None:
        """The base's backtest with the first arguments; None if it has no answer by now."""
        pending = self._pending
        if pending is None or not pending.done() or pending.exception() is not None:
            return None
        return pending.result()

    def finish(self, candidate: Backtested) -> tuple[Base, Arguments]:
        """Wait for the base's backtest, run with the candidate's arguments; return its result.

        The candidate is done by now. Returns also the arguments that the base runs with on its own:
        from its `blankly.json` and the input, else from its script; None where they are unknown.
        """
        own = (self.base.runs_on.arguments if self.base.runs_on else None) or None
        known = self._without_result()
        if self.base.bundle is None:
            return known, own
        if self._pending is None:
            if self.base.bundle.sha256 != self.candidate_sha256:
                return replace(known, reason=NO_MODEL), own
            return self._with_result(known, candidate, is_same_bundle=True), own
        try:
            found = self.beside.wait(self._pending)
            if found.result is not None and found.run is not None and candidate.run is not None:
                own = own or found.run.arguments
                wanted = candidate.run.arguments
                # Without arguments in files and input, each has run with those of its script.
                if wanted and found.run.arguments != wanted:
                    again = self._start(with_arguments(self.submission, wanted), is_urgent=True)
                    found = self.beside.wait(again) if again else found
        except NoResultError as missing:
            return replace(known, reason=str(missing)), own
        return self._with_result(known, found), own

    def _without_result(self) -> Base:
        return Base(
            ref=self.base.ref,
            commit=self.base.commit,
            commit_url=self.base.commit_url,
            bundle=self.base.bundle,
            state=BaseState.ABSENT if self.base.is_absent else BaseState.FAILED,
            reason=self.base.reason,
        )

    def _with_result(
        self, known: Base, backtested: Backtested, *, is_same_bundle: bool = False
    ) -> Base:
        try:
            result = result_of(backtested)
        except NoResultError as missing:
            return replace(known, reason=str(missing))
        return replace(
            known,
            state=BaseState.BACKTESTED,
            reason="",
            is_same_bundle=is_same_bundle,
            backtest_id=backtested.backtest_id or "",
            result=result,
            run=backtested.run,
            problems=tuple(_of_base(backtested.problems)),
        )

    def _start(
        self, submission: Submission, *, is_urgent: bool = False
    ) -> Future[Backtested] | None:
        """Start the base's backtest; None if its bundle is the candidate's, or there is none."""
        bundle = self.base.bundle
        if bundle is None or bundle.sha256 == self.candidate_sha256:
            return None
        task = partial(upload, bundle, of_base(submission, self.base))
        return self.beside.start(task, is_urgent=is_urgent)


def _of_base(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the base's problems as warnings; their places are in files of another commit."""
    for one in problems:
        if one.severity is not Severity.NOTICE:
            yield Problem(
                message=f"Base: {one.sentence}", hint=_BASE_HINT, severity=Severity.WARNING
            )


def upload(bundle: Bundle, submission: Submission, api: DeploymentApi) -> Backtested:
    """Upload a bundle to be backtested, without telling its progress."""
    return api.backtest(submission, backtest_upload(bundle, lambda _done, _total: None))


def of_base(submission: Submission, base: PreparedBase) -> Submission:
    """Return what goes with the base's bundle where this goes with the candidate's."""
    own = base.runs_on or submission.runs_on
    options = {name: text for name, text in submission.options.items() if name != "committedAt"}
    if "commit" in options:
        options["commit"] = base.commit
    if COMBINATIONS in options:  # they are the candidate's alone
        options[COMBINATIONS] = "0"
    return replace(
        submission,
        description=tidy(f"Base {base.ref} of: {submission.description}"),
        runs_on=replace(submission.runs_on, python_version=own.python_version),
        options=options,
    )


def with_arguments(submission: Submission, arguments: Mapping[str, JsonValue]) -> Submission:
    """Return the submission with other arguments of `Strategy.backtest()`."""
    return replace(submission, runs_on=replace(submission.runs_on, arguments=arguments))


def with_model(submission: Submission, candidate: Backtested) -> Submission:
    """Return the submission with the id of the model; the candidate's upload may have made it."""
    return replace(submission, model_id=candidate.model_id or submission.model_id)
