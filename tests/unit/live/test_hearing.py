"""What waits of one instance's events is bounded, by their number and their size."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import pytest

from deploy_action.platform.live.keeping.hearing import (
    MOST_WAITING,
    MOST_WAITING_BYTES,
    Heard,
    Hearing,
)


class NoLog:
    """A log that keeps nothing."""

    def write(self, stream: str, text: str, redact: Callable[[str], str] = str) -> None:
        """Nothing is kept."""

    def takes(self, stream: str, *, is_end: bool = False) -> bool:  # noqa: ARG002  # of the protocol
        return False

    def drop(self, stream: str, lines: int, size: int) -> None:
        """Nothing is counted."""


@pytest.fixture
def inbox() -> queue.SimpleQueue[Heard]:
    return queue.SimpleQueue()


@pytest.fixture
def hearing(inbox: queue.SimpleQueue[Heard]) -> Hearing:
    return Hearing(1, inbox, NoLog(), str, time.time)


def test_what_waits_is_bounded_by_its_bytes(
    hearing: Hearing, inbox: queue.SimpleQueue[Heard]
) -> None:
    third = MOST_WAITING_BYTES // 3
    for _ in range(5):
        hearing.event({}, third)
    assert inbox.qsize() == 3
    assert hearing.done() == 0
    hearing.event({}, third)  # there is room again
    assert inbox.qsize() == 4
    assert [hearing.done(), hearing.done(), hearing.done()] == [0, 0, 2]
    hearing.event({}, MOST_WAITING_BYTES)
    assert inbox.qsize() == 5
    assert hearing.done() == 0


def test_what_waits_is_bounded_by_its_number(
    hearing: Hearing, inbox: queue.SimpleQueue[Heard]
) -> None:
    for _ in range(MOST_WAITING + 7):
        hearing.event({}, 20)
    assert inbox.qsize() == MOST_WAITING
    lost = [hearing.done() for _ in range(MOST_WAITING)]
    assert lost[-1] == 7
    assert not any(lost[:-1])
