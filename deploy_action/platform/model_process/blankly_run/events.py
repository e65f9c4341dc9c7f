"""Sends events from the model's process to its parent, as JSON lines on a file descriptor."""

from __future__ import annotations

import json
import os
import select
import threading
from typing import Any

_PATIENCE = 0.2  # seconds


class Events:
    """Writes events until the last one, or until the descriptor is no longer ours.

    A model may close unknown descriptors and get the same number for its own file: so before each
    event the descriptor's file is compared with the original. Processes forked by the model write
    nothing: the run belongs to their parent. With `from_forks` they do, but only lines that the
    system writes as a whole (PIPE_BUF), so that they do not mix with those of other processes.
    """

    def __init__(self, descriptor: int, *, from_forks: bool = False) -> None:
        """Take over the descriptor; programs that the model starts do not inherit it."""
        self._descriptor = descriptor
        self._most_from_fork = select.PIPE_BUF if from_forks else 0
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_over = False
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # its parameters have no names
        self._identity = self._identify()
        os.register_at_fork(after_in_child=self._renew)

    @property
    def is_our_process(self) -> bool:
        """Whether this is the original process, not one that the model forked."""
        return os.getpid() == self._process

    def _renew(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it

    def send(self, event: str, **fields: Any) -> None:
        """Write an event that is not the last one."""
        self._write({"event": event, **fields}, is_last=False)

    def send_last(self, event: str, **fields: Any) -> None:
        """Write the last event; later ones are ignored."""
        self._write({"event": event, **fields}, is_last=True)

    def send_if_free(self, event: str, **fields: Any) -> None:
        """Write an event from a signal's handler, unless it interrupted the writing of another."""
        self._write({"event": event, **fields}, is_last=False, most_seconds=_PATIENCE)

    def _write(self, event: dict[str, Any], *, is_last: bool, most_seconds: float = -1.0) -> None:
        """Write an event; after `most_seconds` of waiting for another one, leave it (-1: never)."""
        line = memoryview(json.dumps(event, allow_nan=False).encode("ascii") + b"\n")
        if not self.is_our_process and len(line) > self._most_from_fork:
            return
        if not self._lock.acquire(timeout=most_seconds):
            return
        try:
            if self._is_over or self._identify() != self._identity:
                return
            self._is_over = is_last
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:  # the parent has gone; that must not break the model
                self._is_over = True
        finally:
            self._lock.release()

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return None
        return status.st_dev, status.st_ino
