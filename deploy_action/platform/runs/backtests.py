"""The backtests of a platform: queued, run in parallel, stopped, and their results stored."""

from __future__ import annotations

import os
import sqlite3
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from deploy_action.errors import Problem, Severity
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.platform.processes.memory import MEMORY, Memory
from deploy_action.platform.runs.endings import ModelStoppedError, stopped_problem
from deploy_action.platform.runs.fair_queue import FairQueue
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.data_directory import is_disk_full, write_private
from deploy_action.platform.storage.records import BacktestStatus
from deploy_action.records import dataclass, field, replace

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.platform.runs.model_run import BacktestRequest
    from deploy_action.platform.storage.store import Store

# A killed process is gone at once; removing its files takes a moment.
_CLOSE_SECONDS = 4.0
# Between two tries to store how a backtest ended.
_PAUSE_SECONDS = 10.0
_FAILED = "The platform failed; its log says why."
_GONE = "The backtest was deleted, or asked for again, before it ended."


class Runner(Protocol):
    """Runs one backtest."""

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        """Run a backtest to its end; raise `StoppedError` when `stop` is set."""


def default_parallel() -> int:
    """Return how many backtests run at once: one per core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Ending:
    """How a backtest ended; its result is in the store, if it has one.

    A finished one has a result. So has one that failed after its result was complete. `parallel` is
    how many such backtests would run at once.
    """

    request: BacktestRequest
    status: BacktestStatus
    outcome: Outcome
    parallel: int
    has_result: bool = False

    @property
    def error(self) -> str:
        """Why it did not finish, as one line."""
        problems = self.outcome.problems
        return next(one.sentence for one in problems if one.severity is Severity.ERROR)

    def run_document(self) -> dict[str, object]:
        """Return the facts of the run, as the API shows them."""
        problems = [problem.document() for problem in self.outcome.problems]
        facts = {**self.outcome.facts, "bundleSha256": self.request.bundle_sha256}
        if self.request.variables is not None:
            facts["variables"] = self.request.variables
        return {**facts, "problems": problems}


@dataclass(slots=True, eq=False)
class Job:
    """A backtest that is queued or runs; `ending` is set when it is over.

    `result` is the path of its result, if it has one then. `on_cancel` is called when it is to
    stop.
    """

    request: BacktestRequest
    result: Path
    on_cancel: Callable[[Job], None]
    stop: threading.Event = field(default_factory=threading.Event)
    ending: Future[Ending] = field(default_factory=Future)
    reason: str = ""

    def __post_init__(self) -> None:
        self.ending.set_running_or_notify_cancel()  # a waiter cannot cancel it then

    def cancel(self, reason: str) -> None:
        """Stop it for a reason, or keep it from beginning; does nothing when it is over."""
        self.reason = self.reason or reason
        self.stop.set()
        self.on_cancel(self)

    def leave(self) -> None:
        """Forget it: its answer was sent, or the client that waits for it is gone."""
        self.cancel("the client that asked for it is gone")
        if self.request.is_ephemeral:
            self.ending.add_done_callback(lambda _: self.result.unlink(missing_ok=True))


class Backtests:
    """Runs backtests on threads, at most `parallel` of them at once; models take turns."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        *,
        parallel: int,
        most_seconds: float | None,
        on_error: Callable[[str], None],
        memory: Memory = MEMORY,
    ) -> None:
        """Prepare. Each may run for `most_seconds`; `on_error` gets tracebacks of our own bugs."""
        self._store = store
        self._runner = runner
        self._parallel = parallel
        self._most_seconds = most_seconds
        self._on_error = on_error
        self._memory = memory
        self._queue = FairQueue[Job]()
        self._running: set[Job] = set()  # each has one of the slots
        self._threads: dict[threading.Thread, Job] = {}
        self._lock = threading.RLock()
        self._is_closed = False
        self._closing = threading.Event()
        self._on_stored: Callable[[], None] = lambda: None

    def tell(self, on_stored: Callable[[], None]) -> None:
        """Call a function whenever the ending of a backtest is in the store."""
        self._on_stored = on_stored

    def start(self, request: BacktestRequest) -> Job:
        """Queue a backtest that is in the store or ephemeral; it runs on a thread of its own."""
        path_of = self._store.result_path
        if request.is_ephemeral:
            path_of = self._store.passing_result_path
        job = Job(request, path_of(request.backtest_id), self._drop)
        with self._lock:
            self._queue.put(request.model, job)
            if self._is_closed:
                job.cancel("the platform was stopped")
            self._fill_slots()
        return job

    @contextmanager
    def unpacking(self) -> Iterator[Path | None]:
        """Yield a path to unpack a bundle to, whose backtest is started inside the block.

        None if that backtest would have to wait: what waits takes no room on the disk.
        """
        with self._lock:
            has_room = len(self._running) < self._parallel and not self._is_closed
        path = self._store.workplace.path / str(uuid.uuid4()) if has_room else None
        try:
            yield path
        except BaseException:
            if path is not None:
                remove_tree(path)
            raise

    def counts(self) -> tuple[int, int]:
        """Return how many backtests wait, and how many run."""
        with self._lock:
            return sum(1 for _ in self._queue), len(self._running)

    def forget(self, backtest_id: str) -> None:
        """Remove what is left of a backtest whose row is gone: its job, and its result."""
        with self._lock:
            for job in (*self._queue, *self._threads.values()):
                if job.request.backtest_id == backtest_id:
                    job.cancel("it was asked for again")
        self._store.result_path(backtest_id).unlink(missing_ok=True)

    def close(self) -> None:
        """Stop all backtests, and wait until they are gone."""
        with self._lock:
            self._is_closed = True
            self._closing.set()
            for job in (*self._queue, *self._threads.values()):
                job.cancel("the platform was stopped")
            threads = list(self._threads)
        for thread in threads:
            thread.join(_CLOSE_SECONDS)

    def _fill_slots(self) -> None:
        """Begin what is waiting, as far as there are slots; the lock is held."""
        while len(self._running) < self._parallel and (job := self._queue.take()):
            self._running.add(job)
            if self._begin(job):
                continue
            self._running.discard(job)
            if self._running:  # the end of one of them tries again
                self._queue.put(job.request.model, job)
                return
            job.reason = job.reason or "the system of the platform starts no more threads"
            job.stop.set()
            self._finish(job)

    def _drop(self, job: Job) -> None:
        """End a job that is to stop, and has not begun; it needs no slot for that."""
        with self._lock:
            if not self._queue.remove(job.request.model, job):
                return
            # A thread is only for what the disk has to be told.
            if job.request.is_ephemeral or not self._begin(job):
                self._finish(job)

    def _begin(self, job: Job) -> bool:
        """Run a job on a thread of its own; return False if the system gives none."""
        thread = threading.Thread(target=self._work, args=(job,), name="backtest", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads[thread] = job
        return True

    def _work(self, job: Job) -> None:
        try:
            unstored = self._finish(job)
            while unstored is not None:
                is_last = self._closing.wait(_PAUSE_SECONDS)
                if self._store_failure(unstored) is None or is_last:
                    break
        finally:
            with self._lock:
                self._threads.pop(threading.current_thread(), None)

    def _finish(self, job: Job) -> Ending | None:
        """Run a job, unless it is to stop, and set its ending; return it if it is yet to be stored.

        Until then, the backtest is shown as running.
        """
        unstored = None
        try:
            try:
                ending = self._ending(job)
            finally:
                self._free_slot(job)
                if job.request.unpacked is not None:  # one that never ran has not taken it
                    remove_tree(job.request.unpacked)
            ending = self._note(job, ending)
        except Exception as error:  # noqa: BLE001  # a bug of ours, or a full disk: the client must be told
            self._on_error(traceback.format_exc())
            why = "The platform's disk is full." if is_disk_full(error) else _FAILED
            ending = self._without_result(job, BacktestStatus.FAILED, Problem(message=why))
            if (fault := self._store_failure(ending)) is not None:
                self._on_error(
                    f"The end of the backtest {job.request.backtest_id} cannot be stored, and it is"
                    f" shown as running: {fault}. This is tried again every {_PAUSE_SECONDS:g} s."
                )
                unstored = ending
        job.ending.set_result(ending)
        return unstored

    def _free_slot(self, job: Job) -> None:
        with self._lock:
            if job in self._running:  # what never began has none
                self._running.remove(job)
                self._fill_slots()

    def _ending(self, job: Job) -> Ending:
        try:
            outcome = self._run(job)
        except StoppedError as stopped:
            message = f"The backtest was stopped: {job.reason}."
            if stopped.left:
                message += f" At least {stopped.left} of its processes could not be ended."
            place = stopped.place if isinstance(stopped, ModelStoppedError) else None
            problem = stopped_problem(message, place)
            return self._without_result(job, BacktestStatus.STOPPED, problem)
        status = BacktestStatus.FAILED if outcome.has_failed else BacktestStatus.FINISHED
        parallel = self._side_by_side(outcome.peak_bytes)
        return Ending(job.request, status, outcome, parallel, outcome.result is not None)

    def _without_result(self, job: Job, status: BacktestStatus, problem: Problem) -> Ending:
        return Ending(
            job.request, status, Outcome(result=None, problems=(problem,)), self._parallel
        )

    def _side_by_side(self, peak_bytes: int | None) -> int:
        """Return how many backtests like one that has just ended would run at once.

        There is room for those that run now, and for as many as the memory that is left allows.
        """
        available = self._memory.available()
        if not peak_bytes or available is None:
            return self._parallel
        with self._lock:
            others = len(self._running) - 1
        return max(1, min(self._parallel, others + available // peak_bytes))

    def _run(self, job: Job) -> Outcome:
        if job.stop.is_set():
            raise StoppedError
        if not job.request.is_ephemeral:
            with self._store.transaction() as transaction:
                transaction.begin_backtest(job.request.backtest_id)
        with self._time_limit(job):
            return self._runner.run(job.request, job.stop)

    @contextmanager
    def _time_limit(self, job: Job) -> Iterator[None]:
        if self._most_seconds is None:
            yield
            return
        reason = f"it ran for {self._most_seconds / 60:g} minutes, the most this platform allows"
        timer = threading.Timer(self._most_seconds, job.cancel, [reason])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _store_failure(self, ending: Ending) -> Exception | None:
        """Store that a backtest has failed; return what went wrong, such as a full disk."""
        if ending.request.is_ephemeral:
            return None
        try:
            with self._store.transaction() as transaction:
                transaction.end_backtest(
                    ending.request.backtest_id, ending.status, ending.run_document()
                )
        except (OSError, sqlite3.Error) as error:
            return error
        self._on_stored()
        return None

    def _note(self, job: Job, ending: Ending) -> Ending:
        """Store the ending: first the result, then the row that says that there is one.

        Returns the ending without the result, which may be large.
        """
        backtest_id, result = job.request.backtest_id, ending.outcome.result
        if job.request.is_ephemeral:
            if result is not None:
                write_private(job.result, result, is_safe=False)
        else:
            if result is not None:
                self._store.write_result(backtest_id, result)
            with self._store.transaction() as transaction:
                is_there = transaction.end_backtest(
                    backtest_id, ending.status, ending.run_document()
                )
            if not is_there:
                self._store.result_path(backtest_id).unlink(missing_ok=True)
                return self._without_result(job, BacktestStatus.STOPPED, Problem(message=_GONE))
            self._on_stored()
        return replace(ending, outcome=replace(ending.outcome, result=None))
