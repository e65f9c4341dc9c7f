"""What these tests share: servers that break connections, and no proxy unless a test sets one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import Runner, let_all_pass
from tests.support.comments import TOKEN, StartForge
from tests.support.faults.stage import Stage
from tests.support.forge import WORKFLOW, Account, ForgeServer
from tests.support.scripted_server import Request, ScriptedServer, Serve, Step, described
from tests.support.wire_server import Handler, StartWire, WireServer

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the proxies and certificates of the machine the tests run on."""
    for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wire() -> Iterator[StartWire]:
    """Return a function that starts servers with a handler for each route."""
    started: list[WireServer] = []

    def start(handlers: Mapping[str, Handler]) -> WireServer:
        started.append(WireServer(handlers).__enter__())
        return started[-1]

    yield start
    for server in started:
        server.__exit__()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts servers that answer backtests."""
    with ExitStack() as stack:

        def start(answer: Callable[[Request], Step]) -> ScriptedServer:
            openapi = described("environment")
            server = ScriptedServer({"POST /model/backtest": answer, "GET /openapi.json": openapi})
            return stack.enter_context(server)

        yield start


@pytest.fixture
def forge() -> Iterator[StartForge]:
    """Return a function that starts forges; `account` is whose token it is."""
    started: list[ForgeServer] = []

    def start(account: Account = WORKFLOW, **options: Any) -> ForgeServer:
        server = ForgeServer(accounts={TOKEN: account}, **options)
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return a platform and a forge, and what runs the action through faults on the way there."""
    root = let_all_pass(tmp_path_factory.mktemp("stage"))
    with Stage(Runner(root), root / "data") as opened:
        yield opened
