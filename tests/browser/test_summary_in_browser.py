"""The summaries in a real browser: what counts is what a reader sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_action.document import to_markdown
from deploy_action.summary import build_summary
from tests.browser.page import is_missing, measure
from tests.browser.records import backtests, records

pytestmark = pytest.mark.skipif(bool(is_missing()), reason=is_missing())

TELEPHONE, DESK = 390, 1012
RUNS = {**records(), **backtests()}
RESULTS = set(backtests())
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
