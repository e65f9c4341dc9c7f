"""What the model's process tells its parent: JSON lines on a file descriptor."""

from __future__ import annotations

import json
import os
import threading
from typing import Any


class Events:
    """Writes events; silent once the last one is out, or once the descriptor is not ours any more.

    A model may close descriptors that it does not know, and get the same number for a file of its
    own: so the descriptor is compared with what it was before each event. In a process that the
    model forked nothing is written: the run is the parent's.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over the descriptor; programs that the model starts do not get it."""
        self._descriptor = descriptor
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_over = False
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # its parameters have no names
        self._identity = self._identify()

    def send(self, event: str, **fields: Any) -> None:
        """Write one event."""
        self._write({"event": event, **fields}, is_last=False)

    def send_last(self, event: str, **fields: Any) -> None:
        """Write the event after which none comes."""
        self._write({"event": event, **fields}, is_last=True)

    def _write(self, event: dict[str, Any], *, is_last: bool) -> None:
        if os.getpid() != self._process:
            return
        line = memoryview(json.dumps(event, allow_nan=False).encode("ascii") + b"\n")
        with self._lock:
            if self._is_over or self._identify() != self._identity:
                return
            self._is_over = is_last
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:  # nobody listens any more, and the model is not to suffer from it
                self._is_over = True

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return None
        return status.st_dev, status.st_ino
