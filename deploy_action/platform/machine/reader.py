"""One thread that reads the pipes of all instances, and sleeps while nobody writes."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final

from deploy_action.records import dataclass

_BLOCK_BYTES: Final = 1 << 16
_WAKE: Final = b"."


@dataclass(slots=True, eq=False)
class Pipe:
    """The reading end of a pipe.

    `take` gets what was read, blank at the end, and returns for how many seconds nothing more
    should be read.
    """

    descriptor: int
    take: Callable[[bytes], float]
    is_over: bool = False


class Reader:
    """Reads pipes, and calls what is due; `on_error` gets the tracebacks of what is called."""

    def __init__(self, on_error: Callable[[str], None]) -> None:
        """Start the thread."""
        self._on_error = on_error
        self._selector = selectors.DefaultSelector()
        self._tasks: deque[Callable[[], None]] = deque()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._is_closed = False
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._work, name="outputs", daemon=True)
        self._thread.start()

    def call(self, task: Callable[[], None]) -> None:
        """Have something called on the thread; from any thread. Does nothing after the end."""
        if self._is_closed:
            return
        self._tasks.append(task)
        try:
            os.write(self._wake, _WAKE)
        except BlockingIOError:  # it will wake anyway
            return

    def call_at(self, moment: float, task: Callable[[], None]) -> None:
        """Have something called at a monotonic time in seconds; on the thread only."""
        heapq.heappush(self._due, (moment, next(self._number), task))

    def watch(self, pipe: Pipe) -> None:
        """Read a pipe from now on, until `leave`; on the thread only."""
        os.set_blocking(pipe.descriptor, False)
        self._selector.register(pipe.descriptor, selectors.EVENT_READ, pipe)

    def leave(self, pipe: Pipe) -> None:
        """Do not read a pipe any more; on the thread only, and before it is closed."""
        if not pipe.is_over:
            pipe.is_over = True
            self._pause(pipe)

    def _pause(self, pipe: Pipe) -> None:
        if pipe.descriptor in self._selector.get_map():
            self._selector.unregister(pipe.descriptor)

    def close(self) -> None:
        """End the thread."""
        self.call(self._end)
        self._thread.join()
        self._selector.close()
        os.close(self._woken)
        os.close(self._wake)

    def _end(self) -> None:
        self._is_closed = True

    def _work(self) -> None:
        while not self._is_closed:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    os.read(self._woken, _BLOCK_BYTES)
                elif not key.data.is_over:
                    self._read(key.data)
            while self._tasks:
                self._guarded(self._tasks.popleft())
            while self._due and self._due[0][0] <= time.monotonic():
                self._guarded(heapq.heappop(self._due)[2])

    def _read(self, pipe: Pipe) -> None:
        try:
            data = os.read(pipe.descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.leave(pipe)
        pause = 0.0

        def take() -> None:
            nonlocal pause
            pause = pipe.take(data)

        self._guarded(take)
        if pause and not pipe.is_over:
            self._pause(pipe)
            self.call_at(time.monotonic() + pause, lambda: self._resume(pipe))

    def _resume(self, pipe: Pipe) -> None:
        if not pipe.is_over:
            self.watch(pipe)

    def _guarded(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:  # noqa: BLE001  # of one model: the others have to be read, too
            self._on_error(traceback.format_exc())
