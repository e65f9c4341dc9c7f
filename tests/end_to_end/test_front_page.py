"""The picture at the top of README.md shows what a run says today."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.test_backtest import platform_data  # noqa: F401  # a fixture
from tools.picture import PICTURES, make_summary, pictured, shown_by, without_commits

pytestmark = pytest.mark.xdist_group("backtest")


def test_the_picture_is_true(tmp_path: Path, platform_data: Path) -> None:  # noqa: F811  # the fixture
    today = without_commits(pictured(make_summary(tmp_path, platform_data)))
    for picture in PICTURES.values():
        shown = without_commits(shown_by(picture))
        assert shown == today, "draw it again: make picture"
