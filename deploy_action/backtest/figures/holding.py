"""What buying at the first bar and holding to the last would have made."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.figures.performance import NO_VALUES, NOTHING_AT_START, perform
from deploy_action.backtest.market import Market, Prices
from deploy_action.records import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An account that bought the symbols in equal parts at their first bar and kept them.

    It starts with the strategy's first value and pays no fees. `metrics` are those of its values,
    by id: `cum_returns` is the metric `hold_return` of the strategy. `reasons` say why one has no
    value.
    """

    symbols: tuple[str, ...]
    values: AccountValues
    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]


class NoHoldingError(ValueError):
    """Holding cannot be computed; the message says why."""


def hold(  # all of one result
    market: Market | None,
    traded: Sequence[str],
    account: AccountValues,
    *,
    quote_asset: str,
    interval: float,
    risk_free_rate: float,
) -> Holding:
    """Return what holding the benchmark, else the traded symbols, else all symbols, made.

    It is held for as long as the `account` has values.

    Raises:
        NoHoldingError: prices are missing, or are in another asset than the account.
    """
    if not account:
        raise NoHoldingError(NO_VALUES)
    if account.values[0] <= 0:
        raise NoHoldingError(NOTHING_AT_START)
    chosen = [_during(one, account) for one in _chosen(market, traded)]
    for one in chosen:
        if one.quote != quote_asset:
            raise NoHoldingError(
                f"{one.symbol} is traded against {one.quote}, and the account is in {quote_asset}"
            )
        if one.values[0] <= 0:
            raise NoHoldingError(f"the first price of {one.symbol} is not above 0")
    values = _curve(chosen, account.values[0])
    if len(values) < 2:  # noqa: PLR2004  # what is bought at the only price makes nothing
        raise NoHoldingError("there is a single price")
    values = _as_long_as(account, values)
    found = perform(values, interval=interval, risk_free_rate=risk_free_rate)
    return Holding(
        symbols=tuple(one.symbol for one in chosen),
        values=values,
        metrics=found.metrics,
        reasons=found.reasons,
    )


def _as_long_as(account: AccountValues, values: AccountValues) -> AccountValues:
    """Return the values from the account's first time, as cash, to its last, at the last price."""
    times, worth = values.times, values.values
    if times[0] > account.times[0]:
        times = array("d", (account.times[0], *times))
        worth = array("d", (account.values[0], *worth))
    if times[-1] < account.times[-1]:
        times, worth = times + array("d", account.times[-1:]), worth + worth[-1:]
    return AccountValues(times, worth)


def _during(prices: Prices, account: AccountValues) -> Prices:
    """Return the prices at which the engine valued the account, from its first value to its last.

    At any time that is the first price from then on: orders are filled at it, too.
    """
    first = prices.index_at(account.times[0])
    last = max(first, prices.index_at(account.times[-1]))
    if first == 0 and last == len(prices.times) - 1:
        return prices
    return replace(
        prices, times=prices.times[first : last + 1], values=prices.values[first : last + 1]
    )


def _chosen(market: Market | None, traded: Sequence[str]) -> list[Prices]:
    if market is None:
        raise NoHoldingError("the server does not tell the prices")
    wanted = [market.benchmark_symbol] if market.benchmark_symbol else list(dict.fromkeys(traded))
    if not wanted:
        wanted = [one.symbol for one in market.prices]
    priced = {one.symbol: one for one in market.prices if one.times}
    if missing := [symbol for symbol in wanted if symbol not in priced]:
        raise NoHoldingError(f"there are no prices of {missing[0]}")
    if not wanted:
        raise NoHoldingError("there are no prices")
    return [priced[symbol] for symbol in wanted]


def _curve(chosen: Sequence[Prices], start_value: float) -> AccountValues:
    """Return the value over time; the part of a symbol that starts later is cash until then."""
    part = start_value / len(chosen)
    if len(chosen) == 1:
        (prices,) = chosen
        factor = part / prices.values[0]
        return AccountValues(prices.times, array("d", map(factor.__mul__, prices.values)))
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
    values[-1] = sum(worth)  # without the rounding of all the additions
    return AccountValues(times, values)
