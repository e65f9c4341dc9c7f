"""Runs commands and measures their time and memory; rows of the result table."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Command = Sequence[str | Path]

_MOST_SECONDS = 240.0  # of most commands: far above them, so that the whole ends by itself
_GRACE_SECONDS = 5.0
_LONGEST_QUOTE = 2_000


class BrokenError(Exception):
    """The measured command failed or had a wrong result."""


@dataclass(frozen=True, slots=True)
class Took:
    """The time and memory of a command, including all processes that it waited for.

    `peak_bytes` is that of its largest single process. Linux counts for a process what its parent
    had when it was started, so nothing below our own size can be told: see `own_peak_bytes`.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    started: float  # by time.monotonic
    output: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `ratio` is our value divided by the peer's, or None."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    remark: str = ""


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
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as standard_input:
        standard_input.write(given.encode())
        standard_input.seek(0)
        started = time.monotonic()
        with _started(command, cwd, environ, standard_input, out) as process:
            timer = threading.Timer(most_seconds, _end, [process])
            timer.start()
            try:
                # It is not reaped, so that its id is not reused, until the timer is off.
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                seconds = time.monotonic() - started
            finally:
                timer.cancel()
                timer.join()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read().decode(errors="replace")
    if seconds >= most_seconds:
        raise BrokenError(f"{_shown(command)} did not end within {most_seconds:.0f} s")
    if process.returncode != 0:
        quoted = output[-_LONGEST_QUOTE:]
        raise BrokenError(f"{_shown(command)} ended with {process.returncode}:\n{quoted}")
    return Took(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * _MAXRSS_UNIT,
        started=started,
        output=output,
    )


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
    """Run each contender once per round (A B A B), so that other load affects all of them."""
    took: tuple[list[Took], ...] = tuple([] for _ in contenders)
    for _ in range(rounds):
        for contender, runs in zip(contenders, took, strict=True):
            runs.append(contender())
    return took


def median_seconds(runs: Sequence[Took]) -> float:
    """Return the median of the wall-clock times."""
    return statistics.median(run.seconds for run in runs)


def median_cpu_seconds(runs: Sequence[Took]) -> float:
    """Return the median of the processor times, which other load affects less."""
    return statistics.median(run.cpu_seconds for run in runs)


def median_peak_bytes(runs: Sequence[Took]) -> float:
    """Return the median of the peak memory."""
    return statistics.median(run.peak_bytes for run in runs)


def own_peak_bytes() -> int:
    """Return the peak memory of this process, the least that is reported for a child."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def in_seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def in_megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


# KiB on Linux, bytes on macOS: getrusage(2) of each.
_MAXRSS_UNIT = 1 if os.uname().sysname == "Darwin" else 1024


@contextmanager
def _started(
    command: Command,
    cwd: Path,
    environ: Mapping[str, str],
    standard_input: IO[bytes],
    out: IO[bytes],
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in its own process group, and stop the whole group at the end."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environ),
        stdin=standard_input,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            _end(process)


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
