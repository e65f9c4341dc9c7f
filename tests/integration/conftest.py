"""What these tests share: servers that break connections, and no proxy unless a test sets one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.support.wire_server import Handler, WireServer

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the proxies and certificates of the machine the tests run on."""
    for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wire() -> Iterator[Callable[[Mapping[str, Handler]], WireServer]]:
    """Return a function that starts servers with a handler for each route."""
    started: list[WireServer] = []

    def start(handlers: Mapping[str, Handler]) -> WireServer:
        started.append(WireServer(handlers).__enter__())
        return started[-1]

    yield start
    for server in started:
        server.__exit__()
