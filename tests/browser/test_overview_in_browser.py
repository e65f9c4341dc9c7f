"""The page of a model in a browser: it follows what happens, and leaves alone what is in use."""

from __future__ import annotations

import pytest

from deploy_action.platform.storage.records import State
from tests.browser.conftest import Browse
from tests.support.browser import Device
from tests.support.scripted_live_server import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_the_page_follows_what_happens_and_leaves_alone_what_is_unfolded(
    live: LivePlatform, browse: Browse
) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    event = {"type": "signal", "annotation": "Crossed", "args": "unfolded"}
    live.instance.report("report", kind="live/event", fields=event)
    wait_for(lambda: "signal" in str(live.details(model_id)["events"]))
    window = browse(live.parts.url, Device.TELEPHONE)
    window.sign_in(live.refresh_token)
    window.open(f"/{live.user_id}/{model_id}/overview")
    page = window.page
    page.get_by_text("What the model added").click()
    page.get_by_text("Stop…").click()
    page.evaluate("document.activeElement.blur()")
    button = page.get_by_role("button", name="Stop", exact=True)
    button.wait_for()

    fields = {"symbol": "OAK-USD", "id": "1", "side": "sell", "size": 1, "exchange": "kraken"}
    live.instance.report("report", kind="live/event", fields={"type": "another"})
    live.instance.report("report", kind="live/spot-market", fields=fields)
    page.locator("#orders").get_by_text("OAK-USD").wait_for()

    assert page.get_by_text("unfolded").is_visible()
    assert button.is_visible()
    button.click()
    page.locator("#state").get_by_text("Stopped", exact=True).wait_for()
    live.wait_for_state(model_id, State.STOPPED)
    assert page.url.endswith("/overview")
    page.get_by_text("Start…").click()
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator("#state").get_by_text("Preparing", exact=True).wait_for()
    live.instance.report("started")
    page.locator("#state").get_by_text("Running", exact=True).wait_for()
