"""Which servers and proxies are believed: TLS with right, wrong and unknown certificates."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from deploy_action.deployment_api.retry_rules import BrokenExchangeError, NotConnectedError
from deploy_action.http import certificates
from tests.support.transports import PING, Waits, make_transport, send
from tests.support.wire_server import Connection, Handler, WireServer, answering


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate, and the file with the authority that signed it."""

    leaf: trustme.LeafCert
    authority: Path


def make_certificate(
    directory: Path, name: str = "127.0.0.1", until: datetime | None = None
) -> Certificate:
    authority = trustme.CA()
    file = directory / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return Certificate(authority.issue_cert(name, not_after=until), file)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def trust(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust its authority until the test ends, as a program does in whose environment it is."""
    monkeypatch.setattr(certificates, "_MADE", [])
    certificates.trusted_everywhere({"REQUESTS_CA_BUNDLE": str(certificate.authority)}, Path())


@contextmanager
def tls_server(certificate: Certificate) -> Iterator[WireServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.leaf.configure_cert(context)
    with WireServer({PING: answering(200, {"over": "tls"})}, tls=context) as server:
        yield server


@pytest.mark.parametrize("way", ["read", "change", "upload"])
def test_an_untrusted_certificate_is_refused(
    certificate: Certificate, tmp_path: Path, way: str
) -> None:
    waits = Waits()
    with tls_server(certificate) as server:
        with pytest.raises(NotConnectedError) as caught:
            send(make_transport(server.url, waits), way, tmp_path)
        assert server.seen == []
    assert waits.seconds == []
    assert not caught.value.may_have_acted
    (problem,) = caught.value.problems
    assert (
        "its certificate is not trusted (unable to get local issuer certificate)" in problem.message
    )
    assert "in the variable `REQUESTS_CA_BUNDLE`" in problem.hint


@pytest.mark.parametrize(
    ("name", "until", "hint"),
    [
        ("127.0.0.1", datetime(2020, 1, 1, tzinfo=UTC), "has expired"),
        ("127.0.0.2", None, "address that is in the certificate"),
    ],
)
def test_a_certificate_that_is_trusted_and_wrong_is_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    until: datetime | None,
    hint: str,
) -> None:
    """To name its authority once more would not help."""
    certificate = make_certificate(tmp_path, name, until)
    trust(certificate, monkeypatch)
    with tls_server(certificate) as server, pytest.raises(NotConnectedError) as caught:
        send(make_transport(server.url), "read", tmp_path)
    assert hint in caught.value.problems[0].hint


def test_a_certificate_authority_of_the_environment_is_trusted(
    certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Companies with their own authority name it in a variable."""
    trust(certificate, monkeypatch)
    with tls_server(certificate) as server:
        answer = send(make_transport(server.url), "upload", tmp_path)
    assert answer.json == {"over": "tls"}


@contextmanager
def plain_listener() -> Iterator[int]:
    """Answer with an error in plain HTTP, as servers answer a TLS handshake."""

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted, suppress(ConnectionError):
                accepted.recv(1 << 16)
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                accepted.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("way", ["read", "upload"])
def test_https_to_a_server_without_tls_is_explained(tmp_path: Path, way: str) -> None:
    """The scheme in `api-url` is wrong, so another try would not help."""
    waits = Waits()
    with plain_listener() as port, pytest.raises(NotConnectedError) as caught:
        send(make_transport(f"https://127.0.0.1:{port}", waits), way, tmp_path)
    assert "TLS failed, perhaps because nothing there speaks TLS" in str(caught.value)
    assert waits.seconds == []


def test_a_read_over_http_from_a_tls_server_leaves_no_doubt(certificate: Certificate) -> None:
    with tls_server(certificate) as server:
        url = server.url.replace("https://", "http://")
        with pytest.raises(BrokenExchangeError) as caught:
            make_transport(url).read("POST", "/ping", {"a": "b"})
    assert not caught.value.may_have_acted


NAME = "server.example"
TUNNEL = f"CONNECT {NAME}:443"
NO_TLS = "none"


def tunnel_to(port: int) -> Handler:
    """Return what a proxy does that connects everybody to one server."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def handle(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as onward:
            back = threading.Thread(target=pump, args=(onward, connection.socket), daemon=True)
            back.start()
            pump(connection.socket, onward)
            back.join()

    return handle


@pytest.mark.parametrize("of_proxy", [NO_TLS, "right", "other name", "unknown"])
@pytest.mark.parametrize("of_server", ["right", "other name", "unknown"])
def test_through_a_proxy_both_certificates_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_proxy: str, of_server: str
) -> None:
    """The token is sent only if both are right, and the proxy never sees it."""
    known, unknown = trustme.CA(), trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setattr(certificates, "_MADE", [])
    certificates.trusted_everywhere({"SSL_CERT_FILE": "authority.pem"}, tmp_path)

    def settings(kind: str, name: str) -> ssl.SSLContext | None:
        if kind == NO_TLS:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = unknown if kind == "unknown" else known
        authority.issue_cert("other.example" if kind == "other name" else name).configure_cert(
            context
        )
        return context

    waits = Waits()
    with ExitStack() as stack:
        server = stack.enter_context(
            WireServer({PING: answering(200, {"over": "tls"})}, tls=settings(of_server, NAME))
        )
        proxy = stack.enter_context(
            WireServer({TUNNEL: tunnel_to(server.port)}, tls=settings(of_proxy, "127.0.0.1"))
        )
        monkeypatch.setenv("https_proxy", proxy.url)
        transport = make_transport(f"https://{NAME}", waits)
        if of_server == "right" and of_proxy in {NO_TLS, "right"}:
            assert send(transport, "change", tmp_path).json == {"over": "tls"}
            assert "token" in server.seen[0].headers
        else:
            with pytest.raises(NotConnectedError, match="its certificate is not trusted") as caught:
                send(transport, "change", tmp_path)
            first_bad = of_server if of_proxy in {NO_TLS, "right"} else of_proxy
            asks_for_authority = "`REQUESTS_CA_BUNDLE`" in caught.value.problems[0].hint
            assert asks_for_authority == (first_bad == "unknown")
            assert server.seen == []
    assert waits.seconds == []
    assert len(proxy.seen) == (of_proxy in {NO_TLS, "right"})
    assert all("token" not in connection.headers for connection in proxy.seen)
