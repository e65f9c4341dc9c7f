"""Windows of a browser, each with its own cookies, on servers with pages."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import let_all_pass
from tests.support.browser import Window, is_missing, open_window, running_browser
from tests.support.scripted_live_server import LivePlatform, ServerParts
from tests.support.showcase import Showcase, showing
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Browse = Callable[..., Window]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return a browser for the tests of a module: later ones need this thread's event loop."""
    if missing := is_missing():
        pytest.skip(missing)
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE * 1000)
    with running_browser() as browser:
        yield browser


@pytest.fixture
def browse(chromium: Browser) -> Iterator[Browse]:
    """Return a function that opens windows as `open_window` does; nothing may go wrong in one."""
    windows: list[Window] = []

    def browse(url: str, *arguments: Any, **options: Any) -> Window:
        windows.append(open_window(chromium, url, *arguments, **options))
        return windows[-1]

    yield browse
    for window in windows:
        window.context.close()
    faults = [fault for window in windows for fault in window.faults]
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def showcase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showcase]:
    """Return a server with models in many states, which the tests of a module share."""
    with showing(let_all_pass(tmp_path_factory.mktemp("showcase")) / "data") as showcase:
        yield showcase


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LivePlatform]:
    """Return a server that runs models on a scripted host, for tests that change something."""
    with ServerParts(tmp_path / "data", secrets.token_hex(16)) as server:
        yield LivePlatform.of(server)
        assert server.errors == []
