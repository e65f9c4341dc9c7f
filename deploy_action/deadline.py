"""The one deadline over a whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy_action.errors import DeadlineError, Problem


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
