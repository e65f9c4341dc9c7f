"""Answers, proxies and TLS, as each client of the action meets them."""

from __future__ import annotations

import gzip
import json
import secrets
import socket
import threading
import time
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.deployment_api.retry_rules import BrokenExchangeError, NotConnectedError
from deploy_action.http.exchange import Answer, _retry_after
from tests.support.scripted_server import ID_TOKEN, Reply, StartScripted
from tests.support.transports import (
    PING,
    UPLOAD,
    Waits,
    bundle,
    make_transport,
    send,
    unused_port,
    upload_of,
)
from tests.support.wire_server import Connection, StartWire, answering, early

PASSWORD = secrets.token_hex(8)


@given(st.text(), st.text())
def test_any_retry_after_gives_a_number_of_seconds_or_none(text: str, date: str) -> None:
    seconds = _retry_after({"Retry-After": text, "Date": date})
    assert seconds is None or 0 <= seconds < float("inf")


@given(
    st.integers(min_value=0, max_value=10**30), st.sampled_from(["", " ", "\t" * 12, "0", "000"])
)
def test_retry_after_in_seconds_is_read(seconds: int, before: str) -> None:
    said = _retry_after({"Retry-After": f"{before}{seconds} "})
    assert said == min(seconds, float(str(seconds)[:9]))


@given(st.integers(0, 7_000_000_000), st.integers(0, 7_000_000_000))
def test_retry_after_as_a_date_is_read(moment: int, now: int) -> None:
    """It is by the server's clock, and a date in the past means now."""
    date, said = (datetime.fromtimestamp(one, UTC) for one in (moment, now))
    headers = {"Retry-After": format_datetime(date, usegmt=True)}
    assert _retry_after(headers) == pytest.approx(max(0.0, moment - time.time()), abs=2)
    for form in (format_datetime(said, usegmt=True), f"{said:%a %b %d %H:%M:%S %Y}"):
        assert _retry_after({**headers, "Date": form}) == max(0.0, moment - now)


@pytest.mark.parametrize("status", [401, 413])
def test_an_answer_that_comes_early_is_read(wire: StartWire, tmp_path: Path, status: int) -> None:
    """A server may refuse an upload while its body is still being sent."""
    server = wire({UPLOAD: early(status, {"error": "no"})})
    file = bundle(tmp_path, 30_000_000)
    answer = make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(file))
    assert (answer.status, answer.json) == (status, {"error": "no"})
    assert server.count(UPLOAD) == 1


def test_an_early_answer_survives_a_closed_connection(wire: StartWire, tmp_path: Path) -> None:
    server = wire({UPLOAD: lambda connection: connection.reply(413, {"error": "too big"})})
    file = bundle(tmp_path, 30_000_000)
    answer = make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(file))
    assert (answer.status, answer.json) == (413, {"error": "too big"})
    assert server.count(UPLOAD) == 1


def test_a_redirect_is_not_followed(wire: StartWire, tmp_path: Path) -> None:
    elsewhere = wire({PING: answering(200)})
    for status in (301, 302, 303, 307, 308):
        handler = answering(status, headers={"Location": f"{elsewhere.url}/ping"})
        server = wire({PING: handler})
        answer = send(make_transport(server.url), "upload", tmp_path)
        assert (answer.status, answer.headers["Location"]) == (status, f"{elsewhere.url}/ping")
        assert server.count(PING) == 1
    assert elsewhere.seen == []


LOCATIONS = [
    b"http://[",
    b"\xff\xfe\x80",
    b"//[::1",
    b"http://a:b:c@\xe2\x28\xa1:99999999/",
    b"%zz",
]


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_nowhere_is_an_answer(wire: StartWire, status: int, location: bytes) -> None:
    def handle(connection: Connection) -> None:
        connection.read_body()
        head = f"HTTP/1.1 {status} Moved\r\nContent-Length: 2\r\nLocation: ".encode()
        connection.send(head + location + b"\r\n\r\nno")

    answer = make_transport(wire({PING: handle}).url).change("/ping", {"a": "b"}, ID_TOKEN)
    assert (answer.status, answer.body) == (status, b"no")


def test_the_body_of_a_redirect_is_bounded(wire: StartWire) -> None:
    sent = 0

    def handle(connection: Connection) -> None:
        nonlocal sent
        connection.read_body()
        connection.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 900000000\r\n\r\n")
        while sent < 900_000_000:
            connection.send(b" " * 1_000_000)
            sent += 1_000_000

    transport = make_transport(wire({PING: handle}).url)
    with pytest.raises(BrokenExchangeError, match="larger than 16 MiB"):
        transport.change("/ping", {"a": "b"}, ID_TOKEN)
    assert sent < 100_000_000


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 50,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 100 C\r\n\r\n",
        b"HTTP/1.1 199 Whatever\r\nContent-Length: 5\r\n\r\n",
    ],
)
@pytest.mark.parametrize("proxied", [False, True])
def test_interim_answers_are_skipped(
    wire: StartWire, monkeypatch: pytest.MonkeyPatch, interim: bytes, *, proxied: bool
) -> None:
    def handle(connection: Connection) -> None:
        connection.read_body()
        connection.send(interim)
        connection.reply(200, {"fine": 1})

    server = wire({PING: handle})
    if proxied:
        monkeypatch.setenv("http_proxy", server.url)
    url = "http://server.example" if proxied else server.url
    assert make_transport(url).change("/ping", {"a": "b"}, ID_TOKEN).json == {"fine": 1}
    assert server.count(PING) == 1


