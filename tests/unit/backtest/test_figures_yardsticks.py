"""Our figures beside those of QuantStats, empyrical, and the package's own functions.

Where a definition differs, the test says how, exactly: each one's figure follows from the other's.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.figures.drawdowns import find_drawdowns, monthly
from deploy_action.backtest.figures.performance import perform
from deploy_action.backtest.figures.round_trips import RoundTrip, RoundTrips
from tests.support.backtests import DAY, START
from tests.support.yardsticks import measure

EXACT = 1e-9
RISK_FREE_RATE = 0.03


def random_series(seed: int, days: int, drift: float, spread: float) -> list[float]:
    chance = random.Random(seed)  # noqa: S311  # the same series on every run
    values = [10_000.0]
    for _ in range(days):
        values.append(values[-1] * (1 + chance.gauss(drift, spread)))
    return values


# By hand: a fall that recovers, one that does not, days on which nothing happens, one good day.
SERIES: Mapping[str, list[float]] = {
    "by hand": [100, 110, 99, 105, 121, 121, 115, 118, 117],
    "falls only": [100, 99, 97, 96, 90, 89],
    "falls at once and recovers": [100, 80, 90, 100, 130, 120, 125],
    "up and down": [100, 101, 100, 102, 99, 103, 98, 104] * 8,
    "idle at first": [*[500] * 30, *random_series(9, 60, 0.001, 0.02)],
    "a year": random_series(1, 365, 0.0004, 0.01),
    "three years": random_series(2, 1_096, -0.0003, 0.03),
    "calm": random_series(3, 250, 0.001, 0.0005),
    "wild": random_series(4, 400, 0.002, 0.12),
}
NAMES = pytest.mark.parametrize("name", SERIES)
GAINS: Sequence[Sequence[float]] = ([12.5, -3.0, 4.0, -10.0, 1.0], [1.0, -1.0], [-2.0, -3.0, 8.0])

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("yardsticks")]  # they measure once


def daily(values: Sequence[float]) -> AccountValues:
    times = array("d", (START + DAY * day for day in range(len(values))))
    return AccountValues(times, array("d", values))


@pytest.fixture(scope="module")
def measured(blankly_python: Path) -> Any:
    """Return what the others make of all series."""
    series = [(daily(values).times.tolist(), values) for values in SERIES.values()]
    found = measure(
        blankly_python,
        series=series,
        package=[
            (times, values, float(DAY), rate)
            for times, values in series
            for rate in (0.0, RISK_FREE_RATE)
        ],
        gains=GAINS,
    )
    found["series"] = dict(zip(SERIES, found["series"], strict=True))
    halves = zip(found["package"][::2], found["package"][1::2], strict=True)
    found["package"] = dict(zip(SERIES, halves, strict=True))
    return found


def ours(name: str) -> Mapping[str, float]:
    metrics = perform(daily(SERIES[name])).metrics
    return {metric: math.nan if value is None else value for metric, value in metrics.items()}


def returns_of(values: Sequence[float]) -> list[float]:
    return [after / before - 1 for before, after in pairwise(values)]


@NAMES
def test_sharpe_is_that_of_both(measured: Any, name: str) -> None:
    theirs = measured["series"][name]
    sharpe = ours(name)["sharpe"]
    assert sharpe == pytest.approx(theirs["quantstats"]["sharpe"], rel=EXACT)
    assert sharpe == pytest.approx(theirs["empyrical"]["sharpe"], rel=EXACT)


@NAMES
def test_return_drawdown_and_growth_are_those_of_both(measured: Any, name: str) -> None:
    """They count a year of returns as 252 of them, unless they are told 365, the days."""
    theirs, found = measured["series"][name], ours(name)
    assert found["cum_returns"] == pytest.approx(theirs["quantstats"]["comp"] * 100, rel=EXACT)
    for other in ("quantstats", "empyrical"):
        assert found["max_drawdown"] == pytest.approx(
            -theirs[other]["max_drawdown"] * 100, rel=EXACT
        )
        assert found["cagr"] == pytest.approx(theirs[other]["cagr"] * 100, rel=EXACT)


@NAMES
def test_volatility_is_of_all_returns_and_theirs_of_a_sample(measured: Any, name: str) -> None:
    """The package divides by n, they divide by n - 1; the variance is its square, in per cent."""
    theirs, found = measured["series"][name], ours(name)
    number = len(SERIES[name]) - 1
    for other in ("quantstats", "empyrical"):
        volatility = theirs[other]["volatility"] * math.sqrt((number - 1) / number)
        assert found["volatility"] == pytest.approx(volatility, rel=EXACT)
        assert found["variance"] == pytest.approx(volatility**2 * 100, rel=EXACT)


@NAMES
def test_sortino_divides_by_the_spread_of_losses_and_theirs_by_their_size(
    measured: Any, name: str
) -> None:
    """Theirs: root of the sum of squared losses over all n. The package's: deviation of losses."""
    theirs = measured["series"][name]
    returns = returns_of(SERIES[name])
    losses = [one for one in returns if one < 0]
    mean = math.fsum(losses) / len(losses)
    squares = math.fsum(one**2 for one in losses)
    size = math.sqrt(squares / len(returns))
    spread = math.sqrt((squares - len(losses) * mean**2) / (len(losses) - 1))
    for other in ("quantstats", "empyrical"):
        expected = theirs[other]["sortino"] * size / spread
        assert ours(name)["sortino"] == pytest.approx(expected, rel=1e-7)


