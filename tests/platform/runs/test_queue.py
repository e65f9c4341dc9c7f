"""Which backtest begins next, which never does, and how many would run at once."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.memory import Memory
from deploy_action.platform.runs.backtests import Backtests, Job
from deploy_action.platform.runs.fair_queue import FairQueue
from deploy_action.platform.runs.model_run import BacktestRequest, Outcome
from deploy_action.platform.storage.records import BacktestStatus
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import Clock
from tests.support.scripted_runner import finished
from tests.support.waiting import PATIENCE, wait_for

MIB = 1 << 20


@dataclass
class TurnstileRunner:
    """Lets each backtest end when the test says so; `began` has the models in order."""

    began: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=finished)
    turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        self.began.append(request.model[1])
        while not self.turns.acquire(timeout=0.005):
            if stop.is_set():
                raise StoppedError
        return self.outcome


@dataclass
class Bench:
    """A platform's backtests without its API; all of them are ephemeral."""

    store: Store
    runner: TurnstileRunner
    errors: list[str]
    backtests: Backtests

    def ask(self, model: str) -> Job:
        request = BacktestRequest(
            backtest_id=str(uuid.uuid4()), bundle=Path("none"), bundle_sha256="0" * 64,
            python_version="3.11", args={}, now=0.0, model=("p", model), is_ephemeral=True,
        )  # fmt: skip
        return self.backtests.start(request)


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    store = Store(tmp_path / "data", Clock())
    made: list[Bench] = []

    def make(parallel: int, memory: Memory | None = None) -> Bench:
        runner, errors = TurnstileRunner(), list[str]()
        backtests = Backtests(
            store, runner, parallel=parallel, most_seconds=None, on_error=errors.append,
            memory=memory or Memory(tmp_path, tmp_path),
        )  # fmt: skip
        made.append(Bench(store, runner, errors, backtests))
        return made[-1]

    yield make
    for bench in made:
        bench.backtests.close()
        assert bench.errors == []
    store.close()


def taken(queue: FairQueue[str], most: int = 1_000) -> str:
    """Take items, and return the first letters of them."""
    found = (queue.take() for _ in range(most))
    return "".join(item[0] for item in found if item)


def test_models_take_turns_and_each_is_served_in_order() -> None:
    queue = FairQueue[str]()
    for number in range(3):
        for model in "ab":
            queue.put(model, f"{model}{number}")
    queue.put("c", "c0")
    assert [queue.take() for _ in range(8)] == ["a0", "b0", "c0", "a1", "b1", "a2", "b2", None]


def test_whoever_comes_is_served_next_unless_he_was_just_served() -> None:
    queue = FairQueue[str]()
    for number in range(1_000):
        queue.put("sweep", f"s{number}")
    assert taken(queue, 500) == "s" * 500
    queue.put("one", "x")
    assert taken(queue, 1) == "x"
    queue.put("one", "x")  # comes back at once
    assert taken(queue, 4) == "sxss"


def test_models_that_come_back_one_by_one_do_not_keep_others_waiting() -> None:
    queue = FairQueue[str]()
    for number in range(10):
        queue.put("sweep", f"s{number}")
    served = ""
    queue.put("x", "x")
    queue.put("y", "y")
    for _ in range(12):
        item = taken(queue, 1)
        served += item
        if item in "xy":
            queue.put(item, item)
    assert served == "sxysxysxysxy"


def test_what_is_removed_costs_its_owner_no_turn() -> None:
    queue = FairQueue[str]()
    for number in range(5):
        queue.put("a", f"a{number}")
    for number in range(4):
        assert queue.remove("a", f"a{number}")
    assert not queue.remove("a", "a0")
    assert not queue.remove("b", "b0")
    queue.put("b", "b0")
    assert [queue.take() for _ in range(3)] == ["a4", "b0", None]
    assert queue.remove("a", "a4") is False


_STEPS = st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=60)


@given(_STEPS)
def test_nobody_waits_for_two_of_another(steps: list[str | None]) -> None:
    """As long as one waits, each of the others has one taken at most in between."""
    queue, waits = FairQueue[str](), dict[str, Counter[str]]()
    waiting = Counter[str]()
    for number, model in enumerate([*steps, *[None] * len(steps)]):
        if model is not None:
            queue.put(model, f"{model}{number}")
            waiting[model] += 1
            waits.setdefault(model, Counter())
            continue
        item = queue.take()
        assert (item is None) is not any(waiting.values())
        if item is None:
            continue
        waiting[item[0]] -= 1
        del waits[item[0]]
        if waiting[item[0]]:
            waits[item[0]] = Counter()
        for between in waits.values():
            between[item[0]] += 1
            assert between[item[0]] == 1
    assert queue.take() is None


