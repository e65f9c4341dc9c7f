from __future__ import annotations

import math
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.metrics import METRICS, Unit
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Bound, Evidence, Gate, Operator, State, are_passed, judge
from tests.support.gate_cases import (
    BASE,
    VALUES,
    bound,
    bounds,
    metric_names,
    plain_values,
    verdict_of,
)


@pytest.mark.parametrize(
    ("text", "limit", "state"),
    [
        ("sharpe >= 0.96", 0.96, State.PASSED),
        ("sharpe > 0.96", 0.96, State.FAILED),
        ("sharpe <= 0.96", 0.96, State.PASSED),
        ("sharpe < 0.96", 0.96, State.FAILED),
        ("sharpe == 0.960", 0.96, State.PASSED),
        ("sharpe != 0.96", 0.96, State.FAILED),
        ("max_drawdown <= 25", 25.0, State.PASSED),
        ("max_drawdown <= 25%", 25.0, State.PASSED),
        ("max_drawdown <= base", 20.0, State.FAILED),
        ("max_drawdown <= base + 20%", 24.0, State.PASSED),
        ("max_drawdown <= base + 4", 24.0, State.PASSED),
        ("volatility <= 27%", 0.27, State.PASSED),
        ("trades >= 1200%", 12.0, State.PASSED),
        ("cum_returns >= base", -5.0, State.PASSED),
        ("cum_returns >= base - 10%", -4.5, State.FAILED),
        ("cum_returns >= base - 0.5", -5.5, State.PASSED),
        ("final_account_value >= base - 5%", 9_500.0, State.PASSED),
        ("sharpe < base + 200%", 3.3, State.PASSED),
    ],
)
def test_a_gate_compares_in_the_unit_of_its_metric(text: str, limit: float, state: State) -> None:
    """A per cent offset is relative to the base's value; any other is in the metric's unit."""
    verdict = verdict_of(text)
    assert (verdict.bound, verdict.state, verdict.reason) == (limit, state, "")
    assert verdict.value == VALUES[verdict.gate.metric]
    assert verdict.reference == (BASE[verdict.gate.metric] if "base" in text else None)


def test_binary_fractions_decide_nothing() -> None:
    """As floats, three times 1.1 is more than 3.3."""
    gates, _ = parse_gates("sharpe == base + 200%\nsharpe <= base + 2.2")
    verdicts = judge(gates, Evidence(metrics={"sharpe": 3.3}, base={"sharpe": 1.1}))
    assert 1.1 * 3 != 3.3
    assert [verdict.is_passed for verdict in verdicts] == [True, True]


def test_all_gates_are_judged() -> None:
    gates, _ = parse_gates("sharpe > 9\ntrades > 1\ncalmar > 0\nvolatility < base\nsharpe < 9")
    verdicts = judge(gates, Evidence(metrics=VALUES))
    assert [verdict.gate for verdict in verdicts] == list(gates)
    assert [verdict.state.value for verdict in verdicts] == [
        *("failed", "passed", "not computed", "no base", "passed")
    ]


def test_one_gate_that_did_not_pass_stops_the_model() -> None:
    gates, _ = parse_gates("sharpe < 9\ntrades > 1\nsharpe > 9\ncalmar > 0\nvolatility < base")
    passed, failed = (
        judge(gates[:2], Evidence(metrics=VALUES)),
        judge(gates[2:], Evidence(metrics=VALUES)),
    )
    assert are_passed([])
    assert are_passed(passed)
    assert not any(are_passed([*passed, one]) for one in failed)


@pytest.mark.parametrize("operator", Operator)
@pytest.mark.parametrize("metric", ["calmar", "sortino", "cvar"])
def test_a_metric_that_was_not_computed_passes_no_gate(metric: str, operator: Operator) -> None:
    gates, _ = parse_gates(f"{metric} {operator} 1\n{metric} {operator} base")
    for verdict in judge(gates, Evidence(metrics=VALUES, reasons={"calmar": "failed: no trades"})):
        assert (verdict.state, verdict.value) == (State.NOT_COMPUTED, None)
        assert verdict.reason == ("failed: no trades" if metric == "calmar" else "not reported")


