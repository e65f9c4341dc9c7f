"""A command: its output is streamed, and it can be stopped with all processes that it started."""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from deploy_action.platform.processes.confinement import UNCONFINED, Confinement

# The proxy settings; programs disagree on upper or lower case.
PROXY_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
_POLL_SECONDS = 0.1
_LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py")))
# The launcher ends a command within 3 s.
_LAUNCHER_SECONDS = 3.5
_BLOCK_BYTES = 1 << 16
# To read what is left in the pipes after the last process has ended.
_DRAIN_SECONDS = 1.0
# Characters. Longer lines are passed on in pieces of this length. A secret that is cut at the end
# of a piece would not be masked, so pieces are long.
_LONGEST_LINE = 1 << 20
_LINE_END = re.compile(r"\r\n|\n|\r(?!$)")


class StoppedError(Exception):
    """The run was told to stop; `left` of its processes could not be ended, as in `Ended`."""

    def __init__(self, left: int | None = 0) -> None:
        super().__init__()
        self.left = left


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: the exit code, or the negated number of the signal that ended it.

    `left` is how many processes of the command could not be ended; None if nobody knows, because
    the command ended its launcher.
    """

    code: int
    left: int | None = 0


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
    inherited = (side.writer,) if side else ()
    with _Launched(command, cwd, environ, inherited, confinement) as launched:
        _read(launched, on_line, stop, side)
    if launched.was_stopped:
        raise StoppedError(launched.ended().left)
    return launched.ended()


class _Launched:
    """A command and its launcher, which ends with the `with` block at the latest."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        environ: Mapping[str, str],
        inherited: tuple[int, ...],
        confinement: Confinement,
    ) -> None:
        control, self._control = os.pipe()
        self._report, report = os.pipe()
        self.was_stopped = False
        self.given_up_at = math.inf
        try:
            options = json.dumps(asdict(confinement))
            self.process = subprocess.Popen(  # noqa: S603  # no shell; what runs is the caller's business
                [*_LAUNCHER, str(control), str(report), options, *command],
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(control, report, *inherited),
            )
        except BaseException:
            os.close(self._report)
            os.close(self._control)
            raise
        finally:
            os.close(control)
            os.close(report)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """End the command and its launcher."""
        self._let_go()
        try:
            self.process.wait(max(0, self.given_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:  # the command stopped it, which runs as the same user
            self.process.kill()
            self.process.wait()
        with os.fdopen(self._report, "rb") as report:
            self._said = report.read().splitlines()

    def stop(self) -> None:
        """Have the launcher end the command: politely, then by force."""
        self.was_stopped = True
        self._let_go()

    def _let_go(self) -> None:
        if self.given_up_at == math.inf:
            self.given_up_at = time.monotonic() + _LAUNCHER_SECONDS
            os.close(self._control)

    def ended(self) -> Ended:
        """Return how the command ended; call it after the `with` block.

        Raises:
            OSError: the command could not be started.
        """
        facts = json.loads(self._said[0]) if self._said else {}
        if "errno" in facts:
            raise OSError(facts["errno"], os.strerror(facts["errno"]), facts["path"])
        if "code" not in facts:
            return Ended(self.process.returncode, left=None)
        code = facts["code"]
        return Ended(-signal.SIGKILL if code is None else code, facts["left"])


def _read(
    launched: _Launched,
    on_line: Callable[[str], None],
    stop: threading.Event,
    side: SideChannel | None,
) -> None:
    """Pass on output until the processes have ended and their output is read."""
    output = launched.process.stdout
    assert output is not None  # noqa: S101  # it was asked for
    with output, selectors.DefaultSelector() as selector:
        _watch(selector, output.fileno(), _Lines(on_line))
        if side is not None:
            side.close_writer()
            _watch(selector, side.reader, _Lines(side.on_line))
        while launched.process.poll() is None and time.monotonic() < launched.given_up_at:
            if stop.is_set():
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


def _pass_on(selector: selectors.BaseSelector) -> bool:
    """Wait a moment for output and pass it on; return whether there was any."""
    ready = selector.select(_POLL_SECONDS)
    for key, _ in ready:
        if not key.data.feed_from(key.fd):
            selector.unregister(key.fd)
    return bool(ready)


def _watch(selector: selectors.BaseSelector, descriptor: int, lines: _Lines) -> None:
    os.set_blocking(descriptor, False)
    selector.register(descriptor, selectors.EVENT_READ, lines)


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
