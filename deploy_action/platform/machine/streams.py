"""What a model writes, as lines and events."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from deploy_action.platform.allowance import Allowance
from deploy_action.platform.processes.lines import Lines
from deploy_action.text.strict_json import strict_loads

# Bytes of reports a second in the long run, and at once. A line counts as this many bytes more: to
# handle it takes as long.
_RATE: Final = 1 << 20
_BURST: Final = 16 << 20
_LINE_BYTES: Final = 512
# While output is thrown away: the model is held up at some 6 MB a second, and we hardly work.
_PAUSE_SECONDS: Final = 0.01
_TAIL_BYTES: Final = 4096  # of what was thrown away last
_TAIL_LINES: Final = 20
_TAIL_CHARACTERS: Final = 500  # of each of them
# Bytes of a report: parsed, they take up to thirty times as much. The largest is that of a
# screener's result, of 512 KiB, which is also the most that is kept of one.
LONGEST_EVENT: Final = 520 << 10
# As Python, numpy and C++ say it.
_NO_MEMORY: Final = re.compile(
    r"(?:\w+\.)*_?(?:Array)?MemoryError\b|.*std::bad_alloc|.*Memory allocation still failed"
)


class Takes(Protocol):
    """Decides whether lines are kept."""

    def __call__(self, *, is_end: bool) -> bool:
        """Return whether lines are kept now; at the end of the output, some always are."""


def _takes_all(*, is_end: bool) -> bool:  # noqa: ARG001  # see `Takes`
    return True


class Output:
    """Standard output or standard error of a model, as lines.

    While its log takes no more, it is thrown away as it comes: the model never waits for us for
    long, because it may be about to sell.
    """

    def __init__(
        self,
        on_line: Callable[[str], None],
        takes: Takes = _takes_all,
        on_loss: Callable[[int, int], None] = lambda _lines, _size: None,
    ) -> None:
        """Prepare; while `takes` returns False, `on_loss` gets the numbers of lines and bytes."""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._lines = Lines(self._take)
        self._on_line = on_line
        self._takes = takes
        self._on_loss = on_loss
        self._is_cut = False  # the beginning of the present line was lost
        self._last_lost = b""

    @property
    def tells_of_no_memory(self) -> bool:
        """Whether one of the last lines says that memory could not be allocated."""
        return any(map(_NO_MEMORY.match, self._tail))

    def take(self, data: bytes) -> float:
        """Take what was read; see `Pipe`."""
        if self._is_cut:
            rest, end, data = data.partition(b"\n")
            self._lose(rest + end)
        if self._takes(is_end=False):
            self._last_lost = b""
            self._lines.feed(data)
            return 0.0
        self._lines.finish()
        self._lose(data)
        return _PAUSE_SECONDS

    def finish(self, rest: bytes) -> None:
        """Take what was left in the pipe at the end: the last lines explain most failures."""
        tail = self._last_lost.partition(b"\n")[2]
        if tail:
            self._on_loss(-tail.count(b"\n"), -len(tail))
        self._takes(is_end=True)
        self._lines.feed(tail + rest)
        self._lines.finish()

    def _take(self, line: str) -> None:
        self._tail.append(line[:_TAIL_CHARACTERS])
        self._on_line(line)

    def _lose(self, data: bytes) -> None:
        if data:
            self._on_loss(data.count(b"\n"), len(data))
            self._is_cut = not data.endswith(b"\n")
            self._last_lost = (self._last_lost + data)[-_TAIL_BYTES:]


class Events:
    """What the model's process reports: all of it, but no faster than it can be handled."""

    def __init__(
        self,
        on_event: Callable[[Mapping[str, object], int], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_event` gets each report, which the model can forge, and its size as JSON in bytes."""
        self._on_event = on_event
        self._lines = Lines(self._take)
        self._allowance = Allowance(_BURST, _RATE, monotonic)

    def take(self, data: bytes) -> float:
        """Take what was read; see `Pipe`."""
        self._allowance.use(len(data) + data.count(b"\n") * _LINE_BYTES)
        self._lines.feed(data)
        return self._allowance.seconds_until(0)

    def finish(self, rest: bytes) -> None:
        """Take what was left in the pipe at the end."""
        self._lines.feed(rest)
        self._lines.finish()

    def _take(self, line: str) -> None:
        """Handle one line. Ignore what is no event: the model may write to our pipe."""
        data = line.encode("utf-8", "replace")
        if len(data) > LONGEST_EVENT:
            return
        try:
            event = strict_loads(data)
        except ValueError:
            return
        if isinstance(event, dict):
            self._on_event(event, len(data))
