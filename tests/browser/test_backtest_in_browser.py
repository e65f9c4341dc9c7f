"""What scripts do on the page of a backtest: charts that are used by mouse, keys and fingers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import expect

from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.pages.assets import assets
from deploy_action.pages.charts import chart_data
from deploy_action.pages.rendering import to_json
from deploy_action.platform.runs.model_run import Outcome
from tests.browser.conftest import Browse
from tests.support.backtests import DAY, START, a_market, a_result, an_order, raw_result
from tests.support.browser import Device, Window
from tests.support.scripted_live_server import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
LEGEND, STATUS, SLIDER = ".charts .legend", ".charts p[role=status]", ".charts input[type=range]"
BARS = 2_000


def a_wave(orders: int, symbols: tuple[str, ...] = ("OAK-USD",)) -> dict[str, Any]:
    """Return a long result with so many orders of each symbol."""
    prices = {
        one: [100.0 + (bar + at) % 50 for bar in range(BARS)] for at, one in enumerate(symbols)
    }
    trades = [
        an_order(
            "sell" if number % 2 else "buy",
            1,
            None,
            symbol=symbol,
            time=float(START + DAY * (number * BARS // orders)),
        )
        for symbol in symbols
        for number in range(orders)
    ]
    values = [10_000.0 + bar % 300 for bar in range(BARS)]
    return raw_result(values, trades, market=a_market(prices))


@pytest.fixture
def show(live: LivePlatform, browse: Browse) -> Callable[..., Window]:
    """Return a function that opens the page of a backtest with this result."""

    def show(raw: dict[str, Any], *arguments: Any, **options: Any) -> Window:
        outcome = Outcome(result=json.dumps(raw).encode(), problems=(), facts={})
        live.parts.runner.outcome = outcome
        model_id = live.create_model()
        backtest_id = live.backtest(model_id).json()["backtestId"]
        window = browse(live.parts.url, *arguments, **options)
        window.sign_in(live.refresh_token)
        window.open(f"/{live.user_id}/{model_id}/backtests/{backtest_id}")
        return window

    return show


def legend(window: Window) -> str:
    return " ".join(window.page.locator(LEGEND).inner_text().split())


def test_the_charts_say_the_last_values_and_keys_go_back_in_time(
    show: Callable[..., Window],
) -> None:
    window = show(a_wave(4))

    assert window.page.locator(".charts canvas").count() > 3
    assert "2028-08-20 00:00 UTC" in legend(window)
    assert "Strategy 10,199.00 USD" in legend(window)
    slider = window.page.locator(SLIDER)
    slider.focus()
    window.page.keyboard.press("ArrowLeft")
    assert "2028-08-19 00:00 UTC" in legend(window)
    window.page.keyboard.press("Home")
    assert "2023-03-01 00:00 UTC Strategy 10,000.00 USD" in legend(window)
    assert "▲ bought 1" in legend(window)
    assert "Strategy 10,000.00 USD" in str(slider.get_attribute("aria-valuetext"))
    label = str(window.page.locator(".charts [role=img]").get_attribute("aria-label"))
    assert "from 10,000.00 to 10,199.00 USD" in label
    window.assert_accessible()


def test_the_mouse_says_the_values_below_it(show: Callable[..., Window]) -> None:
    window = show(a_wave(4))
    chart = window.page.locator(".charts .chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box

    window.page.mouse.move(box["x"] + 20, box["y"] + 50)

    expect(window.page.locator(LEGEND)).to_contain_text("2023-0")


def test_orders_without_room_are_counted_until_one_zooms_in(show: Callable[..., Window]) -> None:
    window = show(a_wave(1_000))
    status = window.page.locator(STATUS)

    assert status.inner_text() == "1,000 orders of OAK-USD are in sight: zoom in to see them."
    for _ in range(3):
        window.click("Zoom in")
    expect(window.page.locator(STATUS)).to_have_text(re.compile("^▲"))
    window.click("Whole period")
    expect(window.page.locator(STATUS)).to_have_text(re.compile("^1,000"))


def test_one_chooses_the_symbol_whose_price_is_drawn(show: Callable[..., Window]) -> None:
    window = show(a_wave(10, ("OAK-USD", "ELM-USD")))
    assert "OAK-USD 149.00 USD" in legend(window)

    window.page.get_by_label("Price of").select_option("ELM-USD (10 orders)")

    assert "ELM-USD 100.00 USD" in legend(window)
    assert window.page.locator(STATUS).inner_text() == "▲ bought, ▼ sold ELM-USD."


def brightness(window: Window) -> float:
    """Return that of the first pixel of the chart, from 0 to 255."""
    found: float = window.page.evaluate(
        "document.querySelector('.charts canvas').getContext('2d').getImageData(5, 5, 1, 1).data[0]"
    )
    return found


def test_the_charts_follow_the_colours_of_the_system(show: Callable[..., Window]) -> None:
    window = show(a_wave(4))
    window.allowed.append("willReadFrequently")
    assert brightness(window) > 200

    window.page.emulate_media(color_scheme="dark")

    wait_for(lambda: brightness(window) < 60)


_COUNT_BLUE = """
([from, to]) => {
  const canvas = document.querySelector('.charts canvas');
  const [left, width] = [from, to - from].map(share => Math.round(canvas.width * share));
  const {data} = canvas.getContext('2d').getImageData(left, 0, width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) found += data[at] < 60 && data[at + 2] > 150;
  return found;
}
"""


def test_where_the_account_has_no_number_no_line_is_drawn(show: Callable[..., Window]) -> None:
    values = [None if 30 < step < 70 else 1_000.0 + step for step in range(100)]
    window = show(raw_result(values))
    window.allowed.append("willReadFrequently")
    count = partial(window.page.evaluate, _COUNT_BLUE)

    wait_for(lambda: count([0.1, 0.25]) > 20)

    assert count([0.4, 0.6]) == 0
    assert count([0.75, 0.9]) > 20
    window.page.locator(SLIDER).fill("50")
    assert f"Strategy {NO_FIGURE} Drawdown {NO_FIGURE}" in legend(window)


class Fingers:
    """Fingers on the screen of a telephone."""

    def __init__(self, window: Window) -> None:
        self.page = window.page
        self.session = window.context.new_cdp_session(window.page)

    def move(self, *ways: tuple[tuple[float, float], tuple[float, float]], steps: int = 10) -> None:
        """Put down a finger for each way, move all along theirs, and lift them."""
        for step in range(steps + 1):
            points = [
                {
                    "id": number,
                    "x": start[0] + (end[0] - start[0]) * step / steps,
                    "y": start[1] + (end[1] - start[1]) * step / steps,
                }
                for number, (start, end) in enumerate(ways)
            ]
            self._send("touchMove" if step else "touchStart", points)
        self._send("touchEnd", [])

    def _send(self, kind: str, points: list[dict[str, float]]) -> None:
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_fingers_zoom_the_chart_and_still_scroll_the_page(show: Callable[..., Window]) -> None:
    window = show(a_wave(1_000), Device.TELEPHONE)
    fingers, page = Fingers(window), window.page
    page.evaluate("document.querySelector('.charts .chart').scrollIntoView({behavior: 'instant'})")
    box = page.locator(".charts .chart").bounding_box()
    assert box
    x, y = box["x"] + 150, box["y"] + 300
    before = page.evaluate("scrollY")

    fingers.move(((x, y), (x, y - 200)))
    wait_for(lambda: page.evaluate("scrollY") > before + 50)

    page.evaluate("document.querySelector('.charts .chart').scrollIntoView({behavior: 'instant'})")
    for _ in range(3):
        fingers.move(((x - 15, y), (x - 120, y)), ((x + 15, y), (x + 110, y)))
    expect(window.page.locator(STATUS)).to_have_text(re.compile("^▲"))
    assert page.evaluate("visualViewport.scale") == 1
    window.assert_fits()


def test_on_paper_there_is_a_picture_of_the_whole_chart(show: Callable[..., Window]) -> None:
    window = show(a_wave(4))
    picture, chart = (window.page.locator(f".charts .{name}") for name in ("paper", "chart"))
    assert picture.count() == 0

    window.page.emulate_media(media="print")
    window.page.set_viewport_size({"width": 640, "height": 900})
    window.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    box = picture.bounding_box()
    assert box
    assert 500 < box["width"] <= 640
    assert not chart.is_visible()
    window.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert picture.count() == 0


def test_a_result_without_values_has_no_charts_and_no_faults(show: Callable[..., Window]) -> None:
    window = show(raw_result(()))

    assert "There is no chart: the result has no account values." in window.text()
    assert window.page.locator(".charts canvas").count() == 0


def test_without_scripts_the_figures_are_there_and_it_is_said(show: Callable[..., Window]) -> None:
    window = show(a_wave(4), has_scripts=False)

    assert "The charts need JavaScript." in window.text()
    assert "Max drawdown" in window.text()


def test_charts_come_when_a_backtest_ends_while_one_looks(
    live: LivePlatform, browse: Browse
) -> None:
    runner = live.parts.runner
    runner.outcome = Outcome(result=json.dumps(a_wave(4)).encode(), problems=(), facts={})
    model_id = live.create_model()
    version_id = str(live.backtest(model_id).json()["versionId"])
    runner.gate.clear()
    live.post(
        "/model/backtest-uploaded-model",
        projectId=live.user_id,
        modelId=model_id,
        versionId=version_id,
        backtestArgs="{}",
        backtestDescription="",
    )
    backtest_id = live.backtests(model_id)[-1]["backtestId"]
    window = browse(live.parts.url)
    window.sign_in(live.refresh_token)
    window.open(f"/{live.user_id}/{model_id}/backtests/{backtest_id}")
    assert "It has no result yet." in window.text()

    runner.gate.set()

    window.page.wait_for_selector(".charts canvas")


def test_two_backtests_are_drawn_on_one_axis(browse: Browse, live: LivePlatform) -> None:
    window = browse(live.parts.url)
    window.open("/login")
    data = chart_data([("now", a_result((100.0, 130.0))), ("before", a_result((100.0, 90.0)))])
    window.page.evaluate(
        "html => { document.querySelector('main').innerHTML = html }",
        f'<section data-charts="c" class="charts"><h2>Both</h2>'
        f'<script type="application/json">{to_json(data)}</script></section>',
    )

    for name in ("lightweight-charts.js", "charts.js"):
        window.page.add_script_tag(url=assets()[name].url)

    window.page.wait_for_selector(".charts canvas")
    said = legend(window)
    assert "now 130.00 USD before 90.00 USD" in said
    assert "Drawdown of now 0.00% Drawdown of before \u221210.00%" in said


ROWS = [("+1,200.50", "ten"), ("\u22123.00", "two"), ("\u2013", "none"), ("+7.00", "a")]
TABLE = (
    "<table data-sortable><thead><tr><th class='number'>Gain</th><th>Name</th></tr></thead><tbody>"
    + "".join(f"<tr><td>{gain}<td>{name}" for gain, name in ROWS)
    + "</tbody></table>"
)


def test_a_table_in_a_file_is_sorted_by_a_click_and_by_keys(
    browse: Browse, live: LivePlatform
) -> None:
    window = browse(live.parts.url)
    window.open("/login")
    window.page.evaluate("html => { document.querySelector('main').innerHTML = html }", TABLE)
    window.page.add_script_tag(url=assets()["tables.js"].url)

    def column() -> list[str]:
        return re.findall(r"\S+", window.page.locator("tbody").inner_text())[1::2]

    window.click("Gain")
    assert column() == ["ten", "a", "two", "none"]
    assert window.page.locator("th").first.get_attribute("aria-sort") == "descending"
    window.click("Gain")
    assert column() == ["two", "a", "ten", "none"]
    window.tab()
    window.page.keyboard.press("Enter")
    assert column() == ["a", "none", "ten", "two"]
    assert window.page.locator("th").first.get_attribute("aria-sort") is None
