"""The backtest of the base: beside the candidate's, with the candidate's arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from deploy_action.backtest.comparison import Base, BaseState
from deploy_action.errors import DeadlineError, DeployActionError, InterruptedRunError, Severity
from deploy_action.stages.submission import backtest_upload
from deploy_action.text.harmless import tidy
from deploy_action.text.strict_json import JsonText

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import Backtested, DeploymentApi, Submission
    from deploy_action.interruption import Deadline
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.text.located_json import JsonValue

Arguments: TypeAlias = "Mapping[str, JsonValue] | None"
NO_RESULT: Final = "the server gave no result"
# The time kept for what follows the base's backtest: a share of the deadline, at most a minute.
_RESERVED: Final = 0.1
_LONGEST_RESERVE: Final = 60.0


@dataclass(slots=True, kw_only=True)
class BaseBacktest:
    """Backtests `base` as the `submission` of the candidate says; a failure is its result, too."""

    base: PreparedBase
    candidate_sha256: str
    submission: Submission
    deadline: Deadline
    open_api: Callable[[], DeploymentApi]
    _beside: Future[Backtested] | None = field(default=None, init=False)

    def begin(self) -> None:
        """Start beside the candidate, which was sent first: on a single core it also runs first.

        Do nothing if the candidate's upload still has to create the model: a second upload would
        create a second model.
        """
        bundle = self.base.bundle
        is_first = self._beside is None and self.submission.model_id is not None
        if is_first and bundle is not None and bundle.sha256 != self.candidate_sha256:
            self._beside = self._start(bundle, self.submission)

    def finish(self, candidate: Backtested) -> tuple[Base, Arguments]:
        """Wait for the base's backtest, run with the candidate's arguments; return its result.

        The candidate is done by now. Returns also the arguments that the base runs with on its own:
        from its `blankly.json` and the input, else from its script; None where they are unknown.
        """
        own = (self.base.runs_on.arguments if self.base.runs_on else None) or None
        bundle = self.base.bundle
        known = self._without_result()
        if bundle is None:
            return known, own
        if bundle.sha256 == self.candidate_sha256:
            return _with_result(known, candidate, is_same_bundle=True), own
        # If the candidate's upload created the model, its id is known by now.
        model_id = candidate.model_id or self.submission.model_id
        submission = replace(self.submission, model_id=model_id)
        try:
            found = self._wait(self._beside or self._start(bundle, submission))
            if found.result is not None and found.run is not None and candidate.run is not None:
                own = own or found.run.arguments
                wanted = candidate.run.arguments
                # Without arguments in files and input, each has run with those of its script.
                if wanted and found.run.arguments != wanted:
                    runs_on = replace(submission.runs_on, arguments=wanted)
                    again = replace(submission, runs_on=runs_on)
                    found = self._wait(self._start(bundle, again))
        except TimeoutError:
            reason = "its backtest took too long for the deadline of this run"
        except (DeadlineError, InterruptedRunError):
            raise
        except DeployActionError as error:
            reason = error.problems[0].sentence if error.problems else ""
        else:
            return _with_result(known, found), own
        return replace(known, reason=reason), own

    def _without_result(self) -> Base:
        return Base(
            ref=self.base.ref,
            commit=self.base.commit,
            commit_url=self.base.commit_url,
            bundle=self.base.bundle,
            state=BaseState.ABSENT if self.base.is_absent else BaseState.FAILED,
            reason=self.base.reason,
        )

    def _start(self, bundle: Bundle, submission: Submission) -> Future[Backtested]:
        future: Future[Backtested] = Future()

        def work() -> None:
            try:
                future.set_result(self._run(bundle, submission))
            except BaseException as error:  # noqa: BLE001  # `_wait` raises it
                future.set_exception(error)

        # A daemon thread: the process may exit while it still runs.
        threading.Thread(target=work, name="base", daemon=True).start()
        return future

    def _wait(self, future: Future[Backtested]) -> Backtested:
        """Wait, but leave enough time to judge and deploy the candidate.

        Raises:
            TimeoutError: it took longer.
        """
        reserve = min(_LONGEST_RESERVE, self.deadline.minutes * 60 * _RESERVED)
        return future.result(max(0.0, self.deadline.remaining() - reserve))

    def _run(self, bundle: Bundle, submission: Submission) -> Backtested:
        api = self.open_api()
        upload = backtest_upload(bundle, lambda _done, _total: None)
        own = self.base.runs_on or submission.runs_on
        changed = replace(
            submission,
            description=tidy(f"Base {self.base.ref} of: {submission.description}"),
            runs_on=replace(submission.runs_on, python_version=own.python_version),
        )
        try:
            found = api.backtest(changed, upload)
        finally:
            api.transport.close()
        if found.result is None:
            return found
        # Only the candidate's text is reported, and each may have more than a hundred MiB.
        return replace(found, result=replace(found.result, raw=JsonText(b"null")))


def _with_result(known: Base, backtested: Backtested, *, is_same_bundle: bool = False) -> Base:
    if backtested.result is None:
        errors = (one for one in backtested.problems if one.severity is Severity.ERROR)
        return replace(known, reason=next((one.sentence for one in errors), NO_RESULT))
    return replace(
        known,
        state=BaseState.BACKTESTED,
        reason="",
        is_same_bundle=is_same_bundle,
        backtest_id=backtested.backtest_id or "",
        result=backtested.result,
        run=backtested.run,
    )
