from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given

from deploy_action.errors import Problem, Severity
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Bound, Evidence, Gate, Operator, State, Verdict, judge
from deploy_action.gates.messages import problem_of, warning_of, warning_of_best
from tests.support.gate_cases import (
    BASE,
    VALUES,
    bound,
    bounds,
    maybe,
    metric_names,
    one_gate,
    operators,
    verdict_of,
)


def failure(text: str, base: Mapping[str, float | None] | None = BASE) -> Problem:
    problem = problem_of(verdict_of(text, base))
    assert problem is not None
    assert problem.severity is Severity.ERROR
    return problem


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sharpe >= 1", "`sharpe` is 0.96, 0.04 below the bound of 1"),
        ("sharpe >= 1.125", "`sharpe` is 0.96, 0.165 below the bound of 1.125"),
        ("sharpe >= 0.961", "`sharpe` is 0.96, 0.001 below the bound of 0.961"),
        ("sharpe <= 95 %", "`sharpe` is 0.96, 0.01 above the bound of 0.95"),
        (
            "max_drawdown <= 20%",
            "`max_drawdown` is 24%, 4 percentage points above the bound of 20%",
        ),
        ("max_drawdown <= 23", "`max_drawdown` is 24%, 1 percentage point above the bound of 23%"),
        (
            "max_drawdown < 24",
            "`max_drawdown` is 24%, exactly the bound of 24%, and has to be below it",
        ),
        ("max_drawdown <= base", "`max_drawdown` is 24%, 4 percentage points above the base's 20%"),
        (
            "max_drawdown <= base + 10%",
            (
                "`max_drawdown` is 24%, 2 percentage points above the bound of 22% "
                "(the base has 20%)"
            ),
        ),
        (
            "cum_returns > base",
            "`cum_returns` is \u22125%, exactly the base's \u22125%, and has to be above it",
        ),
        ("cum_returns > 0", "`cum_returns` is \u22125%, 5 percentage points below the bound of 0%"),
        ("trades == 10", "`trades` is 12, 2 above the bound of 10, and has to equal it"),
        ("trades != 12", "`trades` is 12, exactly the bound of 12, and has to be other than it"),
        ("volatility <= 20%", "`volatility` is 0.27, 0.07 above the bound of 0.2"),
        (
            "final_account_value >= 1000000",
            "`final_account_value` is 9,500, 990,500 below the bound of 1,000,000",
        ),
        ("calmar > 0", "`calmar` was not computed: not reported"),
        (
            "volatility > base",
            "there is no base to compare with: the base's backtest did not compute it",
        ),
    ],
)
def test_a_gate_that_failed_says_by_how_much(text: str, what: str) -> None:
    problem = failure(text)
    assert problem.message == f"Gate `{text}` failed: {what}."
    assert problem.hint


def test_a_gate_that_passed_is_no_problem() -> None:
    assert problem_of(verdict_of("sharpe >= 0.5")) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "cum_returns >= base - 10%",
            (
                "`base` is negative, so 90% of it is above it. For a bound below it, "
                "write the margin as a number: `cum_returns >= base - 0.5`."
            ),
        ),
        (
            "cum_returns < base + 20%",
            (
                "`base` is negative, so 120% of it is below it. For a bound above it, "
                "write the margin as a number: `cum_returns < base + 1`."
            ),
        ),
        (
            "cagr > base + 5%",
            "`base` is 0, and so is any percentage of it. Write the margin without `%`.",
        ),
        ("sharpe > base - 1%", "Change the model, or the gate if it asks for too much."),
        ("cum_returns > base - 0", "Change the model, or the gate if it asks for too much."),
    ],
)
def test_a_percentage_of_a_negative_base_is_explained(text: str, hint: str) -> None:
    """90% of a loss is a smaller loss."""
    values = {**VALUES, "cagr": -1.0}
    (verdict,) = judge([one_gate(text)], Evidence(metrics=values, base=BASE))
    problem = problem_of(verdict)
    assert problem is not None
    assert problem.hint == hint


def test_the_hint_without_a_base_depends_on_the_reason() -> None:
    (verdict,) = judge([one_gate("sharpe > base")], Evidence(metrics=VALUES, no_base="it is\nnew."))
    problem = problem_of(verdict)
    assert failure("sharpe > base", None).hint.startswith("Set `compare-with` to a git ref, such")
    assert problem is not None
    assert problem.message.endswith("there is no base to compare with: it is ⏎ new.")
    assert problem.hint.startswith("Set `compare-with` to a git ref where the model can")