def test_a_gate_without_its_base_says_why() -> None:
    gates, _ = parse_gates("sharpe >= base\nvolatility >= base - 5%\nsharpe >= 0")
    unset = judge(gates, Evidence(metrics=VALUES))
    absent = judge(gates, Evidence(metrics=VALUES, no_base="the model did not exist at main"))
    computed = judge(gates, Evidence(metrics=VALUES, base={"sharpe": 0.5, "volatility": math.inf}))
    reasons = [[verdict.reason for verdict in verdicts] for verdicts in (unset, absent, computed)]
    assert reasons == [
        ["`compare-with` is not set", "`compare-with` is not set", ""],
        ["the model did not exist at main", "the model did not exist at main", ""],
        ["", "the base's backtest did not compute it", ""],
    ]
    assert [verdict.state for verdict in computed] == [State.PASSED, State.NO_BASE, State.PASSED]
    assert all(verdict.bound is None for verdict in (*unset[:2], *absent[:2], computed[1]))


def passes(metric: str, operator: str, limit: Bound, value: float, base: float) -> bool:
    gate = Gate(metric=metric, operator=Operator(operator), bound=limit, line=1, text="x")
    (verdict,) = judge([gate], Evidence(metrics={metric: value}, base={metric: base}))
    assert verdict.state in {State.PASSED, State.FAILED}
    return verdict.is_passed


@given(metric_names, bounds, plain_values, plain_values, plain_values)
def test_a_higher_value_never_fails_where_a_lower_one_passes(
    metric: str, limit: Bound, base: float, one: float, other: float
) -> None:
    low, high = sorted([one, other])
    for operator in (">=", ">"):
        assert passes(metric, operator, limit, low, base) <= passes(
            metric, operator, limit, high, base
        )
    for operator in ("<=", "<"):
        assert passes(metric, operator, limit, high, base) <= passes(
            metric, operator, limit, low, base
        )


@given(metric_names, bounds, plain_values, plain_values)
def test_an_operator_and_its_opposite_never_agree(
    metric: str, limit: Bound, base: float, value: float
) -> None:
    passed = {one.value: passes(metric, one, limit, value, base) for one in Operator}
    assert passed[">="] is not passed["<"]
    assert passed["<="] is not passed[">"]
    assert passed["=="] is not passed["!="]
    assert passed[">="] == (passed[">"] or passed["=="])
    assert passed["<="] == (passed["<"] or passed["=="])


def exact_limit(metric: str, limit: Bound, base: float) -> Fraction:
    """Return the bound as the documentation defines it, in fractions."""
    number = Fraction(limit.number)
    if limit.reference:
        of = Fraction(repr(base))
        return of * (100 + number) / 100 if limit.is_per_cent else of + number
    in_per_cent = METRICS[metric].unit is Unit.PER_CENT
    return number / 100 if limit.is_per_cent and not in_per_cent else number


@given(metric_names, bounds, plain_values, plain_values)
def test_bounds_are_exact(metric: str, limit: Bound, base: float, value: float) -> None:
    """Compared with fractions, over the range of floats and beyond."""
    exact = exact_limit(metric, limit, base)
    assert passes(metric, ">=", limit, value, base) == (Fraction(repr(value)) >= exact)
    assert passes(metric, "==", limit, value, base) == (Fraction(repr(value)) == exact)
    gate = Gate(metric=metric, operator=Operator.ABOVE, bound=limit, line=1, text="x")
    (verdict,) = judge([gate], Evidence(metrics={metric: value}, base={metric: base}))
    assert verdict.bound is not None
    assert math.isfinite(verdict.bound)
    if abs(exact) <= sys.float_info.max:
        assert verdict.bound == float(exact)


@given(metric_names, plain_values, plain_values, st.integers(0, 100), st.integers(0, 100))
def test_more_room_below_the_base_lets_more_through(
    metric: str, base: float, value: float, one: int, other: int
) -> None:
    narrow, wide = sorted([one, other])
    for is_per_cent in (True, False):
        limits = [
            bound(f"-{room}", is_per_cent=is_per_cent, of_base=True) for room in (narrow, wide)
        ]
        of = abs(base) if is_per_cent else base
        assert passes(metric, ">=", limits[0], value, of) <= passes(
            metric, ">=", limits[1], value, of
        )


def states(text: str, evidence: Evidence) -> list[tuple[str, str]]:
    gates, _ = parse_gates(text)
    return [(one.state.value, one.reason) for one in judge(gates, evidence)]