def test_a_thousand_of_one_model_delay_another_by_no_more_than_one(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    for _ in range(1_000):
        bench.ask("sweep")
    wait_for(lambda: bench.runner.began == ["sweep"])
    single = bench.ask("single")
    bench.runner.turns.release(2)
    single.ending.result(PATIENCE)
    assert bench.runner.began[:2] == ["sweep", "single"]
    assert threading.active_count() < 50  # what waits takes no thread


def test_as_many_run_as_there_are_slots_whoever_asked(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    jobs = [bench.ask(model) for model in "aaaaabbb"]
    wait_for(lambda: len(bench.runner.began) == 3)
    bench.runner.turns.release(len(jobs))
    for job in jobs:
        assert job.ending.result(PATIENCE).status is BacktestStatus.FINISHED
    assert Counter(bench.runner.began) == {"a": 5, "b": 3}


def test_what_is_cancelled_leaves_the_queue_at_once_and_never_runs(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    running, waiting, last = (bench.ask(model) for model in "abc")
    wait_for(lambda: bench.runner.began)
    waiting.cancel("nobody wants it")
    ending = waiting.ending.result(PATIENCE)  # while the other one runs
    assert ending.status is BacktestStatus.STOPPED
    assert ending.error == "The backtest was stopped: nobody wants it."
    assert not running.ending.done()
    bench.runner.turns.release(2)
    last.ending.result(PATIENCE)
    assert bench.runner.began == ["a", "c"]


def test_closing_ends_a_long_queue_and_whatever_is_asked_for_later(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    jobs = [bench.ask("sweep") for _ in range(300)]
    wait_for(lambda: len(bench.runner.began) == 2)
    bench.backtests.close()
    jobs.append(bench.ask("late"))
    endings = [job.ending.result(PATIENCE) for job in jobs]
    assert {each.error for each in endings} == {
        "The backtest was stopped: the platform was stopped."
    }
    assert bench.runner.began == ["sweep"] * 2


@pytest.mark.parametrize(
    ("available", "peak", "others", "expected"),
    [
        (1_000, 100, 0, 4),  # the slots
        (350, 100, 0, 3),
        (350, 100, 1, 4),  # which has its memory already
        (99, 100, 0, 1),
        (0, 100, 2, 2),
        (0, None, 0, 4),
    ],
)
def test_memory_limits_how_many_would_run_at_once(
    make_bench: MakeBench,
    tmp_path: Path,
    available: int,
    peak: int | None,
    others: int,
    expected: int,
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(f"MemAvailable: {available << 10} kB\n")
    bench = make_bench(4, Memory(tmp_path / "proc", tmp_path))
    bench.runner.outcome = Outcome(
        result=finished().result, problems=(), peak_bytes=None if peak is None else peak * MIB
    )
    jobs = [bench.ask("a") for _ in range(others + 1)]
    wait_for(lambda: len(bench.runner.began) == others + 1)
    bench.runner.turns.release()
    wait_for(lambda: any(job.ending.done() for job in jobs))
    first = next(job for job in jobs if job.ending.done())
    assert first.ending.result().parallel == expected


def test_where_memory_is_not_told_it_limits_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    bench.runner.outcome = Outcome(result=None, problems=(), peak_bytes=1 << 60)
    bench.runner.turns.release()
    assert bench.ask("a").ending.result(PATIENCE).parallel == 4


class Scarcity:
    """The system's threads: `left` more of them can be started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1_000
        start = threading.Thread.start

        def scarce(thread: threading.Thread) -> None:
            if thread.name == "backtest":
                if not self.left:
                    raise RuntimeError("can't start new thread")
                self.left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", scarce)


def test_what_finds_no_thread_begins_when_another_ends(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, threads = make_bench(2), Scarcity(monkeypatch)
    threads.left = 1
    first, second = bench.ask("a"), bench.ask("b")
    wait_for(lambda: bench.runner.began == ["a"])
    threads.left = 1
    bench.runner.turns.release()
    assert first.ending.result(PATIENCE).status is BacktestStatus.FINISHED
    wait_for(lambda: bench.runner.began == ["a", "b"])
    bench.runner.turns.release()
    assert second.ending.result(PATIENCE).status is BacktestStatus.FINISHED


def test_without_any_thread_the_client_is_told_and_the_slot_is_free_again(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, threads = make_bench(1), Scarcity(monkeypatch)
    threads.left = 0
    ending = bench.ask("a").ending.result(PATIENCE)
    assert ending.status is BacktestStatus.STOPPED
    assert "starts no more threads" in ending.error
    threads.left = 1
    job = bench.ask("b")
    bench.runner.turns.release()
    assert job.ending.result(PATIENCE).status is BacktestStatus.FINISHED


def test_all_of_a_long_queue_are_told_when_there_are_no_threads(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, threads = make_bench(1), Scarcity(monkeypatch)
    first, *others = (bench.ask("a") for _ in range(600))
    wait_for(lambda: bench.runner.began == ["a"])
    threads.left = 0
    bench.runner.turns.release()
    assert first.ending.result(PATIENCE).status is BacktestStatus.FINISHED
    endings = [job.ending.result(PATIENCE) for job in others]
    assert {each.error for each in endings} == {
        "The backtest was stopped: the system of the platform starts no more threads."
    }


def test_what_waits_is_stopped_without_threads(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, threads = make_bench(1), Scarcity(monkeypatch)
    jobs = [bench.ask("a") for _ in range(50)]
    wait_for(lambda: bench.runner.began == ["a"])
    threads.left = 0
    bench.backtests.close()
    assert {job.ending.result(PATIENCE).status for job in jobs} == {BacktestStatus.STOPPED}
    assert bench.runner.began == ["a"]