@given(metric_names, operators, bounds, maybe, maybe)
@example("sharpe", Operator.ABOVE, bound("0.30000000000000000001"), 0.3, None)
@example("sharpe", Operator.AT_LEAST, bound("1.0000000000000002"), 1.0, None)
@example("cagr", Operator.BELOW, bound("20.004"), 20.0041, None)
@example("sharpe", Operator.ABOVE, bound("50", is_per_cent=True, of_base=True), 1.0, 1.7e308)
def test_two_different_numbers_are_shown_differently(
    metric: str, operator: Operator, limit: Bound, value: float | None, base: float | None
) -> None:
    gate = Gate(metric=metric, operator=operator, bound=limit, line=1, text="the gate")
    (verdict,) = judge([gate], Evidence(metrics={metric: value}, base={metric: base}))
    problem = problem_of(verdict)
    assert (problem is None) == verdict.is_passed
    if problem is None or verdict.state is not State.FAILED:
        return
    message = problem.message.partition("failed: ")[2]
    found = re.match(
        r"`\w+` is (\S+?)%?, (.+?) (?:the bound of|the base's) (\S+?)%?[,.]? ", message + " "
    )
    assert found, message
    assert (found[1] == found[3]) == (found[2] == "exactly")
    assert not found[2].startswith("0 ")


@pytest.mark.parametrize(
    ("text", "value", "warns"),
    [
        ("sharpe >= base + 10%", -1.05, True),
        ("sharpe > base + 10%", -1.05, True),
        ("sharpe <= base - 10%", -1.05, True),
        ("sharpe >= base - 10%", 0.0, False),
        ("sharpe >= base + 0.1", 0.0, False),
        ("sharpe >= base + 10%", -1.2, False),
        ("sharpe != base + 10%", 0.0, False),
    ],
)
def test_a_percentage_of_a_negative_base_that_demands_less_is_a_warning(
    text: str, value: float, *, warns: bool
) -> None:
    (verdict,) = judge(
        parse_gates(text)[0], Evidence(metrics={"sharpe": value}, base={"sharpe": -1.0})
    )
    found = warning_of(verdict)
    assert (found is not None) is warns
    if found is not None:
        assert found.severity is Severity.WARNING
        assert "`base` is negative" in found.hint
        assert verdict.is_passed


def test_extreme_bounds_are_shown() -> None:
    assert "1e+27" in failure("final_account_value >= 1e27").message
    assert failure(f"calmar >= 123456789.{'123456789' * 3}").message


NAMES = ["Window `a`", "Combination `FAST=5`"]


def over_several(text: str, **changes: Any) -> Verdict:
    several = [{"sharpe": 1.0, "max_drawdown": 45.0}, {"sharpe": -0.5, "max_drawdown": 20.0}]
    known = Evidence(metrics={}, several=several, several_names=NAMES)
    return judge(parse_gates(text)[0], replace(known, **changes))[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "worst max_drawdown <= 40",
            (
                "the worst `max_drawdown` is 45% (window `a`), 5 percentage points above the bound "
                "of 40%"
            ),
        ),
        (
            "worst sharpe >= 0",
            "the worst `sharpe` is \u22120.5 (combination `FAST=5`), 0.5 below the bound of 0",
        ),
        ("median sharpe >= 1", "the median `sharpe` is 0.25, 0.75 below the bound of 1"),
    ],
)
def test_a_gate_over_several_says_where_it_failed(text: str, what: str) -> None:
    problem = problem_of(over_several(text))
    assert problem is not None
    assert problem.message == f"Gate `{text}` failed: {what}."


def test_backtests_that_failed_are_told_in_words_that_are_true_of_sweeps() -> None:
    why = "combination `FAST=5, SLOW=20` failed: out of memory"
    problem = problem_of(over_several("worst sharpe > 0", no_several=why))
    assert problem is not None
    assert problem.text() == (
        f"Gate `worst sharpe > 0` failed: not all backtests can be judged: {why}. "
        "Mend what failed, or leave it out of `windows` and `sweep`."
    )


def test_the_best_of_many_is_warned_of_where_it_lets_a_gate_pass() -> None:
    warning = warning_of_best(over_several("best sharpe >= 1"), 40)
    assert warning is not None
    assert warning.severity is Severity.WARNING
    assert warning.message == (
        "Gate `best sharpe >= 1` passed by the best of 40 combinations. Of so many, some are good "
        "by luck, and which one will be good next is not known."
    )
    assert warning.hint == "Write `median sharpe >= 1` or `worst sharpe >= 1`."
    for text in ("best sharpe >= 2", "worst sharpe >= -1", "median sharpe >= 0", "identical"):
        assert warning_of_best(over_several(text), 40) is None
