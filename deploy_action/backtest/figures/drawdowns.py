"""When an account hurt: its drawdowns, and what each month made."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from deploy_action.backtest.account import AccountValues
from deploy_action.records import dataclass

_MOST: Final = 5
_DAY: Final = 86_400.0
# Account values are floats: a fall of this share of the highest value is none.
_NOISE: Final = 1e-12
# Beyond the years 1900 and 2200, times are a mistake of the server.
_EARLIEST: Final = -2_208_988_800.0
_LATEST: Final = 7_258_118_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """A fall below the highest value so far, from that value to its recovery.

    `depth` is in per cent of the highest value, positive. `start` is when that was reached,
    `lowest` when the fall was deepest, `recovered` when the value was there again, None if it
    never was. `end` is `recovered`, else the time of the last value.
    """

    depth: float
    start: float
    lowest: float
    recovered: float | None
    end: float

    @property
    def days(self) -> float:
        """How long the account was under water, in days."""
        return (self.end - self.start) / _DAY


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (UTC) and its gain in per cent; None where the account had nothing."""

    year: int
    month: int
    gain: float | None


@dataclass(frozen=True, slots=True)
class Year:
    """A calendar year: the gain of each month in per cent, by its number, and of all of them.

    `gain` is None where that of a month is not known.
    """

    year: int
    months: Mapping[int, float | None]
    gain: float | None


def find_drawdowns(values: AccountValues) -> tuple[tuple[Drawdown, ...], float]:
    """Return the deepest drawdowns, deepest first, and the longest time under water in days."""
    found: list[Drawdown] = []
    if not values or values.values[0] <= 0:
        return (), 0.0
    peak = low = values.values[0]
    start = lowest = values.times[0]
    water = peak * (1 - _NOISE)
    is_under = False
    for time, value in zip(values.times, values.values, strict=True):
        if value >= water:
            if is_under:
                found.append(_drawdown(peak, low, start, lowest, time, is_over=True))
            is_under, peak, start = False, max(peak, value), time
            low, water = peak, peak * (1 - _NOISE)
        elif value < low:
            is_under, low, lowest = True, value, time
    if is_under:
        found.append(_drawdown(peak, low, start, lowest, values.times[-1], is_over=False))
    longest = max((one.days for one in found), default=0.0)
    return tuple(sorted(found, key=lambda one: -one.depth)[:_MOST]), longest


def _drawdown(  # the state of the walk
    peak: float, low: float, start: float, lowest: float, end: float, *, is_over: bool
) -> Drawdown:
    return Drawdown(
        depth=(peak - low) * 100 / peak,
        start=start,
        lowest=lowest,
        recovered=end if is_over else None,
        end=end,
    )


def monthly(values: AccountValues) -> tuple[Month, ...]:
    """Return the gain of each calendar month, from the first value to the last."""
    if not values:
        return ()
    months: list[Month] = []
    if not _EARLIEST <= values.times[0] <= values.times[-1] <= _LATEST:
        return ()
    first = datetime.fromtimestamp(values.times[0], UTC)
    year, month, before = first.year, first.month, values.values[0]
    position = 0
    while position < len(values):
        following = (year + month // 12, month % 12 + 1)
        border = datetime(*following, 1, tzinfo=UTC).timestamp()
        position = bisect_left(values.times, border, position)
        # The value at midnight still belongs to the month that ends there.
        is_at_border = position < len(values) and values.times[position] == border
        last = values.values[position if is_at_border else position - 1]
        months.append(Month(year, month, (last - before) * 100 / before if before > 0 else None))
        if is_at_border and position == len(values) - 1:
            break
        (year, month), before = following, last
    return tuple(months)


def yearly(months: Sequence[Month]) -> tuple[Year, ...]:
    """Return months by their years, in order."""
    years: dict[int, dict[int, float | None]] = {}
    for one in months:
        years.setdefault(one.year, {})[one.month] = one.gain
    return tuple(Year(year, gains, _total(gains.values())) for year, gains in years.items())


def _total(gains: Collection[float | None]) -> float | None:
    """Return the gain of months in a row."""
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains):
        return None
    return (math.prod(1 + gain / 100 for gain in known) - 1) * 100
