"""Running platforms."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.server import PlatformServer
from tests.support.platform_client import Clock, Platform
from tests.support.scripted_live_server import LivePlatform, ServerParts
from tests.support.scripted_runner import ScriptedRunner

StartPlatform = Callable[..., Platform]


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def start_platform(tmp_path: Path, clock: Clock) -> Iterator[StartPlatform]:
    """Return a function that starts platforms, by default all on one data directory."""
    refresh_token = secrets.token_hex(16)
    with ExitStack() as stack:

        def start(
            *,
            strict: bool = True,
            data: Path = tmp_path / "data",
            running: BacktestSettings | None = None,
            live: LiveSettings | None = None,
        ) -> Platform:
            errors: list[str] = []
            server = PlatformServer(
                data,
                refresh_token=refresh_token,
                strict=strict,
                clock=clock,
                on_error=errors.append,
                running=running or BacktestSettings(runner=ScriptedRunner()),
                live=live,
            )
            stack.enter_context(server)
            platform = Platform(server, data, refresh_token, clock, errors)
            platform.sign_in()
            return platform

        yield start


@pytest.fixture
def platform(start_platform: StartPlatform) -> Iterator[Platform]:
    """Return a strict platform; no request may cause a server error."""
    running = start_platform()
    yield running
    assert running.errors == []


@pytest.fixture
def lenient(start_platform: StartPlatform) -> Iterator[Platform]:
    """Return a platform that creates what is named; no request may cause a server error."""
    running = start_platform(strict=False)
    yield running
    assert running.errors == []


@pytest.fixture
def live(tmp_path: Path, clock: Clock) -> Iterator[LivePlatform]:
    """Return a strict platform that runs models on a scripted host."""
    with ServerParts(tmp_path / "data", secrets.token_hex(16), clock=clock) as server:
        yield LivePlatform.of(server)
        assert server.errors == []
        assert server.host.twice == []
