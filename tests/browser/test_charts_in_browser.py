"""The charts in a real browser, rendered by each Mermaid that forges have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy_action.report.charts.chart import Drawing, draw
from deploy_action.report.charts.mermaid import MOST_POINTS
from deploy_action.report.document import Chart, to_markdown
from tests.support.backtests import DAY, a_result
from tests.support.page import is_missing, measure

pytestmark = pytest.mark.skipif(bool(is_missing()), reason=is_missing())

ORANGE, GREY, BLUE = "rgb(209, 122, 34)", "rgb(139, 148, 158)", "rgb(47, 129, 247)"
WAVE = [10_000 + 30 * day + 900 * math.sin(day / 9) for day in range(500)]


def drawn(
    values: list[float | None] | list[float], unit: str = "USD", step: float = DAY
) -> Drawing:
    drawing = draw(a_result(values, step=step).account_values, unit)
    assert drawing is not None
    return drawing


def drawings() -> Mapping[str, Drawing]:
    shapes: dict[str, list[float | None] | list[float]] = {
        "two points": [1.0, 2.0],
        "three points": [3.0, 1.0, 2.0],
        "flat": [10_000.0] * 300,
        "flat at nothing": [0.0] * 300,
        "flat and negative": [-5.0] * 3,
        "huge": [value * 1e12 for value in WAVE],
        "beyond names": [value * 1e300 for value in WAVE],
        "tiny": [value * 1e-12 for value in WAVE],
        "smallest": [5e-324 * (1 + day % 3) for day in range(9)],
        "negative": [-value for value in WAVE],
        "from plus to minus": [5_000 - value for value in WAVE[::-1]],
        "from nothing": [0.0, *WAVE],
        "lost it all": [100.0, 0.0, 0.0],
        "lost more than all": [100.0, -50.0, -75.0],
        "with gaps": [None if day % 7 < 3 else value for day, value in enumerate(WAVE)],
        "hardly moving": [1e6 + day % 2 * 1e-6 for day in range(50)],
        "moving by a cent": [1e6 + day % 2 * 0.01 for day in range(50)],
        "very many": [value + number % 11 for number in range(200) for value in WAVE],
        "six digits": [99_999.0 - day for day in range(300)],
        "ticks that would touch": [1_000.0, 859.0, 1_000.0],
        "ticks that would touch, too": [1_000.0, 690.0, 1_000.0],
    }
    units = {
        "long unit": "A_VERY_LONG_NAME_OF_A_TOKEN" * 20,
        "unit in another script": "円均值",
        "unit that breaks out": '"]; %%{init: {}}%% --> `x` #quot; <script>\n  bar [1]',
    }
    return {
        **{name: drawn(values) for name, values in shapes.items()},
        **{name: drawn(WAVE, unit) for name, unit in units.items()},
        **{f"every {step} s": drawn(WAVE, step=step) for step in (0.001, 1, 60, 900, 3_600, 1e7)},
        "dates beyond the calendar": drawn(WAVE, step=1e15),
    }


@pytest.mark.parametrize(
    ("mermaid", "width", "theme"),
    [("10", 390, "dark"), ("11", 1012, "light"), ("12", 390, "light")],
)
def test_the_charts_of_every_series_are_readable(
    mermaid: str, width: int, theme: str, tmp_path: Path
) -> None:
    charts = drawings()
    names = [name for name, drawing in charts.items() for _ in drawing.mermaid]
    document = [Chart(drawing.mermaid, drawing.text) for drawing in charts.values()]

    seen = measure(to_markdown(document), tmp_path, width=width, theme=theme, mermaid=mermaid)

    assert len(seen["charts"]) == len(names)
    for name, chart in zip(names, seen["charts"], strict=True):
        assert chart["error"] is False, f"{name}: {chart['error']}"
        assert chart["touching"] == [], name
        assert chart["cut"] == [], name
        assert chart["is_inside"], name
        assert 1 <= chart["line"].count("L") < MOST_POINTS, name
        assert len(chart["texts"]) >= 7, name
        assert "NaN" not in chart["line"], name
    assert seen["page"] == width


@pytest.mark.parametrize(
    ("mermaid", "width", "theme"),
    [("10", 1012, "light"), ("11", 390, "dark"), ("12", 390, "light")],
)
def test_three_curves_are_told_apart(mermaid: str, width: int, theme: str, tmp_path: Path) -> None:
    bases: dict[str, list[float | None] | list[float]] = {
        "another": WAVE[::-1],
        "much larger": [1e6 * value for value in WAVE],
        "shorter": WAVE[:90],
        "two points": [9_000.0, 12_000.0],
        "never fell": [1.0, 2.0],
        "negative": [-value for value in WAVE],
    }
    held = a_result([10_000 + 5 * day - 700 * math.sin(day / 40) for day in range(500)])
    charts = []
    for base in bases.values():
        drawing = draw(
            a_result(WAVE).account_values,
            "USD",
            holding=held.account_values,
            base=a_result(base).account_values,
        )
        assert drawing is not None
        charts.append(Chart(drawing.mermaid, drawing.text))

    seen = measure(to_markdown(charts), tmp_path, width=width, theme=theme, mermaid=mermaid)

    # What was negative from the start has no drawdown.
    counts = [3] * (2 * len(bases) - 1) + [2]
    assert [len(chart["lines"]) for chart in seen["charts"]] == counts
    for chart in seen["charts"]:
        assert (chart["error"], chart["touching"], chart["cut"]) == (False, [], [])
        colours = [line["colour"] for line in chart["lines"]]
        assert colours == [ORANGE, GREY, BLUE][-len(colours) :]
        assert all(line["is_inside"] for line in chart["lines"])
    assert seen["page"] == width


@pytest.mark.parametrize(("width", "apart"), [(1012, 5), (390, 8)])
@pytest.mark.parametrize("scale", [0.01, 1, 1e9], ids=["small", "usual", "large"])
def test_both_charts_have_their_axes_one_below_the_other(
    width: int, apart: int, scale: float, tmp_path: Path
) -> None:
    drawing = drawn([scale * value for value in WAVE])
    seen = measure(
        to_markdown([Chart(drawing.mermaid, drawing.text)]), tmp_path, width=width, theme="light"
    )
    value, drawdown = seen["charts"]
    assert value["width"] == drawdown["width"]
    assert abs(value["axis"] - drawdown["axis"]) <= apart


def test_a_chart_that_mermaid_refuses_is_found(tmp_path: Path) -> None:
    broken = 'xychart-beta\n  x-axis "2020-08-25" --> "2022-04-15"\n  line [1, 2]'
    seen = measure(to_markdown([Chart([broken], "")]), tmp_path, width=390, theme="dark")
    assert "Parse error" in seen["charts"][0]["error"]


def test_labels_that_touch_are_found(tmp_path: Path) -> None:
    dates = ", ".join(f'"2023-01-01 {number}"' for number in range(60))
    crowded = f"xychart-beta\n  x-axis [{dates}]\n  line [{', '.join(['1'] * 60)}]"
    seen = measure(to_markdown([Chart([crowded], "")]), tmp_path, width=390, theme="dark")
    assert len(seen["charts"][0]["touching"]) > 10
