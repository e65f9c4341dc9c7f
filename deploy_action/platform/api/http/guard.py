"""Limits on the bodies of requests, in front of any ASGI application."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from deploy_action.platform.api.http.limits import MAX_BODY_BYTES, Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deploy_action.platform.api.http.connection import Connection


class Guard:
    """Passes requests on to an application, which reads their bodies within the limits.

    A body that comes too slowly, too large or not to its end makes `receive` raise an `OSError`.
    """

    def __init__(self, app: ASGIApp, limits: Limits, on_error: Callable[[str], None]) -> None:
        """Serve `app`; `on_error` gets the traceback of each exception that it raises."""
        self._app = app
        self._limits = limits
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        exchange = _Exchange(scope["state"]["connection"], receive, send, self._limits)
        try:
            app = _refusal_of(scope) or self._app
            await app(scope, exchange.receive, exchange.send)
        except Exception:
            self._on_error(traceback.format_exc())
            raise  # uvicorn answers, if nothing was sent yet


class _Exchange:
    """A request and its answer."""

    def __init__(
        self, connection: Connection, receive: Receive, send: Send, limits: Limits
    ) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._limits = limits
        self._began = connection.loop.time()
        self._received = 0
        self._is_read = False

    async def receive(self) -> Message:
        """Return the next message, as ASGI has it."""
        if self._is_read:
            return await self._receive()  # returns when the client leaves
        now = self._connection.loop.time()
        paced_end = self._began + self._limits.body(self._received)
        async with asyncio.timeout_at(min(now + self._limits.idle, paced_end)):
            message = await self._next()
        if message["type"] == "http.request":
            self._received += len(message["body"])
            self._is_read = not message["more_body"]
        if self._received > MAX_BODY_BYTES:
            raise ConnectionError("the body is too large")
        return message

    async def _next(self) -> Message:
        """Return the next message, or raise when a body that was cut off is at its end."""
        if self._connection.is_cut_off and not self._connection.cycle.body:
            raise ConnectionError("the body was cut off")
        message = await self._receive()
        if self._connection.is_cut_off and not message.get("body"):
            raise ConnectionError("the body was cut off")
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; what was not read cannot be told from a next request."""
        if message["type"] == "http.response.start" and self._connection.must_close:
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self._send(message)


def _refusal_of(scope: Scope) -> ASGIApp | None:
    """Return the answer to a request that no application should see."""
    from starlette.responses import PlainTextResponse

    headers = dict(scope["headers"])
    length = int(headers.get(b"content-length", 0))  # h11 has seen to it that it is a number
    if scope["method"] == "CONNECT":  # h11 would take the connection for another protocol's
        return PlainTextResponse("This server is no proxy.", 405)
    if length > MAX_BODY_BYTES:
        return PlainTextResponse("The body is too large.", 413)
    return None if _find_path(scope) else PlainTextResponse("Malformed Request-URI", 400)


def _find_path(scope: Scope) -> bool:
    """Reduce a target such as `http://HOST/PATH`, meant for proxies, to its path."""
    if scope["path"].startswith("/"):
        return True
    try:
        path = urlsplit(scope["raw_path"].decode("ascii")).path or "/"
    except ValueError:  # such as `http://[`
        return False
    scope["path"], scope["raw_path"] = unquote(path), path.encode("ascii")
    return True
