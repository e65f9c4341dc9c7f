"""An application and a client, to see what an HTTP server does with connections."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.server import HttpServer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATIENT = Limits(idle=30, head=30, body_grace=30, shutdown=0.3)
UNFINISHED = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\nx"


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with how the body ended."""
    answer = "complete"
    try:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
    except OSError as error:
        answer = type(error).__name__
    await PlainTextResponse(answer)(scope, receive, send)


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=60)


def url_of(server: HttpServer) -> str:
    host, port = server.address
    return f"http://{host}:{port}"


def receive_all(connection: socket.socket) -> bytes:
    """Return everything until the server closes the connection."""
    received = b""
    while piece := connection.recv(1000):
        received += piece
    return received


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closed the connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
