"""The round trips of a backtest, as rows of a table that can be sorted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import (
    count,
    days,
    decimal,
    exact,
    moment,
    money,
    percentage,
    shown_of,
)

if TYPE_CHECKING:
    from deploy_action.backtest.figures.round_trips import OpenPosition, RoundTrip, RoundTrips
    from deploy_action.backtest.result import BacktestResult

_DAY: Final = 86_400
_MOST_SYMBOLS: Final = 20
_MOST_OPEN: Final = 20
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class TripColumn:
    """A column of the table; `id` is what it is sorted by in an address."""

    id: str
    name: str
    is_number: bool = False


COLUMNS: Final = (
    TripColumn("profit", "Gain", is_number=True),
    TripColumn("share", "Share", is_number=True),
    TripColumn("symbol", "Symbol"),
    TripColumn("side", "Side"),
    TripColumn("opened", "Opened"),
    TripColumn("closed", "Closed"),
    TripColumn("held", "Held", is_number=True),
)


@dataclass(frozen=True, slots=True)
class TripRow:
    """A round trip in words, held for `seconds`; `tone` is `good`, `bad`, or blank."""

    profit: str
    share: str
    symbol: str
    side: str
    opened: str
    closed: str
    held: str
    seconds: float
    tone: str


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """The round trips of one symbol, in words."""

    symbol: str
    closed: str
    won: str
    lost: str
    gain: str
    open: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TripsView:
    """All round trips, in the order in which they were closed.

    `summary` counts them. `meaning` says what one is, and `problem` why there are none, else blank.
    `still_open` has a sentence for each open position. `left_out` says how many symbols and open
    positions are not listed, blank if all are.
    """

    closed: Sequence[RoundTrip]
    summary: str
    facts: tuple[tuple[str, str], ...]
    still_open: tuple[str, ...]
    by_symbol: tuple[SymbolRow, ...]
    left_out: str
    meaning: str
    problem: str
    columns: tuple[TripColumn, ...] = COLUMNS


def view_round_trips(result: BacktestResult) -> TripsView:
    """Return the round trips of a result."""
    trips, unit = result.analysis.round_trips, excerpt(result.quote_asset, _LONGEST_NAME)
    number, still = count(len(trips.closed), "round trip"), len(trips.open)
    even = f", {trips.even:,} even" if trips.even else ""
    fees = "after fees" if trips.fees_known else "before fees, which are not known"
    amounts = "" if trips.is_in_quote else " Amounts are in the quote asset of each symbol."
    most = shown_of(still, _MOST_OPEN)
    by_symbol, symbols_left = _by_symbol(trips)
    left = [
        *([f"{symbols_left:,} more symbols"] if symbols_left else []),
        *([f"{still - most:,} more open positions"] if still > most else []),
    ]
    return TripsView(
        closed=trips.closed,
        summary=f"{number}: {trips.wins:,} won, {trips.losses:,} lost{even}"
        + (f", {still:,} still open" if still else ""),
        facts=tuple(_facts(result, unit)) if trips.closed else (),
        still_open=tuple(map(_open, trips.open[:most])),
        by_symbol=by_symbol,
        left_out=f"Not listed: {', '.join(left)}." if left else "",
        meaning=f"A round trip is a position from flat to flat, at average cost. Its gain is "
        f"{fees}; its share is the gain in per cent of what was paid for the position. Positions "
        "that are still open are not among them. Holdings at the start count as bought at the "
        f"first price.{amounts}",
        problem=trips.problem,
    )


def _facts(result: BacktestResult, unit: str) -> list[tuple[str, str]]:
    trips, metrics = result.analysis.round_trips, result.analysis.metrics
    held = [one.seconds / _DAY for one in trips.closed]
    factor, mean = metrics["profit_factor"], metrics["expectancy"]
    found = []
    if trips.is_in_quote:
        both = f"{money(trips.gained, with_sign=True)}, {money(-trips.lost)} {unit}"
        found.append(("Won, lost", both))
        factors = "no round trip lost money" if factor is None else decimal(factor)
        found.append(("Profit factor", factors))
    if mean is not None:
        found.append(("On average", f"{money(mean, with_sign=True)} {unit} a round trip"))
    found.append(("Held for", f"{days(fmean(held))} on average, median {days(median(held))}"))
    return found


def _open(one: OpenPosition) -> str:
    gain = (
        "its gain is not known"
        if one.gain is None
        else f"{money(one.gain, with_sign=True)} at the last price"
    )
    side = "short" if one.size < 0 else "long"
    symbol = excerpt(one.symbol, _LONGEST_NAME)
    return f"{symbol}: {side} {exact(abs(one.size))} since {moment(one.opened_at)}, {gain}"


def _by_symbol(trips: RoundTrips) -> tuple[tuple[SymbolRow, ...], int]:
    """Return a row for each symbol, those that decide first, and how many are left out."""
    if len(trips.by_symbol) < 2:  # noqa: PLR2004  # one is all
        return (), 0
    ordered = sorted(trips.by_symbol.items(), key=lambda item: -abs(item[1].gained - item[1].lost))
    most = shown_of(len(ordered), _MOST_SYMBOLS)
    rows = (
        SymbolRow(
            symbol=excerpt(symbol, _LONGEST_NAME),
            closed=f"{len(one.closed):,}",
            won=f"{one.wins:,}",
            lost=f"{one.losses:,}",
            gain=money(one.gained - one.lost, with_sign=True),
            open=f"{len(one.open):,}" if one.open else "",
        )
        for symbol, one in ordered[:most]
    )
    return tuple(rows), len(ordered) - most


_KEYS: Final[Mapping[str, Callable[[RoundTrip], Any]]] = {
    "profit": lambda one: one.gain,
    "share": lambda one: one.gain / one.cost if one.cost else float("-inf"),
    "symbol": lambda one: one.symbol,
    "side": lambda one: one.is_short,
    "opened": lambda one: one.opened_at,
    "closed": lambda one: one.closed_at,
    "held": lambda one: one.seconds,
}


def sorted_trips(
    trips: Sequence[RoundTrip], column: str, *, descending: bool
) -> Sequence[RoundTrip]:
    """Return round trips in the order of a column; as they are if there is no such column."""
    key = _KEYS.get(column)
    return trips if key is None else sorted(trips, key=key, reverse=descending)


def _share(one: RoundTrip) -> str:
    share = one.gain / one.cost * 100 if one.cost else math.nan
    return percentage(share, with_sign=True) if math.isfinite(share) else NO_FIGURE


def trip_rows(trips: Sequence[RoundTrip]) -> list[TripRow]:
    """Return round trips in words."""
    return [
        TripRow(
            profit=money(one.gain, with_sign=True),
            share=_share(one),
            symbol=excerpt(one.symbol, _LONGEST_NAME),
            side="short" if one.is_short else "long",
            opened=moment(one.opened_at),
            closed=moment(one.closed_at),
            held=days(one.seconds / _DAY),
            seconds=one.seconds,
            tone="bad" if one.gain < 0 else "good" if one.gain > 0 else "",
        )
        for one in trips
    ]
