"""The windows of a backtest, as somebody looks at them while they run."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from deploy_action.platform.runs.model_run import Outcome
from tests.browser.conftest import Browse
from tests.support.backtests import DAY, START
from tests.support.browser import Device
from tests.support.scripted_live_server import LivePlatform
from tests.support.showcase import TOKEN, Showcase
from tests.support.trading_year import trading_year

pytestmark = pytest.mark.slow


def test_a_window_is_followed_from_the_whole_period_and_back(
    showcase: Showcase, browse: Browse
) -> None:
    window = browse(showcase.live.parts.url, Device.TELEPHONE)
    window.sign_in(TOKEN)
    window.open(showcase.path("cross", f"backtests/{showcase.backtests['cross'][-1]}"))

    assert "3 windows: " in window.text()
    assert "1 window without a result" in window.text()
    assert "Not all windows are here." in window.text()
    row = window.page.get_by_role("row").filter(has_text="3. 2019")
    expect(row).to_contain_text("There are no prices of OAK-USD")
    window.click("1. Spring")
    assert "This is window 1 of 4, Spring, of the backtest of the whole period" in window.text()
    window.assert_accessible()
    window.click("the backtest of the whole period")
    assert "3 windows: " in window.text()


def test_a_table_of_windows_that_run_fills_by_itself(live: LivePlatform, browse: Browse) -> None:
    runner = live.parts.runner
    runner.outcome = Outcome(
        result=json.dumps(trading_year(3, days=90)).encode(), problems=(), facts={}
    )
    model_id = live.create_model()
    whole = live.backtest(model_id, windows="1", combinations="0").json()
    window = browse(live.parts.url)
    window.sign_in(live.refresh_token)
    asked = {
        "projectId": live.user_id,
        "modelId": model_id,
        "versionId": whole["versionId"],
        "windowOf": whole["backtestId"],
        "window": "Spring",
        "windowNumber": "1",
        "type": "strategy",
        "plan": "nano",
        "pythonVersion": "3.10",
        "backtestDescription": "Window Spring",
        "backtestArgs": json.dumps({"start_date": START, "end_date": START + 90 * DAY}),
    }
    runner.gate.clear()
    window.open(f"/{live.user_id}/{model_id}/backtests/{whole['backtestId']}")
    chart = window.page.locator("[data-drawn] .chart")
    chart.evaluate("element => element.dataset.mark = 'the one that was there first'")
    with ThreadPoolExecutor(1) as threads:
        threads.submit(live.post, "/model/backtest", **asked)
        table = window.page.get_by_role("region", name="Windows", exact=True)
        expect(table).to_contain_text("no result yet: it runs", timeout=10_000)
        runner.gate.set()
        expect(table).to_contain_text("Median", timeout=10_000)
    expect(table).not_to_contain_text("no result")
    expect(table).not_to_contain_text("so far")
    expect(chart).to_have_attribute("data-mark", "the one that was there first")
