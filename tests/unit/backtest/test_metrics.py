from __future__ import annotations

import math
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.metrics import METRICS, Better, Unit, in_decimals, nearest_float
from tests.support.backtests import a_result

REPORT = Path(__file__).parents[3] / "docs" / "report.md"


def test_the_metrics_are_those_of_a_backtest() -> None:
    assert list(METRICS) == list(a_result().analysis.metrics)
    assert all(kind.id == metric for metric, kind in METRICS.items())
    assert len({kind.name for kind in METRICS.values()}) == len(METRICS) == 20


def test_more_return_is_better_and_more_risk_is_worse() -> None:
    names = {
        better: " ".join(metric for metric, kind in METRICS.items() if kind.better is better)
        for better in Better
    }
    assert names == {
        Better.HIGHER: "sharpe sortino calmar cagr cum_returns final_account_value excess_return "
        "win_rate profit_factor expectancy",
        Better.LOWER: "max_drawdown volatility variance value_at_risk cvar longest_drawdown_days",
        Better.NEITHER: "trades hold_return round_trips exposure",
    }


def test_units_are_those_of_the_documentation() -> None:
    """Gates read as per cent what `docs/report.md` says is in per cent."""
    section = REPORT.read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    documented = {row[1].strip(" `"): row[3] for row in rows}
    words = {
        Unit.PER_CENT: "per cent",
        Unit.FRACTION: "fraction",
        Unit.AMOUNT: "quote asset",
        Unit.RATIO: "",
        Unit.COUNT: "",
        Unit.DAYS: "days",
    }

    units = {
        metric: re.split("[,:]", documented[metric])[0].strip() == words[kind.unit]
        for metric, kind in METRICS.items()
    }

    assert units == dict.fromkeys(METRICS, True)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimals_are_the_float_that_people_read(value: float) -> None:
    assert nearest_float(in_decimals(value)) == value
    assert len(in_decimals(value).as_tuple().digits) <= 17


@pytest.mark.parametrize(
    ("number", "nearest"),
    [("3.3", 3.3), ("1e400", sys.float_info.max), ("-1e400", -sys.float_info.max), ("1e-400", 0.0)],
)
def test_the_nearest_float_is_finite(number: str, nearest: float) -> None:
    """JSON cannot represent infinity."""
    assert nearest_float(Decimal(number)) == nearest
    assert math.isfinite(nearest_float(Decimal(number)))
