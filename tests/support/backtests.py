"""Results of backtests, as the `blankly` package reports them to a platform."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.wire import parse_result

START = 1_677_628_800  # 2023-03-01, midnight
DAY = 86_400
METRICS: dict[str, tuple[float | str | None, str]] = {
    "calmar": (1.0, "Calmar Ratio"),
    "cagr": (24.0, "Compound Annual Growth Rate (%)"),
    "cavr": (7.32, "Conditional Value-at-Risk"),
    "cum_returns": (28.999999999999996, "Cumulative Returns (%)"),
    "max_drawdown": (16.0, "Max Drawdown (%)"),
    "resampled_time": (86400.0, "Resampled Time"),
    "risk_free_rate": (0.0, "Risk Free Return Rate"),
    "sharpe": (0.96, "Sharpe Ratio"),
    "sortino": (1.31, "Sortino Ratio"),
    "value_at_risk": (207.66, "Value-at-Risk"),
    "variance": (2.96, "Variance (%)"),
    "volatility": (0.17, "Volatility"),
}


def raw_result(
    values: Sequence[float | None] = (10_000.0, 10_400.0, 9_900.0, 12_900.0),
    trades: Iterable[dict[str, Any]] = (),
    *,
    step: float = DAY,
    **changes: Any,
) -> dict[str, Any]:
    """Return the JSON of a result; `changes` replace keys of it."""
    metrics = {
        name: {"value": value, "display_name": display_name, "type": "number"}
        for name, (value, display_name) in METRICS.items()
    }
    return {
        "exchange": "keyless",
        "symbols": ["OAK-USD"],
        "quote_asset": "USD",
        "start_time": float(START),
        "stop_time": float(START + step * len(values)),
        "account_values": [
            {"time": float(START + step * number), "value": value}
            for number, value in enumerate(values)
        ],
        "trades": list(trades),
        "metrics": metrics,
        "indicators": {},
        "user_callbacks": {},
        "initial_account_value": values[0] if values else None,
        "final_account_value": values[-1] if values else None,
        "backtest_id": "7f0f4f0e-6f0a-4b3a-9a51-1d6d0a1a6d2e",
        **changes,
    }


def read_result(raw: object) -> BacktestResult:
    """Parse a raw result as it comes from a server."""
    return parse_result(json.dumps(raw).encode())


def a_result(*arguments: Any, **changes: Any) -> BacktestResult:
    """Return such a result, parsed."""
    return read_result(raw_result(*arguments, **changes))


def an_order(side: str, size: float, price: float | None, **changes: Any) -> dict[str, Any]:
    """Return an order as in `trades`, a market order by default."""
    return {
        "id": "3ac53638-71d3-944f-327e-e8b44d5bd2d9",
        "symbol": "OAK-USD",
        "side": side,
        "type": "spot-market",
        "size": size,
        "price": price,
        "time": float(START + DAY),
        "status": "done",
        "exchange": "keyless",
        "exchange_specific": {},
        **changes,
    }


def with_metrics(result: dict[str, Any], **values: float | str | None) -> dict[str, Any]:
    """Change the package's metrics in a raw result, and take them as they come.

    Without account values nothing better can be computed.
    """
    result["account_values"] = []
    for name, value in values.items():
        result["metrics"][name]["value"] = value
    return result


def a_market(prices: Mapping[str, Sequence[float]], **changes: Any) -> dict[str, Any]:
    """Return `market` of a result as the embedded platform sends it: daily bars, fees of 0.1%."""
    of_symbol = changes.pop("of_symbol", {})
    return {
        "use_price": "open",
        "initial_values": {"USD": 10_000.0},
        "benchmark_symbol": None,
        "prices": [
            {
                "symbol": symbol,
                "base": symbol.split("-")[0],
                "quote": symbol.split("-")[1],
                "resolution": float(DAY),
                "asked_start": None,
                "asked_end": None,
                "maker_fee": 0.001,
                "taker_fee": 0.001,
                "bars": len(values),
                "times": [float(START + DAY * bar) for bar in range(len(values))],
                "values": list(values),
                **of_symbol,
            }
            for symbol, values in prices.items()
        ],
        **changes,
    }
