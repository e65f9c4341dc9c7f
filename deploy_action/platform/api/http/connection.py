"""One connection of the HTTP server.

uvicorn bounds only the time between two requests. Added here: deadlines for a head, for a client
that says nothing and for one that does not read its answer; a limit on connections; and an answer
for a client that has closed its sending side only.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from deploy_action.platform.api.http.limits import MAX_HEAD_BYTES, Limits

# The event loop serves nobody else while it parses what one call has received.
_FEWEST_BYTES_AT_ONCE = 1 << 14
_MOST_BYTES_AT_ONCE = 1 << 18
_FREE_CHUNKS = 1 << 16  # of any size; a body of more has to have chunks of this mean size:
_MEAN_CHUNK_BYTES = 64
_LINGER_SECONDS = 2


class _Parser(h11.Connection):
    """h11, which spends as much time on a chunk of one byte as on a block of 256 KiB."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._left = self._chunks = 0

    @property
    def bytes_wanted(self) -> int:
        """How much to receive at once: no more than a few thousand chunks."""
        rest_of_chunk = getattr(self._reader, "_bytes_in_chunk", 0)  # private: 0 is only slower
        expected = max(self._left, rest_of_chunk)
        return min(expected + _FEWEST_BYTES_AT_ONCE, _MOST_BYTES_AT_ONCE)

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._left = int(dict(event.headers).get(b"content-length", 0))
            self._chunks = 0
        elif isinstance(event, h11.Data):
            self._left -= len(event.data)
            self._chunks += event.chunk_end
            if self._chunks > max(_FREE_CHUNKS, -self._left / _MEAN_CHUNK_BYTES):
                raise h11.RemoteProtocolError("too many small chunks")
        return event


class Connection(H11Protocol):
    """uvicorn's connection, with deadlines that `check` enforces."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        # The application finds this connection in the state of its requests.
        super().__init__(config, server_state, app_state | {"connection": self}, _loop)
        self.conn: _Parser = _Parser()
        self._limits = limits
        self.heard = self._moved = self.loop.time()
        self._head_began: float | None = None
        self._unsent = 0
        self._has_ended = False
        self.is_cut_off = False
        self.is_refused = False

    @property
    def is_busy(self) -> bool:
        """Whether a request is being read or answered."""
        return bool(self.cycle) and not self.cycle.response_complete  # no cycle yet: None

    @property
    def expects_body(self) -> bool:
        """Whether a part of the current request's body is still to come."""
        return self.is_busy and self.cycle.more_body

    @property
    def is_settled(self) -> bool:
        """Whether nothing is lost but time when this connection is closed to make room."""
        if self.is_busy or self.is_refused or self.transport.get_write_buffer_size():
            return False
        return self.loop.time() - self.heard >= self._limits.settling

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        """Take a new connection, at the cost of an older one where there are too many."""
        super().connection_made(transport)
        self._bound_reads()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Note when a head began, and pass on the data that still matter."""
        if self.is_cut_off or self.is_refused:
            return
        self.heard = self.loop.time()
        if not self.is_busy and self._head_began is None:
            self._head_began = self.heard
        super().data_received(data)
        if self.is_busy:
            self._head_began = None
        self._bound_reads()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's
        """Keep the connection open for the answer: the client may have closed one side only."""
        self._has_ended = True
        if self.expects_body:
            self.cut_off()
        return self.is_busy

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; within a body, the application gives the answer."""
        if self.is_busy:
            self.cut_off()
        else:
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless the client has closed its side."""
        self.heard = self.loop.time()
        super().on_response_complete()
        if self._has_ended and not self.is_busy:
            self.transport.close()

    def check(self, now: float) -> None:
        """Give up a client that takes too long; `now` is the time of the event loop."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._moved = now
        self._unsent = unsent
        idle = self._limits.idle
        if now - self._moved >= idle:  # the client does not read its answer
            self.transport.abort()
        elif self.is_refused:
            if now - self.heard >= _LINGER_SECONDS:
                self.transport.abort()
        elif unsent or self.is_busy or self.transport.is_closing():
            return
        elif self._head_began is not None:
            if now >= min(self._head_began + self._limits.head, self.heard + idle):
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif now - self.heard >= idle:
            self.transport.close()

    def cut_off(self) -> None:
        """Tell the application that the rest of the body will not come."""
        self.is_cut_off = True
        self.cycle.message_event.set()

    def _bound_reads(self) -> None:
        self.transport.max_size = self.conn.bytes_wanted  # type: ignore[attr-defined]  # asyncio's

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a request, or refuse this one."""
        others = [
            each for each in self.connections if isinstance(each, Connection) and each is not self
        ]
        refused = [each for each in others if each.is_refused]
        if len(refused) >= self._limits.connections // 8:
            _close_oldest(refused)
        if len(others) - len(refused) >= self._limits.connections and not _close_oldest(
            [each for each in others if each.is_settled]
        ):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Retry-After: 1\r\n")

    def _refuse(self, status: HTTPStatus, headers: str = "") -> None:
        """Answer without the application, and close.

        A connection that is closed with unread data is reset, and the client may lose the answer:
        read on for a while.
        """
        self.is_refused, self.heard = True, self.loop.time()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{headers}"
        self.transport.write(f"{head}Content-Length: 0\r\n\r\n".encode())
        self.transport.write_eof()


def _close_oldest(connections: list[Connection]) -> bool:
    """Close the connection that was heard last the longest ago; return whether there is one."""
    if not connections:
        return False
    oldest = min(connections, key=lambda each: each.heard)
    oldest.connections.discard(oldest)  # at once: more of them may come before it is lost
    oldest.transport.abort()
    return True
