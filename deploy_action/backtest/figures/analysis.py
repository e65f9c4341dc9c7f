"""Everything that is computed from a result, once."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.figures.drawdowns import Drawdown, Month, monthly
from deploy_action.backtest.figures.holding import Holding, NoHoldingError, hold
from deploy_action.backtest.figures.moments import Moments
from deploy_action.backtest.figures.performance import (
    DAY,
    NO_VALUES,
    TOO_LARGE,
    Figures,
    perform,
)
from deploy_action.backtest.figures.round_trips import RoundTrips, find_round_trips
from deploy_action.backtest.metrics import METRICS, NOT_A_NUMBER, PACKAGE_IDS, Unit, known
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.market import Market
    from deploy_action.backtest.result import BacktestResult

_NO_ROUND_TRIP: Final = "there is no round trip"
_NO_LOSS: Final = "no round trip lost money"
_SHORTEST_INTERVAL: Final = 1.0
_LONGEST_INTERVAL: Final = 1e10  # three centuries


_WRONG_TAIL: Final = (
    "the server sends no account values, and the package takes its own from the best days"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The prices that there were for one symbol: the asked period, and what was covered of it.

    Each is (start, end) in seconds since 1970 UTC. `share` is from 0 to 1.
    """

    symbol: str
    resolution: float
    asked: tuple[float, float]
    covered: tuple[float, float] | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What was computed from a result.

    `metrics` has every id of `METRICS` in its order, and `reasons` why one has no value. `is_exact`
    is False where the server sent no account values: then the metrics are the package's. `values`
    are the known account values, without the stretch before the first price. `moments` are those of
    the returns, None if there are too few.
    """

    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]
    is_exact: bool
    values: AccountValues
    drawdowns: tuple[Drawdown, ...]
    months: tuple[Month, ...]
    round_trips: RoundTrips
    holding: Holding | None
    coverage: tuple[Coverage, ...]
    moments: Moments | None = None

    @property
    def unjudged(self) -> Mapping[str, str]:
        """Metrics that no gate may judge, although they have a value, and why."""
        return unjudged(is_exact=self.is_exact)

    @property
    def judged_metrics(self) -> Mapping[str, float | None]:
        """What gates judge: the metrics without those that mean something else."""
        return {**self.metrics, **dict.fromkeys(self.unjudged)}


def unjudged(*, is_exact: bool) -> Mapping[str, str]:
    """Return the metrics that no gate may judge, although they have a value, and why."""
    return {} if is_exact else dict.fromkeys(("value_at_risk", "cvar"), _WRONG_TAIL)


def analyse(result: BacktestResult) -> Analysis:
    """Compute everything from account values, trades and prices, as far as they are known."""
    found = _Found(result)
    values = _from_first_price(_with_start(result), result.market)
    end = values.times[-1] if values else math.inf
    trips = find_round_trips(result.trades, result.market, result.quote_asset, end)
    figures = perform(values, interval=found.interval, risk_free_rate=found.risk_free_rate)
    found.take(figures)
    is_exact = len(values) > 1  # of a single value there is neither return nor risk
    if not is_exact:
        found.take_package()
    holding = found.holding(values)
    found.note("trades", len(result.filled_trades))
    found.add_round_trips(trips, values)
    return Analysis(
        metrics={name: found.metrics.get(name) for name in METRICS},
        reasons=found.reasons,
        is_exact=is_exact,
        values=values,
        drawdowns=figures.drawdowns,
        months=monthly(values),
        round_trips=trips,
        holding=holding,
        coverage=_coverage(result.market),
        moments=figures.moments,
    )


class _Found:
    """Metrics and reasons as they are found."""

    def __init__(self, result: BacktestResult) -> None:
        self.result = result
        self.metrics: dict[str, float | None] = {}
        self.reasons: dict[str, str] = {}
        interval = self._setting("resampled_time")
        is_usable = _SHORTEST_INTERVAL <= interval <= _LONGEST_INTERVAL
        self.interval = interval if is_usable else DAY
        self.risk_free_rate = self._setting("risk_free_rate")

    def _setting(self, name: str) -> float:
        return known(self.result.package_metric(name).value) or 0.0

    def take(self, figures: Figures) -> None:
        self.metrics.update(figures.metrics)
        self.reasons.update(figures.reasons)

    def take_package(self) -> None:
        """Take the package's own metrics: there is nothing to compute better ones from."""
        for name in PACKAGE_IDS:
            metric = self.result.package_metric(name)
            value = known(metric.value)
            if value is not None and METRICS[name].unit is Unit.PER_CENT:
                # It rounds fractions to two digits and multiplies them by 100: 28.999999999999996.
                value = round(value, 10)
            self.note(name, value, metric.reason or NOT_A_NUMBER)
        self.note("final_account_value", known(self.result.final_account_value), "not reported")

    def note(self, name: str, value: float | None, reason: str = "") -> None:
        """Note a value, or why there is none."""
        self.metrics[name] = value
        self.reasons.pop(name, None)
        if value is None:
            self.reasons[name] = reason

    def holding(self, values: AccountValues) -> Holding | None:
        try:
            holding = hold(
                self.result.market,
                self.result.symbols,
                values,
                quote_asset=self.result.quote_asset,
                interval=self.interval,
                risk_free_rate=self.risk_free_rate,
            )
        except NoHoldingError as error:
            self.note("hold_return", None, str(error))
            self.note("excess_return", None, str(error))
            return None
        held, made = holding.metrics["cum_returns"], self.metrics["cum_returns"]
        reason = holding.reasons.get("cum_returns", "")
        self.note("hold_return", held, reason)
        excess = None if held is None or made is None else known(made - held)
        self.note("excess_return", excess, self.reasons.get("cum_returns") or reason or TOO_LARGE)
        return holding

    def add_round_trips(self, trips: RoundTrips, values: AccountValues) -> None:
        number, rate, quote = len(trips.closed), trips.win_rate, self.result.quote_asset
        none = trips.problem or _NO_ROUND_TRIP
        self.note("round_trips", None if trips.problem else number, none)
        self.note("win_rate", None if rate is None else rate * 100, none)
        if trips.closed and not trips.is_in_quote:
            none = f"symbols are not all traded against {quote}, in which the account is valued"
        if not trips.closed or not trips.is_in_quote:
            self.note("profit_factor", None, none)
            self.note("expectancy", None, none)
        else:
            factor = known(trips.gained / trips.lost) if trips.lost else None
            self.note("profit_factor", factor, TOO_LARGE if trips.lost else _NO_LOSS)
            self.note("expectancy", (trips.gained - trips.lost) / number)
        self._add_exposure(trips, values)

    def _add_exposure(self, trips: RoundTrips, values: AccountValues) -> None:
        if trips.problem or not values:
            self.note("exposure", None, trips.problem or NO_VALUES)
            return
        start, end = values.times[0], values.times[-1]
        if end <= start:
            self.note("exposure", None, "there is a single account value")
        else:
            share = known(trips.seconds_exposed(start, end) / (end - start))
            self.note("exposure", None if share is None else min(100.0, share * 100), TOO_LARGE)


