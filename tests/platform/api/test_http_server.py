from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from deploy_action.errors import RefusedError
from deploy_action.platform.api.http_server import HttpServer, Limits
from deploy_action.platform.server import PlatformServer
from tests.support.platform_client import TIMEOUT, Platform

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ROOT = Path(__file__).parents[3]
_QUICK = Limits(idle=0.3, head=0.3, body_grace=0.3, body_bytes_per_second=1000, shutdown=0.3)
_PATIENT = Limits(idle=30, head=30, body_grace=30, shutdown=0.3)

Serve = Callable[["WSGIApplication", Limits], HttpServer]


@pytest.fixture
def errors() -> list[str]:
    """Return where the server reports errors to."""
    return []


@pytest.fixture
def serve(errors: list[str]) -> Iterator[Serve]:
    """Return what serves an application."""
    with ExitStack() as stack:

        def start(app: WSGIApplication, limits: Limits) -> HttpServer:
            server = HttpServer(("127.0.0.1", 0), app, errors.append, limits)
            server.start()
            stack.callback(server.close)
            return server

        yield start


def _read_all(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with how the body ended."""
    try:
        while environ["wsgi.input"].read(1 << 16):
            pass
        answer = b"complete"
    except OSError as error:
        answer = type(error).__name__.encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


def _ignore_body(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without reading."""
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def _receive(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    received = b""
    while piece := connection.recv(1000):
        received += piece
    return received


def _dribble(server: HttpServer, start: bytes, drop: bytes) -> tuple[bytes, float]:
    """Send `start`, then `drop` every 50 ms; return the answer and when it came."""
    began = time.monotonic()
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall(start)
        answer = b""
        connection.settimeout(0.05)
        while time.monotonic() < began + 5:
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
    """Although it is never idle."""
    answer, seconds = _dribble(serve(_read_all, _QUICK), b"GET / HTTP/1.1\r\n", b"A: b\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.3 <= seconds < 1.5


def test_a_head_that_stops_is_given_up_at_its_deadline(serve: Serve) -> None:
    """However long a connection may be idle."""
    limits = Limits(idle=30, head=0.3, shutdown=0.3)
    began = time.monotonic()
    with socket.create_connection(serve(_read_all, limits).address, timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert _receive(connection).startswith(b"HTTP/1.1 408 ")
    assert 0.25 <= time.monotonic() - began < 1.5


def test_after_a_slow_head_the_body_has_its_own_time(serve: Serve) -> None:
    """What was left of the head's is forgotten."""
    limits = Limits(idle=30, head=0.3, shutdown=0.3)
    with socket.create_connection(serve(_read_all, limits).address, timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\n")
        time.sleep(0.15)
        connection.sendall(b"Content-Length: 2\r\n\r\nx")
        time.sleep(0.2)
        connection.sendall(b"y")
        assert _receive(connection).endswith(b"complete")


@pytest.mark.parametrize("uri", ["http://[", "//[", "http://[::1", "/\xff", "http://x:999999/"])
@pytest.mark.parametrize("method", ["POST", "CONNECT", "OPTIONS"])
def test_a_broken_uri_is_the_clients_mistake(
    serve: Serve, errors: list[str], method: str, uri: str
) -> None:
    """And none of the server's."""
    with socket.create_connection(serve(_read_all, _QUICK).address, timeout=5) as connection:
        connection.sendall(f"{method} {uri} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        assert int(_receive(connection).split()[1]) in {200, 400, 405}
    assert errors == []


def test_a_uri_that_cannot_be_split_is_a_400(serve: Serve) -> None:
    """As any other that is malformed."""
    with socket.create_connection(serve(_read_all, _QUICK).address, timeout=5) as connection:
        connection.sendall(b"POST http://[ HTTP/1.1\r\n\r\n")
        assert _receive(connection).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_dribbles_in_is_given_up(serve: Serve) -> None:
    """Although it is never idle; the application hears of it."""
    start = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 9999\r\n\r\n"
    answer, seconds = _dribble(serve(_read_all, _QUICK), start, b"x")
    assert answer.endswith(b"TimeoutError")
    assert 0.3 <= seconds < 1.5


def test_a_body_that_keeps_the_pace_may_take_long(serve: Serve) -> None:
    """Longer than the grace: each byte buys time."""
    piece, count = b"x" * 200, 10
    head = f"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(piece) * count}\r\n\r\n"
    with socket.create_connection(serve(_read_all, _QUICK).address, timeout=5) as connection:
        connection.sendall(head.encode())
        for _ in range(count):
            time.sleep(0.06)
            connection.sendall(piece)
        assert _receive(connection).endswith(b"complete")


def test_a_silent_body_is_given_up(serve: Serve) -> None:
    """After the idle time."""
    with socket.create_connection(serve(_read_all, _QUICK).address, timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 9\r\n\r\n")
        assert _receive(connection).endswith(b"TimeoutError")


def test_silent_connections_hold_nobody_up(serve: Serve) -> None:
    """A hundred of them, more than there are threads."""
    server = serve(_read_all, _PATIENT)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(server.address, timeout=5))
        host, port = server.address
        assert requests.get(f"http://{host}:{port}", timeout=2).text == "complete"


def test_unfinished_uploads_hold_nobody_up(serve: Serve) -> None:
    """Two hundred of them: threads are added."""
    server = serve(_read_all, _PATIENT)
    with ExitStack() as stack:
        for _ in range(200):
            connection = socket.create_connection(server.address, timeout=5)
            stack.enter_context(connection)
            connection.sendall(
                b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 9\r\n\r\nx"
            )
        host, port = server.address
        assert requests.get(f"http://{host}:{port}", timeout=2).text == "complete"


def test_what_an_application_left_unread_is_no_request(serve: Serve, errors: list[str]) -> None:
    """The connection is closed after the answer."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST / HTTP/1.1\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    with socket.create_connection(serve(_ignore_body, _PATIENT).address, timeout=5) as connection:
        connection.sendall(head + smuggled)
        received = _receive(connection)
    assert received.count(b"HTTP/1.1 200 OK") == 1
    assert errors == []


def test_an_application_that_fails_is_a_500_and_a_report(serve: Serve, errors: list[str]) -> None:
    """The client learns nothing of the reason."""

    def fail(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise RuntimeError("the reason")

    host, port = serve(fail, _PATIENT).address
    answer = requests.get(f"http://{host}:{port}", timeout=5)
    assert (answer.status_code, answer.text) == (500, "")
    (report,) = errors
    assert "the reason" in report
    assert "Traceback" in report


def test_a_client_that_leaves_is_no_error(serve: Serve, errors: list[str]) -> None:
    """Not in the middle of the head, nor before the answer."""
    server = serve(_read_all, _PATIENT)
    for start in (b"GET", b"GET / HTTP/1.1\r\n\r\n"):
        connection = socket.create_connection(server.address, timeout=5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(start)
        connection.close()
    host, port = server.address
    assert requests.get(f"http://{host}:{port}", timeout=5).text == "complete"
    assert errors == []


def test_closing_does_not_wait_for_stuck_clients(serve: Serve) -> None:
    """Longer than the time it gives them."""
    server = serve(_read_all, _PATIENT)
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 9\r\n\r\nx")
        time.sleep(0.1)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 2
        assert _receive(connection).endswith(b"ConnectionError")


def test_closing_finishes_what_is_in_progress(serve: Serve) -> None:
    """A client that is nearly done gets its answer."""
    import threading

    server = serve(_read_all, _PATIENT)
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nx")
        time.sleep(0.1)
        closing = threading.Thread(target=server.close)
        closing.start()
        time.sleep(0.05)
        connection.sendall(b"y")
        assert _receive(connection).endswith(b"complete")
        closing.join(5)
        assert not closing.is_alive()


def test_closing_an_idle_server_takes_no_time(platform: Platform) -> None:
    """Twice is fine too."""
    began = time.monotonic()
    platform.server.close()
    platform.server.close()
    assert time.monotonic() - began < 0.3
    with pytest.raises(RuntimeError, match="not running"):
        _ = platform.server.url


def test_a_server_that_is_never_closed_lets_the_process_end(tmp_path: Path) -> None:
    """Its threads are daemons, whatever crashed."""
    code = (
        "from pathlib import Path\n"
        "from deploy_action.platform.server import PlatformServer\n"
        f"PlatformServer(Path({str(tmp_path / 'data')!r}), refresh_token='x', strict=True).start()"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, timeout=TIMEOUT, check=False)
    assert result.returncode == 0


def test_a_port_in_use_is_refused_with_a_hint(platform: Platform, tmp_path: Path) -> None:
    """And the data directory is free again."""
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
def test_an_address_that_is_none_is_refused(tmp_path: Path, host: str, port: int) -> None:
    """Whatever Python makes of it; nobody waits for a server that cannot start."""
    server = PlatformServer(
        tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True, address=(host, port)
    )
    with pytest.raises(RefusedError, match="cannot listen on"):
        server.start()
    with PlatformServer(tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True):
        pass  # the data directory is free again


def test_the_url_of_an_ipv6_address_has_brackets(tmp_path: Path) -> None:
    """So that it is one."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no ::1 ({error})")
    with PlatformServer(
        tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True, address=("::1", 0)
    ) as server:
        assert server.url.startswith("http://[::1]:")
        assert requests.get(f"{server.url}/x", timeout=5).status_code == 404
