"""The hand calculations in `docs/metrics.md` are repeated by the code, for every metric."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deploy_action.backtest.figures.analysis import Analysis
from deploy_action.backtest.metrics import HOLDABLE, METRICS
from deploy_action.backtest.wire import parse_result
from tests.support.backtests import DAY, START, a_market, a_result, an_order, raw_result

DOCUMENT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
VALUES = [10_000.0, 11_000.0, 9_900.0, 10_890.0, 10_890.0, 10_345.5]
PRICES = [40.0, 44.0, 50.0, 45.0, 48.0, 42.0]
FEE = 0.001

BY_HAND = {
    match["id"]: float(match["result"])
    for match in re.finditer(
        r"^\| `(?P<id>\w+)` \|.*?(?P<result>-?[0-9.]+) \|$", DOCUMENT, re.MULTILINE
    )
}


def of_values() -> Analysis:
    return a_result(VALUES).analysis


def of_orders() -> Analysis:
    """Return that of the second example; the account's values follow from its orders."""
    placed = {0: ("buy", 100.0), 2: ("sell", 99.9), 3: ("buy", 100.0), 5: ("sell", 99.9)}
    cash, held = 10_000.0, 0.0
    values, orders = [], []
    for day, price in enumerate(PRICES):
        if day in placed:
            side, size = placed[day]
            cash += -size * price if side == "buy" else size * price * (1 - FEE)
            held += size * (1 - FEE) if side == "buy" else -size
            orders.append(an_order(side, size, price, time=float(START + DAY * day)))
        values.append(cash + held * price)
    raw = raw_result(values, orders, market=a_market({"OAK-USD": PRICES}, start_value=10_000.0))
    return parse_result(json.dumps(raw).encode()).analysis


def test_the_document_defines_every_metric() -> None:
    assert sorted(BY_HAND) == sorted(METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_a_hand_calculation_repeats_the_metric(metric: str) -> None:
    found = of_values() if metric in HOLDABLE else of_orders()
    value = found.metrics[metric]
    assert value is not None
    decimals = len(str(BY_HAND[metric]).partition(".")[2])
    assert round(value, decimals) == pytest.approx(BY_HAND[metric], rel=1e-12)


def test_the_hand_calculations_of_round_trips() -> None:
    trips = of_orders().round_trips
    assert [one.gain for one in trips.closed] == pytest.approx([990.005, -308.3958])
    assert [one.cost for one in trips.closed] == [4_000, 4_500]
    assert [one.seconds for one in trips.closed] == [2 * DAY, 2 * DAY]
    assert of_orders().metrics["cum_returns"] == pytest.approx(6.816092)


def test_the_risk_free_rate_is_taken_from_the_yearly_return() -> None:
    """0.01 * 252 less 0.03, over 0.0894427 * sqrt(252)."""
    raw = raw_result(VALUES)
    raw["metrics"]["risk_free_rate"]["value"] = 0.03
    metrics = parse_result(json.dumps(raw).encode()).analysis.metrics
    assert metrics["sharpe"] == pytest.approx((2.52 - 0.03) / (0.008**0.5 * 252**0.5))
    assert metrics["sortino"] == pytest.approx((2.52 - 0.03) / (0.00125**0.5 * 252**0.5))


def test_days_without_values_have_no_return() -> None:
    """Friday, Monday, Tuesday: two returns, of 10% each."""
    raw = raw_result([100.0, 110.0, 121.0])
    for point, day in zip(raw["account_values"], (0, 3, 4), strict=True):
        point["time"] = float(START + DAY * day)
    found = parse_result(json.dumps(raw).encode()).analysis
    assert found.metrics["volatility"] == pytest.approx(0, abs=1e-12)
    assert found.metrics["value_at_risk"] == pytest.approx(-10)
    assert found.reasons["sharpe"] == "every return is the same"


def test_the_last_interval_may_be_shorter() -> None:
    """Values every 16 hours: at 0, 16, 32 and 48 hours; days end at 24 and 48 hours."""
    found = a_result([100.0, 110.0, 90.0, 99.0], step=16 * 3_600).analysis
    assert found.metrics["value_at_risk"] == pytest.approx(10 - 0.05 * 20)  # of +10% and -10%


def test_months_and_drawdowns_of_the_document() -> None:
    """A fall from the last time at a peak; a month ends with the value at its midnight."""
    found = of_values()
    first, second = found.drawdowns[0], found.drawdowns[1:]
    assert (first.depth, first.start, first.lowest) == (10, START + DAY, START + 2 * DAY)
    assert first.recovered is None
    assert first.days == 4
    assert second == ()
    raw = raw_result([100.0, 110.0, 99.0, 108.9])
    for point, day in zip(raw["account_values"], (0, 30, 31, 40), strict=True):
        point["time"] = float(START + DAY * day)  # from the 1st of March; 31 is midnight of April
    months = parse_result(json.dumps(raw).encode()).analysis.months
    assert [(one.year, one.month) for one in months] == [(2023, 3), (2023, 4)]
    assert [one.gain for one in months] == pytest.approx([-1, 10])


REASONS = {
    **a_result([], []).analysis.reasons,
    **a_result([0.0, 1.0]).analysis.reasons,
    **a_result([1.0]).analysis.reasons,
    **a_result([1.0, 2.0, 3.0]).analysis.reasons,
}


@pytest.mark.parametrize("reason", sorted(set(REASONS.values())))
def test_reasons_are_explained(reason: str) -> None:
    assert f"\n| {reason} |" in DOCUMENT or reason in {"not a number", "not reported"}
