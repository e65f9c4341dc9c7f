"""How numbers are shown to people: with their units, rounded to what one can take in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_SECONDS_A_MINUTE: Final = 60
_SECONDS_AN_HOUR: Final = 3_600
_SECONDS_A_DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# As wide as a plus; a hyphen is hard to see before a number.
_MINUS: Final = "\u2212"
# Beyond these, digits cannot be counted at a glance.
_HUGE: Final = 1e15
_TINY: Final = 1e-6
_SMALL: Final = 0.01


def count(number: int, noun: str) -> str:
    """Return a number of things: `1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return a number of bytes in the decimal units that file managers and GitHub show."""
    if number < 1000:  # noqa: PLR2004  # decimal units
        return count(number, "byte")
    value = float(number)
    for unit in ("kB", "MB"):
        value /= 1000
        if round(value, 1) < 1000:  # noqa: PLR2004  # as above
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} GB"


def duration(seconds: float) -> str:
    """Return a time that something took: `12.3 s`, `2 min 5 s`."""
    if round(seconds, 1) < _SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes} min {rest} s"


def interval(seconds: float) -> str:
    """Return what follows `every`: `day`, `4 hours`, `90 s`."""
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
    # Two decimals would show nothing of a hundredth.
    return _signed(_short(f"{value:.6f}") if 0 < abs(value) < _SMALL else f"{value:,.2f}")


def exact(value: float) -> str:
    """Return a number in up to ten significant digits, with separators and no zeros at the end."""
    if value and not _TINY <= abs(value) < _HUGE:
        return f"{value:.10g}".replace("-", _MINUS)
    digits = f"{value:.10g}"
    # An exponent is in it from ten billion on, where no decimals are left, and below 0.0001.
    decimals = len(digits.partition(".")[2].partition("e")[0])
    if "e-" in digits:
        decimals -= int(digits.partition("e")[2])
    return _signed(f"{value:,.{0 if 'e+' in digits else decimals}f}")


def rounded(value: float, decimals: int) -> str:
    """Return a number with at most so many decimals (1 or more), and no zeros at the end."""
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


def moment(time: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return seconds since 1970 as a date in UTC; beyond the years that have one, the number."""
    try:
        return (_EPOCH + timedelta(seconds=time)).strftime(form)
    except OverflowError:
        return f"{time:g} s"


def _short(digits: str) -> str:
    return digits.rstrip("0").rstrip(".")


def _signed(digits: str) -> str:
    """Return digits with a minus that shows, and none before zero."""
    bare = digits.removeprefix("-")
    return bare if bare == digits or not bare.strip("0.,") else _MINUS + bare
