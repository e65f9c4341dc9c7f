"""Ratios and risk figures of a series of account values, as `docs/metrics.md` defines them.

The definitions are those of the `blankly` package (`metrics/portfolio.py`), without its rounding;
value at risk and its conditional form are those of the worst returns, and not of the best.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.figures.drawdowns import Drawdown, find_drawdowns
from deploy_action.backtest.figures.moments import Moments, moments_of
from deploy_action.records import dataclass
from deploy_action.text.quantities import interval as interval_in_words

NO_VALUES: Final = "the server sends no account values"
TOO_LARGE: Final = "the numbers are too large"
NOTHING_AT_START: Final = "the account starts with nothing"
DAY: Final = 86_400.0
_YEAR: Final = 365 * DAY  # of `cagr`, as in the package
_TRADING_YEAR: Final = 252 * DAY  # of all that is annualised, in every market, as in the package
_TAIL: Final = 0.05
_NEXT_TO_NOTHING: Final = 1e-6
# Account values are floats, so their returns differ by this much although they are the same.
_NOISE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Figures:
    """Metrics by id, the reason of each that has no value, and the deepest drawdowns.

    `moments` are those of the returns; None if there are too few.
    """

    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]
    drawdowns: tuple[Drawdown, ...] = ()
    moments: Moments | None = None


class _NoValueError(ValueError):
    """A metric has no value; the message says why."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """Account values, their returns at regular intervals, and their drawdowns, deepest first.

    `lost_all`: the account had nothing left before the end, so that there are no returns.
    """

    values: AccountValues
    returns: Sequence[float]
    interval: float
    risk_free_rate: float
    drawdowns: tuple[Drawdown, ...]
    longest_drawdown: float
    lost_all: bool

    @property
    def max_drawdown(self) -> float:
        """In per cent."""
        return self.drawdowns[0].depth if self.drawdowns else 0.0

    @property
    def periods(self) -> float:
        """Intervals in a year."""
        return _TRADING_YEAR / self.interval

    def enough(self) -> Sequence[float]:
        """Return the returns, if there are enough."""
        if self.lost_all:
            raise _NoValueError("the account was worth nothing, or next to nothing, before the end")
        if len(self.returns) < 2:  # noqa: PLR2004  # one return has no spread, and no tail
            raise _NoValueError(f"fewer than two returns: {_one_is_taken(self.interval)}")
        return self.returns


def perform(
    values: AccountValues, *, interval: float = DAY, risk_free_rate: float = 0.0
) -> Figures:
    """Return the figures of known account values; returns are taken every `interval` seconds.

    `risk_free_rate` is a fraction a year.
    """
    metrics: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    try:
        sample = _sample(values, interval, risk_free_rate)
    except _NoValueError as error:
        return Figures(dict.fromkeys(_METRICS), dict.fromkeys(_METRICS, str(error)))
    except OverflowError:
        return Figures(dict.fromkeys(_METRICS), dict.fromkeys(_METRICS, TOO_LARGE))
    for name, compute in _METRICS.items():
        try:
            value = compute(sample)
            if not math.isfinite(value):
                raise _NoValueError(TOO_LARGE)  # noqa: TRY301  # handled below
        except _NoValueError as error:
            metrics[name], reasons[name] = None, str(error)
        except (ArithmeticError, ValueError):  # `fsum` raises ValueError for two infinities
            metrics[name], reasons[name] = None, TOO_LARGE
        else:
            metrics[name] = value + 0.0  # turns -0.0 into 0.0
    return Figures(metrics, reasons, sample.drawdowns, _moments(sample))


def _sample(values: AccountValues, interval: float, risk_free_rate: float) -> _Sample:
    if not values:
        raise _NoValueError(NO_VALUES)
    if values.values[0] <= 0:
        raise _NoValueError(NOTHING_AT_START)
    drawdowns, longest = find_drawdowns(values)
    sampled = resample(values, interval)
    # Next to nothing is as bad: the return that follows decides all figures.
    least = values.values[0] * _NEXT_TO_NOTHING
    lost_all = any(value <= least for value in sampled[:-1])
    returns = (after / before - 1 for before, after in pairwise(sampled))
    return _Sample(
        values=values,
        returns=[] if lost_all else list(returns),
        interval=interval,
        risk_free_rate=risk_free_rate,
        drawdowns=drawdowns,
        longest_drawdown=longest,
        lost_all=lost_all,
    )


def _moments(sample: _Sample) -> Moments | None:
    try:
        return moments_of(sample.returns, sample.risk_free_rate / sample.periods)
    except (ArithmeticError, ValueError):  # the numbers are too large
        return None


def resample(values: AccountValues, interval: float) -> array[float]:
    """Return the value at the start, and after each interval; the last one may be shorter.

    The value at a time is the last one that was known by then.
    """
    times, start, end = values.times, values.times[0], values.times[-1]
    sampled = values.values[:1]
    position = bisect_right(times, start)
    while position < len(times):
        # Skips what has no values, such as the days on which an exchange is closed.
        number = max(1, math.ceil((times[position] - start) / interval))
        if (moment := start + number * interval) >= end:
            break
        position = max(position + 1, bisect_right(times, moment, position))
        sampled.append(values.values[position - 1])
    sampled.append(values.values[-1])
    return sampled


def _one_is_taken(interval: float) -> str:
    return f"one is taken every {interval_in_words(interval)}"


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def _spread(numbers: Sequence[float], lost_degrees: int) -> float:
    """Return the standard deviation; `lost_degrees` is 1 for a sample, 0 for all there is."""
    mean = _mean(numbers)
    squares = math.fsum((number - mean) ** 2 for number in numbers)
    return math.sqrt(squares / (len(numbers) - lost_degrees))


def _annual(sample: _Sample) -> float:
    return _mean(sample.enough()) * sample.periods


def _sharpe(sample: _Sample) -> float:
    spread = _spread(sample.enough(), 1)
    if spread <= _NOISE:
        raise _NoValueError("every return is the same")
    return (_annual(sample) - sample.risk_free_rate) / (spread * math.sqrt(sample.periods))


def _sortino(sample: _Sample) -> float:
    losses = [change for change in sample.enough() if change < 0]
    if len(losses) < 2:  # noqa: PLR2004  # a spread needs two
        raise _NoValueError(
            f"fewer than two of the returns are losses: {_one_is_taken(sample.interval)}"
        )
    spread = _spread(losses, 1)
    if spread <= _NOISE:
        raise _NoValueError("every loss is the same")
    return (_annual(sample) - sample.risk_free_rate) / (spread * math.sqrt(sample.periods))


def _calmar(sample: _Sample) -> float:
    if not sample.max_drawdown:
        raise _NoValueError("the account's value never fell")
    return _annual(sample) / (sample.max_drawdown / 100)


def _cagr(sample: _Sample) -> float:
    times, values = sample.values.times, sample.values.values
    years = (times[-1] - times[0]) / _YEAR
    if years <= 0:
        raise _NoValueError("there is a single account value")
    if values[-1] < 0:
        raise _NoValueError("the account ends in debt")
    return float((values[-1] / values[0]) ** (1 / years) - 1) * 100


def _cum_returns(sample: _Sample) -> float:
    values = sample.values.values
    return (values[-1] - values[0]) * 100 / values[0]


def _volatility(sample: _Sample) -> float:
    return _spread(sample.enough(), 0) * math.sqrt(sample.periods)


def _variance(sample: _Sample) -> float:
    return _spread(sample.enough(), 0) ** 2 * sample.periods * 100


def _value_at_risk(sample: _Sample) -> float:
    """Return the historical one: the 5th percentile of the returns, as a loss of the start."""
    ordered = sorted(sample.enough())
    place = _TAIL * (len(ordered) - 1)
    below = ordered[math.floor(place)]
    above = ordered[math.ceil(place)]
    return -(below + (above - below) * (place % 1)) * sample.values.values[0]


def _cvar(sample: _Sample) -> float:
    """Return the mean of the returns up to the 5th percentile, as a loss of the start."""
    ordered = sorted(sample.enough())
    return -_mean(ordered[: int(_TAIL * (len(ordered) - 1)) + 1]) * sample.values.values[0]


_METRICS: Final[Mapping[str, Callable[[_Sample], float]]] = {
    "sharpe": _sharpe,
    "sortino": _sortino,
    "calmar": _calmar,
    "cagr": _cagr,
    "cum_returns": _cum_returns,
    "max_drawdown": lambda sample: sample.max_drawdown,
    "volatility": _volatility,
    "variance": _variance,
    "value_at_risk": _value_at_risk,
    "cvar": _cvar,
    "final_account_value": lambda sample: sample.values.values[-1],
    "longest_drawdown_days": lambda sample: sample.longest_drawdown,
}
