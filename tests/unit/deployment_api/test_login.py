from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse

import pytest

from deploy_action.deployment_api.login import wait_for_token
from deploy_action.errors import RefusedError
from tests.support.waiting import PATIENCE

_APP = "https://app.example/"


@dataclass
class Browser:
    """Acts when it is opened, on a thread as a browser would."""

    act: Callable[[int], None]
    port: int = 0
    opened: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    refused: tuple[str, ...] = ()  # tokens of other people

    def accepts(self, token: str) -> bool:
        return token not in self.refused

    def open(self, url: str) -> bool:
        self.opened.append(url)
        threading.Thread(target=self.act, args=(self.port,)).start()
        return True

    def wait_for_token(self, timeout: float = PATIENCE) -> str:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        return wait_for_token(
            _APP,
            open_browser=self.open,
            announce=self.announced.append,
            accepts=self.accepts,
            port=self.port,
            timeout=timeout,
        )


@dataclass(frozen=True)
class Page:
    status: int
    headers: dict[str, str]
    text: str


def _request(
    port: int,
    target: str,
    *,
    method: str = "GET",
    address: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
) -> Page:
    connection = HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.putrequest(method, target, skip_host=True)
        for name, value in ({"Host": f"localhost:{port}"} | (headers or {})).items():
            connection.putheader(name, value)
        connection.endheaders()
        response: HTTPResponse = connection.getresponse()
        text = response.read().decode()
        return Page(response.status, dict(response.getheaders()), text)
    finally:
        connection.close()


def test_the_token_of_the_redirect_is_returned() -> None:
    token = secrets.token_urlsafe(40)
    pages: list[Page] = []
    browser = Browser(lambda port: pages.append(_request(port, f"/?token={token}")))
    assert browser.wait_for_token() == token
    assert browser.opened == ["https://app.example/auth/signin?redirectUrl=/deploy"]
    assert browser.opened[0] in browser.announced[0]
    assert token not in " ".join(browser.announced)


def test_the_page_says_what_to_do_and_leaks_no_token() -> None:
    """Nothing is cached, sent as a referrer, or loaded from another server."""
    token = secrets.token_urlsafe(40)
    pages: list[Page] = []
    done = threading.Event()

    def sign_in(port: int) -> None:
        pages.append(_request(port, f"/?token={token}&other=1"))
        done.set()

    Browser(sign_in).wait_for_token()
    assert done.wait(PATIENCE)
    (page,) = pages
    assert page.status == 200
    assert "Go back to the terminal" in page.text
    assert token not in page.text + str(page.headers)
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text.replace("http-equiv", "")


def test_other_requests_do_not_end_the_wait() -> None:
    """Browsers ask for an icon, users reload, and other pages may try to connect."""
    token = secrets.token_urlsafe(40)
    statuses: list[int] = []

    def browse(port: int) -> None:
        evil = {"Host": f"evil.example:{port}"}
        embedded = {"Sec-Fetch-Dest": "image"}
        attempts: list[tuple[str, str, dict[str, str]]] = [
            ("GET", "/favicon.ico", {}),
            ("GET", "/deploy?token=x", {}),
            ("GET", "/", {}),
            ("GET", "/?token=", {}),
            ("GET", "/?token=%20", {}),
            ("GET", "/?token=a%0Ab", {}),
            ("GET", "/?token=a%20b", {}),
            ("GET", "/?token=%C3%A9", {}),
            ("GET", "/?token=a&token=b", {}),
            ("GET", "/?token=" + "x" * 8193, {}),
            ("GET", "/?" + "a=1&" * 30, {}),
            ("GET", "/?token=stolen", evil),
            ("GET", "/?token=stolen", {"Host": ""}),
            ("GET", "/?token=stolen", {"Host": "localhost:1"}),
            ("GET", "/?token=stolen", embedded),
            ("GET", "/?token=stolen", {"Referer": "https://evil.example/"}),
            ("GET", "/?token=stolen", {"Referer": "https://app.example.evil.example/"}),
            ("HEAD", "/?token=stolen", {}),
            ("POST", "/?token=stolen", {}),
            ("OPTIONS", "/?token=stolen", {}),
        ]
        for method, target, headers in attempts:
            statuses.append(_request(port, target, method=method, headers=headers).status)
        _request(port, f"/?token={token}", headers={"Referer": _APP, "Sec-Fetch-Dest": "document"})

    assert Browser(browse).wait_for_token() == token
    assert statuses == [404] * 2 + [400] * 9 + [403] * 6 + [405] * 3


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_every_name_of_the_loopback_is_accepted(host: str) -> None:
    browser = Browser(
        lambda port: _ignore(_request(port, "/?token=t", headers={"Host": f"{host}:{port}"}))
    )
    assert browser.wait_for_token() == "t"


