"""The summaries in a real browser: what counts is what a reader sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_action.document import to_markdown
from deploy_action.summary import build_comment, build_summary
from tests.browser.decisions import decisions
from tests.browser.page import is_missing, measure
from tests.browser.records import backtests, records

pytestmark = pytest.mark.skipif(bool(is_missing()), reason=is_missing())

TELEPHONE, DESK = 390, 1012
RUNS = {**records(), **backtests()}
RESULTS = set(backtests())
DECISIONS = decisions()
ONE_CURVE = {"identical", "nothing changes", "same bundle", "absent", "base failed"}
ONE_CURVE |= {"no more trades", "other asset"}
ORANGE, BLUE = "rgb(209, 122, 34)", "rgb(47, 129, 247)"
CHARTS = {"no trades": 1, "no fills": 1, "no values": 0}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("width", "theme"), [(TELEPHONE, "dark"), (DESK, "light")])
def test_a_summary_fits_its_page(name: str, width: int, theme: str, tmp_path: Path) -> None:
    """Only tables and blocks of code scroll sideways; the facts show, and the files are folded.

    Charts are drawn, no label of theirs is cut off or lies on another.
    """
    markdown = to_markdown(build_summary(RUNS[name]))

    seen = measure(markdown, tmp_path, width=width, theme=theme)

    assert seen["window"] == width
    assert seen["page"] == width
    assert seen["wide"] == []
    assert seen["rows"] >= (6 if name in RESULTS else 7)
    for chart in seen["charts"]:
        assert (chart["error"], chart["touching"], chart["cut"]) == (False, [], [])
    assert len(seen["charts"]) == CHARTS.get(name, 2 if name in RESULTS else 0)
    assert all(height > 100 for height in seen["tables"])
    if name != "failed":
        assert seen["opened"] > seen["closed"] + 100


@pytest.mark.parametrize("name", decisions())
@pytest.mark.parametrize(("width", "theme"), [(TELEPHONE, "dark"), (DESK, "light")])
def test_gates_and_comparisons_fit_a_page(
    name: str, width: int, theme: str, tmp_path: Path
) -> None:
    """Also with long names and large amounts; both curves are drawn, each in its colour."""
    record = DECISIONS[name]
    markdown = to_markdown(build_comment(record, "https://forge.example/trader/models/runs/1"))

    seen = measure(markdown, tmp_path, width=width, theme=theme)

    assert seen["page"] == width
    assert seen["wide"] == []
    assert len(seen["charts"]) == 2
    for chart in seen["charts"]:
        assert (chart["error"], chart["touching"], chart["cut"]) == (False, [], [])
        assert all(line["is_inside"] for line in chart["lines"])
        colours = [line["colour"] for line in chart["lines"]]
        assert colours == ([ORANGE, BLUE] if "🔵 now, 🟠 base" in markdown else colours[:1])
    assert ("🔵 now" in markdown) == (name not in ONE_CURVE)


def test_gates_and_changes_need_no_scrolling_on_a_telephone(tmp_path: Path) -> None:
    """What came of each gate, and which way each metric went, is seen at once."""
    markdown = to_markdown(build_summary(DECISIONS["stopped"]))

    seen = measure(markdown, tmp_path, width=TELEPHONE, theme="light")

    assert seen["scrolled"][:2] == [0, 0]


def test_what_is_too_wide_is_found(tmp_path: Path) -> None:
    """The measure bites: a line wider than the page is named."""
    seen = measure(
        "| a |\n|---|\n\n<hr width=600>",
        tmp_path,
        width=TELEPHONE,
        theme="dark",
    )

    assert len(seen["wide"]) == 1
    assert seen["page"] > TELEPHONE
