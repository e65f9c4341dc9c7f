from __future__ import annotations

from dataclasses import replace

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import Block, to_markdown
from deploy_action.report.sections.backtests.windows import windows
from tests.support.backtests import raw_result, read_result
from tests.support.decisions import a_base, compared
from tests.support.outcomes import backtests, with_parts
from tests.support.rendered import Element, render


def seen(blocks: list[Block]) -> Element:
    return render(to_markdown(blocks))


def rows(body: Element) -> list[list[str]]:
    lines = body.all("table")[0].all("tr")
    return [[cell.text().replace("\u00a0", " ") for cell in row.all("th", "td")] for row in lines]


def test_windows_stand_beside_holding_with_their_worst_and_best() -> None:
    body = seen(windows(backtests()["windows"]))
    header, *found = rows(body)
    assert header == ["Window", "Return", "Holding", "Sharpe", "Max drawdown", "Trades"]
    assert found[0][:3] == [
        "1. the first quarter 2023-03-01 to 2023-05-30",
        "🟩 +20.00%",
        "+10.00%",
    ]
    assert [row[1] for row in found[1:5]] == [
        "🟨 +10.00%",
        "🟨 \u221210.00%",
        "🟥 \u221220.00%",
        "❌ no result",
    ]
    assert [(row[0], row[1], row[4]) for row in found[5:]] == [
        ("Worst", "\u221220.00%", "20.00%"),
        ("Median", "0.00%", "5.50%"),
        ("Best", "+20.00%", "1.00%"),
    ]
    assert body.all("p")[0].text() == (
        "5 windows: 2 gained, 2 made more than holding; 1 window without a result."
    )
    assert body.all("li")[0].text() == "2024: no prices cover it"
    assert "those of the windows that have a value" in body.text()


def test_the_chart_has_a_line_for_each_and_numbers_for_windows() -> None:
    body = seen(windows(backtests()["windows"]))
    source = body.all("pre")[0].text()
    assert source.count("  line [") == 2
    assert 'title "Return in % by window"' in source
    assert body.all("pre")[1].text() == "1 🟩 2 🟨 3 🟨 4 🟥\n"


def test_without_prices_squares_are_about_gain_and_loss() -> None:
    outcome = backtests()["windows"]
    first, *rest = outcome.backtests.windows
    result = read_result(raw_result([2.0, 1.0, 3.0]))
    alone = replace(first, figures=KeptFigures.of(result))
    body = seen(windows(with_parts(outcome, backtests={"windows": (alone, rest[-1])})))
    assert rows(body)[0] == ["Window", "Return", "Sharpe", "Max drawdown", "Trades"]
    assert rows(body)[1][1] == "🟩 +50.00%"
    assert "what holding made is not known" in body.text()
    assert not body.all("details")


def test_the_base_has_a_column_of_returns() -> None:
    outcome = compared(backtests()["windows"], raw_result())
    assert outcome.backtests.comparison is not None
    of_base = outcome.backtests.windows[:1]
    base = replace(a_base(outcome.backtests.result), windows=of_base)
    comparison = replace(outcome.backtests.comparison, base=base)
    body = seen(windows(with_parts(outcome, backtests={"comparison": comparison})))
    assert rows(body)[0][-1] == "Return of the base"
    assert [row[-1] for row in rows(body)[1:3]] == ["+20.00%", ""]


def test_a_run_without_windows_shows_none() -> None:
    assert windows(RunOutcome()) == []


def test_returns_beyond_every_axis_have_no_chart() -> None:
    outcome = backtests()["windows"]
    found = []
    for one, value in zip(outcome.backtests.windows, (1.7e308, -1.7e308), strict=False):
        assert one.figures is not None
        metrics = {**one.figures.metrics, "cum_returns": value}
        found.append(replace(one, figures=replace(one.figures, metrics=metrics)))
    huge = with_parts(outcome, backtests={"windows": tuple(found)})
    assert "xychart" in to_markdown(windows(outcome))
    assert "xychart" not in to_markdown(windows(huge))
