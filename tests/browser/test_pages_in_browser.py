"""Every page that there is, in a browser: each new one is looked at without anything to do here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from deploy_action.platform.web.routes import ROUTES
from tests.browser.conftest import Browse
from tests.support.browser import Device, Window
from tests.support.showcase import TOKEN, Showcase
from tests.support.visitor import Visitor
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow
LOOKS = [
    pytest.param(device, is_dark, id=f"{device.name.lower()}-{'dark' if is_dark else 'light'}")
    for device, is_dark in [(Device.DESK, True), (Device.TELEPHONE, False)]
]
# Whose overviews are looked at, and whose other pages are.
STATES = ("screener", "failing", "stopped", "finished", "restarting", "failed", "next", "preparing")
# Of a group of radio buttons, one gets the focus.
_CONTROLS = "a[href], button, input:not([type=radio]), select, textarea, summary"
_COUNT_USABLE = """
all => all.filter(one => {
  const {width, height} = one.getBoundingClientRect();
  const isVisible = width > 0 && height > 0 && one.checkVisibility({visibilityProperty: true});
  return isVisible && !one.matches(':disabled');
}).length
"""
_KINDS = ["h1", "h2", "nav a", "form button", "form", "th"]
_TEXTS = """
kinds => Object.fromEntries(kinds.map(
  kind => [kind, [...document.querySelectorAll(kind)].map(one => one.innerText)]))
