from __future__ import annotations

import math
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.metrics import METRICS, Unit
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Bound, Gate, Operator, State, are_passed, judge
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
    assert verdict.base == BASE.get(verdict.gate.metric)


def test_binary_fractions_decide_nothing() -> None:
    """As floats, three times 1.1 is more than 3.3."""
    gates, _ = parse_gates("sharpe == base + 200%\nsharpe <= base + 2.2")
    verdicts = judge(gates, {"sharpe": 3.3}, {"sharpe": 1.1})
    assert 1.1 * 3 != 3.3
    assert [verdict.is_passed for verdict in verdicts] == [True, True]


def test_all_gates_are_judged() -> None:
    gates, _ = parse_gates("sharpe > 9\ntrades > 1\ncalmar > 0\nvolatility < base\nsharpe < 9")
    verdicts = judge(gates, VALUES, None)
    assert [verdict.gate for verdict in verdicts] == list(gates)
    assert [verdict.state.value for verdict in verdicts] == [
        *("failed", "passed", "not computed", "no base", "passed")
    ]


def test_one_gate_that_did_not_pass_stops_the_model() -> None:
    gates, _ = parse_gates("sharpe < 9\ntrades > 1\nsharpe > 9\ncalmar > 0\nvolatility < base")
    passed, failed = judge(gates[:2], VALUES, None), judge(gates[2:], VALUES, None)
    assert are_passed([])
    assert are_passed(passed)
    assert not any(are_passed([*passed, one]) for one in failed)


@pytest.mark.parametrize("operator", Operator)
@pytest.mark.parametrize("metric", ["calmar", "sortino", "cvar"])
def test_a_metric_that_was_not_computed_passes_no_gate(metric: str, operator: Operator) -> None:
    gates, _ = parse_gates(f"{metric} {operator} 1\n{metric} {operator} base")
    for verdict in judge(gates, VALUES, None, reasons={"calmar": "failed: no trades"}):
        assert (verdict.state, verdict.value) == (State.NOT_COMPUTED, None)
        assert verdict.reason == ("failed: no trades" if metric == "calmar" else "not reported")


def test_a_gate_without_its_base_says_why() -> None:
    gates, _ = parse_gates("sharpe >= base\nvolatility >= base - 5%\nsharpe >= 0")
    unset = judge(gates, VALUES, None)
    absent = judge(gates, VALUES, None, no_base="the model did not exist at main")
    computed = judge(gates, VALUES, {"sharpe": 0.5, "volatility": math.inf})
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
    (verdict,) = judge([gate], {metric: value}, {metric: base})
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
    if limit.of_base:
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
    (verdict,) = judge([gate], {metric: value}, {metric: base})
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
