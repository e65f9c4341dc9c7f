"""What runs beside the candidate's backtest: in which order, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.interruption import Deadline
from deploy_action.stages.backtests.beside import Beside, NoResultError


class Connection:
    """A connection that cannot be closed without an error."""

    @property
    def transport(self) -> Connection:
        return self

    def close(self) -> None:
        raise OSError("it is gone")


@pytest.fixture
def beside() -> Iterator[Beside]:
    found = Beside(lambda: cast("DeploymentApi", Connection()), Deadline.after(1), 1)
    yield found
    found.close()


def fail(_api: Any) -> None:
    raise RuntimeError("a bug")


def test_an_urgent_task_goes_before_those_that_wait(beside: Beside) -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first(_api: DeploymentApi) -> None:
        begun.set()
        go_on.wait(120)

    running = beside.start(first)
    assert begun.wait(120)

    def note(name: str) -> Callable[[DeploymentApi], None]:
        return lambda _api: order.append(name)

    others = [beside.start(note(name)) for name in "ab"]
    urgent = beside.start(note("urgent"), is_urgent=True)
    go_on.set()
    for one in (running, *others, urgent):
        beside.wait(one)
    assert order == ["urgent", "a", "b"]


def test_more_at_once_is_for_those_that_wait_too(beside: Beside) -> None:
    """Three wait for each other: they all have to run."""
    meeting = threading.Barrier(3)

    def meet(_api: DeploymentApi) -> int:
        return meeting.wait(120)

    waiting = [beside.start(meet) for _ in range(3)]
    beside.widen(3)
    assert sorted(beside.wait(one) for one in waiting) == [0, 1, 2]


def test_no_more_than_allowed_are_at_work_at_once(beside: Beside) -> None:
    beside.widen(2)
    running, most = 0, 0
    lock = threading.Lock()

    def work(_api: DeploymentApi) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    for one in [beside.start(work) for _ in range(20)]:
        beside.wait(one)
    assert most <= 2


def test_a_task_that_fails_leaves_its_thread_to_the_others(beside: Beside) -> None:
    failing = beside.start(fail)
    with pytest.raises(RuntimeError, match="a bug"):
        beside.wait(failing)
    assert beside.wait(beside.start(lambda _api: 7)) == 7


def test_what_is_started_after_the_end_has_no_result(beside: Beside) -> None:
    beside.close()
    with pytest.raises(NoResultError, match="the run ended before"):
        beside.wait(beside.start(lambda _api: 7))
