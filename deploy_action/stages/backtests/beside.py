"""Backtests beside the candidate's: of its base, of windows, and of combinations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from itertools import count
from queue import PriorityQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from deploy_action.errors import DeadlineError, DeployActionError, InterruptedRunError, Severity
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.deployment_api.client import Backtested, DeploymentApi
    from deploy_action.interruption import Deadline

NO_RESULT: Final = "the server gave no result"
TOO_LATE: Final = "its backtest took too long for the deadline of this run"
NOT_REACHED: Final = "the deadline of this run came before its backtest began"
# The time kept for what follows these backtests: a share of the deadline, at most a minute.
_RESERVED: Final = 0.1
_LONGEST_RESERVE: Final = 60.0

Found = TypeVar("Found")
Task: TypeAlias = "Callable[[DeploymentApi], Found]"


class NoResultError(Exception):
    """A backtest has no result; the message says why, and can follow a colon."""


class Beside:
    """Runs tasks on threads, at most `parallel` at once, each thread on a connection of its own.

    They begin in the order in which they were started, urgent ones before others. `close` keeps
    those that have not begun from beginning; it does not wait for the others, whose server ends
    with the run or goes on.
    """

    def __init__(
        self, open_api: Callable[[], DeploymentApi], deadline: Deadline, parallel: int
    ) -> None:
        self._open_api = open_api
        self._deadline = deadline
        self._parallel = parallel
        self._queue: PriorityQueue[_Queued] = PriorityQueue()
        self._numbers = count()
        self._pending: list[Future[Any]] = []
        self._threads = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def widen(self, parallel: int) -> None:
        """Run so many of the tasks at once that wait, or are started from now on."""
        with self._lock:
            self._parallel = parallel
            if not self._is_closed:
                for _ in range(self._queue.qsize()):
                    self._add_thread()

    def start(self, task: Task[Found], *, is_urgent: bool = False) -> Future[Found]:
        """Queue a task."""
        pending: Future[Found] = Future()
        with self._lock:
            if self._is_closed:
                pending.cancel()
                return pending
            self._pending.append(pending)
            self._queue.put(_Queued(not is_urgent, next(self._numbers), pending, task))
            self._add_thread()
        return pending

    def _add_thread(self) -> None:
        """Start a thread, unless there are as many as may be; the lock is held."""
        if self._threads < self._parallel:
            # A daemon thread: the process may exit while it still runs.
            threading.Thread(target=self._work, name="beside", daemon=True).start()
            self._threads += 1

    def close(self) -> None:
        """Let nothing more begin."""
        with self._lock:
            self._is_closed = True
            for pending in self._pending:
                pending.cancel()  # does nothing to one that runs or is over
            for _ in range(self._threads):
                self._queue.put(_Queued(True, next(self._numbers), None, _nothing))  # noqa: FBT003

    def wait(self, pending: Future[Found]) -> Found:
        """Return what a task found, but leave enough time to judge and deploy the candidate.

        Raises:
            NoResultError: there is none, or not in time.
        """
        reserve = min(_LONGEST_RESERVE, self._deadline.minutes * 60 * _RESERVED)
        try:
            return pending.result(max(0.0, self._deadline.remaining() - reserve))
        except TimeoutError:
            reason = NOT_REACHED if pending.cancel() else TOO_LATE
        except CancelledError:
            reason = "the run ended before its backtest began"
        except (DeadlineError, InterruptedRunError):
            raise
        except DeployActionError as error:
            reason = error.problems[0].sentence if error.problems else ""
        raise NoResultError(reason)

    def _work(self) -> None:
        api: DeploymentApi | None = None
        while (pending := (queued := self._queue.get()).pending) is not None:
            if not pending.set_running_or_notify_cancel():
                continue
            try:
                api = api or self._open_api()
                pending.set_result(queued.task(api))
            except NoResultError as missing:
                pending.set_exception(missing)
            except BaseException as error:  # noqa: BLE001  # `wait` raises it
                pending.set_exception(error)
                # What the connection's state is then, nobody knows.
                _close(api)
                api = None
        _close(api)


@dataclass(frozen=True, order=True)
class _Queued:
    """A task that waits for a thread; without `pending`, the thread ends."""

    is_late: bool
    number: int
    pending: Future[Any] | None = field(compare=False)
    task: Task[Any] = field(compare=False)


def _nothing(_api: DeploymentApi) -> None:
    pass


def _close(api: DeploymentApi | None) -> None:
    if api is not None:
        with suppress(Exception):  # the thread has other tasks to do
            api.transport.close()


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
