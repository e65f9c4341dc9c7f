"""What the charts of a page draw, as JSON for their script: account, drawdown, prices, orders.

Times are seconds since 1970 UTC, and rise in every series. What is not known is null.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.pages.thinning import kept_points
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import count, moment, money, percentage

if TYPE_CHECKING:
    from deploy_action.backtest.market import Prices
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.backtest.trades import Trade

_MOST_POINTS: Final = 3_000
_MOST_ORDERS: Final = 2_000
# Of each symbol, if there are many.
_FEWEST_POINTS: Final = 600
_FEWEST_ORDERS: Final = 200
_MOST_SYMBOLS: Final = 20
# Beyond the years 1900 and 2200, times are a mistake of the server, and no axis can show them.
_EARLIEST: Final = -2_208_988_800.0
_LATEST: Final = 7_258_118_400.0
# Two values of the same time are drawn one after the other: browsers tell milliseconds apart.
_APART: Final = 0.001
_DAY: Final = 86_400
_LONGEST_NAME: Final = 60
_DIGITS: Final = "%.8g"
_NAN: Final = math.nan
# The charting library knows no numbers beyond it.
_LARGEST: Final = 9e13


def chart_data(
    named: Sequence[tuple[str, BacktestResult]], *, with_details: bool = False
) -> Mapping[str, object]:
    """Return what to draw of one backtest, or of two with their names, as strict JSON.

    One has `holding`, `prices` and `orders`; of two, there are the accounts and the drawdowns. With
    `with_details`, which is for two with the same quote asset, the first has its details, too.
    """
    has_details = with_details or len(named) == 1
    why = _why_returns([result for _, result in named], of_details=has_details)
    as_return = bool(why)
    unit = "%" if as_return else excerpt(named[0][1].quote_asset, _LONGEST_NAME)
    accounts = [
        _account(excerpt(name, _LONGEST_NAME), result, as_return=as_return)
        for name, result in named
    ]
    holding = named[0][1].analysis.holding if has_details else None
    return {
        "unit": unit,
        "accounts": accounts,
        "holding": None if holding is None else _holding(holding.values),
        "prices": _all_prices(named[0][1]) if has_details else [],
        "notes": [
            *_notes(named, why_returns=why),
            *(_notes_on_orders(named[0][1]) if has_details else ()),
        ],
        "label": _label(named),
    }


def _why_returns(results: Sequence[BacktestResult], *, of_details: bool) -> str:
    """Return why amounts of the accounts cannot share an axis, blank if they can."""
    if len({one.quote_asset for one in results}) > 1:
        return "The accounts are in different assets"
    starts = [one.analysis.values for one in results if one.analysis.values]
    if of_details or len(starts) < 2:  # noqa: PLR2004  # details are amounts, too
        return ""
    first = starts[0]
    if not all(math.isclose(one.values[0], first.values[0]) for one in starts):
        return "The accounts begin with different amounts"
    if any(abs(one.times[end] - first.times[end]) >= _DAY for one in starts for end in (0, -1)):
        return "The accounts are of different periods"
    return ""


def _account(name: str, result: BacktestResult, *, as_return: bool) -> Mapping[str, object]:
    """Return the account's values and its drawdown in per cent, 0 or less."""
    values = result.analysis.values
    below = values.drawdowns() if values else None
    drawdowns = array("d", [_NAN]) * len(values) if below is None else below.values
    times, worth, drawdowns = _with_gaps(values, drawdowns, result.account_values)
    if as_return:
        first = values.values[0] if values else 0.0
        worth = array("d", [(one / first - 1) * 100 if first > 0 else _NAN for one in worth])
    kept = kept_points((worth, drawdowns), _MOST_POINTS)
    return {
        "name": name,
        "times": _times(times, kept),
        "values": _numbers(worth, kept),
        "drawdowns": _numbers(drawdowns, kept),
    }


def _with_gaps(
    values: AccountValues, drawdowns: array[float], reported: AccountValues
) -> tuple[array[float], array[float], array[float]]:
    """Add the times within the account's values of which the package reports no number."""
    if not values or not math.isnan(sum(reported.values)):
        return values.times, values.values, drawdowns
    unknown = [
        time
        for time, value in zip(reported.times, reported.values, strict=True)
        if math.isnan(value) and values.times[0] < time < values.times[-1]
    ]
    if not unknown:
        return values.times, values.values, drawdowns
    known = zip(values.times, values.values, drawdowns, strict=True)
    points = sorted([*known, *((time, _NAN, _NAN) for time in unknown)], key=lambda one: one[0])
    times, worth, below = zip(*points, strict=True)
    return array("d", times), array("d", worth), array("d", below)


def _holding(values: AccountValues) -> Mapping[str, object]:
    kept = kept_points((values.values,), _MOST_POINTS)
    return {"times": _times(values.times, kept), "values": _numbers(values.values, kept)}


