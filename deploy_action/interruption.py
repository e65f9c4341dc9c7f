"""Signals and the deadline, raised as errors wherever the run is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deploy_action.errors import DeadlineError, InterruptedRunError, Problem

if TYPE_CHECKING:
    from types import FrameType

_WATCHED: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# In seconds; 0 would stop the timer.
_AT_ONCE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a monotonic clock by which the run ends; times are in seconds."""

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
        """Return the seconds left, above 0.

        Raises:
            DeadlineError: when the deadline has passed.
        """
        left = self.at - self.clock()
        if left <= 0:
            raise self.error()
        return left

    def error(self) -> DeadlineError:
        """Return what to raise when the deadline has passed."""
        return DeadlineError(
            Problem(
                message=f"The run took longer than its deadline of {self.minutes:g} minutes.",
                hint="Raise `timeout-minutes`, or see in the log what took so long.",
            ),
        )


@contextmanager
def signals_as_errors() -> Iterator[Callable[[], None]]:
    """Turn the first signal that asks us to end into an `InterruptedRunError`.

    Yields a function that ends this: from then on signals are ignored, so that what is left
    (tidying up, the report) is not cut off. So are those after the first one: the runner sends
    SIGINT, SIGTERM 7.5 s later, and kills what is left after 2.5 s more.
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
    """Raise the deadline's error when it passes, whatever is going on then.

    One inside of another holds up the outer one, which comes when it is due or the inner one ended.
    Elsewhere than on the main thread of a POSIX system the time-outs of the requests have to do.
    """
    if not _is_main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise deadline.error()

    previous = signal.signal(signal.SIGALRM, expire)
    begun = time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, deadline.remaining())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if outer:  # a deadline around this one; where it has passed meanwhile, it is due at once
            left = outer - (time.monotonic() - begun)
            signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE))


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
