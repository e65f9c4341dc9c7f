"""What the figures rest on, in plain words: the start, fees, prices, and what holding means.

Sentences are in parts. Ours may have Markdown: code in backticks, and what is important in bold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from deploy_action.backtest.market import Market, Prices
from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.trades import MARKET_ORDERS
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import days, exact, moment, percentage, shown_of

_MOST_SYMBOLS: Final = 5
_MOST_ASSETS: Final = 3
_LONGEST_NAME: Final = 40
_OPEN: Final = (
    "Market orders are filled at the `open` of the bar that begins when the model is called, or of "
    "the next one if none does."
)
# Seen in the package: at the time of a call, the engine already has the bar that begins then, and
# both `get_price` and the fills read this column of it.
_LATER: Final = (
    "**With `use_price: {column}`, prices are ahead of their time.** Market orders are filled at "
    "the `{column}` of the bar that begins when the model is called, and `get_price` and price "
    "events tell the model this price already, when in real trading nobody knows it yet. With "
    "`use_price: open` it gets the price of that moment."
)
_LATE: Final = (
    " **{count} market orders were placed when no bar began**, and filled at that price of the "
    "next bar, up to {wait} later."
)
_DAY: Final = 86_400
_OTHERS: Final = (
    " Limit and stop orders are filled at the price that they ask for, once this price has passed "
    "it."
)
_PACKAGE: Final = (
    " It sends no account values either, so these are the package's own metrics: it rounds returns "
    "and drawdowns to whole per cents, and takes value at risk from the wrong days."
)


class Name(str):
    """A name that others chose, such as that of a symbol: it may be anything."""

    __slots__ = ()


class Words(str):
    """Words that others may have written, or that quote what they wrote."""

    __slots__ = ()


Parts = list[str]


def basis(result: BacktestResult) -> Parts:
    """Return what a reader has to know about the figures, or which of it is not known."""
    market = result.market
    if market is None:
        return _unknown(result)
    lines = [
        _start(market),
        _fees(result, market),
        _fills(result, market),
        _holding(result, market),
    ]
    said: Parts = []
    for line in filter(None, lines):
        said += [" ", *line] if said else line
    return said


def _unknown(result: BacktestResult) -> Parts:
    said = (
        "The server tells neither prices nor fees: what holding would have made is not known, and "
        "round trips are before fees."
    )
    if result.analysis.is_exact:
        return [said]
    return [said, _PACKAGE]


def _start(market: Market) -> Parts:
    held = [(asset, size) for asset, size in market.initial_values.items() if size]
    if not held:
        return ["The account starts with nothing."]
    line: Parts = ["The account starts with "]
    most = shown_of(len(held), _MOST_ASSETS)
    for number, (asset, size) in enumerate(held[:most]):
        line += [", " if number else "", f"{exact(size)} ", Words(_short(asset))]
    left = len(held) - most
    return [*line, f" and {left:,} more assets." if left > 0 else "."]


def _fees(result: BacktestResult, market: Market) -> Parts:
    traded = {trade.symbol for trade in result.filled_trades}
    prices = [one for one in market.prices if one.symbol in traded or not traded]
    takers, makers = (
        _rates(one.taker_fee for one in prices),
        _rates(one.maker_fee for one in prices),
    )
    if not takers or not makers:
        return ["Fees are not known: round trips are before fees."]
    if takers == makers:
        return ["No fees are counted." if takers == [0.0] else f"Each order pays {_span(takers)}."]
    return [f"Market orders pay {_span(takers)}, other orders {_span(makers)}."]


def _rates(rates: Iterable[float | None]) -> list[float]:
    """Return the rates that occur, in order; none if one is unknown."""
    found = set(rates)
    return [] if None in found else sorted(one for one in found if one is not None)


def _span(rates: Sequence[float]) -> str:
    """Return rates in words: `0.1% in fees`."""
    low, high = (percentage(rate * 100) for rate in (rates[0], rates[-1]))
    return f"{low} in fees" if low == high else f"{low} to {high} in fees"


def _fills(result: BacktestResult, market: Market) -> Parts:
    if not market.use_price or not result.filled_trades:
        return []
    column = market.use_price
    said: Parts
    if column == "open":
        said = [_OPEN]
    elif column.isalnum():
        said = [_LATER.format(column=column)]
    else:
        said = ["Market orders are filled at the column ", Name(_short(column)), " of the prices."]
    if late := _late_fills(result, market):
        said = [*said, late]
    is_other = any(trade.type not in MARKET_ORDERS for trade in result.filled_trades)
    return [*said, _OTHERS] if is_other else said


def _late_fills(result: BacktestResult, market: Market) -> str:
    """Say how many market orders were placed when no bar began; blank if none was."""
    prices = {one.symbol: one for one in market.prices if one.times and one.bars == len(one.times)}
    waits = [
        prices[trade.symbol].times[prices[trade.symbol].index_at(trade.time)] - trade.time
        for trade in result.filled_trades
        if trade.type in MARKET_ORDERS and trade.symbol in prices
    ]
    late = [wait for wait in waits if wait > 0]
    if not late:
        return ""
    return _LATE.format(count=f"{len(late):,} of {len(waits):,}", wait=days(max(late) / _DAY))


def _holding(result: BacktestResult, market: Market) -> Parts:
    holding, reasons = result.analysis.holding, result.analysis.reasons
    if holding is None:
        reason = reasons.get("hold_return", "")
        return ["What holding would have made is not known: ", Words(reason), "."]
    times = holding.values.times
    span = f" from {moment(times[0], '%Y-%m-%d')} to {moment(times[-1], '%Y-%m-%d')}"
    symbols = _some(holding.symbols)
    if len(holding.symbols) > 1:
        what: Parts = ["equal parts of ", *symbols]
    else:
        what = ["all of it in ", *symbols]
    chosen = " (`benchmark_symbol`)" if market.benchmark_symbol else ""
    held = set(holding.symbols)
    late = _starts_late([one for one in market.prices if one.symbol in held])
    return ["Holding means ", *what, f"{chosen}{span}, without fees{late}."]


def _starts_late(prices: Sequence[Prices]) -> str:
    """Say what happens until the first price, if symbols start at different times."""
    starts = [one.times[0] for one in prices if one.times]
    apart = max(starts, default=0.0) - min(starts, default=0.0)
    longest = max((one.resolution for one in prices), default=0.0)
    return "; a part is cash until its symbol has prices" if apart > 2 * longest else ""


def _short(name: str) -> str:
    return cut(name, _LONGEST_NAME)


def _some(names: Sequence[str]) -> Parts:
    """Return the first names, and how many more there are."""
    line: Parts = []
    most = shown_of(len(names), _MOST_SYMBOLS)
    for name in names[:most]:
        line += [", " if line else "", Name(name)]
    left = len(names) - most
    return [*line, f" and {left:,} more"] if left > 0 else line
