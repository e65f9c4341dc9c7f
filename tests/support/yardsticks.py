"""QuantStats, empyrical and the `blankly` package's own functions, run on series of values.

They need an old numpy, so they run in the environment of the `blankly` package, in one process for
all series.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Per series of daily values, the first of them at midnight (UTC).
_SCRIPT = """
import json, sys, warnings
import numpy as np, pandas as pd
import empyrical, quantstats.stats as qs
import blankly.exchanges.interfaces.paper_trade.metrics as package
from blankly.exchanges.interfaces.paper_trade.backtest_result import BacktestResult

warnings.simplefilter("ignore")

def seconds(date):
    return pd.Timestamp(date).timestamp()

def others(times, values):
    dates = pd.to_datetime(times, unit="s")
    returns = pd.Series(values, index=dates).pct_change().iloc[1:]
    # What happened before midnight belongs to the month that ends there.
    shifted = returns.copy()
    shifted.index = shifted.index - pd.Timedelta(seconds=1)
    months = qs.monthly_returns(shifted, eoy=False, prepare_returns=False)
    # It finds no drawdown where the first day of all is below the peak.
    from_start = pd.concat([pd.Series([0.0], index=dates[:1]), returns])
    drawdowns = qs.drawdown_details(qs.to_drawdown_series(from_start))
    return {
        "quantstats": {
            "comp": qs.comp(returns),
            "sharpe": qs.sharpe(returns, periods=252),
            "sortino": qs.sortino(returns, periods=252),
            "volatility": qs.volatility(returns, periods=252, prepare_returns=False),
            "max_drawdown": qs.max_drawdown(returns),
            "cagr": qs.cagr(returns, periods=365),
            "calmar": qs.calmar(returns, prepare_returns=False, periods=365),
            "cvar": qs.cvar(returns, prepare_returns=False, method="historical"),
            "months": {
                f"{year}-{number:02}": gain
                for year, row in months.iterrows()
                for number, gain in enumerate(row, 1)
            },
            "drawdowns": [
                {
                    "start": seconds(start), "valley": seconds(valley),
                    "end": seconds(end), "days": int(days), "depth": float(depth),
                }
                for start, valley, end, days, depth
                in drawdowns[["start", "valley", "end", "days", "max drawdown"]].values
            ],
        },
        "empyrical": {
            "sharpe": empyrical.sharpe_ratio(returns),
            "sortino": empyrical.sortino_ratio(returns),
            "volatility": empyrical.annual_volatility(returns),
            "max_drawdown": empyrical.max_drawdown(returns),
            "cagr": empyrical.annual_return(returns, annualization=365),
            "calmar": empyrical.calmar_ratio(returns, annualization=365),
            "value_at_risk": empyrical.value_at_risk(returns),
            "cvar": empyrical.conditional_value_at_risk(returns),
        },
    }

def of_package(times, values, interval, risk_free_rate):
    frame = pd.DataFrame({"time": times, "Account Value (USD)": values})
    data = {"history": frame}
    result = BacktestResult(data, {}, {}, times[0], times[-1], "USD", [])
    sampled = result.resample_account("Account Value (USD)", interval)
    returns = sampled.copy(deep=True)
    returns["value"] = returns["value"].pct_change()
    data = {"resampled_account_value": sampled, "returns": returns}
    period, rate = {"trading_period": interval}, {"risk_free_rate": risk_free_rate}
    return {
        "resampled": sampled["value"].tolist(),
        "cagr": package.cagr(data),
        "cum_returns": package.cum_returns(data),
        "max_drawdown": package.max_drawdown(data),
        "sharpe": package.sharpe(data, **period, **rate),
        "sortino": package.sortino(data, **period, **rate),
        "calmar": package.calmar(data, **period),
        "volatility": package.volatility(data, **period),
        "variance": package.variance(data, **period),
        "value_at_risk": package.var(data),
        "cvar": package.cvar(data),
    }

def of_gains(gains):
    series = pd.Series(gains)
    return {
        "win_rate": qs.win_rate(series, prepare_returns=False),
        "profit_factor": qs.profit_factor(series, prepare_returns=False),
    }

def plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)

wanted = json.load(sys.stdin)
json.dump({
    "series": [others(*one) for one in wanted["series"]],
    "package": [of_package(*one) for one in wanted["package"]],
    "gains": [of_gains(one) for one in wanted["gains"]],
}, sys.stdout, default=plain)
"""


def measure(
    python: Path,
    *,
    series: Sequence[tuple[Sequence[float], Sequence[float]]] = (),
    package: Sequence[tuple[Sequence[float], Sequence[float], float, float]] = (),
    gains: Sequence[Sequence[float]] = (),
) -> Any:
    """Return what the others make of `series` (times, values) and of `gains` of round trips.

    Those for `package` also have the interval of the resampling, and the risk-free rate.
    """
    done = subprocess.run(
        [str(python), "-c", _SCRIPT],
        input=json.dumps({"series": series, "package": package, "gains": gains}),
        env={"PATH": "/usr/bin:/bin", "MPLBACKEND": "agg", "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])
