"""The page that a run leaves behind, opened from disk as somebody would who got it in a mail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from deploy_action.errors import Problem, Severity
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.html_page import Written, build_page
from tests.browser.conftest import Browse
from tests.support.backtests import raw_result
from tests.support.browser import Device, Window
from tests.support.outcomes import a_backtest, backtests, orders, wave, with_problems, with_runs_on

pytestmark = pytest.mark.slow
LOOKS = [
    pytest.param(device, is_dark, id=f"{device.name.lower()}-{'dark' if is_dark else 'light'}")
    for device in Device
    for is_dark in (False, True)
]
ATTACK: Final = (
    "</script></style></title></pre></code><script>alert('ran')</script>"
    "<img src=http://127.0.0.1:9/x onerror=alert('ran')><iframe srcdoc='<script>1</script>'>"
    "<a href=\"javascript:alert('ran')\">here</a>{{ 7 * 7 }}<!-- \u202e"
)


def opened(
    browse: Browse, folder: Path, outcome: RunOutcome, *arguments: object, **options: object
) -> Window:
    """Write the page of a run, and open it from disk."""
    path = folder / "page.html"
    path.write_text(build_page(outcome, Written(1.7e9, "backtest-1.json")), encoding="utf-8")
    return reopened(browse, path, *arguments, **options)


def reopened(browse: Browse, path: Path, *arguments: object, **options: object) -> Window:
    window = browse(path.parent.as_uri(), *arguments, **options)
    window.page.on("request", lambda request: requests.append(request.url))
    requests: list[str] = []
    window.open("/page.html")
    assert requests == [path.as_uri()], "the page loads something"
    return window


@pytest.mark.parametrize(("device", "is_dark"), LOOKS)
def test_it_is_accessible_and_fits(
    browse: Browse, tmp_path: Path, device: Device, *, is_dark: bool
) -> None:
    for name in ("gain", "sweep with failures", "windows", "nasty", "no values"):
        window = opened(browse, tmp_path, backtests()[name], device, is_dark=is_dark)
        window.assert_accessible()
        window.assert_fits()


def test_the_charts_are_drawn_from_what_is_in_the_file(browse: Browse, tmp_path: Path) -> None:
    window = opened(browse, tmp_path, backtests()["gain"])
    window.page.locator("[data-drawn] canvas").first.wait_for()
    legend = window.page.locator(".legend").inner_text()
    assert all(name in legend for name in ("momentum", "Holding", "Drawdown", "OAK-USD"))


def test_without_scripts_all_figures_are_there(browse: Browse, tmp_path: Path) -> None:
    window = opened(browse, tmp_path, backtests()["gain"], has_scripts=False)
    text = window.text()
    assert "The charts need JavaScript" in text
    assert "+53.02%" in text


def test_round_trips_are_sorted_by_a_click(browse: Browse, tmp_path: Path) -> None:
    window = opened(browse, tmp_path, backtests()["gain"])
    gains = window.page.locator("table[data-sortable] tbody td:first-child")
    by_gain = window.page.get_by_role("button", name="Gain")
    by_gain.click()
    assert gains.first.inner_text() == "+1.87"
    by_gain.click()
    assert gains.first.inner_text() == "−23.30"  # noqa: RUF001  # as numbers are written


def test_ten_thousand_trades_can_be_unfolded_and_sorted(browse: Browse, tmp_path: Path) -> None:
    window = opened(browse, tmp_path, backtests()["large"])
    title = window.page.get_by_text("All 5,000 round trips")
    title.click()
    rows = window.page.locator("details").filter(has=title).locator("tbody tr")
    assert rows.count() == 5_000
    before = rows.first.inner_text()
    window.click("Gain")
    assert rows.count() == 5_000
    assert rows.first.inner_text() != before


def hostile() -> RunOutcome:
    """Return a run in which everybody who may write something writes an attack."""
    raw = raw_result(
        wave(40),
        orders(30, symbol=ATTACK, type=ATTACK),
        quote_asset=ATTACK,
        exchange=ATTACK,
        symbols=[ATTACK],
    )
    raw["metrics"][ATTACK] = {"value": 1.0, "display_name": ATTACK, "type": ATTACK}
    raw["metrics"]["sharpe"]["value"] = ATTACK
    known = a_backtest(
        raw,
        model={"name": ATTACK, "description": ATTACK, "commit_url": f"javascript:{ATTACK}"},
        target={"url": "javascript:alert('ran')"},
        backtests={"backtest_id": ATTACK},
    )
    known = with_runs_on(known, arguments={ATTACK: ATTACK})
    problem = Problem(message=f"The model said {ATTACK}", hint=ATTACK, path=ATTACK, line=3)
    return with_problems(known, replace(problem, severity=Severity.WARNING), problem)


def test_what_others_wrote_neither_runs_nor_loads_anything(browse: Browse, tmp_path: Path) -> None:
    """A dialog, a request or a refusal by the page's own policy would fail this test."""
    window = opened(browse, tmp_path, hostile())
    window.page.locator("[data-drawn]").first.wait_for()
    for tag in ("img", "iframe", "[onerror]", "a[href^='javascript']"):
        assert window.page.locator(tag).count() == 0, tag
    scripts = window.page.locator("script:not([type='application/json'])")
    assert scripts.count() == 3
    text = window.text()
    assert "<script>alert('ran')</script>" in text
    assert "{{ 7 * 7 }}" in text
    assert "\\u202e" in text
    window.assert_fits()


def test_the_policy_refuses_what_was_put_into_the_file_later(
    browse: Browse, tmp_path: Path
) -> None:
    """Should our escaping ever fail, nothing runs and nothing is loaded."""
    path = tmp_path / "page.html"
    page = build_page(backtests()["gain"], Written(1.7e9, "backtest-1.json"))
    added = (
        "<script>document.title = 'ran'</script><h1 onclick=\"document.title = 'ran'\">x</h1>"
        "<img src='http://127.0.0.1:9/x'><style>h1 { display: none }</style>"
    )
    path.write_text(page.replace("<main", f"{added}<main", 1), encoding="utf-8")
    window = browse(tmp_path.as_uri())
    window.allowed += ["security policy", "Content Security Policy", "http://127.0.0.1:9/x"]
    refused: list[str | None] = []
    window.page.on("requestfailed", lambda request: refused.append(request.failure))
    window.open("/page.html")
    window.page.locator("h1").first.click()
    assert window.page.title().startswith("Backtest of momentum")
    assert refused == ["csp"]
    window.page.locator("[data-drawn] canvas").first.wait_for()
