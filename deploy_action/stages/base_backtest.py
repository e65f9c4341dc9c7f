"""The backtest of the base: beside the candidate's, with the candidate's arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.comparison import Base, BaseState
from deploy_action.errors import DeadlineError, DeployActionError, InterruptedRunError, Severity
from deploy_action.stages.submission import backtest_upload
from deploy_action.text.harmless import tidy

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import Backtested, DeploymentApi, Submission
    from deploy_action.interruption import Deadline
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.stages.preparation import PreparedModel
    from deploy_action.text.located_json import JsonValue

NO_RESULT: Final = "the server gave no result"
# Of the deadline, what is kept for all that comes after the base: a share, and at most a minute.
_RESERVED: Final = 0.1
_LONGEST_RESERVE: Final = 60.0


@dataclass(slots=True, kw_only=True)
class BaseBacktest:
    """Backtests `base` by the `submission` of the candidate; whatever goes wrong is its result.

    `own_arguments` are those that the base has without the candidate: of its `blankly.json` and the
    input, else of its script, where the server says; None where they are not known.
    """

    base: PreparedBase
    candidate: PreparedModel
    submission: Submission
    deadline: Deadline
    open_api: Callable[[], DeploymentApi]
    own_arguments: Mapping[str, JsonValue] | None = field(default=None, init=False)
    _beside: Future[Backtested] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.own_arguments = self.base.backtest_args or None

    def begin(self) -> None:
        """Start beside the candidate, which was sent: on a single core it goes first.

        Not where the candidate's upload is still to make the model: two would make two.
        """
        bundle = self.base.bundle
        is_first = self._beside is None and self.submission.model_id is not None
        if is_first and bundle is not None and not self._is_same(bundle):
            self._beside = self._start(bundle, self.submission)

    def finish(self, candidate: Backtested) -> Base:
        """Wait for it, and return what became of it; the candidate has its result by now."""
        bundle = self.base.bundle
        known = Base(
            ref=self.base.ref,
            commit=self.base.commit,
            commit_url=self.base.commit_url,
            bundle=bundle,
            state=BaseState.ABSENT if self.base.is_absent else BaseState.FAILED,
            reason=self.base.reason,
        )
        if bundle is None:
            return known
        if self._is_same(bundle):
            return _with_result(known, candidate, is_same_bundle=True)
        try:
            return _with_result(known, self._alike(bundle, candidate))
        except TimeoutError:
            return replace(known, reason="its backtest took too long for the deadline of this run")
        except (DeadlineError, InterruptedRunError):
            raise
        except DeployActionError as error:
            reason = error.problems[0].sentence if error.problems else ""
            return replace(known, reason=reason)

    def _is_same(self, bundle: Bundle) -> bool:
        """Whether base and candidate are the same bytes, their `blankly.json` among them."""
        return bundle.sha256 == self.candidate.bundle.sha256

    def _alike(self, bundle: Bundle, candidate: Backtested) -> Backtested:
        """Return the base's backtest with the arguments that the candidate ran with.

        Where neither `blankly.json` nor the input has any, each script's own hold at first.
        """
        # Where the upload made the model, its id is known by now.
        model_id = candidate.model_id or self.submission.model_id
        submission = replace(self.submission, model_id=model_id)
        first = self._wait(self._beside or self._start(bundle, submission))
        if first.run is None or candidate.run is None or first.result is None:
            return first
        self.own_arguments = self.own_arguments or first.run.arguments
        wanted = candidate.run.arguments
        if not wanted or first.run.arguments == wanted:
            return first
        return self._wait(self._start(bundle, replace(submission, backtest_args=wanted)))

    def _start(self, bundle: Bundle, submission: Submission) -> Future[Backtested]:
        future: Future[Backtested] = Future()

        def work() -> None:
            try:
                future.set_result(self._run(bundle, submission))
            except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
                future.set_exception(error)

        # A daemon, which keeps no run alive that is over without it.
        threading.Thread(target=work, name="base", daemon=True).start()
        return future

    def _wait(self, future: Future[Backtested]) -> Backtested:
        """Wait no longer than leaves the candidate time to be judged, and deployed.

        Raises:
            TimeoutError: it took longer.
        """
        reserve = min(_LONGEST_RESERVE, self.deadline.minutes * 60 * _RESERVED)
        return future.result(max(0.0, self.deadline.remaining() - reserve))

    def _run(self, bundle: Bundle, submission: Submission) -> Backtested:
        api = self.open_api()
        upload = backtest_upload(bundle, lambda _done, _total: None)
        changed = replace(
            submission,
            description=tidy(f"Base {self.base.ref} of: {submission.description}"),
            python_version=self.base.python_version,
        )
        try:
            return api.backtest(changed, upload)
        finally:
            api.transport.close()


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
