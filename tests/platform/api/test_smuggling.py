"""Requests that two servers could divide differently, so that one hides in another."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import h11
import pytest
import requests
from starlette.responses import PlainTextResponse

from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.parser import Parser
from tests.platform.api.conftest import Serve
from tests.support.platform_client import TIMEOUT, Platform

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_LIMITS = Limits(idle=10, head=10, body_grace=10, shutdown=0.3)
_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_CHUNKED_HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n" + _CHUNKED + b"\r\n"


async def _show(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path and the body, or how it ended."""
    body = b""
    try:
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
    except OSError:
        body = b"cut off"
    await PlainTextResponse(f"{scope['path']} {body!r}")(scope, receive, send)


def _exchange(serve: Serve, sent: bytes) -> bytes:
    """Send bytes and no more, and return everything that the server answers."""
    server = serve(_show, _LIMITS)
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    return received


def _bodies_of(sent: bytes) -> list[bytes]:
    """Return the bodies of the requests that the parser finds when each byte comes by itself."""
    parser, bodies = Parser(), list[bytes]()
    for at in range(len(sent)):
        parser.receive_data(sent[at : at + 1])
        while isinstance(event := parser.next_event(), h11.Event):
            if isinstance(event, h11.Request):
                bodies.append(b"")
            elif isinstance(event, h11.Data):
                bodies[-1] += event.data
    return bodies


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"Content-Length: 5\r\n" + _CHUNKED, id="CL.TE"),
        pytest.param(_CHUNKED + b"Content-Length: 5\r\n", id="TE.CL"),
        b"Content-Length: 0, 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 0\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5_0\r\n",
        b"Content-Length: 5.0\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length: \xd9\xa5\r\n",
        b"Content-Length: " + b"0" * 30 + b"5\r\n",
        b"Content-Length:\r\n",
        b"Content-Length : 5\r\n",
        b"Content_Length: 5\r\n",
        b"Content-Length: 0\r\nContent_Length: 5\r\n",
        b"content.length: 5\r\n",
        b" Content-Length: 5\r\n",
        b"\tContent-Length: 5\r\n",
        b"X: y\r\n Content-Length: 5\r\n",
        b"X: y\nContent-Length: 5\r\n",
        b"X: y\rContent-Length: 5\r\n",
        b"X: y\r\r\nContent-Length: 5\r\n",
        b"X: y\0\r\n",
        b"X\0: y\r\n",
        b"\0Content-Length: 5\r\n",
        b"Content-Length: 5\0\r\n",
        b"Content-Length: \x0b5\r\n",
        b"Content-Length:\r\n 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunkedx\r\n",
        b"Transfer-Encoding: 'chunked'\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: chunked;q=1\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer_Encoding: chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\r\n",
        _CHUNKED + _CHUNKED,
        _CHUNKED + b"transfer_encoding: identity\r\n",
        b"Host: y\r\n",
        b": y\r\n",
        b"no colon\r\n",
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_unclear_head_is_refused_and_the_last(
    serve: Serve, headers: bytes, version: str
) -> None:
    start = f"POST /a HTTP/{version}\r\nHost: x\r\nConnection: keep-alive\r\n".encode()
    answer = _exchange(serve, start + headers + b"\r\n0\r\n\r\n" + _HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "start",
    [
        b"POST /a HTTP/1.0\r\n" + _CHUNKED,
        b"POST /a HTTP/1.0\r\nContent-Length: 5\r\n" + _CHUNKED,
        b"POST /a HTTP/0.9\r\nHost: x\r\n",
        b"POST /a HTTP/2.0\r\nHost: x\r\n",
        b"POST /a HTTP/1.2\r\nHost: x\r\n",
        b"POST /a HTTP/1.1\nHost: x\r\n",
        b"POST  /a HTTP/1.1\r\nHost: x\r\n",
        b"POST\t/a HTTP/1.1\r\nHost: x\r\n",
        b"POST /a\r\nHost: x\r\n",
        b"\r\nPOST /a HTTP/1.1\r\nHost: x\r\n",
        b"\nPOST /a HTTP/1.1\r\nHost: x\r\n",
    ],
)
def test_an_unclear_first_line_is_refused_and_the_last(serve: Serve, start: bytes) -> None:
    answer = _exchange(serve, start + b"\r\n0\r\n\r\n" + _HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_head_that_ends_with_half_a_line_end_is_refused(serve: Serve) -> None:
    answer = _exchange(serve, b"POST /a HTTP/1.1\r\nHost: x\r\n\n" + _HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"unclear end" in answer


@pytest.mark.parametrize(
    "body",
    [
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b";x\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5;x\nhello\r\n0\r\n\r\n",
        b"5;x\ry\r\nhello\r\n0\r\n\r\n",
        b"5;x\ny\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"5\r\nhello\r\n0\r\nX: y\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\r\n\n",
        b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"F" * 21 + b"\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_an_unclear_chunk_is_cut_off_and_the_last(serve: Serve, body: bytes) -> None:
    answer = _exchange(serve, _CHUNKED_HEAD + body + _HIDDEN)
    assert answer.endswith(b"/a b'cut off'"), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    with pytest.raises(h11.RemoteProtocolError):
        _bodies_of(_CHUNKED_HEAD + body + _HIDDEN)


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"05\r\nhello\r\n000\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5;name=value\r\nhello\r\n0;x\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 40\r\nX: y\r\n\r\n",
    ],
)
def test_a_clear_chunk_is_read(serve: Serve, body: bytes) -> None:
    """Trailers and extensions mean nothing."""
    answer = _exchange(serve, _CHUNKED_HEAD + body + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert _bodies_of(_CHUNKED_HEAD + body) == [b"hello"]
    assert b"/a b'hello'" in answer
    assert answer.endswith(b"/b b''")
    assert answer.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"Content-Length: 0\r\n",
        b"content-length:\t000 \r\n",
        b"X_Y: z\r\nContent-Length: 0\r\n",
        b"TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n",
    ],
)
def test_a_clear_head_is_not_the_last(serve: Serve, headers: bytes) -> None:
    answer = _exchange(serve, b"POST /a HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + _HIDDEN)
    assert b"/a b''" in answer
    assert answer.endswith(b"/hidden b''")


def test_a_header_like_the_token_is_not_the_token(platform: Platform) -> None:
    for name in ("token_", "_token", "to_ken", "http_token", "x-token"):
        headers = {name: platform.id_token}
        answer = requests.get(
            f"{platform.server.url}/project/list", headers=headers, timeout=TIMEOUT
        )
        assert answer.status_code == 401


def test_other_headers_may_have_underscores(platform: Platform) -> None:
    headers = {**platform.headers, "x_request_id": "1", "idempotency_key": "x" * 999}
    answer = requests.get(f"{platform.server.url}/project/list", headers=headers, timeout=TIMEOUT)
    assert answer.status_code == 200
