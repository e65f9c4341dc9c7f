from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.windows import Window
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Evidence, Verdict, judge
from deploy_action.outcome.backtests import Backtests
from deploy_action.report.document import Block, to_markdown
from deploy_action.report.sections.gates import gates, in_words, over_what
from tests.support.rendered import Element, render
from tests.support.sweeps import swept

VALUES = dict.fromkeys(METRICS, 16.0)
BASE = dict.fromkeys(METRICS, 10.0)
finite = st.floats(allow_nan=False, allow_infinity=False)


def verdicts(
    lines: str, base: dict[str, float] | None = BASE, **values: float | None
) -> list[Verdict]:
    """Judge gates on these metrics, by default all 16; the base's are 10."""
    parsed, _ = parse_gates(lines)
    return [*judge(parsed, Evidence(metrics={**VALUES, **values}, base=base))]


def table(blocks: list[Block]) -> list[list[str]]:
    body: Element = render(to_markdown(blocks))
    rows = body.all("table")[0].all("tr")
    return [[cell.text().replace("\u00a0", " ") for cell in row.all("td", "th")] for row in rows]


def test_each_gate_shows_its_verdict_and_margin() -> None:
    lines = """
        sharpe >= 15.5
        max_drawdown <= 12.5%
        max_drawdown <= base + 10%
        trades == 20
        calmar < base
        volatility < 20%
        cagr >= 16
        cvar != 16
    """

    assert table(gates(verdicts(lines))) == [
        ["Result", "Gate", "Value"],
        ["✅ passed by 0.50", "sharpe >= 15.5", "16.00"],
        ["❌ failed by 3.5 pp", "max_drawdown <= 12.5%", "16%, bound 12.5%"],
        ["❌ failed by 5 pp", "max_drawdown <= base + 10%", "16%, bound 11%"],
        ["❌ failed by 4", "trades == 20", "16"],
        ["❌ failed by 6.00", "calmar < base", "16.00, bound 10.00"],
        ["❌ failed by 15.80", "volatility < 20%", "16.00, bound 0.20"],
        ["✅ passed, just at the bound", "cagr >= 16", "16%"],
        ["❌ failed", "cvar != 16", "16.00"],
    ]


def test_gates_that_could_not_be_judged_have_their_own_states() -> None:
    found = verdicts("sharpe > 1\ncvar <= base", None, sharpe=None)
    assert table(gates(found))[1:] == [
        ["❌ not computed", "sharpe > 1", "\u2013"],
        ["❌ no base", "cvar <= base", "16.00"],
    ]


@given(finite, finite)
def test_a_value_and_a_bound_that_differ_look_different(value: float, bound: float) -> None:
    found = verdicts("sharpe <= base", {"sharpe": bound}, sharpe=value)
    result, _, shown = table(gates(found))[1]
    left, _, right = shown.partition(", bound ")
    if f"{value or 0.0:.10g}" != f"{bound or 0.0:.10g}":
        assert left != right
    assert (" by " in result) == (value != bound)
    assert not result.endswith((" by 0", " by 0.00"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("sharpe > 1", "the gate passed"),
        ("sharpe > 99", "the gate failed"),
        ("sharpe > 1\ncalmar > 2", "all 2 gates passed"),
        ("sharpe > 1\ncalmar > 99\ncvar < base", "2 of 3 gates failed"),
    ],
)
def test_the_gates_in_a_few_words(lines: str, words: str) -> None:
    assert in_words(verdicts(lines)) == words


def test_the_table_of_gates_is_absent_without_gates_and_cut_with_very_many() -> None:
    many = verdicts("\n".join(["sharpe > 1"] * 1_234))
    assert gates([]) == []
    # The line about a single one would take as much room as the row itself.
    assert len(table(gates(many[:101]))) == 102
    assert "more gates" not in to_markdown(gates(many[:101]))
    assert len(table(gates(many))) == 101
    assert "And 1,134 more gates." in to_markdown(gates(many))


def test_a_gate_over_several_names_the_worst() -> None:
    parsed, _ = parse_gates("worst sharpe >= 1\nbest sharpe >= 1")
    evidence = Evidence(
        metrics={},
        several=[{"sharpe": 0.5}, {"sharpe": 2.0}],
        several_names=["Window `2022`", "Combination `FAST=5, SLOW=20` in window `a|b`"],
    )
    assert table(gates(judge(parsed, evidence)))[1:] == [
        ["❌ failed by 0.50", "worst sharpe >= 1", "0.50 · window 2022"],
        [
            "✅ passed by 1.00",
            "best sharpe >= 1",
            "2.00 · FAST=5, SLOW=20 in window a|b",
        ],
    ]


def test_a_gate_over_several_says_over_how_many_and_what() -> None:
    parsed, _ = parse_gates("median sharpe >= 1\nsharpe >= 1")
    two = [Window("first", 0, 50), Window("second", 50, 100)]
    found = swept({"env.FAST": [1, 2, 3], "env.SLOW": [4, 5]}, lambda *_: 9.0, windows=two)
    alone = found.combinations[0].windows
    judged = [*judge(parsed, Evidence(metrics={"sharpe": 2.0}, several=[{"sharpe": 2.0}]))]

    def said(verdicts: list[Verdict], found: Backtests) -> str:
        return render(to_markdown(over_what(verdicts, found))).text().strip()

    own = replace(found, own=(0, 0), current=0)
    assert said(judged, Backtests(windows=alone, sweep=own)) == (
        "worst, median and best are over 18 backtests: 6 combinations, each over the whole period "
        "and in 2 windows."
    )
    assert said(judged, Backtests(windows=alone, sweep=found)) == (
        "worst, median and best are over 20 backtests: 6 combinations, each over the whole period "
        "and in 2 windows, and the model's own setting in these windows."
    )
    no_windows = swept({"env.FAST": [1, 2, 3]}, float)
    assert said(judged, Backtests(sweep=no_windows)) == (
        "worst, median and best are over 3 backtests: 3 combinations, each over the whole period."
    )
    assert said(judged[1:], Backtests(windows=alone, sweep=own)) == ""
    assert said(judged, Backtests(windows=alone)) == ""
