"""Bounds what Apprise's services do with the package `requests`: how long, and how much is read.

They have time-outs between bytes only, and read each answer whole: one that drips would keep a
thread of Apprise's few for ever, and one without an end would fill the memory.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

_BLOCK: Final = 1 << 16


class _Bounds:
    """The connections of one block, and what it may read."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._opened: list[socket.socket] = []
        self.is_over = False
        self._lock = threading.Lock()

    def watch(self, made: socket.socket) -> None:
        """Cut this connection at the end, too."""
        with self._lock:
            if self.is_over:
                made.close()
                raise TimeoutError("there is no time left")
            # TLS takes the socket itself over.
            self._opened.append(socket.socket(fileno=os.dup(made.fileno())))

    def end(self) -> None:
        """Cut all connections, and those to come."""
        with self._lock:
            self.is_over = True
            for one in self._opened:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._opened.clear()


# Apprise copies the context into the threads that it sends from.
_BOUNDS: Final[ContextVar[_Bounds | None]] = ContextVar("bounds of requests", default=None)


@contextmanager
def bounded_requests(seconds: float, largest: int) -> Iterator[None]:
    """End the requests of this context after so many seconds, and answers of more bytes.

    They fail as if the connection had been lost.
    """
    _install()
    bounds = _Bounds(largest)
    timer = threading.Timer(seconds, bounds.end)
    timer.daemon = True
    timer.start()
    before = _BOUNDS.set(bounds)
    try:
        yield
    finally:
        _BOUNDS.reset(before)
        timer.cancel()
        timer.join()
        bounds.end()


@cache
def _install() -> None:
    """Have all requests of this process look for bounds."""
    import requests
    from urllib3.util import connection

    # No stubs say that these can be replaced.
    sessions: Any = requests.Session
    connections: Any = connection
    send, connect = sessions.send, connections.create_connection

    def send_bounded(session: Any, request: Any, **options: Any) -> Any:
        bounds = _BOUNDS.get()
        if bounds is None:
            return send(session, request, **options)
        response, body = send(session, request, **{**options, "stream": True}), bytearray()
        for block in response.iter_content(_BLOCK):
            body += block
            if len(body) > bounds.largest:
                response.close()
                raise requests.ConnectionError(f"the answer has more than {bounds.largest} bytes")
        if bounds.is_over:  # what is cut in its head looks like a whole answer
            raise requests.ConnectionError("the answer did not come in time")
        response._content = bytes(body)  # noqa: SLF001  # where its own `content` keeps it
        return response

    def connect_watched(*positional: Any, **named: Any) -> Any:
        made, bounds = connect(*positional, **named), _BOUNDS.get()
        if bounds is not None:
            bounds.watch(made)
        return made

    sessions.send, connections.create_connection = send_bounded, connect_watched
