"""A page that renews itself comes to show what it shows when it is loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from deploy_action.platform.storage.records import State
from tests.browser.conftest import Browse
from tests.support.browser import Device, Window
from tests.support.scripted_live_server import LivePlatform
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
_RENEW: Final = "document.dispatchEvent(new Event('visibilitychange'))"
_TABS: Final = ("overview", "orders", "log", "versions", "backtests")
ORDER: Final = {"id": "1", "symbol": "YEW-USD", "side": "buy", "size": 3, "exchange": "alpaca"}
PROBLEM: Final = {"severity": "error", "message": "KeyError: 'price'"}
POSITION: Final = "it may hold a position: 3 YEW-USD more bought than sold"


class Open:
    """Pages that stay open, and a window in which they are loaded anew."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.pages: dict[str, Page] = {}

    def open(self, *paths: str) -> None:
        for path in paths:
            self.pages[path] = self.window.context.new_page()
            self.pages[path].goto(f"{self.window.url}{path}")

    def assert_as_loaded(self) -> None:
        """Fail if an open page does not become what it is when it is loaded again."""
        for page in self.pages.values():  # so that they renew themselves side by side
            page.evaluate(_RENEW)
        for path, page in self.pages.items():
            texts: tuple[str, str] = "", ""

            def is_as_loaded(path: str = path, page: Page = page) -> bool:
                nonlocal texts
                self.window.open(path)
                texts = self.window.page.locator("main").inner_text(), _text(page)
                page.evaluate(_RENEW)
                return texts[0] == texts[1]

            try:
                wait_for(is_as_loaded)
            except AssertionError:
                assert texts[0] == texts[1], path


def _text(page: Page) -> str:
    return page.locator("main").inner_text()


@pytest.fixture
def pages(live: LivePlatform, browse: Browse) -> Open:
    """Return pages on a telephone, of somebody who is signed in."""
    window = browse(live.parts.url, Device.TELEPHONE)
    window.sign_in(live.refresh_token)
    return Open(window)


def test_pages_that_are_open_show_what_they_show_when_they_are_loaded_again(
    live: LivePlatform, pages: Open
) -> None:
    """Whatever happens to a model: what came late, and what is gone, above all."""
    pages.open("/")
    model_id = live.create_model()
    base = f"/{live.user_id}/{model_id}"
    pages.open(*(f"{base}/{tab}" for tab in _TABS))
    pages.assert_as_loaded()

    version_id = live.run_a_version(model_id)
    pages.open(f"{base}/versions/{version_id}")
    pages.assert_as_loaded()

    _report_everything(live, model_id)
    pages.open(*_links(pages.window, f"{base}/orders"))
    pages.assert_as_loaded()

    live.parts.host.stops_at_once = False
    live.instance.report("callback_error", count=7, problem=PROBLEM, fails=True)
    wait_for(lambda: live.live(model_id)["callbacksFail"])
    pages.assert_as_loaded()

    _stop(live, model_id)
    pages.assert_as_loaded()

    live.instance.report("teardown", state="failed", problem=PROBLEM)
    live.instance.end(0)
    live.wait_for_state(model_id, State.STOPPED)
    pages.assert_as_loaded()
    assert POSITION in _text(pages.pages[f"{base}/overview"])

    _start(live, model_id, version_id)
    pages.assert_as_loaded()

    with live.backtest(model_id) as answer:
        assert answer.status_code == 200
    pages.assert_as_loaded()


def test_a_page_of_a_stopped_model_says_that_it_runs_and_nothing_else(
    live: LivePlatform, pages: Open
) -> None:
    """Somebody else starts it, while the page is open that tells what it may have left."""
    model_id = live.create_model()
    version_id = live.run_a_version(model_id)
    live.instance.report("report", kind="live/spot-market", fields=ORDER)
    wait_for(lambda: live.details(model_id)["orders"])
    _stop(live, model_id)
    live.wait_for_state(model_id, State.STOPPED)
    path = f"/{live.user_id}/{model_id}/overview"
    pages.open(path)
    assert POSITION in _text(pages.pages[path])

    _start(live, model_id, version_id)
    pages.assert_as_loaded()

    assert "Nothing of this model runs now" not in _text(pages.pages[path])


def test_what_somebody_chose_stays_chosen(live: LivePlatform, pages: Open) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    live.run_a_version(model_id)
    path = f"/{live.user_id}/{model_id}/versions"
    pages.open(path)
    page = pages.pages[path]
    page.locator("input[name=a]").first.check()
    page.evaluate("document.activeElement.blur()")

    live.run_a_version(model_id)
    page.evaluate(_RENEW)
    page.get_by_text("3 versions, the newest first").wait_for()

    assert page.locator("input[name=a]").evaluate_all("all => all.map(one => one.checked)") == [
        *(False, True, False)
    ]


def _links(window: Window, path: str) -> list[str]:
    """Return where the rows of a page's table lead to."""
    window.open(path)
    links = window.page.locator("tbody a").evaluate_all("all => all.map(one => one.pathname)")
    return list(dict.fromkeys(links))


def _stop(live: LivePlatform, model_id: str) -> None:
    answer = live.post("/model/kill", projectId=live.user_id, modelId=model_id)
    assert answer.status_code == 200


def _start(live: LivePlatform, model_id: str, version_id: str) -> None:
    number = len(live.parts.host.instances)
    fields = {"projectId": live.user_id, "modelId": model_id, "versionId": version_id}
    assert live.post("/model/run", **fields).status_code == 200
    wait_for(lambda: len(live.parts.host.instances) > number)
    live.instance.report("started")
    live.wait_for_state(model_id, State.RUNNING)


def _report_everything(live: LivePlatform, model_id: str) -> None:
    """Have a model report one of each kind."""
    for kind, fields in (
        ("live/spot-market", ORDER),
        ("live/event", {"type": "signal", "annotation": "Crossed"}),
        ("live/variable", {"name": "fast", "value": 5}),
        ("live/set-custom-metric", {"metrics": {"mood": {"value": 1, "type": "number"}}}),
        ("live/screener-result", {"result": {"screener": {"OAK": 1}, "status": "ok"}}),
        ("backtest/log", {"line": "printed", "type": "stdout"}),
        ("model/used-exchange", {"exchange": "keyless"}),
        ("account", {"exchange": "alpaca", "value": 1.0, "quote": "USD", "simulated": False,
                     "missing": [], "every": 900}),
    ):  # fmt: skip
        live.parts.reports.keep(live.user_id, model_id, kind, fields, live.clock.now)
    wait_for(lambda: len(live.details(model_id)["orders"]) == 1)  # type: ignore[arg-type]  # JSON
