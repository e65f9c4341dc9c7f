"""A child process in its own process group: streams its output, can be stopped as a whole."""

from __future__ import annotations

import codecs
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deploy_action.platform.processes.confinement import UNCONFINED, Confinement

# The proxy settings; programs disagree on upper or lower case.
PROXY_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
_POLL_SECONDS = 0.1
# From SIGTERM to SIGKILL.
_GRACE_SECONDS = 1.0
_BLOCK_BYTES = 1 << 16
# To read what is left in the pipes after the last process has ended.
_DRAIN_SECONDS = 1.0
# Characters. Longer lines are passed on in pieces of this length. A secret that is cut at the end
# of a piece would not be masked, so pieces are long.
_LONGEST_LINE = 1 << 20
_LINE_END = re.compile(r"\r\n|\n|\r(?!$)")


class StoppedError(Exception):
    """The run was told to stop; all its processes have ended."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: the exit code, or the negated number of the signal that ended it."""

    code: int


class SideChannel:
    """A pipe beside the standard streams: `on_line` gets what the child writes to `writer`."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        """Open the pipe; leaving the `with` block closes it."""
        self.on_line = on_line
        self.reader, self.writer = os.pipe()

    def close_writer(self) -> None:
        """Close our copy of the writing end; the child has its own."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close_writer()
        os.close(self.reader)


def run_process(
    command: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    on_line: Callable[[str], None],
    stop: threading.Event,
    side: SideChannel | None = None,
    confinement: Confinement = UNCONFINED,
) -> Ended:
    """Run a command to its end and return how it ended.

    `on_line` gets each line of its standard output and standard error at once. Afterwards all
    processes left in its process group are killed, however it ended.

    Raises:
        StoppedError: `stop` was set; the group was killed.
        OSError: the command cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603  # no shell; what runs is the caller's business
        confinement.limited(command),
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(side.writer,) if side else (),
        user=confinement.user,
        group=confinement.user,
        extra_groups=None if confinement.user is None else (),
    )
    try:
        _read(process, on_line, stop, side)
    finally:
        _kill_group(process)
    return Ended(process.returncode)


def _read(
    process: subprocess.Popen[bytes],
    on_line: Callable[[str], None],
    stop: threading.Event,
    side: SideChannel | None,
) -> None:
    """Pass on output until the process has ended and its output is read."""
    assert process.stdout is not None  # noqa: S101  # it was asked for
    with process.stdout, selectors.DefaultSelector() as selector:
        _watch(selector, process.stdout.fileno(), _Lines(on_line))
        if side is not None:
            side.close_writer()
            _watch(selector, side.reader, _Lines(side.on_line))
        while selector.get_map() and not _has_ended(process):
            _pass_on(selector)
            _heed(stop, process)
        # It may have closed its output and still run.
        while not _has_ended(process):
            time.sleep(_POLL_SECONDS / 10)
            _heed(stop, process)
        # Processes left in its group may hold the pipes open and print forever.
        _signal_group(process, signal.SIGKILL)
        drained_at = time.monotonic() + _DRAIN_SECONDS
        while selector.get_map() and _pass_on(selector) and time.monotonic() < drained_at:
            _heed(stop, process)
        for key in list(selector.get_map().values()):
            key.data.finish()


def _pass_on(selector: selectors.BaseSelector) -> bool:
    """Wait a moment for output and pass it on; return whether there was any."""
    ready = selector.select(_POLL_SECONDS)
    for key, _ in ready:
        if not key.data.feed_from(key.fd):
            selector.unregister(key.fd)
    return bool(ready)


def _heed(stop: threading.Event, process: subprocess.Popen[bytes]) -> None:
    if stop.is_set():
        _end_politely(process)
        raise StoppedError


def _watch(selector: selectors.BaseSelector, descriptor: int, lines: _Lines) -> None:
    os.set_blocking(descriptor, False)
    selector.register(descriptor, selectors.EVENT_READ, lines)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the process has ended, without reaping it.

    As long as it is a zombie, its id, which is also its group's, cannot be reused.
    """
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, options) is not None


class _Lines:
    """Decodes bytes into lines; a carriage return also ends a line, as in progress bars."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed_from(self, descriptor: int) -> bool:
        """Read what is available; return False at the end of the stream."""
        try:
            data = os.read(descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return True
        if not data:
            self.finish()
            return False
        *lines, rest = _LINE_END.split(self._rest + self._decoder.decode(data))
        for line in lines:
            self._on_line(line)
        while len(rest) > _LONGEST_LINE:
            self._on_line(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._rest = rest
        return True

    def finish(self) -> None:
        """Pass on the last line if it has no line ending."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self._on_line(rest.rstrip("\r"))


def _end_politely(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGTERM)
    end = time.monotonic() + _GRACE_SECONDS
    while not _has_ended(process) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS / 10)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # PermissionError: on macOS, where only the zombie is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@dataclass(slots=True)
class BoundedLog:
    """Passes lines on up to a limit; of the rest only the last lines are kept and shown at the end.

    A model that prints for every bar would make the log unreadable and fill the runner's disk.
    """

    on_line: Callable[[str], None]
    most_lines: int = 5_000
    most_characters: int = 1_000_000
    tail_lines: int = 50
    _lines: int = field(default=0, init=False)
    _characters: int = field(default=0, init=False)
    _left_out: int = field(default=0, init=False)
    _tail: deque[str] = field(default_factory=deque, init=False)
    _tail_characters: int = field(default=0, init=False)

    def add(self, line: str) -> None:
        """Pass a line on, or keep it for the end if the limit is reached."""
        self._lines += 1
        self._characters += len(line)
        if self._lines <= self.most_lines and self._characters <= self.most_characters:
            self.on_line(line)
            return
        if not self._tail:
            self.on_line("(more output is left out here; only its end is shown)")
        self._tail.append(line)
        self._tail_characters += len(line)
        while len(self._tail) > self.tail_lines or (
            self._tail_characters > self.most_characters and len(self._tail) > 1
        ):
            self._tail_characters -= len(self._tail.popleft())
        self._left_out += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Say how many lines were left out, then show the last ones: they explain most failures."""
        missing = self._left_out - len(self._tail)
        if missing > 0:
            self.on_line(f"({missing:,} lines left out)")
        for line in self._tail:
            self.on_line(line)
        self._tail.clear()
