"""Formats numbers for people: with units, and no more digits than they can use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

_SECONDS_A_MINUTE: Final = 60
_SECONDS_AN_HOUR: Final = 3_600
_SECONDS_A_DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The minus sign is as wide as a plus; a hyphen before a number is easily missed.
_MINUS: Final = "\u2212"
# Beyond these, an exponent is easier to read than the digits.
_HUGE: Final = 1e15
_TINY: Final = 1e-6
_SMALL: Final = 0.01
_NO_CENTS: Final = 1_000_000
# From so many days on, nobody asks for parts of one.
_MANY_DAYS: Final = 10


def count(number: int, noun: str) -> str:
    """Return a number of things: `1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown_of(number: int, most: int) -> int:
    """Return how many rows to show: one more than `most` where only that one would be hidden."""
    return number if number <= most + 1 else most


def size(number: int) -> str:
    """Return bytes in decimal units, as file managers and GitHub show them: `1.2 MB`."""
    if number < 1000:  # noqa: PLR2004  # decimal units
        return count(number, "byte")
    value = float(number)
    for unit in ("kB", "MB"):
        value /= 1000
        if round(value, 1) < 1000:  # noqa: PLR2004  # as above
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} GB"


def duration(seconds: float) -> str:
    """Return a duration: `12.3 s`, `2 min 5 s`."""
    if round(seconds, 1) < _SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes} min {rest} s"


def interval(seconds: float) -> str:
    """Return a period as it follows "every": `day`, `4 hours`, `90 s`."""
    units = ((_SECONDS_A_DAY, "day"), (_SECONDS_AN_HOUR, "hour"), (_SECONDS_A_MINUTE, "minute"))
    for length, name in units:
        if seconds >= length and seconds % length == 0:
            number = round(seconds / length)
            return name if number == 1 else count(number, name)
    return f"{exact(seconds)} s"


def decimal(value: float) -> str:
    """Return a number with two decimals, small ones with six and huge ones with an exponent."""
    if value and not _TINY <= abs(value) < _HUGE:
        return f"{value:.4g}".replace("-", _MINUS)
    # Two decimals would round it to zero.
    return _signed(_short(f"{value:.6f}") if 0 < abs(value) < _SMALL else f"{value:,.2f}")


def exact(value: float) -> str:
    """Return a number in up to ten significant digits, with separators, without trailing zeros."""
    if value and not _TINY <= abs(value) < _HUGE:
        return f"{value:.10g}".replace("-", _MINUS)
    digits = f"{value:.10g}"
    # `g` uses an exponent below 0.0001, and from ten billion on, where no decimals are left.
    decimals = len(digits.partition(".")[2].partition("e")[0])
    if "e-" in digits:
        decimals -= int(digits.partition("e")[2])
    return _signed(f"{value:,.{0 if 'e+' in digits else decimals}f}")


def rounded(value: float, decimals: int) -> str:
    """Return a number with at most `decimals` decimals (1 or more), without trailing zeros."""
    return _signed(_short(f"{value:,.{decimals}f}"))


def whole(value: float) -> str:
    """Return a number without decimals, huge ones with an exponent."""
    return decimal(value) if abs(value) >= _HUGE else _signed(f"{value:,.0f}")


def per_cent(value: float, *, with_sign: bool = False) -> str:
    """Return a percentage that the package multiplied by 100: 28.999999999999996 is `29%`."""
    digits = f"{value:.4g}" if abs(value) >= _HUGE else _short(f"{value:,.2f}")
    shown = _signed(digits)
    plus = "+" if with_sign and value > 0 and shown != "0" else ""
    return f"{plus}{shown}%"


def decimals_of(values: Iterable[float | None], least: int) -> int:
    """Return how many decimals the percentages of a table have: `least`, more if all are small."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    decimals = least
    while _TINY <= largest < 10.0 ** (1 - decimals):
        decimals += 1
    return decimals


def percentage(
    value: float, decimals: int = 2, *, with_sign: bool = False, in_table: bool = False
) -> str:
    """Return a percentage with all its decimals, so that columns line up: `+37.90%`.

    What these decimals would round to zero has more, but not `in_table`: `0.0042%`.
    """
    if abs(value) >= _HUGE:
        digits = f"{value:.4g}"
    elif _TINY <= abs(value) < 10.0**-decimals / 2 and not in_table:
        digits = _short(f"{value:.6f}")
    else:
        digits = f"{value:,.{decimals}f}"
    shown = _signed(digits)
    plus = "+" if with_sign and value > 0 and shown.strip("0.") else ""
    return f"{plus}{shown}%"


def money(value: float, *, with_sign: bool = False) -> str:
    """Return an amount with cents, from a million on without: `13,790.46`, `1,234,568`."""
    shown = whole(value) if abs(value) >= _NO_CENTS else decimal(value)
    return f"+{shown}" if with_sign and value > 0 else shown


def days(number: float) -> str:
    """Return a length of time: `181 days`, `2.5 days`, and in hours or minutes below one day."""
    if number < 0:
        return _MINUS + days(-number)
    if number >= _MANY_DAYS:
        return count(round(number), "day")
    for length, noun in ((number, "day"), (number * 24, "hour")):
        if length >= 1 or not number:
            return _rounded_count(length, noun)
    return _rounded_count(number * 24 * 60, "minute")


def _rounded_count(number: float, noun: str) -> str:
    shown = rounded(number, 1)
    return f"{shown} {noun}{'' if shown == '1' else 's'}"


def moment(time: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return seconds since 1970 as a date in UTC; as seconds if no calendar date has them."""
    try:
        return (_EPOCH + timedelta(seconds=time)).strftime(form)
    except OverflowError:
        return f"{time:.3g} s"


def _short(digits: str) -> str:
    return digits.rstrip("0").rstrip(".")


def _signed(digits: str) -> str:
    """Return digits with a proper minus sign, and none before zero."""
    bare = digits.removeprefix("-")
    return bare if bare == digits or not bare.strip("0.,") else _MINUS + bare
