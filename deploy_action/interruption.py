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
    makes the first signal be ignored, too. Off the main thread nothing happens.
    """
    if not _is_main_thread():
        yield lambda: None
        return
    armed = True

    def disarm() -> None:
        nonlocal armed
        armed = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if armed:
            disarm()
            name = signal.Signals(number).name
            raise InterruptedRunError(number, Problem(message=f"The run was cancelled ({name})."))

    previous = {number: signal.signal(number, interrupt) for number in _WATCHED}
    try:
        yield disarm
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def deadline_as_error(deadline: Deadline) -> Iterator[None]:
    """Raise the deadline's error when it passes, even in the middle of a blocking call.

    Inside another one, this suspends the outer deadline, which is raised when it is due or, if it
    passed meanwhile, at the end. Off the main thread, or without POSIX timers, only the request
    time-outs apply.

    Python only prints what is raised while it tidies an object up. Of this deadline's error, and of
    `InterruptedRunError`, nothing is lost so: it is raised again at the next tick.

    An error of it or of `signals_as_errors` that comes while Python tidies an object up is lost
    there: Python only prints it. Then it is raised again within a second.
    """
    if not _is_main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    has_raised = False
    lost: list[BaseException] = []
    tell_lost = sys.unraisablehook

    def keep_lost(told: sys.UnraisableHookArgs) -> None:
        if isinstance(told.exc_value, (DeadlineError, InterruptedRunError)):
            lost.append(told.exc_value)
        else:
            tell_lost(told)

    def tick(_number: int, _frame: FrameType | None) -> None:
        nonlocal has_raised
        if lost:
            raise lost.pop()
        # What sees by itself that the time is over raises the same, and tidies up.
        is_told = isinstance(sys.exception(), DeadlineError)
        if deadline.has_passed and not has_raised and not is_told:
            has_raised = True
            raise deadline.error()

    first = deadline.remaining() % _TICK_SECONDS or _TICK_SECONDS
    sys.unraisablehook = keep_lost
    previous = signal.signal(signal.SIGALRM, tick)
    # The system may give a signal to another thread, and this one, which alone acts on signals,
    # sleeps on: of ticks, and of what asks the process to end, none is lost for long then.
    outer, _ = signal.setitimer(signal.ITIMER_REAL, first, _TICK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = tell_lost
        # A tick that is on its way to a thread would end the process; to ignore it drops it.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, previous)
        if outer:  # the deadline around this one looks at the clock itself
            signal.setitimer(signal.ITIMER_REAL, _AT_ONCE, _TICK_SECONDS)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