def test_holding_is_compared_by_the_same_metric() -> None:
    found = Evidence(metrics=VALUES, holding={"cum_returns": -6.0, "max_drawdown": 30.0})
    text = "cum_returns > hold\nmax_drawdown <= hold - 10%\nsharpe > hold"
    assert states(text, found) == [
        ("passed", ""),
        ("passed", ""),
        ("no holding", "it cannot be computed for holding"),
    ]
    (verdict,) = judge(parse_gates("max_drawdown <= hold - 10%")[0], found)
    assert (verdict.reference, verdict.bound) == (30.0, 27.0)
    unknown = Evidence(metrics=VALUES, no_holding="there are no prices")
    assert states("cum_returns > hold", unknown) == [("no holding", "there are no prices")]


def test_identical_passes_where_the_trades_are_those_of_the_base() -> None:
    assert [
        states("identical", Evidence(metrics=VALUES, is_identical=known, no_base="it is new"))
        for known in (True, False, None)
    ] == [[("passed", "")], [("failed", "")], [("no base", "it is new")]]


WINDOWS = [
    {"sharpe": 1.0, "max_drawdown": 30.0, "trades": 4},
    {"sharpe": -1.0, "max_drawdown": 10.0, "trades": 9},
    {"sharpe": 2.0, "max_drawdown": 20.0, "trades": 6},
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("worst sharpe > 0", -1.0),
        ("median sharpe > 0", 1.0),
        ("best sharpe > 0", 2.0),
        ("worst max_drawdown < 90", 30.0),
        ("median max_drawdown < 90", 20.0),
        ("best max_drawdown < 90", 10.0),
        ("worst trades > 1", 4),
        ("best trades > 1", 9),
    ],
)
def test_windows_are_judged_by_the_metrics_own_direction(text: str, value: float) -> None:
    """A metric without a direction is worst where it is smallest."""
    (verdict,) = judge(parse_gates(text)[0], Evidence(metrics={}, several=WINDOWS))
    assert verdict.value == value
    assert verdict.is_passed is (value > 0)


def test_the_median_of_huge_values_is_finite() -> None:
    windows = [{"sharpe": sys.float_info.max}] * 2
    (verdict,) = judge(parse_gates("median sharpe > 0")[0], Evidence(metrics={}, several=windows))
    assert verdict.value == sys.float_info.max


def test_windows_that_cannot_be_judged_fail_their_gates_alone() -> None:
    text = "worst sharpe > -9\nsharpe > 0\nmedian sortino > 0"
    failed = Evidence(metrics=VALUES, several=WINDOWS, no_several="window `2022` failed: no data")
    assert states(text, failed) == [
        ("incomplete", "window `2022` failed: no data"),
        ("passed", ""),
        ("incomplete", "window `2022` failed: no data"),
    ]
    assert states(text, Evidence(metrics=VALUES, several=WINDOWS))[2] == (
        "not computed",
        "3 of 3 backtests did not compute it",
    )
    assert states(text, Evidence(metrics=VALUES))[0] == (
        "incomplete",
        "neither `windows` nor `sweep` is set",
    )


def test_the_worst_window_is_compared_with_the_worst_of_the_base() -> None:
    text = "worst sharpe >= base\nmedian sharpe >= base + 1"
    base_windows = [{"sharpe": -1.5}, {"sharpe": 0.5}, {"sharpe": 3.0}]
    known = Evidence(metrics={}, base={}, several=WINDOWS, base_several=base_windows)
    assert states(text, known) == [("passed", ""), ("failed", "")]
    unknown = Evidence(metrics={}, base={}, several=WINDOWS, no_base_several="window `a` failed")
    assert states(text, unknown)[0] == ("no base", "window `a` failed")


NAMES = ["Window `a`", "Combination `FAST=5` in window `b`", "Combination `FAST=9`"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("worst sharpe > 0", NAMES[1]),
        ("best sharpe > 0", NAMES[2]),
        ("worst max_drawdown < 9", NAMES[0]),
        ("median sharpe > 0", ""),
        ("sharpe > 0", ""),
    ],
)
def test_the_worst_and_the_best_are_named(text: str, where: str) -> None:
    evidence = Evidence(metrics=VALUES, several=WINDOWS, several_names=NAMES)
    (verdict,) = judge(parse_gates(text)[0], evidence)
    assert verdict.where == where


def test_the_first_without_a_value_is_named() -> None:
    several: list[dict[str, float | None]] = [{"sharpe": 1.0}, {"sharpe": None}, {"sharpe": None}]
    evidence = Evidence(metrics={}, several=several, several_names=NAMES)
    assert states("worst sharpe > 0", evidence) == [
        (
            "not computed",
            "2 of 3 backtests did not compute it, such as combination `FAST=5` in window `b`",
        )
    ]
