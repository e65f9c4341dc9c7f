"""Stops a live model when SIGTERM comes: its teardown is called, and the process leaves.

The teardown runs on a thread of its own. On the main thread, inside the signal's handler, it could
wait forever for a lock that the interrupted code holds, such as the package's `model.lock`. The
main thread is held in the handler meanwhile, so that a script's own loop does not trade on, but
not for long: it may hold a lock that the teardown needs. However the script goes on then, and
however it ends, the process leaves only when the teardown is over.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..faults import ModelFiles, make_problem, problem_of  # noqa: TID252  # as above
from ..script import exit_code, leave, print_end, print_traceback  # noqa: TID252  # as above
from ..stopping import keep_from_forks  # noqa: TID252  # as above
from .running import Running, wait_for_package

_DEFAULT_REASON = "shutdown"
_LONGEST_REASON = 100  # characters
_CALLBACK_SECONDS = 5.0  # for callbacks that have begun to end
HELD_SECONDS = 3.0  # of the main thread, in the handler, while the teardown runs
# A service manager tells every process of a unit, and then the server tells its models.
_ONE_STOP_SECONDS = 3.0
_CUT_SHORT = (
    "A second SIGTERM came before the teardown was over: what it had left to do is not done."
)
_CUT_SHORT_HINT = "Look at the exchange for open orders and positions."


class Stopper:
    """Answers SIGTERM in the process that it is made in; a handler of the model's replaces it."""

    def __init__(
        self,
        events: Events,
        files: ModelFiles,
        running: Running,
        reason_path: str | None,
        *,
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        """`reason_path` is read when the signal comes; its text is the reason."""
        self._events = events
        self._files = files
        self._running = running
        self._reason_path = reason_path
        self._process = os.getpid()
        self._asked_at: float | None = None
        self._has_ended = False  # unstopped
        self._handler = self._handle  # one object, to be found again
        self._held_seconds = held_seconds
        # Taken once and for ever, by the first stop or by the process's own end.
        self._decision = threading.Lock()
        self._wake, self._calling, self._never = (threading.Lock() for _ in range(3))
        for lock in (self._wake, self._calling, self._never):
            lock.acquire()  # released by what happens; `_never` by nothing

    def install(self) -> None:
        """Answer SIGTERM from now on."""
        threading.Thread(target=self._run, name="stop", daemon=True).start()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True).start()
        signal.signal(signal.SIGTERM, self._handler)
        # Python calls a handler only when the main thread is between two steps; this is written to
        # at once, even if the main thread is in compiled code for minutes.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        keep_from_forks(self._handler)
        os.register_at_fork(after_in_child=_forget_wakeup)
        atexit.register(self._end_unstopped)  # the first one, so the last to be called

    def end(self, code: int) -> NoReturn:
        """End the process as Python does when its script has ended; but a teardown has its time.

        Python's own end begins when no thread of the package is left, not before. From then on
        `concurrent.futures` takes no work (Python 3.9), and no thread can be started (3.12): what
        callbacks and teardowns use could not be used.
        """
        atexit.register(self._see_through)  # called first: later ones may end what a teardown uses
        try:
            wait_for_package()
        except BaseException as error:  # noqa: BLE001  # of a handler of a signal, the model's own
            self._see_through()
            # As in Python, which waits for no thread then.
            print_end(error)
            with suppress(BaseException):
                atexit._run_exitfuncs()  # noqa: SLF001  # there is no other way
            leave(exit_code(error))
        self._see_through()
        sys.exit(code)

    def _see_through(self) -> None:
        """Stand still if a stop was asked for: the thread that tears down ends the process."""
        is_asked = self._decision.locked() and not self._has_ended
        while is_asked and os.getpid() == self._process:
            with suppress(BaseException):  # as above
                self._never.acquire()

    def _end_unstopped(self) -> None:
        """Let the process end, unless a stop was asked for; one that comes later finds no model."""
        if os.getpid() != self._process:
            return
        self._has_ended = self._has_ended or self._decision.acquire(blocking=False)
        self._see_through()
        if signal.getsignal(signal.SIGTERM) is self._handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _listen(self, reader: int) -> None:
        with suppress(OSError):  # the model has closed it; then the handler alone has to do
            while True:
                numbers = os.read(reader, 4096)
                if signal.SIGTERM in numbers and signal.getsignal(signal.SIGTERM) is self._handler:
                    self._ask()

    def _ask(self) -> None:
        if self._decision.acquire(blocking=False):
            self._asked_at = time.monotonic()
            self._wake.release()

    def _handle(self, number: int, _frame: Any) -> None:
        """Stop the model; or leave at once, if it has been told before."""
        if os.getpid() != self._process:  # a process forked in a way that Python does not know
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        asked_at = self._asked_at
        if asked_at is not None and time.monotonic() > asked_at + _ONE_STOP_SECONDS:
            problem = make_problem("error", _CUT_SHORT, _CUT_SHORT_HINT)
            self._events.send_if_free("teardown", state="failed", problem=problem)
            os._exit(1)
        self._ask()
        if not self._running.needs_main_thread():
            self._calling.acquire(timeout=_CALLBACK_SECONDS)
            self._never.acquire(timeout=self._held_seconds)

    def _run(self) -> None:
        self._wake.acquire()
        code = 1
        try:
            code = self._tear_down()
        except BaseException as error:  # noqa: BLE001  # a bug of ours; it has to be told
            print_traceback(error)
            problem = problem_of(self._files.fault(error), "the teardown could not be called.")
            self._events.send("teardown", state="failed", problem=problem)
        finally:
            leave(code)

    def _tear_down(self) -> int:
        """Call the teardowns, and return the exit code."""
        os.environ["BLANKLY_STOP_REASON"] = self._reason()
        self._running.is_stopping = True
        started = self._running.started()
        if not started:
            self._events.send("teardown", state="none")
            return 0
        self._events.send("teardown", state="began")
        self._running.wait_until_idle(_CALLBACK_SECONDS)
        self._calling.release()
        errors = [error for one in started for error in self._running.tear_down(one.model)]
        if not errors:
            self._events.send("teardown", state="ended")
            return 0
        others = f" So did {len(errors) - 1} more." if len(errors) > 1 else ""
        told = f"the teardown raised this, and did not finish.{others}"
        problem = problem_of(self._files.fault(errors[0]), told)
        self._events.send("teardown", state="failed", problem=problem)
        return 1

    def _reason(self) -> str:
        if self._reason_path is None:
            return _DEFAULT_REASON
        try:
            with open(self._reason_path, encoding="utf-8") as file:
                return file.read(_LONGEST_REASON).strip() or _DEFAULT_REASON
        except (OSError, ValueError):
            return _DEFAULT_REASON


def _forget_wakeup() -> None:
    """Keep signals of a process that the model forks from waking us."""
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)
