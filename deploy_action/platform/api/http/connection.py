"""One connection of the HTTP server.

uvicorn bounds only the time between two requests. Added here: deadlines for a head, for a client
that says nothing and for one that does not read its answer; a limit on connections; and an answer
for a client that has closed its sending side only.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from deploy_action.platform.api.http.crowd import Crowd, Standing
from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.parser import Parser

_LINGER_SECONDS = 2


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
        crowd: Crowd,
    ) -> None:
        # The application finds this connection in the state of its requests.
        super().__init__(config, server_state, app_state | {"connection": self}, _loop)
        self.conn: Parser = Parser()
        self._limits = limits
        self._crowd = crowd
        self.heard = self._moved = self.loop.time()
        self._head_began: float | None = None
        self._unsent = 0
        self._has_ended = False
        self.is_cut_off = False
        self._is_refused = self._is_signed_in = False

    @property
    def is_busy(self) -> bool:
        """Whether a request is being read or answered."""
        return bool(self.cycle) and not self.cycle.response_complete  # no cycle yet: None

    @property
    def expects_body(self) -> bool:
        """Whether a part of the current request's body is still to come."""
        return self.is_busy and self.cycle.more_body

    @property
    def has_ended(self) -> bool:
        """Whether the client has closed its side of the connection."""
        return self._has_ended

    @property
    def must_close(self) -> bool:
        """Whether the current answer is the last one."""
        return self.expects_body or (self._crowd.is_dense and not self._is_signed_in)

    @property
    def is_settled(self) -> bool:
        """Whether nothing has come or was left to send for a while."""
        if self.transport.get_write_buffer_size():
            return False
        return self.loop.time() - self.heard >= self._limits.settling

    def sign_in(self) -> None:
        """Note that the client has shown a valid token: strangers have to make room for it."""
        self._is_signed_in = True
        self._take_place()

    def close_now(self) -> None:
        """Close the connection without sending the rest."""
        self.connections.discard(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        """Take a new connection, at the cost of another one where there are too many."""
        super().connection_made(transport)
        self._bound_reads()
        self._take_place()
        if not self._crowd.make_room(self):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients.", "Retry-After: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._crowd.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when a head began, and pass on the data that still matter."""
        if self.is_cut_off or self._is_refused:
            return
        self.heard = self.loop.time()
        if not self.is_busy and self._head_began is None:
            self._head_began = self.heard
        super().data_received(data)
        if self.is_busy:
            self._head_began = None
        self._bound_reads()
        self._take_place()

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
            self._refuse(HTTPStatus.BAD_REQUEST, f"{msg[:-1]}: {self.conn.problem}.")

    def on_response_complete(self) -> None:
        """Wait for the next request, unless the client has closed its side."""
        self.heard = self.loop.time()
        super().on_response_complete()
        if not self.transport.is_closing():
            self._take_place()
        if self._has_ended and not self.is_busy:
            self.transport.close()

    def shutdown(self) -> None:
        """Close the connection, after the current answer if there is one."""
        if self._is_refused:
            self.transport.close()
        else:
            super().shutdown()

    def check(self, now: float) -> None:
        """Give up a client that takes too long; `now` is the time of the event loop."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._moved = now
        self._unsent = unsent
        idle = self._limits.idle
        if now - self._moved >= idle:  # the client does not read its answer
            self.transport.abort()
        elif self._is_refused:
            if now - self.heard >= _LINGER_SECONDS:
                self.transport.abort()
        elif unsent or self.is_busy or self.transport.is_closing():
            return
        elif self._head_began is not None:
            if now >= min(self._head_began + self._limits.head, self.heard + idle):
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request came too slowly.")
        elif now - self.heard >= idle:
            self.transport.close()

    def cut_off(self) -> None:
        """Tell the application that the rest of the body will not come."""
        self.is_cut_off = True
        self.cycle.message_event.set()

    def _bound_reads(self) -> None:
        self.transport.max_size = self.conn.bytes_wanted  # type: ignore[attr-defined]  # asyncio's

    def _take_place(self) -> None:
        if self._is_refused:
            standing = Standing.REFUSED
        elif self.is_busy and (self._is_signed_in or not self.expects_body):
            standing = Standing.AT_WORK
        else:
            standing = Standing.SIGNED_IN if self._is_signed_in else Standing.STRANGER
        self._crowd.place(self, standing)

    def _refuse(self, status: HTTPStatus, reason: str, headers: str = "") -> None:
        """Answer without the application, and close.

        A connection that is closed with unread data is reset, and the client may lose the answer:
        read on for a while.
        """
        self._is_refused, self.heard = True, self.loop.time()
        self._take_place()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{headers}"
        head += f"Content-Type: text/plain\r\nContent-Length: {len(reason)}\r\n\r\n"
        self.transport.write(f"{head}{reason}".encode("ascii"))
        with suppress(OSError):  # the client has gone
            self.transport.write_eof()
