"""A command: its output is streamed, and it can be stopped with all processes that it started."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from deploy_action.http import proxies
from deploy_action.platform.processes.confinement import UNCONFINED, Confinement
from deploy_action.platform.processes.launching import Custody, Ended, Launched, read_report
from deploy_action.platform.processes.lines import Lines
from deploy_action.records import dataclass, field

# What a model gets of this process's variables: it needs them for the network and the time zone.
PASSED_ON = (
    "LANG",
    "LC_ALL",
    "TZ",
    *proxies.VARIABLES,
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
)
_POLL_SECONDS = 0.1
_BLOCK_BYTES = 1 << 16
# To read what is left in the pipes after the last process has ended.
_DRAIN_SECONDS = 1.0


class StoppedError(Exception):
    """The run was told to stop; `left` of its processes could not be ended, as in `Ended`."""

    def __init__(self, left: int | None = 0) -> None:
        super().__init__()
        self.left = left


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

    `on_line` gets each line of its standard output and standard error at once. Afterwards every
    process that it started is killed, however it ended: see `launcher.py`.

    Raises:
        StoppedError: `stop` was set; all its processes were killed.
        OSError: the command cannot be started.
    """
    launched = Launched(
        command,
        cwd=cwd,
        environ=environ,
        confinement=confinement,
        custody=Custody(measures=True),
        inherited=(side.writer,) if side else (),
        output=subprocess.PIPE,
        errors=subprocess.STDOUT,
    )
    with os.fdopen(launched.report, "rb") as report:
        try:
            was_stopped = _read(launched, on_line, stop, side)
        finally:
            launched.end()
        ended = read_report(report.read(), launched.process.returncode)
    if was_stopped:
        raise StoppedError(ended.left)
    return ended


def _read(
    launched: Launched,
    on_line: Callable[[str], None],
    stop: threading.Event,
    side: SideChannel | None,
) -> bool:
    """Pass on output until the processes have ended and it is read; return whether `stop` was set.

    The launcher has to end in time then.
    """
    output = launched.process.stdout
    assert output is not None  # noqa: S101  # it was asked for
    was_stopped = False
    with output, selectors.DefaultSelector() as selector:
        _watch(selector, output.fileno(), Lines(on_line))
        if side is not None:
            side.close_writer()
            _watch(selector, side.reader, Lines(side.on_line))
        while launched.process.poll() is None and time.monotonic() < launched.given_up_at:
            if stop.is_set():
                was_stopped = True
                launched.stop()
            if selector.get_map():
                _pass_on(selector)
            else:  # it has closed its output and still runs
                time.sleep(_POLL_SECONDS / 10)
        # If processes are left, they may hold the pipes open and print forever.
        drained_at = time.monotonic() + _DRAIN_SECONDS
        while selector.get_map() and _pass_on(selector) and time.monotonic() < drained_at:
            pass
        for key in list(selector.get_map().values()):
            key.data.finish()
    return was_stopped


def _pass_on(selector: selectors.BaseSelector) -> bool:
    """Wait a moment for output and pass it on; return whether there was any."""
    ready = selector.select(_POLL_SECONDS)
    for key, _ in ready:
        try:
            data = os.read(key.fd, _BLOCK_BYTES)
        except BlockingIOError:
            continue
        if data:
            key.data.feed(data)
        else:
            key.data.finish()
            selector.unregister(key.fd)
    return bool(ready)


def _watch(selector: selectors.BaseSelector, descriptor: int, lines: Lines) -> None:
    os.set_blocking(descriptor, False)
    selector.register(descriptor, selectors.EVENT_READ, lines)


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
