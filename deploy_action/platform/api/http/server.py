"""uvicorn on a background thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from deploy_action.platform.api.http.connection import Connection
from deploy_action.platform.api.http.crowd import Crowd
from deploy_action.platform.api.http.descriptors import connections_that_fit
from deploy_action.platform.api.http.guard import Guard
from deploy_action.platform.api.http.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_BACKLOG = 128
_ACCEPTED_AT_ONCE = 16  # nobody else is served meanwhile
_CUT_OFF_SECONDS = 1  # for the answers to requests that are cut off when the server is closed
_REPORT_SECONDS = 60  # between two reports of failures that clients may cause
_TICK_SECONDS = 0.1  # how exactly the deadlines of connections are kept

# What uvicorn logs, the client's mistakes among it, would go to stderr. Ours goes to `on_error`.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class _Server(uvicorn.Server):
    """uvicorn's server: checks its connections' deadlines, and stops without delay."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)  # asyncio takes the number accepted at once for it

    async def main_loop(self) -> None:
        while not self.stopping.is_set():
            await self.on_tick(0)  # sets the `Date` header
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.check(now)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # closes those that wait for a request
        seconds = (self.config.timeout_graceful_shutdown or 0) - _CUT_OFF_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._cut_off_bodies)
        await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)  # takes a tenth of a second at least

    def _cut_off_bodies(self) -> None:
        for connection in self.server_state.connections:
            if isinstance(connection, Connection) and connection.expects_body:
                connection.cut_off()


class HttpServer:
    """An ASGI application, served on background threads that do not keep the process alive."""

    def __init__(
        self,
        address: tuple[str, int],
        app: ASGIApp,
        on_error: Callable[[str], None],
        limits: Limits,
    ) -> None:
        """Prepare to serve `app`; `on_error` gets the traceback of each failure inside."""
        self._address = address
        self._on_error = on_error
        self.most_connections = connections_that_fit(limits.connections)
        self._next_report = 0.0
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._report)
        crowd = Crowd(self.most_connections)
        self._server = _Server(
            uvicorn.Config(
                Guard(app, limits, on_error),
                http=partial(Connection, limits=limits, crowd=crowd),  # type: ignore[arg-type]  # is called only
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[("server", "blankly-deploy")],
                backlog=_ACCEPTED_AT_ONCE,
                timeout_keep_alive=limits.idle,  # type: ignore[arg-type]  # a float will do
                timeout_graceful_shutdown=limits.shutdown + _CUT_OFF_SECONDS,  # type: ignore[arg-type]  # the same
            )
        )
        self._thread = threading.Thread(target=self._serve, name="platform", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens on, once started."""
        return self._address

    def start(self) -> None:
        """Listen; raises `OSError` when that is not possible."""
        try:
            self._socket = _listen(self._address)
        except OSError:
            self._loop.close()
            raise
        self._address = self._socket.getsockname()[:2]
        self._thread.start()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve([self._socket]))

    def _report(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Report what fails outside of the application, such as accepting a connection.

        Once a minute at most: asyncio tries a hundred times a second.
        """
        if self._loop.time() >= self._next_report:
            self._next_report = self._loop.time() + _REPORT_SECONDS
            self._on_error(f"{context.get('message')}: {context.get('exception')!r}")

    def close(self) -> None:
        """Finish the requests in progress, for a few seconds at most, and stop."""
        with suppress(RuntimeError):  # it was closed before
            self._loop.call_soon_threadsafe(self._server.stopping.set)
        self._thread.join()


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    if not 0 <= port < 1 << 16:  # the C library would take the lower 16 bits
        raise OSError("a port is a number from 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except ValueError as error:  # a host of `a..b` is a UnicodeError
        raise OSError(str(error)) from error
    family, _, _, _, resolved = found[0]
    every = resolved[0] == "::" and socket.has_dualstack_ipv6()
    listening = socket.create_server(
        resolved, family=family, backlog=_BACKLOG, dualstack_ipv6=every
    )
    # Connections inherit it. Without it an answer, whose head and body are two writes, waits 40 ms
    # for the client's delayed acknowledgement; asyncio sets it only on sockets that it makes.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
