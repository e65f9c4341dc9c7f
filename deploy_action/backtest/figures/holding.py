"""What buying at the first bar and holding to the last would have made."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.figures.performance import perform
from deploy_action.backtest.market import Market, Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An account that bought the symbols in equal parts at their first bar and kept them.

    It starts with the strategy's first value and pays no fees. `metrics` are those of its values,
    by id: `cum_returns` is the metric `hold_return` of the strategy.
    """

    symbols: tuple[str, ...]
    values: AccountValues
    metrics: Mapping[str, float | None]


class NoHoldingError(ValueError):
    """Holding cannot be computed; the message says why."""


def hold(  # all of one result
    market: Market | None,
    traded: Sequence[str],
    *,
    quote_asset: str,
    start_value: float,
    interval: float,
    risk_free_rate: float,
) -> Holding:
    """Return what holding the benchmark, else the traded symbols, else all symbols, made.

    Raises:
        NoHoldingError: prices are missing, or are in another asset than the account.
    """
    chosen = _chosen(market, traded)
    other = next((one for one in chosen if one.quote != quote_asset), None)
    if other is not None:
        raise NoHoldingError(
            f"{other.symbol} is traded against {other.quote}, and the account is in {quote_asset}"
        )
    worthless = next((one for one in chosen if one.values[0] <= 0), None)
    if worthless is not None:
        raise NoHoldingError(f"the first price of {worthless.symbol} is not above 0")
    values = _curve(chosen, start_value)
    found = perform(values, interval=interval, risk_free_rate=risk_free_rate)
    return Holding(
        symbols=tuple(one.symbol for one in chosen), values=values, metrics=found.metrics
    )


def _chosen(market: Market | None, traded: Sequence[str]) -> list[Prices]:
    if market is None:
        raise NoHoldingError("the server does not tell the prices")
    wanted = [market.benchmark_symbol] if market.benchmark_symbol else list(traded)
    if not wanted:
        wanted = [one.symbol for one in market.prices]
    found = [prices for symbol in wanted if (prices := market.of(symbol)) is not None]
    if missing := [symbol for symbol in wanted if market.of(symbol) is None]:
        raise NoHoldingError(f"there are no prices of {missing[0]}")
    if not found:
        raise NoHoldingError("there are no prices")
    return found


def _curve(chosen: Sequence[Prices], start_value: float) -> AccountValues:
    """Return the value over time; the part of a symbol that starts later is cash until then."""
    part = start_value / len(chosen)
    if len(chosen) == 1:
        (prices,) = chosen
        factor = part / prices.values[0]
        return AccountValues(prices.times, array("d", (factor * one for one in prices.values)))
    changes = sorted(
        (time, number, value)
        for number, prices in enumerate(chosen)
        for time, value in zip(prices.times, prices.values, strict=True)
    )
    worth = [part] * len(chosen)
    total = start_value
    times, values = array("d"), array("d")
    for time, number, value in changes:
        now = part * value / chosen[number].values[0]
        total += now - worth[number]
        worth[number] = now
        if times and times[-1] == time:
            values[-1] = total
        else:
            times.append(time)
            values.append(total)
    return AccountValues(times, values)
