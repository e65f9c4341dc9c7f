"""The run's deadline, and how it and signals are raised as errors."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from deploy_action.errors import DeadlineError, InterruptedRunError, Problem
from deploy_action.records import dataclass

_WATCHED: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_TICK_SECONDS: Final = 1.0
_AT_ONCE: Final = 0.001  # in seconds; 0 would stop the timer
# What takes and gives up locks, those of imports, too: their module is also named
# `importlib._bootstrap`. Some functions there wait, perhaps for ever.
_LOCKING: Final = frozenset(
    {"threading", "queue", "contextlib", "subprocess", "logging", "_frozen_importlib", __name__}
)
_WAITING: Final = frozenset(
    {"join", "_wait_for_tstate_lock", "_wait", "_try_wait", "communicate", "_stdin_write"}
)
_LONGEST_PAUSE: Final = 5.0  # in seconds, until an error is raised wherever the program stands

# The deadlines that are in force, the innermost last, and signals' errors that could not be raised
# when they came, with the time until which they wait: signals are the process's, too.
_deadlines: Final[list[Deadline]] = []
_postponed: Final[list[tuple[InterruptedRunError, float]]] = []


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time of `clock`, in seconds, by which the run ends; `minutes` is for messages."""

    minutes: float
    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, minutes: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """Return the deadline `minutes` from now."""
        return cls(minutes=minutes, at=clock() + minutes * 60, clock=clock)

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.clock() >= self.at

    def remaining(self) -> float:
        """Return the seconds left, above 0; raise `DeadlineError` if there are none."""
        left = self.at - self.clock()
        if left <= 0:
            raise self.error()
        return left

    def error(self) -> DeadlineError:
        """Return what to raise when the deadline has passed."""
        return DeadlineError.of(
            message=f"The run took longer than its deadline of {self.minutes:g} minutes.",
            hint="Raise `timeout-minutes`, or see in the log what took so long.",
        )


@contextmanager
def signals_as_errors() -> Iterator[Callable[[], None]]:
    """Raise `InterruptedRunError` at the first signal that asks the process to end.

    Later signals are ignored, so that clean-up and report can finish: the runner sends SIGINT,
    SIGTERM 7.5 s later, and kills the process after another 2.5 s. Calling the yielded function
    makes the first signal be ignored, too. Off the main thread nothing happens. Inside
    `deadline_as_error`, the error may come a moment later.
    """
    if not _is_main_thread():
        yield lambda: None
        return
    armed = True

    def disarm() -> None:
        nonlocal armed
        armed = False
        _postponed.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            problem = Problem(message=f"The run was cancelled ({signal.Signals(number).name}).")
            until = time.monotonic() + _LONGEST_PAUSE
            _raise(InterruptedRunError(number, problem), until, frame)

    previous = {number: signal.signal(number, interrupt) for number in _WATCHED}
    try:
        yield disarm
    finally:
        disarm()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def deadline_as_error(deadline: Deadline) -> Iterator[None]:
    """Raise the deadline's error when it passes, even in the middle of a blocking call.

    Inside another one, this suspends the outer deadline, which is raised when it is due or, if it
    passed meanwhile, at the end. Off the main thread, or without POSIX timers, only the request
    time-outs apply.

    Where the program tidies an object up, Python would only print an error of it or of
    `signals_as_errors`, and a lock that was just taken would stay closed. Then it is raised soon
    after: that of a signal at the end of the outermost block at the latest. A deadline that passes
    in the last moments of its block may not be raised.
    """
    if not _is_main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    alarm = _Alarm(deadline)
    alarm.start()
    try:
        yield
    finally:
        alarm.stop()
        if _postponed and not _deadlines:
            raise _postponed.pop()[0]


class _Alarm:
    """Ticks once a second, and raises what is due."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._is_over = self._has_raised = False
        self._tell_lost = sys.unraisablehook

    def start(self) -> None:
        """Begin to tick; raise `DeadlineError` if the deadline has passed already."""
        first = self._deadline.remaining() % _TICK_SECONDS or _TICK_SECONDS
        _deadlines.append(self._deadline)
        sys.unraisablehook = self._keep_lost
        self._previous = signal.signal(signal.SIGALRM, self._tick)
        # The system may give a signal to another thread, and this one, which alone acts on signals,
        # sleeps on: of ticks, and of what asks the process to end, none is lost for long then.
        self._outer, _ = signal.setitimer(signal.ITIMER_REAL, first, _TICK_SECONDS)

    def stop(self) -> None:
        """Stop, and let the alarm around this one go on."""
        self._is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self._tell_lost
        # A tick that is on its way to a thread would end the process; to ignore it drops it.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, self._previous)
        _deadlines.pop()
        if self._outer:  # the one around this looks at the clock itself
            _tick_soon()

    def _keep_lost(self, told: sys.UnraisableHookArgs) -> None:
        if isinstance(told.exc_value, InterruptedRunError):
            _postponed.append((told.exc_value, time.monotonic() + _LONGEST_PAUSE))
        elif isinstance(told.exc_value, DeadlineError):
            self._has_raised = False
        else:
            self._tell_lost(told)

    def _tick(self, _number: int, frame: FrameType | None) -> None:
        if self._is_over:
            return
        if _postponed:
            _raise(*_postponed.pop(), frame)
        # What sees by itself that the time is over raises the same, and tidies up.
        is_told = self._has_raised or isinstance(sys.exception(), DeadlineError)
        if not self._deadline.has_passed or is_told:
            return
        if _holds_locks(frame) and self._deadline.clock() < self._deadline.at + _LONGEST_PAUSE:
            _tick_soon()
            return
        self._has_raised = True
        raise self._deadline.error()


def _raise(error: InterruptedRunError, until: float, frame: FrameType | None) -> None:
    """Raise an error where the program stands, or see to it that a tick does soon."""
    if not _deadlines or not _holds_locks(frame) or time.monotonic() > until:
        raise error
    _postponed.append((error, until))
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        _tick_soon()


def _tick_soon() -> None:
    signal.setitimer(signal.ITIMER_REAL, _AT_ONCE, _TICK_SECONDS)


def _holds_locks(frame: FrameType | None) -> bool:
    """Whether an error might leave a lock closed, and whoever wants it next waiting for ever.

    Handlers of signals run between any two instructions, also between the one that takes a lock and
    the `try` after it, and before the one that gives it up.
    """
    if frame is None:
        return False
    name, module = frame.f_code.co_name, str(frame.f_globals.get("__name__"))
    if name in {"__enter__", "__exit__"} or module.startswith("importlib."):
        return True
    # `Condition.wait` waits once it has this variable. Before, it gives its lock up.
    is_waiting = name in _WAITING or "gotit" in frame.f_locals
    return module in _LOCKING and not is_waiting


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
