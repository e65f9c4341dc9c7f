"""The round trips and the orders of a model, folded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Final

from deploy_action.backtest.figures.round_trips import OpenPosition, RoundTrip, RoundTrips
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.trades import Trade
from deploy_action.report.blocks import facts_table, short
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Line,
    Paragraph,
    Place,
    Table,
    prose,
)
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import (
    count,
    days,
    decimal,
    decimals_of,
    exact,
    moment,
    money,
    percentage,
    shown_of,
)

# At the start of the list, and again at its end.
_MOST_TRADES: Final = 10
_MOST_TRIPS: Final = 5
_MOST_SYMBOLS: Final = 20
_MOST_OPEN: Final = 10
_LONGEST_NAME: Final = 40
_DAY: Final = 86_400
MOST_ORDERS: Final = 3_000
"""Rows of a page that lists all orders."""
ROUND_TRIPS: Final = "round trips"
ORDERS: Final = "orders"
"""Places: the list of all round trips, and that of all orders."""


def round_trips(result: BacktestResult) -> list[Block]:
    """Return the round trips, and what is open at the end; nothing without either."""
    trips = result.analysis.round_trips
    if not trips.closed and not trips.open:
        return []
    unit = prose(short(result.quote_asset)) if trips.is_in_quote else []
    shown: list[Block] = [_facts(result, unit)] if trips.closed else []
    if trips.open:
        most = shown_of(len(trips.open), _MOST_OPEN)
        opened = [_open(one) for one in trips.open[:most]]
        if (left := len(trips.open) - most) > 0:
            opened.append([f"… and {left:,} more."])
        shown += [Paragraph(["**Still open at the end**, not counted above:"]), Bullets(opened)]
    shown += _by_symbol(trips)
    if trips.closed:
        shown += _list(trips)
    fees = "after fees" if trips.fees_known else "before fees, which are not known"
    amounts = "" if trips.is_in_quote else " Amounts are in the quote asset of each symbol."
    meaning = (
        f"A round trip is a position from flat to flat, at average cost, and its gain is {fees}. "
        f"Holdings at the start count as bought at the first price.{amounts}"
    )
    shown.append(Paragraph([meaning]))
    number = count(len(trips.closed), "round trip")
    still = f", {len(trips.open):,} still open" if trips.open else ""
    return [Details(f"{number}: {trips.wins:,} won, {trips.losses:,} lost{still}", shown)]


def _facts(result: BacktestResult, unit: Line) -> Table:
    trips, metrics = result.analysis.round_trips, result.analysis.metrics
    rate, expectancy = metrics["win_rate"], metrics["expectancy"]
    factor, exposure = metrics["profit_factor"], metrics["exposure"]
    held = [one.seconds / _DAY for one in trips.closed]
    rows: list[tuple[str, Line]] = [
        (
            "Closed",
            [
                f"{len(trips.closed):,}: {trips.wins:,} won",
                "" if rate is None else f" ({percentage(rate)})",
                f", {trips.losses:,} lost, {trips.even:,} even",
            ],
        )
    ]
    if trips.is_in_quote:
        both = f"{money(trips.gained, with_sign=True)}, {money(-trips.lost)} "
        rows.append(("Won, lost", [both, *unit]))
    factors = "no round trip lost money" if factor is None else decimal(factor)
    rows.append(("Profit factor", [factors if trips.is_in_quote else NO_FIGURE]))
    if expectancy is not None:
        mean = [f"{money(expectancy, with_sign=True)} ", *unit, " a round trip"]
        rows.append(("Expectancy", mean))
    rows.append(("Held for", [f"{days(fmean(held))} on average, median {days(median(held))}"]))
    if exposure is not None:
        rows.append(("Exposure", [f"{percentage(exposure)} of the time with an open position"]))
    return facts_table(rows)


def _open(one: OpenPosition) -> Line:
    gain = (
        "its gain is not known" if one.gain is None else f"{money(one.gain, with_sign=True)} so far"
    )
    side = "short" if one.size < 0 else "long"
    since = moment(one.opened_at)
    return [Code(short(one.symbol)), f": {side} {exact(abs(one.size))} since {since}, {gain}"]


def _by_symbol(trips: RoundTrips) -> list[Block]:
    if len(trips.by_symbol) < 2:  # noqa: PLR2004  # one is all
        return []
    # The largest gains and losses first: they decide.
    ordered = sorted(trips.by_symbol.items(), key=lambda item: -abs(item[1].gained - item[1].lost))
    rows: list[Sequence[Line]] = [
        [
            [Code(short(symbol))],
            [f"{len(one.closed):,}"],
            [f"{one.wins:,}"],
            [f"{one.losses:,}"],
            [money(one.gained - one.lost, with_sign=True)],
            [decimal(one.gained / one.lost) if one.lost else NO_FIGURE],
            [f"{len(one.open):,}" if one.open else ""],
        ]
        for symbol, one in ordered[: shown_of(len(ordered), _MOST_SYMBOLS)]
    ]
    header: list[Line] = [
        ["Symbol"],
        ["Round trips"],
        ["Won"],
        ["Lost"],
        ["Gain"],
        ["Profit factor"],
        ["Open"],
    ]
    table = Table(header, rows, right=frozenset(range(1, len(header))))
    left = len(ordered) - len(rows)
    rest: list[Block] = [Paragraph([f"And {left:,} more symbols."])] if left > 0 else []
    return [Paragraph(["**By symbol**"]), table, *rest]


def _list(trips: RoundTrips) -> list[Block]:
    ordered = sorted(trips.closed, key=lambda one: -one.gain)
    if len(ordered) > 2 * _MOST_TRIPS + 1:
        title = f"**The {_MOST_TRIPS} best and the {_MOST_TRIPS} worst**"
        ordered = [*ordered[:_MOST_TRIPS], *ordered[-_MOST_TRIPS:]]
    else:
        title = "**From best to worst**"
    decimals = decimals_of(map(_share, ordered), 2)
    table = Table(
        [["Gain"], ["Share"], ["Symbol"], ["Side"], ["Opened (UTC)"], ["Closed"], ["Held"]],
        [_trip_row(one, decimals) for one in ordered],
        right=frozenset({0, 1}),
    )
    return [Place(ROUND_TRIPS, [Paragraph([title]), table])]


def _share(one: RoundTrip) -> float | None:
    return one.gain / one.cost * 100 if one.cost else None


def _trip_row(one: RoundTrip, decimals: int) -> Sequence[Line]:
    share = _share(one)
    shown = share is not None and percentage(share, decimals, with_sign=True, in_table=True)
    return [
        [money(one.gain, with_sign=True)],
        [shown or NO_FIGURE],
        [Code(short(one.symbol))],
        ["short" if one.is_short else "long"],
        [moment(one.opened_at)],
        [moment(one.closed_at)],
        [days(one.seconds / _DAY)],
    ]


def orders(result: BacktestResult) -> list[Block]:
    """Return the orders as the package lists them, and the fingerprint; nothing without orders."""
    if not result.trades:
        return []
    filled = len(result.filled_trades)
    shown: list[Block] = [
        Place(ORDERS, [_orders_table(_order_rows(result.trades))]),
        Paragraph(["Orders that the model cancelled are not in the package's list."]),
        Paragraph(["SHA-256 of what the model did: ", Code(result.trades_sha256)]),
    ]
    return [Details(f"{count(len(result.trades), 'order')}, {filled:,} filled", shown)]


def all_orders(result: BacktestResult, whole: Line) -> list[Block]:
    """Return a row for each order, the last ones if they are very many; `whole` has all."""
    shown = result.trades[-MOST_ORDERS:]
    table = _orders_table([_order_row(trade) for trade in shown], is_sortable=True)
    if len(shown) == len(result.trades):
        return [table]
    since = f"These were placed from {moment(shown[0].time)} on. All are in "
    return [Paragraph([since, *whole, "."]), table]


def _orders_table(rows: Sequence[Sequence[Line]], *, is_sortable: bool = False) -> Table:
    header: list[Line] = [["Placed (UTC)"], ["Side"], ["Size"], ["Price"], ["Symbol"], ["Type"]]
    return Table(header, rows, right=frozenset({2, 3}), is_sortable=is_sortable)


def _order_rows(trades: Sequence[Trade]) -> list[Sequence[Line]]:
    left = len(trades) - 2 * _MOST_TRADES
    if left <= 1:  # the row that says so takes as much room
        return [_order_row(trade) for trade in trades]
    gap: Sequence[Line] = [[f"… {left:,} more"], *([["…"]] * 5)]
    first = [_order_row(trade) for trade in trades[:_MOST_TRADES]]
    return [*first, gap, *map(_order_row, trades[-_MOST_TRADES:])]


def _order_row(trade: Trade) -> Sequence[Line]:
    kind = trade.type if trade.was_filled else f"{trade.type}, not filled"
    return [
        [moment(trade.time)],
        prose(short(trade.side)),
        [exact(trade.size)],
        ["" if trade.price is None else exact(trade.price)],
        [Code(short(trade.symbol))],
        prose(cut(kind, _LONGEST_NAME)),
    ]