"""
MISSING = "/none/overview"
MODELS = ("cross", "idea", "hostile", "hostile-screener")


# What has to be asked for on a page, or makes it another one.
QUERIES = {
    "/auth/signin": ["redirectUrl=/deploy"],
    "/": ["", "name=o&state=running"],
    "/{project}/{model}/log": ["", "search=e", "err=1"],
    "/{project}/{model}/backtests/compare": ["a={backtest}&b={backtest}", "a={first}&b={backtest}"],
}


def _paths(showcase: Showcase) -> Iterator[str]:
    """Yield the paths of all pages, of models in every state."""
    for route in ROUTES:
        if route.method != "GET" or route.path.startswith("/static/"):
            continue
        names = ["cross"]
        if "{model}" in route.path:
            names = [*MODELS, *(STATES if route.path.endswith("/overview") else ())]
        for name, query in product(names, QUERIES.get(route.path, [""])):
            path = f"{route.path}?{query}" if query else route.path
            yield path.format(**_parts(showcase, name))


def _parts(showcase: Showcase, name: str) -> dict[str, str]:
    """Return what stands in the paths of a model; `none` where it has none of that."""
    project, model = showcase.live.user_id, showcase.models[name]
    with showcase.live.parts.store.snapshot() as snapshot:
        orders = [str(one.number) for one in snapshot.reports.latest(project, model, "order", 1)]
    backtests = showcase.backtests[name] or ["none"]
    return {
        "project": project,
        "model": model,
        "version": (showcase.versions[name] or ["none"])[-1],
        "backtest": backtests[-1],
        "first": backtests[0],
        "order": (orders or ["none"])[0],
    }


@pytest.fixture(scope="module")
def pages(showcase: Showcase) -> list[str]:
    """Return the paths that answer with a page, and not with a file or another address."""
    visitor, found = Visitor(showcase.url), []
    visitor.sign_in(TOKEN)
    for path in _paths(showcase):
        with visitor.session.get(
            f"{showcase.url}{path}", stream=True, allow_redirects=False, timeout=PATIENCE
        ) as answer:
            is_page = answer.headers.get("content-type", "").startswith("text/html")
            if is_page and answer.status_code == 200:
                found.append(path)
    return [*found, f"/{showcase.live.user_id}{MISSING}"]


def _open_each(window: Window, pages: list[str]) -> Iterator[str]:
    """Open every page, and yield its path."""
    window.sign_in(TOKEN)
    window.allowed.append(MISSING)
    for path in pages:
        window.open(path)
        yield path


@pytest.mark.parametrize(("device", "is_dark"), LOOKS)
def test_pages_are_accessible_and_fit(
    showcase: Showcase, pages: list[str], browse: Browse, device: Device, *, is_dark: bool
) -> None:
    window: Window = browse(showcase.url, device, is_dark=is_dark)
    window.open("/login")
    window.assert_accessible()
    window.assert_fits()
    for _ in _open_each(window, pages):
        window.unfold()
        window.assert_accessible()
        window.assert_fits()
        window.assert_harmless()


def test_pages_work_without_scripts(showcase: Showcase, pages: list[str], browse: Browse) -> None:
    """They show the same headings, links and buttons; charts are described by tables."""
    window, bare = browse(showcase.url), browse(showcase.url, has_scripts=False)
    bare.sign_in(TOKEN)
    bare.allowed.append(MISSING)
    for path in _open_each(window, pages):
        bare.open(path)
        shown, shown_bare = (
            {kind: {" ".join(text.split()) for text in texts} for kind, texts in found.items()}
            for found in (each.page.evaluate(_TEXTS, _KINDS) for each in (window, bare))
        )
        for kind in _KINDS:
            assert shown[kind] - shown_bare[kind] - {""} == set(), (path, kind)


def test_pages_are_reached_by_the_keyboard(
    showcase: Showcase, pages: list[str], browse: Browse
) -> None:
    """Every control gets the focus, which is seen, and nothing keeps it."""
    window: Window = browse(showcase.url)
    for path in _open_each(window, pages):
        controls = window.page.locator(_CONTROLS).evaluate_all(_COUNT_USABLE)
        reached = window.tab_through(controls)
        for found in reached:
            assert found["outline"] >= 1, (path, found)
            assert found["isShown"], (path, found)
        assert len(reached) >= controls, (path, reached)


@pytest.mark.parametrize("server", ["bots", "the-server-with-a-very-long-name.example.com"])
def test_the_header_is_one_row_on_a_telephone(
    showcase: Showcase, browse: Browse, server: str
) -> None:
    window: Window = browse(showcase.url, Device.TELEPHONE)
    window.sign_in(TOKEN)
    window.open("/")
    window.page.locator(".site .server").evaluate("(one, name) => one.textContent = name", server)
    header = window.page.locator(".site")
    parts = header.locator(".server, a:visible, button")
    boxes = [box for one in parts.all() if (box := one.bounding_box())]

    assert len(boxes) == 5  # the server's name, three pages, and the way out
    assert all(box["width"] >= 20 for box in boxes)
    assert max(box["y"] for box in boxes) < min(box["y"] + box["height"] for box in boxes)
    assert all(one["x"] + one["width"] <= other["x"] for one, other in pairwise(boxes))
    window.assert_fits()


def test_the_lists_are_cards_on_a_telephone(showcase: Showcase, browse: Browse) -> None:
    """Nothing of them is beyond the edge, and an order takes a few lines."""
    window: Window = browse(showcase.url, Device.TELEPHONE)
    window.sign_in(TOKEN)
    for path in ("backtests", "overview"):
        window.open(showcase.path("cross", path))
        assert _wider_than_shown(window) == []
    order = window.page.locator("#orders tbody tr").first
    brief = [order.locator(f'[data-label="{name}"]') for name in ("Side", "Amount", "Symbol")]
    boxes = [one.bounding_box() for one in brief]
    assert len({round(box["y"]) for box in boxes if box}) == 1
    assert all(one.is_visible() for one in brief)
    assert not [text for text in order.locator("td:visible").all_inner_texts() if text == "–"]  # noqa: RUF001  # a dash


def test_the_table_of_profit_fits_on_a_desk(showcase: Showcase, browse: Browse) -> None:
    window: Window = browse(showcase.url)
    window.sign_in(TOKEN)
    window.page.set_viewport_size({"width": 1280, "height": 900})
    window.open(showcase.path("cross", "overview"))
    assert _wider_than_shown(window) == []


def _wider_than_shown(window: Window) -> list[str]:
    """Return the labels of the tables that are cut off at an edge."""
    found: list[str] = window.page.locator(".scroll").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"
    )
    return found


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_table_with_more_beside_it_has_a_shadow_there(
    showcase: Showcase, browse: Browse, *, is_dark: bool
) -> None:
    """Without a script; at an end there is none, nor on a table that fits."""
    window: Window = browse(showcase.url, Device.TELEPHONE, is_dark=is_dark)
    window.sign_in(TOKEN)
    window.open(showcase.path("cross", "backtests/history"))
    table = window.page.locator(".scroll")
    assert _shadows(window, table) == (False, True)
    table.evaluate("one => one.scrollLeft = 1e6")
    assert _shadows(window, table) == (True, False)
    table.evaluate("one => one.scrollLeft = one.scrollLeft / 2")
    assert _shadows(window, table) == (True, True)
    window.page.set_viewport_size({"width": 1200, "height": 900})
    assert _shadows(window, table) == (False, False)


@pytest.mark.parametrize("device", [Device.DESK, Device.TELEPHONE])
def test_the_history_has_an_axis_with_values_beside_the_picture(
    showcase: Showcase, browse: Browse, device: Device
) -> None:
    window: Window = browse(showcase.url, device)
    window.sign_in(TOKEN)
    window.open(showcase.path("cross", "backtests/history?metric=final_account_value"))
    plot = window.page.locator(".plot").first
    picture = plot.locator("svg[role=img]").bounding_box()
    labels = [one.bounding_box() for one in plot.locator(".ticks text").all()]
    assert picture is not None
    assert len(labels) >= 2
    for one in labels:
        assert one is not None
        assert one["x"] >= 0
        assert one["x"] + one["width"] <= picture["x"]
        assert picture["y"] <= one["y"]
        assert one["y"] + one["height"] <= picture["y"] + picture["height"]
    assert "Final value, in USD: " in plot.locator("xpath=..").inner_text()


def _shadows(window: Window, table: Locator) -> tuple[bool, bool]:
    """Whether the left and the right edge of a table differ from the page around it."""
    shown = Image.open(io.BytesIO(table.screenshot(scale="css"))).convert("RGB")
    page = Image.open(io.BytesIO(window.page.screenshot(scale="css"))).convert("RGB")
    background, last = page.getpixel((1, 1)), shown.height - 1
    differs = [
        # Where no letter and no line is: the most frequent colour of the outermost column.
        max(shown.crop((x, 0, x + 1, last)).getcolors(last) or [])[1] != background
        for x in (0, shown.width - 1)
    ]
    return differs[0], differs[1]


def test_the_api_is_found_by_its_contents_and_unfolds(showcase: Showcase, browse: Browse) -> None:
    window: Window = browse(showcase.url, Device.TELEPHONE)
    window.sign_in(TOKEN)
    window.open("/api")
    page = window.page
    folded = page.evaluate("document.documentElement.scrollHeight")
    example = page.locator("#stop_model_kill pre")
    expect(example).to_be_hidden()
    assert example.count() == 1

    contents = page.get_by_role("navigation", name="Contents")
    contents.get_by_role("link", name="POST /model/kill").click()
    expect(example).to_be_visible()
    expect(page.get_by_role("heading", name="POST /model/kill")).to_be_in_viewport()
    page.go_back()
    page.locator("#describe_model_details summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#describe_model_details pre")).to_be_visible()

    window.click("Unfold all")
    assert page.locator("details.route:not([open])").count() == 0
    assert page.evaluate("document.documentElement.scrollHeight") > 3 * folded
    window.assert_fits()
