"""Child processes: their output is streamed, and their children end with the run."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from deploy_action.platform.processes.child_process import (
    BoundedLog,
    SideChannel,
    StoppedError,
    run_process,
)
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.platform.processes.launching import Ended
from tests.support.waiting import is_alive, wait_for

# A minute, and then a trace of it in the current directory.
HANG = "import time; time.sleep(60); open('waited', 'w')"


def run(
    code: str, tmp_path: Path, *, stop: threading.Event | None = None, memory: int | None = None
) -> tuple[Ended, list[str]]:
    lines: list[str] = []
    ended = run_process(
        [sys.executable, "-u", "-c", code],
        cwd=tmp_path,
        environ={"PATH": os.environ["PATH"]},
        on_line=lines.append,
        stop=stop or threading.Event(),
        confinement=Confinement(memory_bytes=memory),
    )
    return ended, lines


def was_waited_for(tmp_path: Path) -> bool:
    """Tell whether a process with `HANG` could go on to its end."""
    return (tmp_path / "waited").exists()


def wait_until_gone(*pids: int) -> None:
    """Wait until all have ended: a signal takes the kernel a moment."""
    wait_for(lambda: not any(map(is_alive, pids)))


def test_output_and_errors_arrive_as_lines(tmp_path: Path) -> None:
    """Of both streams, in any script, ended by a line feed, a carriage return, or nothing."""
    code = (
        "import sys; print('één'); sys.stdout.buffer.write(b'\\xff|10%\\r20%\\r\\n');"
        "print('oops', file=sys.stderr); print('last', end='')"
    )
    ended, lines = run(code, tmp_path)
    assert ended == Ended(0)
    assert lines == ["één", "\ufffd|10%", "20%", "oops", "last"]


def test_a_line_without_an_end_comes_in_pieces(tmp_path: Path) -> None:
    _, lines = run("print('x' * 3_000_000, end='')", tmp_path)
    assert "".join(lines) == "x" * 3_000_000
    assert max(map(len, lines)) == 1 << 20


def test_output_arrives_while_the_child_runs(tmp_path: Path) -> None:
    seen: list[str] = []
    stop = threading.Event()

    def on_line(line: str) -> None:
        seen.append(line)
        stop.set()

    with pytest.raises(StoppedError):
        run_process(
            [sys.executable, "-u", "-c", "import time; print('hello'); time.sleep(60)"],
            cwd=tmp_path,
            environ={},
            on_line=on_line,
            stop=stop,
        )

    assert seen == ["hello"]


def test_exit_codes_and_signals_are_reported(tmp_path: Path) -> None:
    assert run("raise SystemExit(3)", tmp_path)[0] == Ended(3)
    assert run("import os; os.kill(os.getpid(), 9)", tmp_path)[0] == Ended(-9)


def test_a_child_gets_the_given_environment_and_no_input(tmp_path: Path) -> None:
    _, lines = run("import os, sys; print(sorted(os.environ), repr(sys.stdin.read()))", tmp_path)
    assert lines[0].startswith("['LC_CTYPE', 'PATH'] ''") or lines[0] == "['PATH'] ''"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is Linux's")
def test_the_launcher_does_not_get_the_variables_of_the_command(tmp_path: Path) -> None:
    """Whoever gives a model its variables has fewer rights than the launcher."""
    lines: list[str] = []
    variables = {"LD_PRELOAD": str(tmp_path / "absent.so"), "LARGE": "ä" * 40_000}
    run_process(
        [sys.executable, "-c", "import os; print(len(os.environ['LARGE']))"],
        cwd=tmp_path,
        environ=variables,
        on_line=lines.append,
        stop=threading.Event(),
    )
    assert lines.pop() == "40000"
    assert len([line for line in lines if "absent.so" in line]) == 1  # the command alone has tried


def test_processes_left_behind_are_killed(tmp_path: Path) -> None:
    """A grandchild that keeps the pipes open neither delays the end nor survives it."""
    code = (
        "import subprocess, sys;"
        f"p = subprocess.Popen([sys.executable, '-c', {HANG!r}]);"
        "print(p.pid)"
    )
    ended, lines = run(code, tmp_path)
    assert ended == Ended(0)
    assert not was_waited_for(tmp_path)
    wait_until_gone(int(lines[0]))


def test_processes_left_behind_do_not_delay_the_end(tmp_path: Path) -> None:
    ticker = f"import time\nfor _ in range(3_000): print('tick'); time.sleep(0.02)\n{HANG}"
    code = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-u', '-c', {ticker!r}]);"
        "import time; time.sleep(0.3); print('done')"
    )
    ended, lines = run(code, tmp_path)
    assert ended == Ended(0)
    assert any("done" in line for line in lines)  # a tick may lie on the same line
    assert not was_waited_for(tmp_path)


@pytest.mark.parametrize("closes", ["", "os.close(1); os.close(2);"])
def test_stopping_kills_the_whole_group(tmp_path: Path, closes: str) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"os.fork(); {closes}"
        f"open({str(pids)!r}, 'a').write(str(os.getpid()) + '\\n'); {HANG}"
    )
    stop = threading.Event()

    def stop_when_both_run() -> None:
        try:
            wait_for(lambda: pids.exists() and len(pids.read_text().splitlines()) == 2)
        finally:
            stop.set()

    watcher = threading.Thread(target=stop_when_both_run)
    watcher.start()

    with pytest.raises(StoppedError):
        run(code, tmp_path, stop=stop)

    watcher.join()
    assert not was_waited_for(tmp_path)
    wait_until_gone(*map(int, pids.read_text().split()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits from outside")
def test_memory_is_bounded(tmp_path: Path) -> None:
    code = "import time; time.sleep(0.1); x = bytearray(1 << 30)"
    ended, lines = run(code, tmp_path, memory=512 << 20)
    assert ended == Ended(1)
    assert lines[-1] == "MemoryError"


def test_a_side_channel_brings_lines_of_any_length(tmp_path: Path) -> None:
    said: list[str] = []
    lines: list[str] = []
    with SideChannel(said.append) as side:
        code = f"import os; os.write({side.writer}, b'a' * 50_000 + b'\\nb\\n'); print('out')"
        run_process(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            environ={},
            on_line=lines.append,
            stop=threading.Event(),
            side=side,
        )

    assert said == ["a" * 50_000, "b"]
    assert lines == ["out"]


def test_a_command_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_process(
            [str(tmp_path / "none")],
            cwd=tmp_path,
            environ={},
            on_line=print,
            stop=threading.Event(),
        )


def test_a_log_is_bounded_and_keeps_its_end() -> None:
    shown: list[str] = []
    with BoundedLog(shown.append, most_lines=3, tail_lines=2) as log:
        for number in range(10):
            log.add(str(number))
    assert shown == [
        "0",
        "1",
        "2",
        "(more output is left out here; only its end is shown)",
        "(5 lines left out)",
        "8",
        "9",
    ]


def test_a_log_is_bounded_in_characters_too() -> None:
    """A few long lines can fill a disk as well."""
    shown: list[str] = []
    with BoundedLog(shown.append, most_characters=10, tail_lines=1) as log:
        for line in ("x" * 8, "y" * 8, "z"):
            log.add(line)
    assert shown[0] == "x" * 8
    assert shown[-2:] == ["(1 lines left out)", "z"]


def test_the_end_of_a_log_is_bounded_in_characters_too() -> None:
    shown: list[str] = []
    with BoundedLog(shown.append, most_characters=10, tail_lines=50) as log:
        for _ in range(100):
            log.add("x" * 8)
    assert shown.count("x" * 8) == 2