def _with_start(result: BacktestResult) -> AccountValues:
    """Return the known values, beginning with the one before the first order.

    The package keeps one value for each time: orders at the first bar have changed it.
    """
    values = result.account_values.known()
    start = None if result.market is None else result.market.start_value
    if not values or start is None or start == values.values[0]:
        return values
    return AccountValues(values.times[:1] + values.times, array("d", (start,)) + values.values)


def _from_first_price(values: AccountValues, market: Market | None) -> AccountValues:
    """Return the values without the stretch before the first price of all.

    Nothing can be made in it: until there is a price, the engine takes the first one. The account
    starts with its value at the start, and what it paid in fees by then is lost at that price.
    """
    starts = [one.times[0] for one in market.prices if one.times] if market else []
    if not starts or not values:
        return values
    start, first = min(starts), values.values[0]
    position = bisect_left(values.times, start)
    if not 0 < position < len(values):
        return values
    times, later = values.times[position:], values.values[position:]
    if (times[0], later[0]) != (start, first):
        times.insert(0, start)
        later.insert(0, first)
    return AccountValues(times, later)


def _coverage(market: Market | None) -> tuple[Coverage, ...]:
    found = []
    for prices in market.prices if market else ():
        if prices.asked_start is None or prices.asked_end is None:
            continue
        asked = (prices.asked_start, prices.asked_end)
        covered = (prices.times[0], prices.times[-1] + prices.resolution) if prices.times else None
        share = 0.0
        if covered is not None and asked[1] > asked[0]:
            overlap = min(asked[1], covered[1]) - max(asked[0], covered[0])
            share = min(1.0, max(0.0, overlap / (asked[1] - asked[0])))
        found.append(
            Coverage(
                symbol=prices.symbol,
                resolution=prices.resolution,
                asked=asked,
                covered=covered,
                share=share,
            )
        )
    return tuple(found)
