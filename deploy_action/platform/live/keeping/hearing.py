"""What a keeper hears of its preparations and its instance, in the order of events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy_action.platform.live.host import Ended, Prepared
from deploy_action.platform.live.surroundings import VersionLog

# Of one instance. A model that reports faster than the store can write loses the rest.
MOST_WAITING = 2_000


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
    _waiting: int = 0
    _lost: int = 0

    def line(self, stream: str, text: str) -> None:
        """Write a line to the log."""
        if stream != "platform":
            self.last_output_at = self.clock()
        self.log.write(stream, text, self.redact)

    def event(self, event: Mapping[str, object]) -> None:
        """Pass an event on, unless too many are waiting."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                self._lost += 1
                return
            self._waiting += 1
        self.inbox.put(Reported(self.number, event))

    def done(self) -> int:
        """Note that an event was handled; return how many were lost, if no other is waiting."""
        with self._lock:
            self._waiting -= 1
            lost = 0
            if self._waiting == 0:
                lost, self._lost = self._lost, 0
        return lost

    def ended(self, ended: Ended) -> None:
        """Pass on that the instance has ended."""
        self.inbox.put(InstanceOver(self.number, ended))