def _all_prices(result: BacktestResult) -> list[Mapping[str, object]]:
    """Return the prices of each symbol, the most traded ones first, with the orders filled."""
    if result.market is None:
        return []
    orders: dict[str, list[Trade]] = {}
    for trade in result.filled_trades:
        orders.setdefault(trade.symbol, []).append(trade)
    priced = [one for one in result.market.prices if one.times]
    priced.sort(key=lambda one: -len(orders.get(one.symbol, ())))
    shown = priced[:_MOST_SYMBOLS]
    most_points = max(_MOST_POINTS // max(len(shown), 1), _FEWEST_POINTS)
    most_orders = max(_MOST_ORDERS // max(len(shown), 1), _FEWEST_ORDERS)
    return [_prices(one, orders.get(one.symbol, []), most_points, most_orders) for one in shown]


def _prices(
    prices: Prices, orders: Sequence[Trade], most_points: int, most_orders: int
) -> Mapping[str, object]:
    """Return prices with their last orders: time, 1 for a purchase and -1 for a sale, size, price.

    An order stands at the bar at whose price the engine filled it, and that is drawn.
    """
    left = max(len(orders) - most_orders, 0)
    filled = sorted(orders, key=_filled_at)[left:]
    times, values = _until_last_order(prices, filled)
    bars = [bisect_left(times, _filled_at(one)) for one in filled]
    kept = sorted({*kept_points((values,), most_points), *bars})
    symbol = excerpt(prices.symbol, _LONGEST_NAME)
    note = ""
    if left:
        note = (
            f"Of {count(len(orders), 'order')} of {symbol}, the last {len(filled):,} are drawn: "
            f"those from {moment(_filled_at(filled[0]))} on."
        )
    drawn = [
        _order(trade, times[bar])
        for trade, bar in zip(filled, bars, strict=True)
        if trade.side in {"buy", "sell"}
    ]
    return {
        "symbol": symbol,
        "unit": excerpt(prices.quote, _LONGEST_NAME),
        "times": _times(times, kept),
        "values": _numbers(values, kept),
        "orders": drawn,
        "note": note,
    }


def _until_last_order(prices: Prices, filled: Sequence[Trade]) -> tuple[array[float], array[float]]:
    """Return times and prices; after the last bar, the engine fills orders at its price."""
    if not filled or _filled_at(filled[-1]) <= prices.times[-1]:
        return prices.times, prices.values
    later = sorted({_filled_at(one) for one in filled if _filled_at(one) > prices.times[-1]})
    return prices.times + array("d", later), prices.values + array("d", prices.values[-1:]) * len(
        later
    )


def _filled_at(trade: Trade) -> float:
    return trade.time if trade.filled_at is None else trade.filled_at


def _order(trade: Trade, time: float) -> list[float | None]:
    price = None if trade.price is None else _number(trade.price)
    side = 1 if trade.side == "buy" else -1
    return [_whole(round(time, 3)), side, _number(trade.size), price]


def _notes(named: Sequence[tuple[str, BacktestResult]], *, why_returns: str) -> Iterable[str]:
    """Yield what a reader of the charts has to know."""
    if why_returns:
        yield f"{why_returns}, so their returns are drawn: in per cent of what each began with."
    for name, result in named:
        of = f" of {excerpt(name, _LONGEST_NAME)}" if len(named) > 1 else ""
        total, drawn = len(result.account_values), len(result.analysis.values)
        if not drawn:
            yield f"There is no chart{of}: the result has no account values."
        elif missing := total - len(result.account_values.known()):
            yield (
                f"The package has no number for {missing:,} of {count(total, 'account value')}{of}:"
                " the lines have gaps there."
            )
        if drawn > _MOST_POINTS:
            yield (
                f"Of {count(drawn, 'account value')}{of}, the lowest and the highest of each of "
                "many short stretches are drawn, and no others; so it is with all long lines."
            )


def _notes_on_orders(result: BacktestResult) -> Iterable[str]:
    if result.market is None:
        yield "The server does not tell prices, so neither they nor orders are drawn."
        return
    if unfilled := len(result.trades) - len(result.filled_trades):
        said = "was not filled, and is" if unfilled == 1 else "were not filled, and are"
        yield f"{count(unfilled, 'order')} {said} not drawn."
    if (more := len(result.market.prices) - _MOST_SYMBOLS) > 0:
        yield f"The {_MOST_SYMBOLS} symbols with the most orders are drawn; {more:,} more are not."


def _label(named: Sequence[tuple[str, BacktestResult]]) -> str:
    """Return what the picture shows, for those who cannot see it."""
    said = []
    for name, result in named:
        values, metrics = result.analysis.values, result.analysis.metrics
        if not values:
            continue
        fall = metrics["max_drawdown"]
        deepest = NO_FIGURE if fall is None else percentage(fall)
        asset = excerpt(result.quote_asset, _LONGEST_NAME)
        said.append(
            f"{excerpt(name, _LONGEST_NAME)}: from {money(values.values[0])} to "
            f"{money(values.values[-1])} {asset}, {moment(values.times[0], '%Y-%m-%d')} to "
            f"{moment(values.times[-1], '%Y-%m-%d')}, lowest {money(min(values.values))}, highest "
            f"{money(max(values.values))}, maximum drawdown {deepest}."
        )
    return " ".join(["Chart of the account's value and its drawdown.", *said])


def _times(times: Sequence[float], kept: Iterable[int]) -> list[float]:
    """Return times that rise: at equal ones, the later value stands a millisecond later."""
    found: list[float] = []
    for index in kept:
        time = round(min(max(times[index], _EARLIEST), _LATEST), 3)
        found.append(max(time, round(found[-1] + _APART, 3)) if found else time)
    return list(map(_whole, found))


def _whole(time: float) -> float:
    """Return whole seconds as such: most times are."""
    return int(time) if time == int(time) else time


def _numbers(values: Sequence[float], kept: Iterable[int]) -> list[float | None]:
    return [_number(values[index]) for index in kept]


def _number(value: float) -> float | None:
    """Return a number with as many digits as a chart can show; None for one that it cannot."""
    return float(_DIGITS % value) if abs(value) < _LARGEST else None
