"""What a trader sees of a sweep: first whether the setting is robust, then all combinations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings

from deploy_action.backtest.period.windows import Window
from deploy_action.backtest.sweep.combinations import Swept
from deploy_action.backtest.sweep.robustness import robustness_of
from deploy_action.report.document import to_markdown, to_text
from deploy_action.report.sections.backtests.robustness import in_brief
from deploy_action.report.sections.backtests.sweep import sweep
from deploy_action.report.summary import build_comment, build_summary
from deploy_action.text.located_json import JsonValue
from tests.support.nasty import nasty_text
from tests.support.outcomes import a_sweep, sweeps, swept_backtests
from tests.support.rendered import Element, render
from tests.support.sweeps import figures, swept

TAGS = {"p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "details"}
TAGS |= {"summary", "ul", "li"}
LARGEST_COMMENT = 65_536
GRID: dict[str, Sequence[JsonValue]] = {"env.FAST": [5, 10, 15], "env.SLOW": [20, 30, 40]}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def brief(found: Swept) -> list[str]:
    body = render(to_markdown(in_brief(found, robustness_of(found))))
    return [plain(one.text()) for one in body.all("p")]


def shown(found: Swept) -> Element:
    return render(to_markdown(sweep(found, robustness_of(found))))


def rows(table: Element) -> list[list[str]]:
    lines = table.all("tr")
    return [[plain(cell.text()) for cell in line.all("th", "td")] for line in lines]


def grid(results: Sequence[float | None], current: int | None = 4) -> Swept:
    made = iter(results)
    return swept(GRID, lambda *_: next(made), current=current)


def test_a_plateau_is_said_with_what_its_neighbours_make() -> None:
    found = brief(grid([9.0, 80.0, 9.0, 70.0, 99.0, 90.0, 9.0, 60.0, 120.0]))
    assert found[0] == (
        "The current setting (FAST=10, SLOW=30) stands on a plateau: its 4 neighbours make 76% of "
        "its return in the median, the worst 61%. None of them makes as much as it does."
    )
    assert found[1] == (
        "9 combinations: 9 gained, 6 made more than holding. By return, the current setting is "
        "number 2 of 9."
    )
    assert len(found) == 2


def test_a_slope_names_the_better_and_the_worse_neighbour() -> None:
    found = brief(grid([9.0, 80.0, 9.0, -4.0, 50.0, 40.0, 9.0, 45.0, 9.0]))
    assert found[0] == (
        "The current setting (FAST=10, SLOW=30) stands on a slope: it makes +50.00%, its 4 "
        "neighbours +42.50% in the median, the worst (FAST=10, SLOW=20) -4.00%, the best (FAST=5, "
        "SLOW=30) +80.00%. 3 of them make half of its return or more."
    )


def test_a_peak_says_that_its_neighbours_do_not_do_as_well() -> None:
    found = brief(grid([9.0, 8.0, 9.0, -4.0, 50.0, 4.0, 9.0, 4.0, 9.0]))
    assert found[0] == (
        "The current setting (FAST=10, SLOW=30) stands on a peak: it makes +50.00%, its 4 "
        "neighbours +4.00% in the median, the worst (FAST=10, SLOW=20) -4.00%. None of them makes "
        "half of its return or more."
    )


def test_a_loss_is_on_no_plateau() -> None:
    better = brief(grid([9.0, 8.0, 9.0, -4.0, -5.0, 4.0, 9.0, 4.0, 9.0]))
    assert better[0] == (
        "The current setting (FAST=10, SLOW=30) is on no plateau: it made no gain (-5.00%); its "
        "best neighbour (FAST=5, SLOW=30) made +8.00%."
    )
    best = brief(grid([9.0, -8.0, 9.0, -4.5, -4.0, -4.5, 9.0, -6.0, 9.0]))
    assert best[0].endswith("no gain (-4.00%), and none of its 4 neighbours made more.")


def test_an_edge_failures_and_equal_trades_are_told() -> None:
    found = brief(grid([50.0, 50.0, 9.0, None, 1.0, 1.0, None, 1.0, 1.0], current=1))
    assert found[0] == (
        "The current setting (FAST=5, SLOW=30) stands on a peak: it makes +50.00%, its 3 "
        "neighbours +9.00% in the median, the worst (FAST=10, SLOW=30) +1.00%. 1 of them makes "
        "half of its return or more. 1 neighbour traded exactly as it did. It is at the edge of "
        "what was tried for FAST."
    )
    assert "2 without a result. By return, the current setting is one of 2 that share" in found[1]
    assert found[1].endswith("share place 1 of 7.")
    found = brief(grid([9.0, 45.0, 9.0, None, 50.0, 40.0, 9.0, 45.0, 9.0]))
    assert found[0].endswith("1 more neighbour has no result.")


def test_of_a_few_results_none_stands_for_a_setting_that_may_be_missing() -> None:
    few = grid([None, None, None, None, 50.0, 50.0, None, 45.0, 50.0], current=None)
    (standing, _counts) = brief(replace(few, own=(None, None)))
    assert standing == (
        "Whether the current setting stands on a plateau cannot be told: 5 of 9 combinations have "
        "no result, and it may be one of these."
    )
    assert brief(few)[0].startswith("The best combination (FAST=10, SLOW=30)")


def test_a_plateau_says_what_a_value_without_order_would_lose() -> None:
    axes: dict[str, Sequence[JsonValue]] = {"env.SIDE": ["trend", "against"], "env.FAST": [1, 2, 3]}
    found = swept(
        axes, lambda side, fast: 50.0 + fast if side == "trend" else 9.0 - fast, current=1
    )
    assert brief(found)[0] == (
        "The current setting (SIDE=trend, FAST=2) stands on a plateau: its 2 neighbours make 100% "
        "of its return in the median, the worst 98%. The values of SIDE have no order, and so no "
        "neighbours; the worst with another one (SIDE=against, FAST=2) makes +7.00%."
    )


def test_a_plateau_says_of_what_period_it_is_and_who_made_more() -> None:
    window = Window("first", 0, 100)
    more = swept({"env.X": [1, 2, 3]}, lambda x: 50.0 if x == 2 else 60.0, current=1)
    assert brief(more)[0].endswith("the worst 120%. Each of them makes more than it does.")
    less = swept(
        {"env.X": [1, 2, 3]}, lambda x: 50.0 if x == 2 else 40.0, current=1, windows=[window]
    )
    assert brief(less)[0] == (
        "The current setting (X=2) stands on a plateau over the whole period: its 2 neighbours "
        "make 80% of its return in the median, the worst 80%. None of them makes as much as it "
        "does."
    )


def test_of_equals_none_is_the_best() -> None:
    found = plain(shown(grid([5.0] * 9)).text())
    assert "All made the same: +5.00%." in found
    assert "Best by return" not in found


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (
            swept({"env.KIND": ["ema", "sma"]}, lambda kind: len(kind) * 2.0 + (kind == "ema")),
            "none of the parameters that matter has an order, as numbers, dates and lengths have.",
        ),
        (
            swept({"env.FAST": [1, 2]}, float, current=0),
            "neighbour only (FAST=2), with +2.00%. It is at the edge of what was tried for FAST.",
        ),
        (
            swept(
                {"env.FAST": ["x", 10], "env.SLOW": [40, 50]},
                lambda fast, slow: float(slow) + len(str(fast)),
                current=2,
            ),
            " no neighbours; the worst with another one (FAST=x, SLOW=40) makes +41.00%.",
        ),
        (
            swept({"env.FAST": [1, 2, 3]}, lambda _: 5.0, current=1),
            "(FAST=2) stands on a plateau cannot be told: no parameter ever changed a trade.",
        ),
        (
            grid([9.0, None, 8.0, None, 5.0, None, 9.0, 9.0, 9.0]),
            "stands on a plateau cannot be told: only 1 of its 4 neighbours has a result.",
        ),
        (
            grid([9.0, 9.0, 9.0, 9.0, None, 9.0, 9.0, 9.0, 9.0]),
            "stands on a plateau cannot be told: it has no return.",
        ),
    ],
)
def test_what_cannot_be_told_has_a_reason(found: Swept, why: str) -> None:
    assert brief(found)[0].startswith("Whether the ")
    assert brief(found)[0].endswith(why)


def test_without_a_current_setting_the_best_is_looked_at() -> None:
    first, second, *_ = brief(grid([1.0, 2.0, 3.0, 4.0, 9.0, 8.0, 7.0, 6.0, 5.0], current=None))
    assert first.startswith("The best combination (FAST=10, SLOW=30) stands on a slope")
    assert second == (
        "9 combinations: 9 gained, 0 made more than holding. The model's own setting is not among "
        "them."
    )
    unknown = replace(grid([5.0] * 9, current=None), own=(None, 1))
    assert brief(unknown)[1].endswith(
        "Which of them is the model's own setting, if any, is not known."
    )


def test_the_best_of_many_is_doubted_on_the_first_screen() -> None:
    noisy = swept({"env.FAST": range(60)}, lambda fast: (fast * 37 % 60) - 30.0, current=47)
    _, _, luck = brief(noisy)
    assert luck.startswith("⚠️ The current setting (FAST=47) has the best return and Sharpe ratio")
    assert " of 60 that were tried, which may be luck. Of 60 settings without any merit" in luck
    assert "What to do: Backtest it over a period that was not used to choose it" in luck


def test_settings_that_do_nothing_are_counted_and_are_neither_red_nor_green() -> None:
    nothing = figures(0.0, trades="")
    nothing = replace(nothing, metrics={**nothing.metrics, "trades": 0.0})
    found = swept(GRID, lambda fast, slow: nothing if fast == 5 else slow * 1.0)
    assert "6 gained, 4 made more than holding, 3 made no trades." in brief(found)[1]
    body = shown(found)
    assert rows(body.all("table")[0])[1] == ["5", "⬜ 0", "⬜ 0", "⬜ 0"]
    assert "holding made more. ⬜ made nothing." in plain(body.text())


def test_the_map_has_rows_and_columns_in_order_and_marks_the_current_setting() -> None:
    axes: dict[str, Sequence[JsonValue]] = {"env.SLOW": [40, 20, 30], "env.FAST": [10, 5]}
    found = swept(axes, lambda slow, fast: None if fast == slow / 4 else slow + fast, current=4)
    body = shown(found)
    assert rows(body.all("table")[0]) == [
        ["SLOW ↓ FAST →", "5", "10"],
        ["20", "❌", "🟩 +30"],
        ["30", "🟩 +35", "📍 🟩 +40"],
        ["40", "🟩 +45", "❌"],
    ]
    texts = [plain(one.text()) for one in body.all("p")]
    assert texts[0] == "Return in % of all combinations"
    assert "📍 the current setting. ❌ no result." in texts[1]
    assert texts[
        2
    ] == "Best by return: FAST=5, SLOW=40 +45.00%; worst: FAST=10, SLOW=20 +30.00%." or (
        texts[2] == "Best by return: SLOW=40, FAST=5 +45.00%; worst: SLOW=20, FAST=10 +30.00%."
    )
    assert [one.text() for one in body.all("li")] == [
        "SLOW=40, FAST=10: no prices cover it",
        "SLOW=20, FAST=5: no prices cover it",
    ]


def test_a_small_loss_is_no_red_zero() -> None:
    found = swept(GRID, lambda fast, slow: -0.31 if (fast, slow) == (5, 20) else fast * 9.0)
    assert rows(shown(found).all("table")[0])[1] == ["5", "🟥 -0.3", "🟩 +45", "🟩 +45"]


def test_the_parameter_with_fewer_values_is_across() -> None:
    axes: dict[str, Sequence[JsonValue]] = {"env.FAST": [1, 2], "env.SLOW": [10, 20, 30]}
    table = rows(shown(swept(axes, lambda fast, slow: fast + slow / 10)).all("table")[0])
    assert table[0] == ["SLOW ↓ FAST →", "1", "2"]
    assert table[1:] == [
        ["10", "🟨 +2.0", "🟨 +3.0"],
        ["20", "🟨 +3.0", "🟨 +4.0"],
        ["30", "🟨 +4.0", "🟨 +5.0"],
    ]


def test_the_worst_window_of_each_has_a_map_of_its_own() -> None:
    found = sweeps()["sweep with failures"]
    body = shown(found)
    assert body.all("summary")[0].text() == "The worst window of each combination"
    whole, worst = (rows(table) for table in body.all("table")[:2])
    assert worst[0] == whole[0]
    assert (whole[10][8], worst[10][8]) == ("🟥 -10", "🟥 -10")
    assert (whole[5][4], worst[5][4]) == ("🟩 +65", "🟩 +22"), "a third of it in the third window"


def test_a_window_that_failed_may_have_been_the_worst() -> None:
    found = sweeps()["sweep with failures"]
    first, second, *others = found.combinations[0].windows
    partly = replace(found.combinations[0], windows=(first, replace(second, figures=None), *others))
    body = shown(replace(found, combinations=(partly, *found.combinations[1:])))
    whole, worst = (rows(table) for table in body.all("table")[:2])
    assert (whole[1][1], worst[1][1]) == ("🟥 -10", "❌")


def test_one_parameter_has_a_row_for_each_value() -> None:
    table = rows(shown(sweeps()["sweep of one"]).all("table")[0])
    assert table[0] == [
        *("FAST", "Return", "Beyond holding", "Sharpe", "Max drawdown", "Trades", "Worst window")
    ]
    assert [row[0] for row in table[1:]] == ["5", "📍 10", "20", "40"]
    assert [row[1] for row in table[1:]] == ["🟨 +5.00%", "🟩 +20.00%", "🟩 +50.00%", "🟩 +110.00%"]
    assert table[3][-1] == "🟨 +16.67%"


def test_of_three_parameters_the_best_the_current_and_the_worst_are_listed() -> None:
    body = shown(sweeps()["sweep of three"])
    names = [row[0] for row in rows(body.all("table")[0])[1:]]
    assert len(names) == 16
    assert names[0] == "1. FAST=25, SLOW=100, STOP=1"
    assert names[9].startswith("10. ")
    assert names[10].startswith("📍 ")
    assert names[10].endswith("FAST=5, SLOW=60, STOP=2")
    assert names[-1].startswith("300. ")
    assert "the worst; 284 between them left out" in body.text()
    medians = [plain(one.text()) for one in body.all("li")]
    assert medians[2] == "STOP: 1 +1.83% · 2 +0.92% · 5 +0.37%"


def test_a_large_map_has_squares_without_numbers_and_a_larger_one_has_lists() -> None:
    body = shown(sweeps()["large sweep"])
    lines = body.all("pre")[0].text().splitlines()
    assert len(lines) == 50
    assert lines[0] == " 1 " + "🟥" * 50
    assert "📍" in lines[24]
    larger = swept({"env.A": range(61), "env.B": range(2)}, lambda a, b: a + b / 2)
    assert not shown(larger).all("pre")
    assert rows(shown(larger).all("table")[0])[1][0] == "1. A=60, B=1"


def test_the_distribution_goes_from_the_worst_to_the_best_of_each_figure() -> None:
    found = swept(
        {"env.X": range(5)},
        lambda x: figures(x * 10.0 - 10, max_drawdown=float(x)),
        current=2,
    )
    table = rows(shown(found).all("table")[1])
    assert [(row[0], row[1], row[4]) for row in table[1:]] == [
        ("Worst", "-10.00%", "4.00%"),
        ("Lower quarter", "0.00%", "3.00%"),
        ("Median", "+10.00%", "2.00%"),
        ("Upper quarter", "+20.00%", "1.00%"),
        ("Best", "+30.00%", "0.00%"),
        ("📍 Current setting", "+10.00%", "2.00%"),
    ]


def test_periods_are_compared_by_sharpe_ratio() -> None:
    found = sweeps()["sweep of periods"]
    assert "with Sharpe 4.14" in brief(found)[0]
    assert "Best by Sharpe ratio: to=3y Sharpe 5.52; worst: to=1y Sharpe 1.24." in plain(
        shown(found).text()
    )


def test_a_sweep_of_which_all_failed_is_shown() -> None:
    found = grid([None] * 9)
    first, second = brief(found)
    assert first.startswith("Whether the current setting (FAST=10, SLOW=30) stands on a plateau")
    assert second == "9 combinations: 0 gained, 9 without a result."
    assert shown(found).text().count("❌") >= 9


@given(nasty_text, nasty_text, nasty_text)
@settings(max_examples=30, deadline=None)
def test_names_and_values_of_others_become_no_markup(one: str, two: str, name: str) -> None:
    axes: dict[str, Sequence[JsonValue]] = {
        f"a{name}": [one, f"{one}x", 3],
        "env.FAST": [1, 2],
        f"b{name}": [two, {two: two}],
    }
    for number in (2, 3):
        some = dict([*axes.items()][:number])
        found = swept(some, lambda *values: None if values[0] == 3 else len(str(values)) / 10)
        for body in (shown(found), render(to_markdown(in_brief(found, robustness_of(found))))):
            assert body.tags() <= TAGS


def test_ten_thousand_combinations_stay_below_the_limits() -> None:
    """With long names, and in three shapes."""
    long = "很" * 50
    shapes: list[dict[str, Sequence[JsonValue]]] = [
        {f"{long}a": [f"{long}{n}" for n in range(60)], f"{long}b": [*range(60)]},
        {f"{long}a": [f"{long}{n}" for n in range(40)], f"{long}b": [*range(12)]},
        {f"{long}{n}": [f"{long}{n}" for n in range(10)] for n in range(4)},
    ]
    for shape in shapes:
        made = iter(range(10_000))
        found = swept(shape, lambda *_, made=made: next(made) % 97 - 40.0)
        markdown = to_markdown(build_summary(a_sweep(found)))
        assert len(markdown.encode()) < 200_000
        comment = to_markdown(build_comment(a_sweep(found), ""), largest=LARGEST_COMMENT)
        assert len(comment.encode()) < LARGEST_COMMENT
        assert "combinations**" in comment


@pytest.mark.parametrize("name", swept_backtests())
def test_a_terminal_gets_no_marks_of_sweeps(name: str) -> None:
    text = to_text(build_summary(swept_backtests()[name]))
    assert not re.search(r"\*\*|</?(?:br|details|summary)>|```|\|---", text)
    assert "combinations: " in text


def test_figures_may_be_unknown() -> None:
    whole = figures(5.0)
    unknown = replace(whole, metrics=dict.fromkeys(whole.metrics))
    found = swept({"env.X": [1, 2, 3]}, lambda x: unknown if x == 2 else x * 1.0)
    table = rows(shown(found).all("table")[0])
    assert [cell.strip() for cell in table[2]] == ["2", *["\u2013"] * 5]
