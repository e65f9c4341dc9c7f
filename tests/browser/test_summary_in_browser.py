"""The summaries in a real browser: what counts is what a reader sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_action.document import to_markdown
from deploy_action.summary import build_summary
from tests.browser.page import browser, measure
from tests.browser.records import records

pytestmark = pytest.mark.skipif(browser() is None, reason="Chromium is not installed")

TELEPHONE, DESK = 390, 1012


@pytest.mark.parametrize("name", records())
@pytest.mark.parametrize(("width", "theme"), [(TELEPHONE, "dark"), (DESK, "light")])
def test_a_summary_fits_its_page(name: str, width: int, theme: str, tmp_path: Path) -> None:
    """Only tables and blocks of code scroll sideways; the facts show, and the files are folded."""
    markdown = to_markdown(build_summary(records()[name]))

    seen = measure(markdown, tmp_path, width=width, theme=theme)

    assert seen["window"] == width
    assert seen["page"] == width
    assert seen["wide"] == []
    assert seen["rows"] >= 7
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