def test_a_server_that_only_sends_interim_answers_is_given_up(wire: StartWire) -> None:
    def handle(connection: Connection) -> None:
        connection.read_body()
        for _ in range(100_000):
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)

    transport = make_transport(wire({PING: handle}).url)
    with pytest.raises(BrokenExchangeError, match="only interim answers came"):
        transport.change("/ping", {"a": "b"}, ID_TOKEN)


def test_a_change_of_protocol_is_an_answer(wire: StartWire) -> None:
    server = wire({PING: answering(101)})
    assert make_transport(server.url).change("/ping", {"a": "b"}, ID_TOKEN).status == 101


def test_a_compressed_answer_is_unpacked(wire: StartWire) -> None:
    packed = gzip.compress(json.dumps({"fine": "💚" * 50_000}).encode())
    server = wire({PING: answering(200, packed, {"Content-Encoding": "gzip"})})
    answer = make_transport(server.url).read("POST", "/ping", {"a": "b"})
    assert answer.json == {"fine": "💚" * 50_000}


def test_an_answer_that_unpacks_to_too_much_is_an_error(wire: StartWire) -> None:
    """The limit is on the bytes in memory."""
    packed = gzip.compress(bytes(100_000_000), 9)
    server = wire({PING: answering(200, packed, {"Content-Encoding": "gzip"})})
    with pytest.raises(BrokenExchangeError, match="larger than 16 MiB"):
        make_transport(server.url).change("/ping", {"a": "b"}, ID_TOKEN)


def test_an_answer_byte_by_byte_is_read_whole(wire: StartWire) -> None:
    def drip(connection: Connection) -> None:
        connection.read_body()
        for drop in b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"fine": 1}':
            connection.send(bytes([drop]))

    server = wire({PING: drip})

    assert make_transport(server.url).read("POST", "/ping", {"a": "b"}).json == {"fine": 1}


def test_json_that_is_nested_too_deep_is_not_read() -> None:
    assert Answer(200, b"[" * 100_000).json is None


def test_connections_for_reading_are_kept(scripted: StartScripted) -> None:
    """The requests before an upload share a connection."""
    threads = set[int]()

    def note_thread(_request: object) -> Reply:
        threads.add(threading.get_ident())
        return Reply()

    server = scripted({PING: note_thread})
    transport = make_transport(server.url)

    for _ in range(3):
        assert transport.read("POST", "/ping", {"a": "b"}).status == 200
    transport.close()

    assert len(server.requests) == 3
    assert len(threads) == 1, "the server has a thread for each connection"


def test_a_body_of_countless_values_is_not_parsed() -> None:
    """Parsed, it would take twenty-five times its size."""
    assert Answer(200, b"[" + b"{}," * 5_000_000 + b"{}]").json is None
    assert Answer(200, b"[" + b"{}," * 900_000 + b"{}]").json is not None


def test_cookies_are_neither_kept_nor_sent_back(wire: StartWire) -> None:
    cookies = {"Set-Cookie": "session=1; path=/", "Set-Cookie2": "other=2"}
    server = wire({PING: answering(200, {}, cookies)})
    transport = make_transport(server.url)
    for _ in range(2):
        assert transport.read("POST", "/ping", {"a": "b"}).is_good
    transport.close()
    assert [connection.headers.get("cookie") for connection in server.seen] == [None, None]


