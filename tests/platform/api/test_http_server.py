from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from starlette.responses import PlainTextResponse

from deploy_action.errors import RefusedError
from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.server import HttpServer
from deploy_action.platform.server import PlatformServer
from tests.platform.api.conftest import Serve
from tests.support.platform_client import TIMEOUT, Platform
from tests.support.raw_http import (
    PATIENT,
    UNFINISHED,
    connect,
    read_all,
    receive_all,
    url_of,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_ROOT = Path(__file__).parents[3]
_TOO_LONG = 20.0  # for what has to end after a third of a second, also on a busy machine
_QUICK = Limits(idle=0.3, head=0.3, body_grace=0.3, body_bytes_per_second=1000, shutdown=0.3)


async def _ignore_body(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(scope["path"])(scope, receive, send)


def _dribble(server: HttpServer, start: bytes, drop: bytes) -> tuple[bytes, float]:
    """Send `start`, then `drop` every 50 ms; return the answer and when it came."""
    began = time.monotonic()
    with connect(server) as connection:
        connection.sendall(start)
        answer = b""
        connection.settimeout(0.05)
        while time.monotonic() < began + _TOO_LONG:
            try:
                connection.sendall(drop)
                answer += (piece := connection.recv(1000))
                if not piece:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return answer, time.monotonic() - began


def test_a_head_that_dribbles_in_is_given_up(serve: Serve) -> None:
    answer, seconds = _dribble(serve(read_all, _QUICK), b"GET / HTTP/1.1\r\n", b"A: b\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.3 <= seconds < _TOO_LONG


def test_a_head_that_stops_is_given_up_at_its_deadline(serve: Serve) -> None:
    limits = Limits(idle=30, head=0.3, shutdown=0.3)
    began = time.monotonic()
    with connect(serve(read_all, limits)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert receive_all(connection).startswith(b"HTTP/1.1 408 ")
    assert 0.25 <= time.monotonic() - began < _TOO_LONG


def test_after_a_slow_head_the_body_has_its_own_time(serve: Serve) -> None:
    limits = Limits(idle=30, head=1, shutdown=0.3)
    with connect(serve(read_all, limits)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        time.sleep(0.4)
        connection.sendall(b"Content-Length: 2\r\n\r\nx")
        time.sleep(0.8)
        connection.sendall(b"y")
        assert receive_all(connection).endswith(b"complete")


@pytest.mark.parametrize("uri", ["http://[", "//[", "http://[::1", "/\xff", "http://x:999999/"])
@pytest.mark.parametrize("method", ["POST", "CONNECT", "OPTIONS"])
def test_a_broken_uri_is_a_400(serve: Serve, errors: list[str], method: str, uri: str) -> None:
    with connect(serve(read_all, _QUICK)) as connection:
        connection.sendall(
            f"{method} {uri} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        assert int(receive_all(connection).split()[1]) in {200, 400, 405}
    assert errors == []


def test_a_uri_that_cannot_be_split_is_a_400(serve: Serve) -> None:
    with connect(serve(read_all, _QUICK)) as connection:
        connection.sendall(b"POST http://[ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert receive_all(connection).startswith(b"HTTP/1.1 400 ")


def test_http_1_0_has_no_chunks(serve: Serve) -> None:
    with connect(serve(read_all, _QUICK)) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b" 400 " in receive_all(connection).splitlines()[0]


def test_a_body_that_dribbles_in_is_given_up(serve: Serve) -> None:
    start = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999\r\n\r\n"
    answer, seconds = _dribble(serve(read_all, _QUICK), start, b"x")
    assert answer.endswith(b"TimeoutError")
    assert 0.3 <= seconds < _TOO_LONG


def test_a_body_that_keeps_the_pace_may_take_long(serve: Serve) -> None:
    """Each byte extends the deadline."""
    limits = Limits(idle=30, head=30, body_grace=0.3, body_bytes_per_second=200, shutdown=0.3)
    piece, count = b"x" * 200, 10
    head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Content-Length: {len(piece) * count}\r\n\r\n"
    with connect(serve(read_all, limits)) as connection:
        connection.sendall(head.encode())
        for _ in range(count):
            time.sleep(0.06)
            connection.sendall(piece)
        assert receive_all(connection).endswith(b"complete")


def test_a_silent_body_is_given_up(serve: Serve) -> None:
    with connect(serve(read_all, _QUICK)) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
        )
        assert receive_all(connection).endswith(b"TimeoutError")


def test_little_is_read_at_once_of_a_body_in_tiny_chunks(serve: Serve) -> None:
    """While it is parsed, nobody else is served. A second request may hide behind the first."""
    sizes = [0]

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            if scope["path"] == "/chunked":
                sizes.append(len(message["body"]))
        await PlainTextResponse("complete")(scope, receive, send)

    plain = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789"
    head = b"POST /chunked HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunks = b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"
    with connect(serve(read, PATIENT)) as connection:
        connection.sendall(plain + head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert receive_all(connection).endswith(b"complete")
    assert sum(sizes) == 60_000
    assert max(sizes) < 5000


def test_a_body_of_very_many_tiny_chunks_is_cut_off(serve: Serve) -> None:
    with connect(serve(read_all, PATIENT)) as connection:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"1\r\nx\r\n" * (1 << 16))
        connection.sendall(b"1\r\nx\r\n")
        assert receive_all(connection).endswith(b"ConnectionError")


def test_silent_connections_delay_no_request(serve: Serve) -> None:
    server = serve(read_all, PATIENT)
    threads = threading.active_count()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(server))
        assert requests.get(url_of(server), timeout=60).text == "complete"
        assert threading.active_count() == threads


def test_unfinished_uploads_delay_no_request(serve: Serve) -> None:
    server = serve(read_all, PATIENT)
    with ExitStack() as stack:
        for _ in range(200):
            connection = connect(server)
            stack.enter_context(connection)
            connection.sendall(UNFINISHED)
        assert requests.get(url_of(server), timeout=60).text == "complete"


def test_an_unread_body_is_skipped(serve: Serve) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    last = b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(serve(_ignore_body, PATIENT)) as connection:
        connection.sendall(head + smuggled + last)
        received = receive_all(connection)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b"/smuggled" not in received
    assert received.endswith(b"/b")


def test_an_answer_before_the_end_of_the_body_is_the_last(serve: Serve) -> None:
    with connect(serve(_ignore_body, PATIENT)) as connection:
        connection.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        assert receive_all(connection).endswith(b"/a")


def test_an_answer_does_not_wait_for_an_acknowledgement(serve: Serve) -> None:
    url = url_of(serve(read_all, PATIENT))
    with requests.Session() as session:
        ends = [time.monotonic() for _ in range(50) if session.get(url, timeout=60).ok]
    # Linux acknowledges after 40 ms at the earliest, if nothing is to be sent.
    assert min(after - before for before, after in pairwise(ends)) < 0.035


def test_an_application_that_fails_is_a_500_and_a_report(serve: Serve, errors: list[str]) -> None:
    async def fail(_: Scope, __: Receive, ___: Send) -> None:
        raise RuntimeError("the reason")

    answer = requests.get(url_of(serve(fail, PATIENT)), timeout=60)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    (report,) = errors
    assert "the reason" in report
    assert "Traceback" in report


def test_a_client_that_does_not_read_is_given_up(serve: Serve) -> None:
    given_up = threading.Event()

    async def answer(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for ___ in range(64):  # waits for the client, until it is gone
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        given_up.set()

    with connect(serve(answer, _QUICK)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert given_up.wait(60)


def test_a_client_that_reads_slowly_gets_all(serve: Serve) -> None:
    """The transfer takes longer than a connection may be idle."""
    size, limits = 24 << 20, Limits(idle=1.5, head=30, shutdown=0.3)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(b"x" * size)(scope, receive, send)

    with connect(serve(answer, limits)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received, began = 0, time.monotonic()
        while piece := connection.recv(1 << 20):
            received += len(piece)
            time.sleep(max(0, began + 2 * limits.idle * received / size - time.monotonic()))
    assert received > size


def test_a_client_that_only_stops_sending_gets_its_answer(serve: Serve) -> None:
    """A client may close its side of the connection after the request."""
    with connect(serve(read_all, PATIENT)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection).endswith(b"complete")


def test_a_client_that_disconnects_is_no_error(serve: Serve, errors: list[str]) -> None:
    server = serve(read_all, PATIENT)
    for start in (b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        connection = connect(server)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(start)
        connection.close()
    assert requests.get(url_of(server), timeout=60).text == "complete"
    assert errors == []


def test_closing_does_not_wait_for_stuck_clients(serve: Serve) -> None:
    server = serve(read_all, PATIENT)
    with connect(server) as connection:
        connection.sendall(UNFINISHED)
        time.sleep(0.1)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < PATIENT.idle / 2
        assert receive_all(connection).endswith(b"ConnectionError")


def test_closing_finishes_what_is_in_progress(serve: Serve) -> None:
    server = serve(read_all, PATIENT)
    with connect(server) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nx"
        )
        time.sleep(0.1)
        closing = threading.Thread(target=server.close)
        closing.start()
        time.sleep(0.05)
        connection.sendall(b"y")
        assert receive_all(connection).endswith(b"complete")
        closing.join(60)
        assert not closing.is_alive()


def test_closing_an_idle_server_takes_no_time(platform: Platform) -> None:
    began = time.monotonic()
    platform.server.close()
    platform.server.close()
    assert time.monotonic() - began < Limits().shutdown
    with pytest.raises(RuntimeError, match="not running"):
        _ = platform.server.url


def test_a_server_that_is_never_closed_lets_the_process_end(tmp_path: Path) -> None:
    """Its threads are daemons."""
    code = (
        "from pathlib import Path\n"
        "from deploy_action.platform.server import PlatformServer\n"
        f"PlatformServer(Path({str(tmp_path / 'data')!r}), refresh_token='x', strict=True).start()"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, timeout=TIMEOUT, check=False)
    assert result.returncode == 0


def test_a_port_in_use_is_refused_with_a_hint(platform: Platform, tmp_path: Path) -> None:
    """Afterwards, the data directory is free again."""
    port = int(platform.server.url.rsplit(":", 1)[1])
    second = PlatformServer(
        tmp_path / "second",
        refresh_token=secrets.token_hex(16),
        strict=True,
        address=("127.0.0.1", port),
    )
    with pytest.raises(RefusedError, match="already in use") as raised:
        second.start()
    assert str(port) in raised.value.problems[0].message
    assert raised.value.problems[0].hint


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 99_999),
        ("127.0.0.1", -1),
        ("a..b", 0),
        (f"{'x' * 70}.example", 0),
        ("no\0host", 0),
    ],
)
def test_an_invalid_address_is_refused(tmp_path: Path, host: str, port: int) -> None:
    server = PlatformServer(
        tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True, address=(host, port)
    )
    with pytest.raises(RefusedError, match="cannot listen on"):
        server.start()
    with PlatformServer(tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True):
        pass  # the data directory is free again


def test_the_url_of_an_ipv6_address_has_brackets(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no ::1 ({error})")
    with PlatformServer(
        tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True, address=("::1", 0)
    ) as server:
        assert server.url.startswith("http://[::1]:")
        assert requests.get(f"{server.url}/x", timeout=60).status_code == 404
