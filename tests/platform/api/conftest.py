"""HTTP servers for any application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.server import HttpServer

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Serve = Callable[["ASGIApp", Limits], HttpServer]


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def serve(errors: list[str]) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(app: ASGIApp, limits: Limits) -> HttpServer:
            server = HttpServer(("127.0.0.1", 0), app, errors.append, limits)
            server.start()
            stack.callback(server.close)
            return server

        yield start