def test_a_proxy_of_the_environment_is_used(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = wire({PING: answering(200, {"by": "proxy"})})
    monkeypatch.setenv("http_proxy", proxy.url)
    answer = send(make_transport("http://server.example"), "upload", tmp_path)
    assert answer.json == {"by": "proxy"}
    assert proxy.seen[0].target == "http://server.example/ping"


def test_a_proxy_gets_its_name_and_password_and_no_server_does(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Special characters are escaped in the variable, and not in what is sent."""
    proxy = wire({PING: answering(200), "CONNECT server.example:443": answering(403)})
    address = proxy.url.replace("http://", f"http://robot:{PASSWORD}%2F%3A@")
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, address)
    expected = "Basic " + b64encode(f"robot:{PASSWORD}/:".encode()).decode()
    assert send(make_transport("http://server.example"), "upload", tmp_path).is_good
    with pytest.raises(NotConnectedError):
        send(make_transport("https://server.example"), "upload", tmp_path)
    assert {one.headers.get("proxy-authorization") for one in proxy.seen} == {expected}
    assert all("authorization" not in one.headers for one in proxy.seen)


@pytest.mark.parametrize("token", ["two\nlines", "💚", "a\r\nX-Other: 1", "a\r\n b", "a\0b"])
def test_what_is_no_header_is_not_sent(wire: StartWire, token: str) -> None:
    """It is not shown, since it may be a secret, and not tried again."""
    server, waits = wire({PING: answering(200)}), Waits()
    with pytest.raises(NotConnectedError, match="characters that HTTP does not allow") as caught:
        make_transport(server.url, waits).change("/ping", {"a": "b"}, token)
    assert server.seen == []
    assert waits.seconds == []
    assert token not in str(caught.value)


def test_no_proxy_is_used_without_the_environment(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = wire({}), wire({PING: answering(200, {})})
    monkeypatch.setenv("http_proxy", proxy.url)
    send(make_transport(server.url, use_environment=False), "upload", tmp_path)
    assert (len(proxy.seen), len(server.seen)) == (0, 1)


def proxy_with_password(port: int) -> str:
    return f"http://robot:{PASSWORD}@127.0.0.1:{port}"


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_an_unreachable_proxy_is_retried_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The server was not asked, so it is not blamed."""
    port, waits = unused_port(), Waits()
    monkeypatch.setenv(variable, proxy_with_password(port))
    with pytest.raises(NotConnectedError) as caught:
        send(make_transport("http://server.example", waits), "upload", tmp_path)
    assert len(waits.seconds) == 3
    (problem,) = caught.value.problems
    assert f"the proxy http://127.0.0.1:{port} (from the variable" in problem.message
    assert "cannot be used: nothing listens there" in problem.message
    assert f"Correct the variable `{variable.upper()}`" in problem.hint
    assert "NO_PROXY" in problem.hint
    assert PASSWORD not in problem.text()


@pytest.mark.parametrize("start", ["socks5://", "ftp://", "http://robot:a/b{}@", "http://x:{}#@"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    waits = Waits()
    monkeypatch.setenv("https_proxy", f"{start.format(PASSWORD)}127.0.0.1:9")
    with pytest.raises(NotConnectedError, match="no HTTP proxy, or its address") as caught:
        send(make_transport("https://server.example", waits), "upload", tmp_path)
    (problem,) = caught.value.problems
    assert "Correct the variable `HTTPS_PROXY`" in problem.hint
    assert PASSWORD not in problem.text()
    assert waits.seconds == []


def test_a_proxy_without_an_address_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    with pytest.raises(NotConnectedError) as caught:
        send(make_transport("https://server.example"), "upload", tmp_path)
    assert (
        "the proxy http://proxy.invalid:3128 (from the variable `HTTPS_PROXY` or `https_proxy`)"
        in str(caught.value)
    )
    assert "there is no address for that host name" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "hint"), [(403, "Correct the variable"), (407, "Put a name and a password into")]
)
def test_a_proxy_that_opens_no_tunnel_is_retried_and_named(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, hint: str
) -> None:
    """The proxy refuses before anything was sent to the server."""
    proxy, waits = wire({"CONNECT server.example:443": answering(status)}), Waits()
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(NotConnectedError) as caught:
        send(make_transport("https://server.example", waits), "upload", tmp_path)
    (problem,) = caught.value.problems
    assert (
        f"{proxy.url} (from the variable `HTTPS_PROXY` or `https_proxy`) did not connect to it"
        in problem.message
    )
    assert f"it answered {status} as the test says" in problem.message
    assert problem.hint.startswith(hint)
    assert proxy.count("CONNECT server.example:443") == 4


def test_no_netrc_is_used(wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its credentials are meant for other programs."""
    server = wire({PING: answering(200, {})})
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    for way in ("read", "change", "upload"):
        send(make_transport(server.url), way, tmp_path)
    assert len(server.seen) == 3
    assert all("authorization" not in connection.headers for connection in server.seen)


@pytest.mark.parametrize("has_proxy", [False, True])
def test_a_connection_on_which_nothing_is_said_is_kept_open(
    wire: StartWire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_proxy: bool,  # noqa: FBT001  # of pytest
) -> None:
    server = wire({PING: answering(200, {})})
    if has_proxy:
        monkeypatch.setenv("http_proxy", server.url)
    seen: list[tuple[int, ...]] = []
    real = socket.socket.setsockopt

    def note(self: socket.socket, *option: int) -> None:
        seen.append(option)
        real(self, *option)

    monkeypatch.setattr(socket.socket, "setsockopt", note)
    send(make_transport("http://127.0.0.9:1" if has_proxy else server.url), "upload", tmp_path)
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in seen
    assert (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60) in seen
