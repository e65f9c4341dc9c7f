"""What a model writes is bounded, and one thread reads it all."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Iterator, Mapping

import pytest

from deploy_action.platform.allowance import Allowance
from deploy_action.platform.machine.reader import Pipe, Reader
from deploy_action.platform.machine.streams import Events, Output
from tests.support.waiting import wait_for


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_allowance_recovers_with_time() -> None:
    clock = Clock()
    allowance = Allowance(16, 2, clock)
    allowance.use(16)
    assert allowance.seconds_until(0) == 0
    allowance.use(2)
    assert (allowance.left, allowance.seconds_until(0), allowance.seconds_until(1)) == (-2, 1, 1.5)
    clock.now = 0.5
    assert allowance.seconds_until(0) == 0.5
    clock.now = 1_000
    assert allowance.left == 16
    clock.now = 999  # a clock that was set back
    assert allowance.left == 16


def test_what_is_thrown_away_is_counted_and_whole_lines_go_on() -> None:
    lines: list[str] = []
    lost: list[int] = []
    answers = iter([True, False, False, True, False, True])  # the last one is asked at the end

    def takes(*, is_end: bool) -> bool:
        return next(answers) or is_end

    output = Output(lines.append, takes, lambda number, _: lost.append(number))
    assert output.take(b"first\nbegun") == 0
    assert output.take(b" lost\nlost\nlo") > 0
    assert output.take(b"st\nlost\n") > 0
    assert output.take(b"whole\n") == 0
    assert output.take(b"lost\nlost\nMemory") > 0
    output.finish(b"Error\n")
    assert lines == ["first", "begun", "whole", "lost", "MemoryError"]
    assert sum(lost) == 5
    assert output.tells_of_no_memory


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
    output = Output(lambda _: None)
    output.finish(f"before\n{text}\n".encode())
    assert output.tells_of_no_memory == expected


def test_an_old_error_is_forgotten() -> None:
    output = Output(lambda _: None)
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
    output = Output(lambda _: None)
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
