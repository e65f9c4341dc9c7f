"""Backtests beside the candidate's: of its base, and of the windows of both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeAlias

from deploy_action.errors import DeadlineError, DeployActionError, InterruptedRunError, Severity
from deploy_action.stages.submission import backtest_upload
from deploy_action.text.strict_json import JsonText

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import Backtested, DeploymentApi, Submission
    from deploy_action.interruption import Deadline

NO_RESULT: Final = "the server gave no result"
# The time kept for what follows these backtests: a share of the deadline, at most a minute.
_RESERVED: Final = 0.1
_LONGEST_RESERVE: Final = 60.0

Pending: TypeAlias = "Future[Backtested]"


class NoResultError(Exception):
    """A backtest has no result; the message says why, and can follow a colon."""


class Beside:
    """Runs backtests on threads, at most `parallel` at once, each on a connection of its own.

    They begin in the order in which they were started. `close` keeps those that have not begun
    from beginning; it does not wait for the others, whose server ends with the run or goes on.
    """

    def __init__(
        self, open_api: Callable[[], DeploymentApi], deadline: Deadline, parallel: int
    ) -> None:
        self._open_api = open_api
        self._deadline = deadline
        self._parallel = parallel
        self._queue: SimpleQueue[tuple[Pending, Callable[[], Backtested]]] = SimpleQueue()
        self._pending: list[Pending] = []
        self._threads = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def start(self, bundle: Bundle, submission: Submission, *, keeps_text: bool = False) -> Pending:
        """Queue a backtest of a bundle. Only a result that is reported whole `keeps_text`."""
        pending: Pending = Future()
        with self._lock:
            if self._is_closed:
                pending.cancel()
                return pending
            self._pending.append(pending)
            self._queue.put((pending, partial(self._run, bundle, submission, keeps_text)))
            if self._threads < self._parallel:
                self._threads += 1
                # A daemon thread: the process may exit while it still runs.
                threading.Thread(target=self._work, name="beside", daemon=True).start()
        return pending

    def close(self) -> None:
        """Let nothing more begin."""
        with self._lock:
            self._is_closed = True
            for pending in self._pending:
                pending.cancel()  # does nothing to one that runs or is over

    def wait(self, pending: Pending) -> Backtested:
        """Return the server's answer, but leave enough time to judge and deploy the candidate.

        Raises:
            NoResultError: there is none, or not in time.
        """
        reserve = min(_LONGEST_RESERVE, self._deadline.minutes * 60 * _RESERVED)
        try:
            return pending.result(max(0.0, self._deadline.remaining() - reserve))
        except TimeoutError:
            reason = "its backtest took too long for the deadline of this run"
        except (DeadlineError, InterruptedRunError):
            raise
        except DeployActionError as error:
            reason = error.problems[0].sentence if error.problems else ""
        raise NoResultError(reason)

    def _work(self) -> None:
        while True:
            pending, run = self._queue.get()
            if not pending.set_running_or_notify_cancel():
                continue
            try:
                pending.set_result(run())
            except BaseException as error:  # noqa: BLE001  # `wait` raises it
                pending.set_exception(error)

    def _run(self, bundle: Bundle, submission: Submission, keeps_text: bool) -> Backtested:  # noqa: FBT001  # for `partial`
        api = self._open_api()
        try:
            found = api.backtest(submission, backtest_upload(bundle, lambda _done, _total: None))
        finally:
            api.transport.close()
        if found.result is None or keeps_text:
            return found
        # There may be a hundred windows, and each text may have more than a hundred MiB.
        return replace(found, result=replace(found.result, raw=JsonText(b"null")))


def result_of(backtested: Backtested) -> BacktestResult:
    """Return the result.

    Raises:
        NoResultError: there is none, or the script failed, be it after its backtest.
    """
    errors = (one for one in backtested.problems if one.severity is Severity.ERROR)
    error = next((one.sentence for one in errors), "")
    if error or backtested.result is None:
        raise NoResultError(error or NO_RESULT)
    return backtested.result
