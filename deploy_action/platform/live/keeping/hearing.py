"""What a keeper hears of its preparations and its instance, in the order of events."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping

from deploy_action.platform.live.host import Prepared
from deploy_action.platform.live.surroundings import VersionLog
from deploy_action.platform.processes.launching import Ended
from deploy_action.records import dataclass, field

# Events of one instance, and their bytes as JSON, each of which takes up to thirty in memory. A
# model that reports faster than the store can write loses the rest.
MOST_WAITING = 2_000
MOST_WAITING_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Woken:
    """Something else has changed: a wish, or the server stops."""


@dataclass(frozen=True, slots=True)
class PreparationOver:
    """A preparation has ended: with a version to start, or with what is in its way."""

    preparation: object
    prepared: Prepared | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """An instance reports something."""

    number: int
    event: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class InstanceOver:
    """An instance has ended."""

    number: int
    ended: Ended


Heard = Woken | PreparationOver | Reported | InstanceOver


@dataclass(slots=True)
class Hearing:
    """The listener of one instance, which passes on what it hears to its keeper.

    `redact` removes the model's secrets from what it prints.
    """

    number: int
    inbox: queue.SimpleQueue[Heard]
    log: VersionLog
    redact: Callable[[str], str]
    clock: Callable[[], float]
    last_output_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[int] = field(default_factory=deque)  # the size of each event, the oldest first
    _waiting_bytes: int = 0
    _lost: int = 0

    def line(self, stream: str, text: str) -> None:
        """Write a line to the log."""
        if stream != "platform":
            self.last_output_at = self.clock()
        self.log.write(stream, text, self.redact)

    def takes(self, stream: str, *, is_end: bool) -> bool:
        """Return whether the log takes lines of a stream now; at its end, it takes some."""
        return self.log.takes(stream, is_end=is_end)

    def lose(self, stream: str, lines: int, size: int) -> None:
        """Note what was thrown away while it took none."""
        self.last_output_at = self.clock()
        self.log.drop(stream, lines, size)

    def event(self, event: Mapping[str, object], size: int) -> None:
        """Pass an event on, unless too many are waiting, or too large ones."""
        with self._lock:
            is_too_much = self._waiting_bytes + size > MOST_WAITING_BYTES
            if len(self._waiting) >= MOST_WAITING or is_too_much:
                self._lost += 1
                return
            self._waiting.append(size)
            self._waiting_bytes += size
        self.inbox.put(Reported(self.number, event))

    def done(self) -> int:
        """Note that an event was handled; return how many were lost, if no other is waiting."""
        with self._lock:
            self._waiting_bytes -= self._waiting.popleft()
            lost = 0
            if not self._waiting:
                lost, self._lost = self._lost, 0
        return lost

    def ended(self, ended: Ended) -> None:
        """Pass on that the instance has ended."""
        self.inbox.put(InstanceOver(self.number, ended))
