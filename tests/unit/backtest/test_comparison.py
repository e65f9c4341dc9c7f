from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    Direction,
    MetricChange,
    TradeDifference,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.metrics import METRICS, Better
from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.trades import canonical_trade
from tests.support.backtests import START, a_result, an_order

OPPOSITE = {
    Direction.BETTER: Direction.WORSE,
    Direction.WORSE: Direction.BETTER,
    Direction.NEUTRAL: Direction.NEUTRAL,
}
values = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from([-1.0, 0.0, -0.0, 0.1 + 0.2, 0.3, 20.0]),
    st.decimals(-1000, 1000, places=2).map(float),
)
metrics = st.fixed_dictionaries({}, optional=dict.fromkeys(METRICS, values))
# Few choices, so that two lists often agree for a while; some differ in what is not fingerprinted.
orders = st.builds(
    an_order,
    st.sampled_from(["buy", "sell"]),
    st.sampled_from([1, 0.3, 0.1 + 0.2, 0.300000001]),
    st.sampled_from([10.0, 10.00000000001, None]),
    id=st.sampled_from(["one", "other"]),
    symbol=st.sampled_from(["OAK-USD", "ÉLM\n-USD"]),
    time=st.sampled_from([START + 60.0, START + 60.0001, START + 61.0]),
)


def change(metric: str, base: float | None, candidate: float | None) -> MetricChange:
    changes = compare_metrics({metric: base}, {metric: candidate})
    return next(one for one in changes if one.metric == metric)


def of_orders(placed: list[dict[str, Any]], start: float = START) -> BacktestResult:
    """Return a result with these orders, started at another time."""
    moved = [{**order, "time": order["time"] + start - START} for order in placed]
    return a_result(trades=moved, start_time=start)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("sharpe", Direction.BETTER),
        ("final_account_value", Direction.BETTER),
        ("max_drawdown", Direction.WORSE),
        ("cvar", Direction.WORSE),
        ("trades", Direction.NEUTRAL),
    ],
)
def test_a_rise_is_better_or_worse_by_metric(metric: str, direction: Direction) -> None:
    assert change(metric, 1.0, 2.0) == MetricChange(metric, 1.0, 2.0, 1.0, direction)
    assert change(metric, 2.0, 1.0) == MetricChange(metric, 2.0, 1.0, -1.0, OPPOSITE[direction])


@pytest.mark.parametrize(
    ("base", "candidate"),
    [(None, 1.0), (1.0, None), (None, None), (math.nan, 1.0), (1.0, math.inf), (-math.inf, None)],
)
def test_an_unknown_metric_has_no_difference(base: float | None, candidate: float | None) -> None:
    changed = change("sharpe", base, candidate)
    assert (changed.difference, changed.direction) == (None, Direction.NEUTRAL)
    assert {changed.base, changed.candidate} <= {None, 1.0}


def test_a_difference_has_no_digits_of_binary_fractions() -> None:
    """0.3 - 0.2 is 0.09999999999999998 for floats."""
    assert change("volatility", 0.2, 0.3).difference == 0.1
    assert change("cum_returns", -1e308, 1.7e308).difference == pytest.approx(1.797e308, rel=1e-3)


@pytest.mark.parametrize(
    ("base", "candidate"),
    [(37.9, 37.900000000000006), (0.0, 1e-17), (1e6, 1e6 * (1 + 2e-16)), (-27.1, -27.1 - 1e-14)],
)
def test_the_last_digits_of_a_float_are_no_difference(base: float, candidate: float) -> None:
    """They say in which order numbers were added, and nothing to a trader."""
    found = change("cum_returns", base, candidate)
    assert found.difference == 0
    assert found.direction is Direction.NEUTRAL


def test_a_small_difference_is_one() -> None:
    found = change("cum_returns", 37.9, 37.90001)
    assert found.difference == 0.00001
    assert found.direction is Direction.BETTER


@given(metrics, metrics)
def test_swapping_both_sides_swaps_better_and_worse(
    one: dict[str, float | None], other: dict[str, float | None]
) -> None:
    there, back = compare_metrics(one, other), compare_metrics(other, one)
    assert [changed.metric for changed in there] == list(METRICS)
    for forth, reverse in zip(there, back, strict=True):
        assert (forth.base, forth.candidate) == (reverse.candidate, reverse.base)
        assert forth.direction is OPPOSITE[reverse.direction]
        if forth.difference is None or reverse.difference is None:
            assert forth.difference is reverse.difference is None
            assert None in (forth.base, forth.candidate)
        else:
            assert forth.difference == -reverse.difference
            assert math.isfinite(forth.difference)


@given(metrics, metrics)
def test_a_direction_is_given_only_for_a_difference(
    one: dict[str, float | None], other: dict[str, float | None]
) -> None:
    for changed in compare_metrics(one, other):
        better = METRICS[changed.metric].better
        moved = bool(changed.difference) and better is not Better.NEITHER
        assert (changed.direction is not Direction.NEUTRAL) == moved
        if moved and changed.difference is not None:
            rose = changed.difference > 0
            assert (changed.direction is Direction.BETTER) == (rose == (better is Better.HIGHER))


@given(st.lists(orders, max_size=4), st.lists(orders, max_size=4), st.sampled_from([0.0, 1e6]))
def test_models_are_identical_exactly_if_their_fingerprints_are(
    one: list[dict[str, Any]], other: list[dict[str, Any]], later: float
) -> None:
    base, candidate = of_orders(one), of_orders(other, START + later)
    found = first_difference(base, candidate)
    assert (found is None) == (base.trades_sha256 == candidate.trades_sha256)
    lines = [canonical_trade(trade, base.start_time) for trade in base.trades]
    others = [canonical_trade(trade, candidate.start_time) for trade in candidate.trades]
    if found is None:
        assert lines == others
    else:
        assert lines[: found.index] == others[: found.index]
        assert lines[found.index : found.index + 1] != others[found.index : found.index + 1]
        assert found.base in {*base.trades[found.index : found.index + 1], None}
        assert found.candidate in {*candidate.trades[found.index : found.index + 1], None}


@given(st.lists(orders, max_size=4), st.integers(0, 3))
def test_an_order_may_be_missing_on_one_side(placed: list[dict[str, Any]], index: int) -> None:
    whole, part = of_orders(placed), of_orders(placed[:index])
    assert first_difference(whole, of_orders(placed, START + 1e6)) is None
    expected = TradeDifference(index, whole.trades[index], None) if index < len(placed) else None
    assert first_difference(whole, part) == expected
    if expected is not None:
        assert first_difference(part, whole) == TradeDifference(index, None, whole.trades[index])


def test_the_last_of_ten_thousand_trades_may_differ() -> None:
    placed = [an_order("buy", 1 + number, 10.0) for number in range(10_000)]
    base, candidate = of_orders(placed), of_orders([*placed[:-1], an_order("sell", 1, 10.0)])
    found = first_difference(base, candidate)
    assert found == TradeDifference(9_999, base.trades[-1], candidate.trades[-1])


def test_a_comparison_is_identical_only_with_a_backtest_of_the_base() -> None:
    base = Base(ref="main", commit="0" * 40, state=BaseState.ABSENT)
    assert not Comparison(base=base).is_identical
    assert Comparison(base=replace(base, result=a_result())).is_identical
