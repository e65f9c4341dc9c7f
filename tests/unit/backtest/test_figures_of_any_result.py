"""Whatever a server sends and the reader accepts has figures, or reasons why not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.comparison import compare_metrics
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.warning_signs import find_warning_signs
from deploy_action.backtest.wire import parse_result
from tests.support.backtests import START, a_result, raw_result, read_result

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-10, 20_000),
    st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1.7e308, -1.7e308, 1e-300]),
)
moments = st.one_of(st.floats(-1e15, 1e15), st.integers(START, START + 90 * 86_400).map(float))
symbols = st.sampled_from(["OAK-USD", "ELM-USD", "ELM-OAK", "OAK-EUR", "OAK"])
orders = st.fixed_dictionaries(
    {
        "symbol": symbols,
        "side": st.sampled_from(["buy", "sell", "sell", "buy", "odd"]),
        "type": st.sampled_from(["spot-market", "limit", "stop_loss"]),
        "size": numbers,
        "price": st.one_of(st.none(), numbers, numbers),
        "time": moments,
        "status": st.sampled_from(["done", "pending"]),
    },
    optional={"executed_time": numbers, "canceled_time": st.none()},
)
bars = st.lists(st.tuples(moments, st.one_of(st.none(), numbers, numbers)), max_size=6)


@st.composite
def markets(draw: st.DrawFn) -> dict[str, Any]:
    prices = []
    for symbol in draw(st.lists(symbols, max_size=3, unique=True)):
        found = draw(bars)
        prices.append(
            {
                "symbol": symbol,
                "base": symbol.split("-")[0],
                "quote": "USD" if "-" not in symbol else symbol.split("-")[1],
                "resolution": draw(numbers),
                "asked_start": draw(st.one_of(st.none(), moments)),
                "asked_end": draw(st.one_of(st.none(), moments)),
                "maker_fee": draw(st.one_of(st.none(), numbers)),
                "taker_fee": draw(st.one_of(st.just(0.001), numbers)),
                "bars": len(found),
                "times": [time for time, _ in found],
                "values": [value for _, value in found],
            }
        )
    return {
        "use_price": "close",
        "initial_values": draw(st.dictionaries(st.sampled_from(["USD", "OAK", "ELM"]), numbers)),
        "start_value": draw(st.one_of(st.none(), numbers)),
        "benchmark_symbol": draw(st.one_of(st.none(), symbols)),
        "prices": prices,
    }


@given(
    points=st.lists(
        st.tuples(st.one_of(moments, numbers), st.one_of(st.none(), numbers, numbers)), max_size=12
    ),
    placed=st.lists(orders, max_size=6),
    market=st.one_of(st.none(), markets()),
    interval=st.one_of(st.just(86_400.0), numbers),
    rate=numbers,
    traded=st.lists(symbols, max_size=3),
    final=st.one_of(st.none(), numbers),
)
def test_every_metric_has_a_finite_value_or_a_reason(
    *,
    points: list[tuple[float, float | None]],
    placed: list[dict[str, Any]],
    market: dict[str, Any] | None,
    interval: float,
    rate: float,
    traded: list[str],
    final: float | None,
) -> None:
    raw = raw_result(symbols=traded, trades=placed, market=market, final_account_value=final)
    raw["account_values"] = [{"time": time, "value": value} for time, value in points]
    raw["metrics"]["resampled_time"]["value"] = interval
    raw["metrics"]["risk_free_rate"]["value"] = rate
    result = parse_result(json.dumps(raw).encode())
    found = result.analysis
    assert list(found.metrics) == list(METRICS)
    for metric, value in found.metrics.items():
        assert (value is None) == bool(found.reasons.get(metric)), metric
        assert value is None or math.isfinite(value)
    for metric in ("cum_returns", "max_drawdown", "final_account_value"):
        if found.holding is not None:
            value = found.holding.metrics[metric]
            assert (value is None) == bool(found.holding.reasons.get(metric))
    assert found.metrics["exposure"] is None or 0 <= found.metrics["exposure"] <= 100
    assert all(0 <= one.share <= 1 for one in found.coverage)
    depths = [one.depth for one in found.drawdowns]
    assert depths == sorted(depths, reverse=True)
    assert compare_metrics(found.metrics, found.metrics)
    find_warning_signs(result, None)


DAY_S = ("sharpe", "sortino", "volatility", "variance", "value_at_risk", "cvar", "calmar")


def test_minutes_that_are_resampled_by_day_say_so() -> None:
    """2,880 values are not too few; the days are."""
    found = read_result(raw_result([100.0 + minute % 7 for minute in range(1_440)], step=60))
    reasons = found.analysis.reasons
    for metric in DAY_S:
        assert reasons[metric] == "fewer than two returns: one is taken every day"
    assert found.analysis.metrics["cum_returns"] == 4.0
    two_days = read_result(raw_result([100.0 + minute % 7 for minute in range(2_880)], step=60))
    assert two_days.analysis.metrics["volatility"] is not None


def test_another_interval_is_named() -> None:
    raw = raw_result([100.0, 101.0, 102.0], step=60)
    raw["metrics"]["resampled_time"]["value"] = 14_400
    reasons = read_result(raw).analysis.reasons
    assert reasons["sharpe"] == "fewer than two returns: one is taken every 4 hours"


@pytest.mark.parametrize(
    ("values", "reasons"),
    [
        ([], {"sharpe": "", "longest_drawdown_days": "the server sends no account values"}),
        ([None, None], {"longest_drawdown_days": "the server sends no account values"}),
        # Of a single value there is neither return nor risk: the package's metrics are taken.
        ([100.0], {"sharpe": "", "cum_returns": "", "exposure": "there is a single account value"}),
        (
            [100.0] * 5,
            {
                "sharpe": "every return is the same",
                "sortino": "fewer than two of the returns are losses: one is taken every day",
                "calmar": "the account's value never fell",
                "volatility": "",
                "value_at_risk": "",
                "max_drawdown": "",
                "longest_drawdown_days": "",
            },
        ),
        (
            [0.0, 0.0, 5.0],
            dict.fromkeys(
                ["sharpe", "cum_returns", "longest_drawdown_days"],
                "the account starts with nothing",
            ),
        ),
        ([-5.0, 1.0, 5.0], {"max_drawdown": "the account starts with nothing"}),
        (
            [100.0, 50.0, 0.0, 0.0],
            {
                "sharpe": "the account was worth nothing, or next to nothing, before the end",
                "cvar": "the account was worth nothing, or next to nothing, before the end",
                "cagr": "",
                "cum_returns": "",
                "max_drawdown": "",
            },
        ),
        # A price of zero for one bar: the return after it would decide everything.
        (
            [100.0, 99.0, 5e-8, 99.0, 98.0],
            {"sortino": "the account was worth nothing, or next to nothing, before the end"},
        ),
        ([100.0, 50.0, -10.0], {"cagr": "the account ends in debt", "sharpe": "", "calmar": ""}),
        ([100.0, 90.0, 81.0, 72.9], {"sortino": "every loss is the same"}),
        ([100.0, 101.0, 102.01, 103.0301], {"sharpe": "every return is the same"}),
        ([1e-300, 1e300], {"cum_returns": "the numbers are too large"}),
    ],
)
def test_accounts_of_all_kinds(values: list[float | None], reasons: dict[str, str]) -> None:
    found = a_result(values).analysis
    for metric, reason in reasons.items():
        assert found.reasons.get(metric, "") == reason, metric


def test_gates_do_not_judge_risk_that_the_package_took_from_the_best_days() -> None:
    """Without account values its metrics are taken as they come, and these two mean another."""
    found = a_result([]).analysis
    assert (found.metrics["value_at_risk"], found.metrics["cvar"]) == (207.66, 7.32)
    assert (found.judged_metrics["value_at_risk"], found.judged_metrics["cvar"]) == (None, None)
    assert "from the best days" in found.unjudged["cvar"]
    exact = a_result([100.0, 90.0, 95.0, 99.0]).analysis
    assert exact.judged_metrics == exact.metrics


def test_unknown_values_are_left_out() -> None:
    found = a_result([None, 100.0, None, 90.0, 99.0]).analysis
    assert found.metrics["cum_returns"] == pytest.approx(-1)
    assert found.metrics["max_drawdown"] == pytest.approx(10)
    assert found.metrics["longest_drawdown_days"] == 3


def test_values_and_prices_in_any_order_are_sorted() -> None:
    raw = raw_result([100.0, 50.0, 150.0])
    raw["account_values"].reverse()
    found = read_result(raw).analysis
    assert found.metrics["cum_returns"] == 50
    assert found.metrics["final_account_value"] == 150


def test_growth_at_the_same_rate_has_no_spread() -> None:
    """Its floats differ in their last digits."""
    found = a_result([100 * 1.01**day for day in range(30)]).analysis
    assert found.reasons["sharpe"] == "every return is the same"


def test_the_last_digits_of_a_float_are_no_drawdown() -> None:
    noisy = a_result([100.0, 99.99999999999999, 100.0, 99.99999999999999]).analysis
    assert noisy.drawdowns == ()
    assert noisy.metrics["longest_drawdown_days"] == 0
    assert noisy.reasons["calmar"] == "the account's value never fell"
    recovered = a_result([100.0, 99.0, 99.99999999999999, 99.99999999999999, 98.0]).analysis
    assert [one.days for one in recovered.drawdowns] == [1, 2]


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        ((-1e300, 1e299, 1e300), 86_400.0),  # to which a day more makes no difference
        ((0.0, 5161.500000000001, 9_000.0), 9.3),  # 555 * 9.3 is less, by a rounding
    ],
)
def test_no_time_stops_the_resampling(times: tuple[float, ...], interval: float) -> None:
    raw = raw_result([100.0, 101.0, 102.0])
    raw["metrics"]["resampled_time"]["value"] = interval
    for point, time in zip(raw["account_values"], times, strict=True):
        point["time"] = time
    assert read_result(raw).analysis.metrics["cum_returns"] == pytest.approx(2)