@NAMES
def test_calmar_is_of_the_mean_return_and_theirs_of_the_growth(measured: Any, name: str) -> None:
    theirs, found = measured["series"][name], ours(name)
    returns = returns_of(SERIES[name])
    mean = math.fsum(returns) / len(returns) * 252
    for other in ("quantstats", "empyrical"):
        expected = theirs[other]["calmar"] * mean / theirs[other]["cagr"]
        assert found["calmar"] == pytest.approx(expected, rel=EXACT)


@NAMES
def test_value_at_risk_and_cvar_are_the_historical_ones(measured: Any, name: str) -> None:
    """As amounts of the first value; QuantStats has no historical value at risk.

    CVaR is the mean of the returns up to the value at risk.
    """
    theirs, found, start = measured["series"][name], ours(name), SERIES[name][0]
    amount = -theirs["empyrical"]["value_at_risk"] * start
    assert found["value_at_risk"] == pytest.approx(amount, rel=EXACT)
    for other in ("quantstats", "empyrical"):
        assert found["cvar"] == pytest.approx(-theirs[other]["cvar"] * start, rel=EXACT)


@NAMES
def test_months_are_those_of_quantstats(measured: Any, name: str) -> None:
    months = {
        f"{one.year}-{one.month:02}": (one.gain or 0.0) / 100
        for one in monthly(daily(SERIES[name]))
    }
    theirs = measured["series"][name]["quantstats"]["months"]
    assert {month: gain for month, gain in theirs.items() if gain} == pytest.approx(
        {month: gain for month, gain in months.items() if gain}, rel=1e-7, abs=1e-12
    )


@NAMES
def test_drawdowns_are_those_of_quantstats(measured: Any, name: str) -> None:
    """Theirs last from the first day below the peak to the last one, ours from peak to recovery."""
    drawdowns, longest = find_drawdowns(daily(SERIES[name]))
    theirs = measured["series"][name]["quantstats"]["drawdowns"]
    deepest = sorted(theirs, key=lambda one: one["depth"])[: len(drawdowns)]
    last = START + DAY * (len(SERIES[name]) - 1)
    assert len(drawdowns) == min(5, len(theirs))
    for found, other in zip(drawdowns, deepest, strict=True):
        assert found.depth == pytest.approx(-other["depth"], rel=EXACT)
        assert found.start + DAY == other["start"]
        assert found.lowest == other["valley"]
        if found.recovered is None:
            assert other["end"] == found.end == last
            assert found.days == other["days"]
        else:
            assert found.recovered - DAY == other["end"]
            assert found.days == other["days"] + 1
    assert longest == max(one["days"] + (one["end"] != last) for one in theirs)


def test_win_rate_and_profit_factor_are_those_of_quantstats(measured: Any) -> None:
    """Where it is given the gains of round trips; in its reports it takes those of days."""
    for gains, theirs in zip(GAINS, measured["gains"], strict=True):
        trips = RoundTrips(
            closed=tuple(
                RoundTrip(
                    symbol="OAK-USD",
                    is_short=False,
                    opened_at=0.0,
                    closed_at=1.0,
                    cost=10.0,
                    gain=gain,
                )
                for gain in gains
            )
        )
        assert trips.win_rate == pytest.approx(theirs["win_rate"])
        assert trips.gained / trips.lost == pytest.approx(theirs["profit_factor"])


# --------------------------------------------------------------------------- the package

# The digits to which the package rounds, in our units.
STEPS: Mapping[str, float] = {
    "sharpe": 0.01,
    "sortino": 0.01,
    "calmar": 0.01,
    "cagr": 1.0,
    "cum_returns": 1.0,
    "max_drawdown": 1.0,
    "volatility": 0.01,
    "variance": 0.01,
}


@NAMES
def test_the_package_lags_one_sample_and_drops_the_last_value(measured: Any, name: str) -> None:
    """At each point after the first it takes the value before; ours takes the one known by then."""
    values = SERIES[name]
    for package in measured["package"][name]:
        assert package["resampled"] == [values[0], *values[:-1]]


@NAMES
def test_rounded_our_figures_are_those_of_the_package(measured: Any, name: str) -> None:
    """Given the values that it takes; its days without a risk-free rate and with one."""
    for rate, package in zip((0.0, RISK_FREE_RATE), measured["package"][name], strict=True):
        found = perform(daily(package["resampled"]), risk_free_rate=rate).metrics
        for metric, step in STEPS.items():
            assert found[metric] == pytest.approx(package[metric], abs=step * 0.500001), metric


@NAMES
def test_the_package_takes_value_at_risk_from_the_best_days(measured: Any, name: str) -> None:
    """The 95th of 100 sorted returns is a gain, and the mean of the other 95 is no tail."""
    (package, _) = measured["package"][name]
    values = package["resampled"]
    returns = sorted(returns_of(values))
    place = int(0.95 * (len(returns) + 1))  # it counts the first one, which it does not know
    if place < len(returns):
        at_risk = round(values[0] * abs(returns[place]), 2)
        assert package["value_at_risk"] == pytest.approx(at_risk, abs=0.011)
    mean = math.fsum(returns[:place]) / place
    assert package["cvar"] == pytest.approx(values[0] * abs(mean), abs=0.011)
