"""The picture of the pages in the documentation shows what they say today."""

from __future__ import annotations

from pathlib import Path

from tests.support.showcase import showing
from tools.picture import shown_by
from tools.picture_of_pages import PICTURE, text_of_pages


def test_the_picture_of_the_pages_is_true(tmp_path: Path) -> None:
    """Their words: how they look is not compared."""
    with showing(tmp_path / "data", is_hostile=False) as showcase:
        today = text_of_pages(showcase)
    assert shown_by(PICTURE) == today, "draw it again: make picture"
