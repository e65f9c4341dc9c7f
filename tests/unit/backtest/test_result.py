from __future__ import annotations

import hashlib
from typing import Any

from tests.support.backtests import (
    DAY,
    START,
    a_result,
    an_order,
    raw_result,
    read_result,
    with_metrics,
)

CONTRACT = (
    "sharpe sortino calmar cagr cum_returns max_drawdown volatility variance value_at_risk cvar "
    "trades final_account_value hold_return excess_return round_trips win_rate profit_factor "
    "expectancy exposure longest_drawdown_days"
)


def test_the_metrics_have_our_ids_in_our_order() -> None:
    assert " ".join(a_result().analysis.metrics) == CONTRACT


def test_without_account_values_the_metrics_are_those_of_the_package() -> None:
    """The package's `cavr` is `cvar`."""
    result = a_result([], [an_order("buy", 1, 10.0)], final_account_value=12_900.0)
    metrics = result.analysis.metrics
    assert not result.analysis.is_exact
    assert metrics["cvar"] == 7.32
    assert metrics["cum_returns"] == 29.0
    assert metrics["trades"] == 1
    assert metrics["final_account_value"] == 12_900.0


def test_a_metric_without_a_value_says_why() -> None:
    """The package reports null for NaN and a sentence for an error, and may omit a metric."""
    raw = with_metrics(raw_result([]), sortino=None, calmar="failed: division by zero")
    del raw["metrics"]["sharpe"]
    found = read_result(raw).analysis
    wanted = {
        "sortino": "not a number",
        "calmar": "failed: division by zero",
        "sharpe": "not reported",
    }
    assert {name: found.reasons[name] for name in wanted} == wanted
    assert "cagr" not in found.reasons
    assert [found.metrics[name] for name in wanted] == [None] * 3


def test_account_values_are_points_with_gaps() -> None:
    values = a_result([1, None, 3.5]).account_values
    assert list(values) == [(START, 1.0), (START + DAY, None), (START + 2 * DAY, 3.5)]
    assert list(values.known()) == [(START, 1.0), (START + 2 * DAY, 3.5)]


def test_orders_are_filled_in_the_three_ways_of_the_package() -> None:
    """Market orders at once, limit orders with a time, stop orders with only the status `done`."""
    waiting = {"type": "limit", "status": "pending"}
    trades = [
        an_order("buy", 1, 10.0),
        an_order("buy", 1, 10.0, **{**waiting, "executed_time": START + 5 * DAY}),
        an_order("sell", 1, 10.0, type="stop_loss"),
        an_order("sell", 1, 10.0, **waiting),
        an_order("sell", 1, 10.0, **{**waiting, "canceled_time": START, "status": "done"}),
        an_order("sell", 1, None, type="stop_loss", status="pending"),
    ]
    result = a_result(trades=trades)
    assert [trade.was_filled for trade in result.trades] == [True, True, True, False, False, False]
    assert result.trades[1].filled_at == START + 5 * DAY
    assert result.analysis.metrics["trades"] == 3


def test_the_fingerprint_is_what_its_definition_says() -> None:
    """Recomputed here as docs/report.md defines it."""
    trades = [
        an_order("buy", 0.1 + 0.2, 1234.56789012345, time=START + 0.0004),
        an_order("sell", 2e-7, None, symbol='É"-USD', type="limit", time=START + 1.5),
        an_order("sell", 3, -0.0, time=START - 60),
    ]
    lines = (
        '["OAK-USD","buy","spot-market","0.3","1234.56789",0]\n'
        '["\\u00c9\\"-USD","sell","limit","2e-07",null,1500]\n'
        '["OAK-USD","sell","spot-market","3","0",-60000]\n'
    )
    assert a_result(trades=trades).trades_sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_the_fingerprint_is_of_what_the_model_did_and_nothing_else() -> None:
    order = an_order("buy", 0.3, 10.0)
    later = {"time": order["time"] + 1e6, "id": "other", "size": 0.1 + 0.2}

    same = a_result(trades=[{**order, **later}], start_time=START + 1e6)

    fingerprint = a_result(trades=[order]).trades_sha256
    assert same.trades_sha256 == fingerprint
    changes: list[dict[str, Any]] = [
        {"symbol": "ELM-USD"},
        {"side": "sell"},
        {"type": "limit", "executed_time": 1.0},
        {"size": 0.300000001},
        {"price": 10.00000001},
        {"time": order["time"] + 0.001},
    ]
    others = {a_result(trades=[{**order, **change}]).trades_sha256 for change in changes}
    assert len(others | {fingerprint}) == 7
    assert a_result().trades_sha256 == hashlib.sha256(b"").hexdigest()
