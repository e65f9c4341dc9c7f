"""What may be used of something that grows back with time, such as lines of a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy_action.records import dataclass, field


@dataclass(slots=True)
class Allowance:
    """So much that `burst` may be used at once, and `per_second` from then on.

    `monotonic` is in seconds. Not safe to use from two threads.
    """

    burst: float
    per_second: float
    monotonic: Callable[[], float] = time.monotonic
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._at = self.burst, self.monotonic()

    @property
    def left(self) -> float:
        """What is left; less than nothing after more was used than there was."""
        now = self.monotonic()
        grown = max(0.0, now - self._at) * self.per_second
        self._left, self._at = min(self._left + grown, self.burst), now
        return self._left

    def use(self, amount: float) -> None:
        """Use something up, be it there or not."""
        self._left = self.left - amount

    def seconds_until(self, amount: float) -> float:
        """Return how long it takes until so much is left; zero if it is."""
        return max(0.0, amount - self.left) / self.per_second