def _ignore(_: Page) -> None:
    """Take no interest in the page."""


def test_the_ipv6_loopback_is_served_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no ::1 ({error})")
    browser = Browser(lambda port: _ignore(_request(port, "/?token=t", address="::1")))
    assert browser.wait_for_token() == "t"


def test_idle_connections_cause_no_delay(capfd: pytest.CaptureFixture[str]) -> None:
    """Browsers open connections in advance."""
    idle: list[socket.socket] = []

    def browse(port: int) -> None:
        idle.extend(socket.create_connection(("127.0.0.1", port)) for _ in range(3))
        broken = socket.create_connection(("127.0.0.1", port))
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        broken.sendall(b"GET /?x HTTP/1.1\r\nHost")
        broken.close()
        _request(port, "/?token=t")

    try:
        assert Browser(browse).wait_for_token() == "t"
    finally:
        for connection in idle:
            connection.close()
    assert capfd.readouterr() == ("", "")


def test_a_browser_that_cannot_be_opened_is_no_failure() -> None:
    announced: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def cannot_open(_: str) -> bool:
        threading.Thread(target=_request, args=(port, "/?token=t")).start()
        return False

    returned = wait_for_token(
        _APP,
        open_browser=cannot_open,
        accepts=bool,
        announce=announced.append,
        port=port,
        timeout=PATIENCE,
    )
    assert returned == "t"
    assert announced[0].startswith("Open this page in a browser: https://app.example/auth/signin")


def test_a_port_in_use_is_refused_with_a_hint() -> None:
    """The sign-in page knows no other port."""
    browser = Browser(lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RefusedError, match=rf"127\.0\.0\.1 port {port}") as raised:
            wait_for_token(
                _APP,
                open_browser=browser.open,
                accepts=bool,
                announce=browser.announced.append,
                port=port,
                timeout=PATIENCE,
            )
    assert raised.value.problems[0].hint
    assert browser.opened == browser.announced == []


def test_a_port_in_use_on_ipv6_is_refused_too() -> None:
    """Another program would get the token."""
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no ::1 ({error})")
    announced: list[str] = []
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(RefusedError, match=f"port {port}"):
            wait_for_token(
                _APP,
                open_browser=lambda _: True,
                accepts=bool,
                announce=announced.append,
                port=port,
                timeout=PATIENCE,
            )
        socket.create_server(("127.0.0.1", port)).close()


def test_waiting_for_the_sign_in_ends_in_time() -> None:
    browser = Browser(lambda _: None)
    with pytest.raises(RefusedError, match=r"within 0\.1 seconds") as raised:
        browser.wait_for_token(timeout=0.1)
    assert raised.value.problems[0].hint
    socket.create_server(("127.0.0.1", browser.port)).close()


def test_the_token_of_somebody_unknown_does_not_end_the_wait() -> None:
    """Any page can send the browser to the port, with a token of its own."""

    def browse(port: int) -> None:
        _request(port, "/?token=theirs")
        _request(port, "/?token=mine")

    assert Browser(browse, refused=("theirs",)).wait_for_token() == "mine"
