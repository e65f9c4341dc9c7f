"""Runs commands and measures their time and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.benchmarks.rows import Values

Command = Sequence[str | Path]

_MOST_SECONDS = 240.0  # of most commands: far above them, so that the whole ends by itself
_LAUNCHER = Path(__file__).with_name("launcher.py")
_GRACE_SECONDS = 5.0
_LONGEST_QUOTE = 2_000


class BrokenError(Exception):
    """The measured command failed or had a wrong result."""


@dataclass(frozen=True, slots=True)
class Took:
    """The time and memory of a command, including all processes that it waited for.

    `peak_bytes` is that of its largest single process.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    started: float  # by time.monotonic
    output: str


def run_command(
    command: Command,
    *,
    cwd: Path,
    environ: Mapping[str, str],
    given: str = "",
    most_seconds: float = _MOST_SECONDS,
) -> Took:
    """Run a command to its end; `given` is its standard input.

    Raises:
        BrokenError: it failed or did not end in time; all its processes were stopped.
    """
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as standard_input,
        tempfile.TemporaryFile() as told,
    ):
        standard_input.write(given.encode())
        standard_input.seek(0)
        launch: Command = [sys.executable, "-I", "-S", _LAUNCHER, str(told.fileno()), *command]
        process = subprocess.Popen(
            launch,
            cwd=cwd,
            env=dict(environ),
            stdin=standard_input,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[told.fileno()],
        )
        try:
            process.wait(most_seconds)
        except subprocess.TimeoutExpired as error:
            said = f"{_shown(command)} did not end within {most_seconds:.0f} s"
            raise BrokenError(said) from error
        finally:
            if process.returncode is None:
                _end(process)
                process.wait()
        output, numbers = (_written(file).decode(errors="replace") for file in (out, told))
    if not numbers or numbers.split()[-1] != "0":
        code = numbers.split()[-1] if numbers else "no code"
        raise BrokenError(f"{_shown(command)} ended with {code}:\n{output[-_LONGEST_QUOTE:]}")
    started, seconds, cpu_seconds, peak, _ = map(float, numbers.split())
    return Took(seconds, cpu_seconds, int(peak) * _MAXRSS_UNIT, started, output)


def _written(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


@contextmanager
def serving(command: Command, environ: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run a server inside the block; yield the first line that it prints."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        with process:
            try:
                if process.stdout is None:
                    raise AssertionError("it was asked for")
                line = process.stdout.readline().decode().strip()
                if not line:
                    raise BrokenError(f"{_shown(command)} did not start: {log.read_text()}")
                yield line
            finally:
                _end(process)


def alternate(rounds: int, *contenders: Callable[[], Took]) -> tuple[list[Took], ...]:
    """Run each contender once a round, so that other load affects all of them.

    Every second round goes backwards (A B, B A): none of them always runs after the same one.
    """
    took: tuple[list[Took], ...] = tuple([] for _ in contenders)
    for number in range(rounds):
        pairs = list(zip(contenders, took, strict=True))
        for contender, runs in reversed(pairs) if number % 2 else pairs:
            runs.append(contender())
    return took


def seconds_of(runs: Sequence[Took]) -> Values:
    """Return the wall-clock times."""
    return tuple(run.seconds for run in runs)


def cpu_seconds_of(runs: Sequence[Took]) -> Values:
    """Return the processor times, which other load affects less."""
    return tuple(run.cpu_seconds for run in runs)


def peak_bytes_of(runs: Sequence[Took]) -> Values:
    """Return the peaks of memory."""
    return tuple(run.peak_bytes for run in runs)


# KiB on Linux, bytes on macOS: getrusage(2) of each.
_MAXRSS_UNIT = 1 if os.uname().sysname == "Darwin" else 1024


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the group, and SIGKILL if it does not end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
    with suppress(ChildProcessError):
        while os.waitid(os.P_PID, process.pid, ended) is None and time.monotonic() < deadline:
            time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _shown(command: Command) -> str:
    return " ".join(map(str, command[:3]))
