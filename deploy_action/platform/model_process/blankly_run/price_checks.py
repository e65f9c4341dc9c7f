"""Finds what is wrong with prices: gaps, zeros, and times that are doubled or in no order."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import Any, Iterator, Mapping

from .faults import make_problem
from .strict_json import describe

_DAY = 86_400
_MOST_NAMED = 3
_MOST_PROBLEMS = 10
_SHORTEST_GAP = 1.5  # bars
# A market that closes at night or at weekends has a longer step at least every second week. Its
# closings end with the longest holidays.
_WEEKS_BETWEEN_CLOSINGS = 2
_LONGEST_CLOSING = 5.5 * _DAY
_GAP_HINT = (
    "In a gap, blankly fills orders at the price of the next bar, which no trader could know. "
    "Complete the prices, or choose a period without the gap."
)
_ZERO_HINT = "Orders are filled at these prices, too. Correct or remove the bars."
_DOUBLE_HINT = "Which of the bars counts is chance. Remove the doubles."
_ORDER_HINT = "blankly sorts them. Check that no bars are missing or from another source."


def check_prices(
    prices: Mapping[str, Mapping[float, Any]],
    own: Mapping[str, Mapping[float, Any]],
    period: tuple[float, float],
    column: str,
) -> list[dict[str, Any]]:
    """Return warnings about data frames of prices, by symbol and resolution in seconds.

    `own` are those that the script read, as they were; only bars in the `period` are looked at,
    and of these the `column` at which orders are filled.
    """
    problems = []
    for symbol, by_resolution in prices.items():
        for resolution, frame in by_resolution.items():
            with suppress(Exception):  # the model's frames may hold anything
                read = own.get(symbol, {}).get(resolution)
                found = _check(frame, read, float(resolution), period, column)
                for what, hint in found:
                    message = f"The prices of {describe(symbol)} {what}."
                    problems.append(make_problem("warning", message, hint))
    return problems[:_MOST_PROBLEMS]


def _check(
    frame: Any, read: Any, resolution: float, period: tuple[float, float], column: str
) -> Iterator[tuple[str, str]]:
    frame = frame[(frame["time"] >= period[0]) & (frame["time"] <= period[1])]
    times = frame["time"].astype(float)
    steps = times.diff()
    doubled = times[steps == 0].tolist()
    if doubled:
        yield f"have {_count(doubled, 'time')} twice: {_some(doubled)}", _DOUBLE_HINT
    values = frame[column].astype(float)
    worthless = times[~(values > 0)].tolist()
    if worthless:
        what = f"are 0 or missing in {_count(worthless, 'bar')} (`{column}`): {_some(worthless)}"
        yield what, _ZERO_HINT
    gaps = _gaps(times.tolist(), resolution)
    if gaps:
        named = ", ".join(f"{moment(start)} to {moment(end)}" for start, end in gaps[:_MOST_NAMED])
        more = "" if len(gaps) <= _MOST_NAMED else ", …"
        yield f"have {_count(gaps, 'gap')}, without bars: {named}{more}", _GAP_HINT
    if read is not None and not read.index.is_monotonic_increasing:
        yield "are not in the order of time", _ORDER_HINT


def _gaps(times: list[float], resolution: float) -> list[tuple[float, float]]:
    """Return the longest gaps first: the first time without a bar, and that of the next bar."""
    gaps = [
        (before + resolution, after)
        for before, after in zip(times, times[1:])
        if after - before > _SHORTEST_GAP * resolution
    ]
    weeks = (times[-1] - times[0]) / (7 * _DAY) if times else 0.0
    closes = len(gaps) > 1 and len(gaps) * _WEEKS_BETWEEN_CLOSINGS >= weeks
    shortest = _LONGEST_CLOSING if closes else 0.0
    found = [gap for gap in gaps if gap[1] - gap[0] > shortest]
    return sorted(found, key=lambda gap: gap[0] - gap[1])


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


def _some(times: list[float]) -> str:
    more = "" if len(times) <= _MOST_NAMED else ", …"
    return ", ".join(map(moment, times[:_MOST_NAMED])) + more


def moment(epoch: Any) -> str:
    """Return a time as people write it, without a time of day at midnight (UTC)."""
    try:
        found = dt.datetime.fromtimestamp(float(epoch), dt.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return str(epoch)
    return found.strftime("%Y-%m-%d %H:%M").replace(" 00:00", "")
