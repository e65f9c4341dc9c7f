"""When a keeper has something to do that nobody will say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from deploy_action.platform.live.keeping.running import Running
from deploy_action.platform.live.surroundings import Surroundings

SECONDS_BETWEEN_NOTES: Final = 1.0  # of failing callbacks


def is_settled_by(running: Running, around: Surroundings) -> float:
    """Return the monotonic time at which an instance is `running`, without a word from it."""
    return running.started_at + around.settling_seconds


def has_lasted_by(running: Running, around: Surroundings) -> float:
    """Return the monotonic time at which the restarts before an instance are forgotten."""
    return running.settled_at + around.restarts.clean_seconds


def due_times(running: Running, around: Surroundings) -> Iterator[float]:
    """Yield the monotonic times at which something is to be done about an instance."""
    if running.stopped_for is not None:
        return
    if not running.is_settled:
        yield is_settled_by(running, around)
    elif not running.has_lasted:
        yield has_lasted_by(running, around)
    if running.facts != running.written:
        yield running.written_at + SECONDS_BETWEEN_NOTES
