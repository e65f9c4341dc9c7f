"""The summaries in a real browser, as a reader sees them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy_action.report.document import to_markdown
from deploy_action.report.summary import build_comment, build_summary
from tests.support.decisions import decisions
from tests.support.outcomes import backtests, outcomes
from tests.support.page import is_missing, measure, measure_all

pytestmark = pytest.mark.skipif(bool(is_missing()), reason=is_missing())

TELEPHONE, DESK = 390, 1012
RUNS = {**outcomes(), **backtests()}
RESULTS = set(backtests())
DECISIONS = decisions()
ONE_CURVE = {"identical", "nothing changes", "same bundle", "absent", "base failed"}
ONE_CURVE |= {"no more trades", "other asset"}
ORANGE, GREY, BLUE = "rgb(209, 122, 34)", "rgb(139, 148, 158)", "rgb(47, 129, 247)"
CHARTS = {"no fills": 1, "not computed": 1, "no values": 0, "package only": 0, "windows": 3}
CHARTS |= {"sweep with failures": 3, "sweep of one": 3}
# Heights in pixels that people see without scrolling: of a telephone, and of a window. The font of
# these pages is wider than GitHub's, so that more lines are broken than there.
FIRST_SCREENS = {TELEPHONE: 950, DESK: 1_000}


@pytest.mark.parametrize(("width", "theme"), [(TELEPHONE, "dark"), (DESK, "light")])
def test_summaries_fit_their_page(width: int, theme: str, tmp_path: Path) -> None:
    markdowns = [to_markdown(build_summary(outcome)) for outcome in RUNS.values()]
    all_seen = measure_all(markdowns, tmp_path, width=width, theme=theme)
    for name, seen in zip(RUNS, all_seen, strict=True):
        assert seen["window"] == width, name
        assert seen["page"] == width, name
        assert seen["wide"] == [], name
        assert seen["rows"] >= (6 if name in RESULTS else 7), name
        for chart in seen["charts"]:
            assert (chart["error"], chart["touching"], chart["cut"]) == (False, [], []), name
        assert len(seen["charts"]) == CHARTS.get(name, 2 if name in RESULTS else 0), name
        assert all(height > 100 for height in seen["tables"]), name
        if name != "failed":
            assert seen["opened"] > seen["closed"] + 100, name


@pytest.mark.parametrize(("width", "theme"), [(TELEPHONE, "dark"), (DESK, "light")])
def test_gates_and_comparisons_fit_a_page(width: int, theme: str, tmp_path: Path) -> None:
    page = "https://forge.example/trader/models/runs/1"
    markdowns = [to_markdown(build_comment(outcome, page)) for outcome in DECISIONS.values()]

    all_seen = measure_all(markdowns, tmp_path, width=width, theme=theme)

    for name, markdown, seen in zip(DECISIONS, markdowns, all_seen, strict=True):
        assert seen["page"] == width, name
        assert seen["wide"] == [], name
        assert len(seen["charts"]) == 2, name
        for chart in seen["charts"]:
            assert (chart["error"], chart["touching"], chart["cut"]) == (False, [], []), name
            assert all(line["is_inside"] for line in chart["lines"]), name
            colours = [line["colour"] for line in chart["lines"]]
            curves = [
                *([ORANGE] if "🟠" in markdown else []),
                *([GREY] if "⚪" in markdown else []),
            ]
            assert colours == ([*curves, BLUE] if curves else colours[:1]), name
        assert ("🟠" in markdown) == (name not in ONE_CURVE), name


@pytest.mark.parametrize(("width", "theme"), [(TELEPHONE, "dark"), (DESK, "light")])
@pytest.mark.parametrize("name", ["gain", "ahead of time", "several symbols", "loss"])
def test_the_first_screen_has_the_verdict_the_table_and_the_value(
    name: str, width: int, theme: str, tmp_path: Path
) -> None:
    """Whether it is better than doing nothing, and when it hurt."""
    markdown = to_markdown(build_summary(RUNS[name]))

    seen = measure(markdown, tmp_path, width=width, theme=theme)

    heading, table = seen["bottoms"]
    value, drawdown = seen["charts"]
    assert heading < table < value["top"] < value["bottom"] <= drawdown["top"]
    assert value["bottom"] <= FIRST_SCREENS[width]
    assert drawdown["bottom"] <= FIRST_SCREENS[width] + 300
    assert seen["scrolled"] == [0]
    assert seen["page"] == width


@pytest.mark.parametrize("width", [TELEPHONE, DESK])
def test_the_first_screen_says_on_what_the_setting_stands(width: int, tmp_path: Path) -> None:
    """And how many did well, above all tables and charts."""
    names = ["sweep", "sweep with a peak", "sweep of three"]
    markdowns = [to_markdown(build_summary(RUNS[name])) for name in names]

    all_seen = measure_all(markdowns, tmp_path, width=width, theme="dark")

    for name, seen in zip(names, all_seen, strict=True):
        _, standing, counts, *_ = seen["sentences"]
        assert re.search(r"stands on a (plateau|peak)", standing[0]), name
        assert "made more than holding" in counts[0], name
        _, key_figures, sweep, *_ = seen["bottoms"]
        assert counts[1] < FIRST_SCREENS[width] / 2, name
        assert counts[1] < key_figures < sweep, name
        assert sweep < seen["charts"][0]["top"], name


def test_gates_and_changes_need_no_scrolling_on_a_telephone(tmp_path: Path) -> None:
    markdown = to_markdown(build_summary(DECISIONS["stopped"]))
    seen = measure(markdown, tmp_path, width=TELEPHONE, theme="light")
    assert seen["scrolled"][:2] == [0, 0]


def test_the_measurement_finds_a_line_that_is_too_wide(tmp_path: Path) -> None:
    seen = measure("| a |\n|---|\n\n<hr width=600>", tmp_path, width=TELEPHONE, theme="dark")
    assert len(seen["wide"]) == 1
    assert seen["page"] > TELEPHONE
