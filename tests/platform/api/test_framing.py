"""Requests whose end two programs may see in different places: a second one could hide in them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse

from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.server import HttpServer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_LIMITS = Limits(idle=0.5, head=0.5, body_grace=0.5, shutdown=0.3)
_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

UNCLEAR = {
    "both": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, chunked first": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    "two lengths in one": b"Content-Length: 0, 5\r\n\r\nabcde",
    "signed length": b"Content-Length: +5\r\n\r\nabcde",
    "negative length": b"Content-Length: -1\r\n\r\nabcde",
    "hexadecimal length": b"Content-Length: 0x5\r\n\r\nabcde",
    "length with an underscore": b"Content-Length: 1_0\r\n\r\nabcdeabcde",
    "fraction": b"Content-Length: 5.0\r\n\r\nabcde",
    "empty length": b"Content-Length: \r\n\r\nabcde",
    "digits of other scripts": b"Content-Length: \xd9\xa5\r\n\r\nabcde",
    "underscore in length": b"Content_Length: 5\r\n\r\nabcde",
    "underscore in encoding": b"Transfer_Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    "underscore beside": b"Content-Length: 0\r\nContent_Length: 5\r\n\r\nabcde",
    "unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "not only chunked": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "compressed": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "blank before the colon": b"Content-Length : 5\r\n\r\nabcde",
    "vertical tab": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "NUL": b"Content-Length: 5\0\r\n\r\nabcde",
    "bare carriage return": b"X: a\rContent-Length: 5\r\n\r\nabcde",
    "no colon": b"Content-Length 5\r\n\r\nabcde",
    "chunk without digits": b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "signed chunk": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "chunk in another notation": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "huge chunk": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n\r\n",
    "chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
}


@pytest.fixture
def seen() -> list[str]:
    """Return the paths of the requests that an application saw to their end."""
    return []


@pytest.fixture
def server(seen: list[str]) -> Iterator[HttpServer]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status = 200
        try:
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
        except OSError:
            status = 400
        else:
            seen.extend([scope["path"]] if message["type"] == "http.request" else [])
        await PlainTextResponse("", status)(scope, receive, send)

    running = HttpServer(("127.0.0.1", 0), app, lambda _error: None, _LIMITS)
    running.start()
    yield running
    running.close()


def exchange(server: HttpServer, request: bytes) -> bytes:
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall(request)
        received = b""
        try:
            while piece := connection.recv(1000):
                received += piece
        except ConnectionResetError:
            pass
    return received


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("form", UNCLEAR)
def test_a_request_of_unclear_length_is_the_last(
    server: HttpServer, seen: list[str], form: str, version: str
) -> None:
    head = f"POST /first HTTP/{version}\r\nHost: x\r\nConnection: keep-alive\r\n".encode()
    answer = exchange(server, head + UNCLEAR[form] + _HIDDEN)
    assert seen == []
    assert answer == b"" or answer.split(b" ")[1] in {b"400", b"501"}


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"\r\n", 2),
        (b"Content-Length: 5\r\n\r\nabcde", 2),
        (b"Content-Length: 5, 5\r\n\r\nabcde", 2),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 2),
        (b"Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nabcde\r\n0\r\nX: y\r\n\r\n", 2),
        (b"X_Y: z\r\nContent-Length: %d\r\n\r\n" % len(_HIDDEN), 1),
    ],
)
def test_a_clear_length_is_read_in_the_one_way(
    server: HttpServer, seen: list[str], body: bytes, count: int
) -> None:
    """The same length twice is one length (RFC 9110, section 8.6)."""
    head = b"POST /first HTTP/1.1\r\nHost: x\r\n"
    exchange(server, head + body + _HIDDEN)
    assert seen == ["/first", "/hidden"][:count]
