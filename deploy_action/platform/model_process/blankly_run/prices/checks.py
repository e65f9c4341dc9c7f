"""Finds what is wrong with prices: gaps, zeros, and times that are doubled or in no order."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from contextlib import suppress
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ..faults import make_problem  # noqa: TID252  # as in `keeping`
from ..strict_json import describe  # noqa: TID252  # as in `keeping`

_DAY = 86_400
_MOST_NAMED = 3
_MOST_PROBLEMS = 10
_SHORTEST_GAP = 1.5  # bars
_TRADING_WEEK = 5  # days: no holidays of a market that closes at weekends are as long
_CLOSED_DAYS = 0.1  # the share of Saturdays, for example, on which a closed market may have bars
_WEEKEND = (5, 6)
# A market may close at night and at noon, at a time that is another one in summer. Bars that are
# missing at many times of the day are gaps of thinly traded prices.
_OFTEN = 0.25  # of the days
_MOST_CLOSINGS = 8
_HOUR = 3_600
_GAP_HINT = (
    "In a gap, blankly fills orders at the price of the next bar, which no trader could know. "
    "Complete the prices, or choose a period without the gap."
)
_ZERO_HINT = "Orders are filled at these prices, too. Correct or remove the bars."
_DOUBLE_HINT = "Which of the bars counts is chance. Remove the doubles."
_SEAM_HINT = (
    "Both times with the same prices, as blankly downloads them where it asks for a long period in "
    "parts: orders are not affected, but what counts the bars of `history` is."
)
_EVENTS_HINT = (
    "Add one event for a symbol and a resolution, and do the work of all in its callback."
)
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
    if doubled and read is not None and not read["time"].duplicated().any():
        what = "are loaded once for each event of this resolution, so `history` gives each bar as"
        yield f"{what} often: {_some(doubled)}", _EVENTS_HINT
    elif doubled:
        is_seam = read is None and not frame.drop_duplicates()["time"].duplicated().any()
        hint = _SEAM_HINT if is_seam else _DOUBLE_HINT
        yield f"have {_count(doubled, 'time')} twice: {_some(doubled)}", hint
    values = frame[column].astype(float)
    worthless = times[~(values > 0)].tolist()
    if worthless:
        what = f"are 0 or missing in {_count(worthless, 'bar')} (`{column}`): {_some(worthless)}"
        yield what, _ZERO_HINT
    gaps = find_gaps(times.tolist(), resolution)
    if gaps:
        named = ", ".join(f"{moment(start)} to {moment(end)}" for start, end in gaps[:_MOST_NAMED])
        more = "" if len(gaps) <= _MOST_NAMED else ", …"
        yield f"have {_count(gaps, 'gap')}, without bars: {named}{more}", _GAP_HINT
    if read is not None and _is_in_disorder(read.drop_duplicates("time").index):
        yield "are not in the order of time", _ORDER_HINT


def _is_in_disorder(rows: Any) -> bool:
    """Return whether rows, by their number in a file, were neither oldest nor newest first.

    Numbers that are there twice come from several files.
    """
    is_numbered = str(rows.dtype) == "int64" and rows.is_unique
    return is_numbered and not (rows.is_monotonic_increasing or rows.is_monotonic_decreasing)


def find_gaps(times: Sequence[float], resolution: float) -> list[tuple[float, float]]:
    """Return the longest gaps first: the first time without a bar, and that of the next bar.

    The times at which a market is closed regularly are none.
    """
    gaps = [
        (before + resolution, after)
        for before, after in zip(times, times[1:])
        if after - before > _SHORTEST_GAP * resolution
    ]
    if gaps and resolution <= _DAY:
        closings = _Closings(times, resolution)
        gaps = [gap for gap in gaps if not closings.explain(gap[0] - resolution, gap[1])]
    return sorted(gaps, key=lambda gap: gap[0] - gap[1])


class _Closings:
    """When the market of these times is closed regularly, as far as the times tell (in UTC)."""

    def __init__(self, times: Sequence[float], resolution: float) -> None:
        days = {int(at // _DAY) for at in times}
        with_bars = Counter(map(_weekday, days))
        whole = Counter(map(_weekday, range(min(days), max(days) + 1)))
        self._closed = {
            day
            for day, number in whole.items()
            if with_bars[day] <= number * _CLOSED_DAYS and (number > 1 or day in _WEEKEND)
        }
        steps = [
            (before, after)
            for before, after in zip(times, times[1:])
            if after - before > _SHORTEST_GAP * resolution
        ]
        least = max(2.0, len(days) * _OFTEN)
        self._begin = _recurrent((before for before, _ in steps), least)
        self._end = _recurrent((after for _, after in steps), least)

    def explain(self, before: float, after: float) -> bool:
        """Return whether there are regularly no bars between these two."""
        between = range(int(before // _DAY) + 1, int(after // _DAY))
        if between:
            missing = sum(_weekday(day) not in self._closed for day in between)
            return bool(self._closed) and missing < _TRADING_WEEK
        if before % _DAY in self._begin or after % _DAY in self._end:
            return True
        return any(
            (before + shift) % _DAY in self._begin and (after + shift) % _DAY in self._end
            for shift in (-_HOUR, _HOUR)
        )


def _weekday(day: int) -> int:
    """Return the weekday, Monday as 0, of a day counted from 1970-01-01."""
    return (day + 3) % 7


def _recurrent(times: Iterable[float], least: float) -> set[float]:
    """Return the times of the day, in seconds, that recur so often."""
    counted = Counter(at % _DAY for at in times)
    often = {at for at, number in counted.items() if number >= least}
    return often if len(often) <= _MOST_CLOSINGS else set()


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
