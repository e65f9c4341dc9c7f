"""Gates that no value fails, or none passes, are refused with the way to write them."""

from __future__ import annotations

import pytest

from deploy_action.backtest.metrics import METRICS
from deploy_action.errors import Severity
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Evidence, judge

# A model that lost nearly all: what the metrics of such an account look like.
RUINED = {
    **dict.fromkeys(METRICS, 0.0),
    "sharpe": -2.1,
    "sortino": -1.7,
    "calmar": -1.4,
    "cagr": -90.5,
    "cum_returns": -90.4,
    "max_drawdown": 91.2,
    "volatility": 1.3,
    "variance": 169.0,
    "value_at_risk": 912.0,
    "cvar": 1_460.0,
    "trades": 210,
    "final_account_value": 960.0,
    "hold_return": 4.0,
    "excess_return": -94.4,
    "round_trips": 105,
    "win_rate": 21.0,
    "profit_factor": 0.2,
    "expectancy": -86.1,
    "exposure": 97.0,
    "longest_drawdown_days": 364.0,
}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "max_drawdown >= -25%",
            "no backtest can fail `max_drawdown >= -25%`: `max_drawdown` is a loss",
            "Write `max_drawdown <= 25%`.",
        ),
        ("max_drawdown > -25", "no backtest can fail", "Write `max_drawdown <= 25`."),
        ("max_drawdown <= -25%", "no backtest can pass", "Write `max_drawdown <= 25%`."),
        ("max_drawdown == -25%", "no backtest can pass", "Write `max_drawdown <= 25%`."),
        ("worst max_drawdown > -25%", "no backtest can fail", "`worst max_drawdown <= 25%`."),
        ("value_at_risk >= -500", "no backtest can fail", "Write `value_at_risk <= 500`."),
        ("cvar > -500", "no backtest can fail", "Write `cvar <= 500`."),
        ("max_drawdown >= 0", "no backtest can fail", "Write a bound that some"),
        ("trades >= 0", "no backtest can fail", "Write a bound that some"),
        ("trades < 0", "no backtest can pass", "Write a bound that some"),
        ("volatility > -1%", "no backtest can fail", "Write a bound that some"),
        ("win_rate > 100%", "no backtest can pass", "Write a bound that some"),
        ("win_rate <= 100", "no backtest can fail", "Write a bound that some"),
        ("win_rate == 101", "no backtest can pass", "Write a bound that some"),
        ("exposure != 200", "no backtest can fail", "Write a bound that some"),
        ("cagr >= -100", "no backtest can fail", "Write a bound that some"),
        ("trades > hold", "Holding has no `trades`.", "Write a number instead of `hold`."),
        ("excess_return > hold", "already is about holding", "Write `excess_return > 0`"),
        (
            "worst cum_returns > hold",
            "compares several backtests with",
            "Write `worst excess_return > 0`",
        ),
    ],
)
def test_a_gate_that_decides_nothing_is_an_error(text: str, message: str, hint: str) -> None:
    _, (problem,) = parse_gates(text)
    assert problem.severity is Severity.ERROR
    assert problem.message.startswith("Input `gates`, line 1, column ")
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    "text",
    [
        "max_drawdown <= 0",
        "cum_returns >= -100",
        "cum_returns < 0",
        "value_at_risk <= -1",
        "trades > 0",
        "trades == 0",
        "win_rate >= 100%",
        "win_rate < 100%",
        "cagr > -100",
        "max_drawdown <= base - 30",
        "sharpe >= -1000",
    ],
)
def test_a_gate_that_decides_something_is_none(text: str) -> None:
    _, problems = parse_gates(text)
    assert [one for one in problems if one.severity is Severity.ERROR] == []


@pytest.mark.parametrize(
    ("text", "severity", "turned"),
    [
        ("max_drawdown >= 25%", Severity.ERROR, "max_drawdown <= 25%"),
        ("worst cvar > 500", Severity.ERROR, "worst cvar < 500"),
        ("max_drawdown > 0", Severity.ERROR, "max_drawdown <= 25%"),
        ("max_drawdown >= base", Severity.WARNING, "max_drawdown <= base"),
        ("volatility >= 5%", Severity.WARNING, "volatility <= 5%"),
    ],
)
def test_a_limit_that_asks_for_more_risk_is_an_error_or_a_warning(
    text: str, severity: Severity, turned: str
) -> None:
    """Of losses it is an error: a model that lost nearly all would pass."""
    _, (problem,) = parse_gates(text)
    assert problem.severity is severity
    assert "passes the models with more risk" in problem.message
    assert problem.hint == f"Write `{turned}`."


@pytest.mark.parametrize(
    "text",
    [
        "max_drawdown <= 25%",
        "max_drawdown < 50",
        "max_drawdown >= -25%",
        "max_drawdown > -25%",
        "max_drawdown >= 25%",
        "max_drawdown > 50",
        "cvar >= 100",
        "volatility <= 40%",
        "variance <= 16%",
        "value_at_risk <= 500",
        "value_at_risk >= -500",
        "cvar <= 500",
        "calmar >= 0.5",
        "sortino > 0",
        "sharpe >= 0",
        "longest_drawdown_days <= 90",
        "cum_returns > -50%",
        "cum_returns > hold",
        "profit_factor >= 1",
    ],
)
def test_a_model_that_loses_nine_tenths_passes_no_gate_on_risk(text: str) -> None:
    """Whichever sign people write: it fails, or is refused before anything runs."""
    gates, problems = parse_gates(text)
    (verdict,) = judge(gates, Evidence(metrics=RUINED, holding={"cum_returns": 4.0}))
    is_refused = any(problem.severity is Severity.ERROR for problem in problems)
    assert is_refused or not verdict.is_passed
