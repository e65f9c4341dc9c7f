"""What a model writes, as lines and events; one that writes too much is bounded."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from deploy_action.platform.processes.lines import Lines
from deploy_action.text.strict_json import strict_loads

# Bytes a second that are kept in the long run, and at once. A line counts as this many bytes more:
# to handle it takes as long.
_RATE: Final = 1 << 20
_BURST: Final = 16 << 20
_LINE_BYTES: Final = 512
# While output is thrown away: the model is held up at some 6 MB a second, and we hardly work.
_PAUSE_SECONDS: Final = 0.01
_TAIL_BYTES: Final = 4096  # of what is left out, shown none the less
_TAIL_LINES: Final = 20
_TAIL_CHARACTERS: Final = 500  # of each of them
# Bytes of a report: parsed, they take up to thirty times as much. The largest is that of a
# screener's result, of 512 KiB, which is also the most that is kept of one.
LONGEST_EVENT: Final = 520 << 10
# As Python, numpy and C++ say it.
_NO_MEMORY: Final = re.compile(
    r"(?:\w+\.)*_?(?:Array)?MemoryError\b|.*std::bad_alloc|.*Memory allocation still failed"
)


@dataclass(slots=True)
class Budget:
    """How many bytes may be handled; `clock` is in seconds."""

    clock: Callable[[], float] = time.monotonic
    _bytes: float = _BURST
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._at = self.clock()

    def spend(self, data: bytes) -> None:
        """Take data into account."""
        self._bytes = self._left() - len(data) - data.count(b"\n") * _LINE_BYTES

    @property
    def debt_seconds(self) -> float:
        """How long it takes until there is something to spend again; zero if there is."""
        self._bytes = self._left()
        return max(0.0, -self._bytes / _RATE)

    def _left(self) -> float:
        now = self.clock()
        self._bytes, self._at = min(_BURST, self._bytes + (now - self._at) * _RATE), now
        return self._bytes


class Output:
    """Standard output or standard error of a model: lines, of which too many are left out.

    The model never waits for us for long: it may be about to sell.
    """

    def __init__(
        self,
        on_line: Callable[[str], None],
        on_loss: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_loss` is told when lines were left out."""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._lines = Lines(self._take)
        self._on_line = on_line
        self._on_loss = on_loss
        self._budget = Budget(clock)
        self._lost = 0
        self._last_lost = b""

    @property
    def tells_of_no_memory(self) -> bool:
        """Whether one of the last lines says that memory could not be allocated."""
        return any(map(_NO_MEMORY.match, self._tail))

    def take(self, data: bytes) -> float:
        """Take what was read; see `Pipe`."""
        if self._budget.debt_seconds:
            self._lost += len(data)
            self._last_lost = (self._last_lost + data)[-_TAIL_BYTES:]
            return _PAUSE_SECONDS
        self._go_on()
        self._budget.spend(data)
        self._lines.feed(data)
        return 0.0

    def finish(self, rest: bytes) -> None:
        """Take what was left in the pipe at the end: the last lines explain most failures."""
        self._go_on()
        self._lines.feed(rest)
        self._lines.finish()

    def _take(self, line: str) -> None:
        self._tail.append(line[:_TAIL_CHARACTERS])
        self._on_line(line)

    def _go_on(self) -> None:
        """Say what was left out, if something was, and pass its last lines on."""
        if self._lost:
            self._lines.finish()
            rest = self._last_lost.partition(b"\n")[2]
            self._on_loss(
                f"{self._lost - len(rest):,} bytes of output were left out here: the model writes "
                f"more than {_RATE >> 20} MiB, or {_RATE // _LINE_BYTES:,} lines, a second."
            )
            self._lost, self._last_lost = 0, b""
            self._lines.feed(rest)


class Events:
    """What the model's process reports: all of it, but no faster than it can be handled."""

    def __init__(
        self,
        on_event: Callable[[Mapping[str, object], int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_event` gets each report, which the model can forge, and its size as JSON in bytes."""
        self._on_event = on_event
        self._lines = Lines(self._take)
        self._budget = Budget(clock)

    def take(self, data: bytes) -> float:
        """Take what was read; see `Pipe`."""
        self._budget.spend(data)
        self._lines.feed(data)
        return self._budget.debt_seconds

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
