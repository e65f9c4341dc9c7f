"""Signals and the deadline reach a run that is blocked, whichever thread the system gives them."""

from __future__ import annotations

import _imp
import importlib
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from deploy_action import interruption
from deploy_action.errors import DeadlineError, InterruptedRunError
from deploy_action.interruption import Deadline, deadline_as_error, signals_as_errors
from tests.support.torture import Rounds


@contextmanager
def idle_thread() -> Iterator[int]:
    """Yield the identifier of a thread that sleeps."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert thread.ident is not None
    try:
        yield thread.ident
    finally:
        over.set()
        thread.join()


def wait_for_ever() -> None:
    threading.Event().wait()


def kill_and_wait(thread: int, number: signal.Signals) -> None:
    signal.pthread_kill(thread, number)
    wait_for_ever()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_another_thread_takes_ends_the_run(number: signal.Signals) -> None:
    """The main thread alone acts on signals, and is not woken by this one."""
    with (
        idle_thread() as other,
        signals_as_errors(),
        deadline_as_error(Deadline.after(10)),
        pytest.raises(InterruptedRunError) as caught,
    ):
        kill_and_wait(other, number)
    assert caught.value.signal_number == number


def test_a_deadline_is_raised_once_and_then_leaves_time_to_tidy_up() -> None:
    def work() -> None:
        with deadline_as_error(Deadline.after(0.01 / 60)):
            try:
                wait_for_ever()
            finally:
                threading.Event().wait(1.5)  # over more than one tick

    with pytest.raises(DeadlineError):
        work()


def test_a_deadline_that_has_passed_leaves_the_outer_one_in_force() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(DeadlineError), deadline_as_error(Deadline.after(-1)):
        raise AssertionError("it had passed")
    assert signal.getsignal(signal.SIGALRM) is before


class Tidied:
    """Something whose end takes long: Python only prints what is raised meanwhile."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work

    def __del__(self) -> None:
        self.work()


def tidy_up_and_wait(work: Callable[[], None]) -> None:
    Tidied(work)
    threading.Event().wait(5)


def test_a_deadline_that_passes_while_something_is_tidied_up_is_raised_after_it() -> None:
    with deadline_as_error(Deadline.after(0.01 / 60)), pytest.raises(DeadlineError):
        tidy_up_and_wait(wait_for_ever)


def test_a_signal_that_comes_while_something_is_tidied_up_ends_the_run_after_it() -> None:
    with (
        signals_as_errors(),
        deadline_as_error(Deadline.after(10)),
        pytest.raises(InterruptedRunError) as caught,
    ):
        tidy_up_and_wait(lambda: signal.raise_signal(signal.SIGTERM))
    assert caught.value.signal_number == signal.SIGTERM


class Door:
    """Something that is open meanwhile; a signal comes before `with` begins, or as it ends."""

    def __init__(self, *, at_the_end: bool, then: Callable[[], None] = lambda: None) -> None:
        self.at_the_end, self.then, self.is_open = at_the_end, then, False

    def __enter__(self) -> None:
        self.is_open = True
        if not self.at_the_end:
            signal.raise_signal(signal.SIGTERM)

    def __exit__(self, *_: object) -> None:
        if self.at_the_end:
            signal.raise_signal(signal.SIGTERM)
            self.then()
        self.is_open = False


def go_through(door: Door) -> None:
    with door:
        pass
    wait_for_ever()


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_signal_leaves_no_door_open(at_the_end: bool) -> None:  # noqa: FBT001  # a case
    door = Door(at_the_end=at_the_end)
    with (
        signals_as_errors(),
        deadline_as_error(Deadline.after(10)),
        pytest.raises(InterruptedRunError),
    ):
        go_through(door)
    assert not door.is_open


def test_a_signal_in_the_last_moment_is_raised_at_the_end_of_the_outermost_block() -> None:
    def work() -> None:
        with deadline_as_error(Deadline.after(10)):
            with deadline_as_error(Deadline.after(10)), Door(at_the_end=True):
                pass
            wait_for_ever()

    with signals_as_errors(), pytest.raises(InterruptedRunError):
        work()
    with (
        signals_as_errors(),
        pytest.raises(InterruptedRunError),
        deadline_as_error(Deadline.after(10)),
        Door(at_the_end=True),
    ):
        pass


@pytest.mark.torture(quick=20)
def test_a_deadline_leaves_no_lock_closed(rounds: Rounds) -> None:
    """Whoever wants it next would wait for ever: what closes the connections, for example."""

    def work(tasks: queue.Queue[int]) -> None:
        with deadline_as_error(Deadline.after(0.002 / 60)):
            while True:
                tasks.put(1)
                tasks.get()

    for _ in rounds:
        tasks: queue.Queue[int] = queue.Queue()
        with pytest.raises(DeadlineError):
            work(tasks)
        assert not tasks.mutex.locked()
        rounds.count("deadlines")


def test_a_deadline_leaves_no_import_closed() -> None:
    """Threads import modules, too."""

    def work() -> None:
        with deadline_as_error(Deadline.after(0.002 / 60)):
            while True:
                sys.modules.pop("colorsys", None)
                importlib.import_module("colorsys")

    for _ in range(20):
        with pytest.raises(DeadlineError):
            work()
        assert not _imp.lock_held()


def test_a_deadline_that_passed_while_something_was_tidied_up_outlives_an_inner_one() -> None:
    def work() -> None:
        with deadline_as_error(Deadline.after(0.01 / 60)):
            Tidied(wait_for_ever)
            with deadline_as_error(Deadline.after(10)):
                pass
            wait_for_ever()

    with pytest.raises(DeadlineError):
        work()


def test_a_signal_that_waits_is_ignored_with_the_others() -> None:
    with (
        signals_as_errors() as ignore_signals,
        deadline_as_error(Deadline.after(10)),
        Door(at_the_end=True, then=ignore_signals),
    ):
        pass


def test_an_error_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_LONGEST_PAUSE", 0.1)
    lock = threading.Condition(threading.Lock())

    def work() -> None:
        with lock, deadline_as_error(Deadline.after(0.01 / 60)), lock:
            pass

    with pytest.raises(DeadlineError):
        work()
