"""What a model writes is bounded, and one thread reads it all."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Iterator, Mapping

import pytest

from deploy_action.platform.machine.reader import Pipe, Reader
from deploy_action.platform.machine.streams import Budget, Events, Output
from tests.support.waiting import wait_for

MEBIBYTE = 1 << 20


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_recovers_with_time() -> None:
    clock = Clock()
    budget = Budget(clock)
    budget.spend(b"x" * 16 * MEBIBYTE)
    assert budget.debt_seconds == 0
    budget.spend(b"\n" * 2048)
    assert budget.debt_seconds == pytest.approx(1, rel=0.01)
    clock.now = 0.5
    assert budget.debt_seconds == pytest.approx(0.5, rel=0.01)
    clock.now = 1_000
    budget.spend(b"x" * 17 * MEBIBYTE)
    assert budget.debt_seconds == pytest.approx(1)


def test_what_is_left_out_is_said_and_its_last_lines_are_kept() -> None:
    lines: list[str] = []
    losses: list[str] = []
    output = Output(lines.append, losses.append, Clock())
    assert output.take(b"first\n" + b"x" * 17 * MEBIBYTE + b"\n") == 0
    assert output.take(b"lost " * 2_000) > 0
    assert output.take(b"\nkept\nlast") > 0
    del lines[1:]
    output.finish(b"\nend\n")
    assert lines == ["first", "kept", "last", "end"]
    (loss,) = losses
    assert loss.startswith("10,001 bytes of output were left out here")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemoryError", True),
        ("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("OpenBLAS error: Memory allocation still failed after 10 retries, giving up.", True),
        ("ValueError: MemoryError", False),
        ("no MemoryErrors", False),
    ],
)
def test_running_out_of_memory_is_recognised(text: str, *, expected: bool) -> None:
    output = Output(lambda _: None, lambda _: None)
    output.finish(f"before\n{text}\n".encode())
    assert output.tells_of_no_memory == expected


def test_an_old_error_is_forgotten() -> None:
    output = Output(lambda _: None, lambda _: None)
    output.finish(b"MemoryError\n" + b"alive\n" * 20)
    assert not output.tells_of_no_memory


def test_reports_are_never_lost_but_slowed_down() -> None:
    events: list[Mapping[str, object]] = []
    stream = Events(lambda event, _: events.append(event), Clock())
    assert stream.take(b'{"event": "a"}\n') == 0
    flood = b'{"event": "b"}\n' * 33_000
    assert stream.take(flood) > 0
    stream.finish(b'{"event": "c"}')
    assert len(events) == 33_002
    assert events[-1] == {"event": "c"}


def test_a_report_has_its_size_and_one_that_is_too_long_is_not_parsed() -> None:
    sizes: list[tuple[Mapping[str, object], int]] = []
    stream = Events(lambda event, size: sizes.append((event, size)))
    numbers = b"0," * (260 << 10)
    stream.finish(b'{"a": "\xc3\xa9"}\n{"b": [' + numbers + b'0]}\n{"c": 1}\n')
    assert sizes == [({"a": "\u00e9"}, 11), ({"c": 1}, 8)]


def test_long_lines_do_not_stay_in_memory() -> None:
    output = Output(lambda _: None, lambda _: None)
    lines = (b"x" * 1_000_000 + b"\n") * 10
    tracemalloc.start()
    try:
        output.take(lines)
        output.finish(b"")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


class TestReader:
    @pytest.fixture
    def errors(self) -> list[str]:
        return []

    @pytest.fixture
    def reader(self, errors: list[str]) -> Iterator[Reader]:
        reader = Reader(errors.append)
        yield reader
        reader.close()

    def test_a_pipe_is_read_to_its_end(self, reader: Reader) -> None:
        taken: list[bytes] = []

        def take(data: bytes) -> float:
            taken.append(data)
            return 0.001  # it is read again

        reading, writing = os.pipe()
        reader.call(lambda: reader.watch(Pipe(reading, take)))
        os.write(writing, b"a")
        wait_for(lambda: taken == [b"a"])
        os.write(writing, b"b")
        os.close(writing)
        wait_for(lambda: taken == [b"a", b"b", b""])
        os.close(reading)

    def test_a_failure_is_told_and_others_are_read(self, reader: Reader, errors: list[str]) -> None:
        def fail(_: bytes) -> float:
            raise ValueError("of one model")

        reading, writing = os.pipe()
        pipe = Pipe(reading, fail)
        reader.call(lambda: reader.watch(pipe))
        os.write(writing, b"a")
        wait_for(lambda: errors)
        assert "of one model" in errors[0]
        over = threading.Event()
        reader.call(lambda: reader.leave(pipe))
        reader.call(over.set)
        assert over.wait(20)
        os.close(writing)
        os.close(reading)

    def test_a_paused_pipe_that_is_left_is_not_read_again(self, reader: Reader) -> None:
        taken: list[bytes] = []

        def take(data: bytes) -> float:
            taken.append(data)
            reader.call(lambda: reader.leave(pipe))
            return 0.01

        reading, writing = os.pipe()
        pipe = Pipe(reading, take)
        reader.call(lambda: reader.watch(pipe))
        os.write(writing, b"a")
        wait_for(lambda: pipe.is_over)
        os.write(writing, b"b")
        later = threading.Event()
        reader.call(lambda: reader.call_at(0, later.set))
        assert later.wait(20)
        assert taken == [b"a"]
        os.close(writing)
        os.close(reading)
