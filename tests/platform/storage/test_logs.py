"""The logs of deployed versions: bounded, whole, and harmless."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploy_action.platform.storage.logs import LONGEST_LINE, Bounds, LogBook, Place, VersionLog
from tests.support.nasty import FRAGMENTS
from tests.support.platform_client import Clock
from tests.support.waiting import wait_for

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (out|err|platform) .*")
DEFAULT = Bounds()
SMALL = Bounds(file_bytes=1_000, files=3)


def make_log(folder: Path, bounds: Bounds = DEFAULT, monotonic: Clock | None = None) -> VersionLog:
    clock = Clock()
    return LogBook(folder / "logs", bounds, clock, monotonic or clock).open("version")


def texts(log: VersionLog) -> list[str]:
    return [line.split(" ", 2)[2] for line in log.tail(100_000)]


def files(log: VersionLog) -> list[Path]:
    return sorted(log._directory.iterdir())  # noqa: SLF001  # what is on the disk is the point


def test_a_line_has_its_time_in_utc_and_its_stream(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.write("out", "bought 1 BTC")
    log.write("err", "  warning")
    log.write("platform", "started")
    assert log.tail(10) == [
        "2023-11-14T22:13:20.000Z out bought 1 BTC",
        "2023-11-14T22:13:20.000Z err   warning",
        "2023-11-14T22:13:20.000Z platform started",
    ]
    assert log.tail(1) == ["2023-11-14T22:13:20.000Z platform started"]
    assert log.tail(0) == []


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.write("out", "x")
    assert stat.S_IMODE(files(log)[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(files(log)[0].parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(files(log)[0].parent.parent.stat().st_mode) == 0o700


def test_what_is_kept_is_bounded_and_the_latest(tmp_path: Path) -> None:
    log = make_log(tmp_path, SMALL)
    for number in range(200):
        log.write("out", f"line {number}")
    assert len(files(log)) == 3
    assert all(path.stat().st_size <= 1_000 for path in files(log))
    assert texts(log)[-1] == "line 199"
    assert texts(log) == [f"line {number}" for number in range(200 - len(texts(log)), 200)]


@pytest.mark.parametrize("lines", [1, 7, 24, 25, 26, 60])
def test_the_last_lines_may_be_in_several_files(tmp_path: Path, lines: int) -> None:
    log = make_log(tmp_path, SMALL)
    for number in range(200):
        log.write("out", f"line {number}")
    assert log.tail(lines) == log.tail(100_000)[-lines:]


def test_a_reader_that_goes_on_from_its_place_misses_and_repeats_nothing(tmp_path: Path) -> None:
    log, place, read = make_log(tmp_path, SMALL), Place(), b""
    for number in range(200):
        log.write("out", f"line {number}")
        if number % 7 == 0:
            for _, block in (blocks := list(log.blocks(place))):
                read += block
            place = Place.parse(str(blocks[-1][0])) or Place()
    read += b"".join(block for _, block in log.blocks(place))
    assert [line.split()[-1] for line in read.decode().splitlines()] == [*map(str, range(200))]


def test_a_reader_that_is_too_slow_is_told_that_lines_are_gone(tmp_path: Path) -> None:
    log = make_log(tmp_path, SMALL)
    log.write("out", "first")
    place, _ = log.read(Place())
    for number in range(200):
        log.write("out", f"line {number}")
    place, block = log.read(place)
    assert b" platform lines may be missing here" in block
    assert log.read(place)[1].count(b" out line ") > 10


@pytest.mark.parametrize("text", ["", "1", "1-", "-1-2", "1-2-3", "1-x", "9" * 40 + "-1", "1-2\n"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert Place.parse(text) is None


@pytest.mark.parametrize("end", [b"2023-11-14T22:13:20.000Z out hal", b"\0" * 5_000, b"\xff"])
def test_a_line_that_a_crash_cut_off_is_removed_when_the_log_is_opened(
    tmp_path: Path, end: bytes
) -> None:
    log = make_log(tmp_path)
    log.write("out", "before")
    log.close()
    with files(log)[0].open("ab") as file:
        file.write(end)
    assert texts(log) == ["before"]  # who reads it meanwhile sees whole lines, too
    make_log(tmp_path).write("out", "after")
    assert texts(log) == ["before", "after"]


def test_killed_in_the_middle_of_writing_it_leaves_whole_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from deploy_action.platform.storage.logs import *;"
        "log = LogBook(Path(sys.argv[1]), Bounds(lines_a_second=10**9, bytes_a_second=10**12))\n"
        "while True: log.open('version').write('out', 'x' * 3000)"
    )
    folder = tmp_path / "logs"
    process = subprocess.Popen([sys.executable, "-c", code, folder])
    wait_for((folder / "version" / "2.log").exists)
    process.kill()
    process.wait()
    log = LogBook(folder).open("version")
    log.write("platform", "again")
    assert all(LINE.fullmatch(line) for line in log.tail(100_000))
    assert {len(line) for line in log.tail(100_000)[:-1]} == {len(log.tail(2)[0])}


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    log = make_log(tmp_path, Bounds(file_bytes=5_000, files=1_000))

    def write(name: str) -> None:
        for number in range(300):
            log.write("out", f"{name} {number} {name * 50}")

    threads = [threading.Thread(target=write, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(log)) == sorted(f"{n} {i} {n * 50}" for n in "abcd" for i in range(300))


@pytest.mark.parametrize(
    "text", [*FRAGMENTS, "a\rb", "a\n2023-11-14T22:13:20.000Z platform sold", ""]
)
def test_whatever_the_model_prints_each_line_is_a_line_of_its_stream(
    tmp_path: Path, text: str
) -> None:
    log = make_log(tmp_path)
    log.write("out", text)
    content = files(log)[0].read_text("utf-8")
    assert content.endswith("\n")
    for line in content[:-1].split("\n"):
        assert line.startswith("2023-11-14T22:13:20.000Z out ")
        assert all(char.isprintable() or char in "\t\u200c\u200d\xa0\u3000" for char in line)


def test_a_forged_line_is_part_of_a_true_one(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.write("out", "x\n2030-01-01T00:00:00.000Z platform stopped \x1b[2J\u202e")
    assert log.tail(9) == [
        "2023-11-14T22:13:20.000Z out x",
        r"2023-11-14T22:13:20.000Z out 2030-01-01T00:00:00.000Z platform stopped \u202e",
    ]


def test_a_long_line_is_cut_and_says_so(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.write("out", "x" * 123_456)
    assert texts(log) == ["x" * LONGEST_LINE + "… (cut: it has 123,456 characters)"]


def test_secrets_are_hidden_before_a_line_is_cut(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.write(
        "out", "x" * (LONGEST_LINE - 3) + "secret", lambda text: text.replace("secret", "***")
    )
    assert texts(log) == ["x" * (LONGEST_LINE - 3) + "***"]


def test_a_flood_is_dropped_counted_and_said(tmp_path: Path) -> None:
    monotonic = Clock()
    log = make_log(tmp_path, Bounds(lines_a_second=8, burst_seconds=5, pause_seconds=2), monotonic)
    redacted: list[str] = []

    def redact(text: str) -> str:
        redacted.append(text)
        return text

    for number in range(1_000):
        log.write("out", f"{number:03}", redact)
    assert len(redacted) == 40  # what is dropped costs next to nothing
    assert texts(log) == [f"{number:03}" for number in range(40)]
    log.write("err", "Traceback")  # has an allowance of its own
    monotonic.now += 1.9
    log.write("out", "too early")
    assert not log.takes("out")
    log.drop("out", 100, 400)  # not even read as lines
    monotonic.now += 0.2
    told = "1,061 lines (3.3 kB) of `out` were dropped here: 8 lines and 16.4 kB a second are kept"
    assert texts(log)[-2:] == ["Traceback", told]  # also if the model prints nothing any more
    log.write("out", "calm")
    assert texts(log)[-2:] == [told, "calm"]


def test_what_was_dropped_last_is_said_when_the_log_is_closed(tmp_path: Path) -> None:
    log = make_log(tmp_path, Bounds(lines_a_second=1, burst_seconds=2))
    for _ in range(10):
        log.write("out", "x")
    log.close()
    assert texts(log)[-1].startswith("8 lines (8 bytes) of `out` were dropped here: 1 lines and")


def test_a_flood_of_bytes_is_dropped_too(tmp_path: Path) -> None:
    log = make_log(tmp_path, Bounds(bytes_a_second=1_000, burst_seconds=5))
    for _ in range(100):
        log.write("out", "x" * 1_000)
    assert len(texts(log)) == 5
    assert log.takes("out", is_end=True)
    log.write("out", "Traceback")
    assert texts(log)[-1] == "Traceback"
    for length in (LONGEST_LINE, 1 << 20):  # what is cut was read
        log.write("err", "x" * length)
    assert not log.takes("err")


def test_what_a_full_disk_does_not_take_is_counted(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.write("out", "before")
    log.close()
    path = files(log)[0]
    aside = path.rename(tmp_path / "aside")
    path.mkdir()  # opening it fails, as creating it on a full disk does
    log.write("out", "lost")
    log.write("out", "lost")
    path.rmdir()
    aside.rename(path)
    log.write("out", "after")
    assert texts(log) == ["before", "2 lines could not be written here", "after"]


def test_all_who_open_a_log_at_the_same_time_share_it(tmp_path: Path) -> None:
    book = LogBook(tmp_path)
    log = book.open("version")
    assert book.open("version") is log
    log.write("out", "x")
    log.close()
    log.write("out", "y")
    assert [line.split()[-1] for line in book.reader("version").tail(9)] == ["x", "y"]
    assert book.versions() == ["version"]
    book.remove("version")
    assert book.versions() == []
    assert book.reader("version").tail(9) == []
