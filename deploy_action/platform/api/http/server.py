"""uvicorn on a background thread."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from deploy_action.platform.api.http.connection import Connection
from deploy_action.platform.api.http.guard import Guard
from deploy_action.platform.api.http.limits import MAX_HEAD_BYTES, Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_BACKLOG = 128
_TICK_SECONDS = 0.1  # how exactly the deadlines of connections are kept

# What uvicorn logs, the client's mistakes among it, would go to stderr. Ours goes to `on_error`.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class _Server(uvicorn.Server):
    """uvicorn's server: checks its connections' deadlines, and stops without delay."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

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
        await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)  # takes a tenth of a second at least


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
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._report)
        limits = replace(limits, connections=min(limits.connections, _room_for_connections()))
        self._server = _Server(
            uvicorn.Config(
                Guard(app, limits, on_error),
                http=partial(Connection, limits=limits),  # type: ignore[arg-type]  # is called only
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[("server", "blankly-deploy")],
                backlog=_BACKLOG,
                timeout_keep_alive=limits.idle,  # type: ignore[arg-type]  # a float will do
                timeout_graceful_shutdown=limits.shutdown,  # type: ignore[arg-type]  # the same
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
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
        """Report what fails outside of the application, such as accepting a connection."""
        self._on_error(f"{context.get('message')}: {context.get('exception')!r}")

    def close(self) -> None:
        """Finish the requests in progress, for a few seconds at most, and stop."""
        with suppress(RuntimeError):  # it was closed before
            self._loop.call_soon_threadsafe(self._server.stopping.set)
        self._thread.join()


def _room_for_connections() -> int:
    """Return how many connections leave enough file descriptors for all else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files // 2 if files > 0 else 1 << 20


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
