"""Pages that are open follow what happens, and say so when they cannot."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Browse
from tests.support.browser import Device, Window
from tests.support.scripted_live_server import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
ORDER = {"id": "1", "symbol": "YEW-USD", "side": "buy", "size": 3, "exchange": "alpaca"}


@pytest.fixture
def window(live: LivePlatform, browse: Browse) -> Window:
    """Return a window of somebody who is signed in."""
    window: Window = browse(live.parts.url)
    window.sign_in(live.refresh_token)
    return window


def _run(live: LivePlatform) -> tuple[str, str]:
    """Run a model; return its id, and the path of its pages."""
    model_id = live.create_model()
    live.run_a_version(model_id)
    return model_id, f"/{live.user_id}/{model_id}"


def _stop(live: LivePlatform, model_id: str) -> None:
    answer = live.post("/model/kill", projectId=live.user_id, modelId=model_id)
    assert answer.status_code == 200


def test_the_home_page_shows_new_models_and_states(live: LivePlatform, window: Window) -> None:
    first, _ = _run(live)
    window.open("/")
    window.page.locator(".badge").get_by_text("Running", exact=True).wait_for()

    _stop(live, first)
    window.page.locator(".badge").get_by_text("Stopped", exact=True).wait_for()

    _run(live)
    window.page.locator(".badge").get_by_text("Running", exact=True).wait_for()
    assert window.page.get_by_role("link", name="Golden cross").count() == 2


def test_a_model_shows_orders_and_errors_as_they_come(live: LivePlatform, window: Window) -> None:
    _, base = _run(live)
    window.open(f"{base}/overview")
    window.page.get_by_text("No order was reported.").wait_for()

    live.instance.report("report", kind="live/spot-market", fields=ORDER)
    window.page.locator("#orders").get_by_text("YEW-USD").wait_for()

    problem = {"severity": "error", "message": "KeyError: 'price'"}
    live.instance.report("callback_error", count=7, problem=problem, fails=True)
    window.page.locator("#state").get_by_text("Callbacks fail", exact=True).wait_for()


def test_a_log_follows_and_keeps_hostile_lines_as_text(live: LivePlatform, window: Window) -> None:
    """The lines that come later are written by a script, and not by the server."""
    _, base = _run(live)
    window.open(f"{base}/log")
    for number in range(3):
        line = f"<img src=x onerror=alert({number})>\u202e\x1b[31m line {number}"
        live.instance.listener.line("out", line)
        window.page.locator(".log").get_by_text(f"line {number}").wait_for()
        assert f"<img src=x onerror=alert({number})>" in window.text()

    window.assert_harmless()


def test_an_open_question_is_left_alone(live: LivePlatform, window: Window) -> None:
    """Somebody reads what a stop does; the rest of the page goes on meanwhile."""
    _, base = _run(live)
    window.open(f"{base}/overview")
    window.page.locator("summary").get_by_text("Stop…").click()

    live.instance.report("report", kind="live/spot-market", fields=ORDER)
    window.page.locator("#orders").get_by_text("YEW-USD").wait_for()

    assert window.page.get_by_role("button", name="Stop", exact=True).is_visible()


def test_what_is_unfolded_does_not_hide_news(live: LivePlatform, window: Window) -> None:
    """A list goes on while an entry of it is read, which stays as it is."""
    _, base = _run(live)
    fields = {"type": "first", "annotation": "A first event", "args": '{"why": "because"}'}
    live.instance.report("report", kind="live/event", fields=fields)
    wait_for(lambda: "A first event" in str(live.details(base.rpartition("/")[2])["events"]))
    window.open(f"{base}/overview")
    window.page.locator("#events summary").click()
    window.page.get_by_text("because").wait_for()
    window.page.evaluate("document.activeElement.blur()")

    more = {"type": "second", "annotation": "A second", "args": '{"why": "whyever"}'}
    live.instance.report("report", kind="live/event", fields=more)
    window.page.locator("#events").get_by_text("A second").wait_for()

    assert window.page.get_by_text("because").is_visible()
    assert not window.page.get_by_text("whyever").is_visible()


def test_a_model_is_stopped_by_keyboard_alone(live: LivePlatform, window: Window) -> None:
    model_id, _ = _run(live)
    window.open("/")
    for name in ("Golden cross", "Stop…"):
        window.page.get_by_text(name, exact=True).first.wait_for()
        window.tab_to(name)
        window.page.keyboard.press("Enter")
    window.tab_to("Stop")
    window.page.keyboard.press("Enter")

    window.page.locator("#state .badge").get_by_text("Stopped", exact=True).wait_for()
    assert live.live(model_id)["state"] == "stopped"
    assert live.live(model_id)["wanted"] == "stopped"


def test_a_model_is_stopped_without_scripts(live: LivePlatform, browse: Browse) -> None:
    model_id, base = _run(live)
    window: Window = browse(live.parts.url, has_scripts=False)
    window.sign_in(live.refresh_token)
    window.open(f"{base}/overview")
    window.page.locator("summary").get_by_text("Stop…").click()
    window.click("Stop")

    wait_for(lambda: live.live(model_id)["state"] == "stopped")


def test_a_page_says_how_old_it_is_when_the_server_is_gone(
    live: LivePlatform, window: Window
) -> None:
    _, base = _run(live)
    window.open(f"{base}/overview")
    window.allowed += ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]

    live.parts.http.close()

    notice = window.page.get_by_text("The server does not answer. What you see is of")
    notice.wait_for()
    window.assert_accessible()


def test_a_state_that_may_be_old_is_marked_far_down_the_page_too(
    live: LivePlatform, browse: Browse
) -> None:
    """As long as the page does not reach the server, and no longer."""
    _, base = _run(live)
    window: Window = browse(live.parts.url, Device.TELEPHONE)
    window.sign_in(live.refresh_token)
    window.open(f"{base}/versions")
    window.allowed += ["ERR_FAILED"]
    badge = window.page.locator(".version .badge")
    told = "one => getComputedStyle(one, '::after').content"
    green = badge.evaluate("one => getComputedStyle(one).backgroundColor")
    assert badge.evaluate(told) == "none"

    window.page.route("**/versions", lambda route: route.abort())
    notice = window.page.get_by_text("The server does not answer")
    notice.wait_for()
    assert " as of " in badge.evaluate(told)
    assert badge.evaluate("one => getComputedStyle(one).backgroundColor") != green
    window.page.evaluate("document.body.style.minHeight = '300vh'; scrollTo(0, 1e6)")
    window.page.locator("main").evaluate("one => one.style.minHeight = '300vh'")
    window.page.evaluate("scrollTo(0, 500)")
    expect(notice).to_be_in_viewport()
    window.assert_accessible()

    window.page.unroute("**/versions")
    notice.wait_for(state="hidden")
    assert badge.evaluate(told) == "none"
    assert badge.evaluate("one => getComputedStyle(one).backgroundColor") == green


def test_a_page_says_when_one_is_signed_out(live: LivePlatform, window: Window) -> None:
    """Such as in another window of the same browser."""
    _, base = _run(live)
    window.open(f"{base}/overview")
    other = window.context.new_page()
    other.goto(f"{window.url}/")
    other.get_by_role("button", name="Sign out").click()
    other.get_by_label("Refresh token").wait_for()
    other.close()

    window.page.get_by_text("You are signed out").wait_for()
