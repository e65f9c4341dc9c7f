"""Dates as the package reads them, with pandas: month first, where that can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

_MOST_SECONDS: Final = 253_402_300_800  # the year 10000
_TIME: Final = (
    r"(?:[T ](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?)?"
    r"(?P<zone> ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
)
_ISO: Final = lazy_regex(
    r"(?P<year>\d{4})(?:[-/.](?P<month>\d{1,2})(?:[-/.](?P<day>\d{1,2}))?)?" + _TIME
)
_COMPACT: Final = lazy_regex(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})" + _TIME)
_NUMBERS: Final = lazy_regex(
    r"(?P<one>\d{1,2})[-/.](?P<two>\d{1,2})[-/.](?P<year>\d{4}|\d{2})" + _TIME
)
_LAST_MONTH: Final = 12
_CENTURY: Final = 100


class NoDateError(ValueError):
    """A text that the package cannot read as a date; the message ends the sentence `X is …`."""


@dataclass(frozen=True, slots=True)
class ReadDate:
    """A date as the package reads it: seconds since 1970-01-01 UTC.

    `is_ambiguous` says that it would be another date with day and month exchanged.
    """

    time: float
    is_ambiguous: bool = False


def parse_date(value: JsonValue) -> ReadDate | None:
    """Return what the package reads; None if only the package can tell.

    Raises:
        NoDateError: it cannot be read as a date.
    """
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value < _MOST_SECONDS:
        raise NoDateError("no time in seconds since 1970")
    return ReadDate(float(value))


def _of_text(text: str) -> ReadDate | None:
    if not re.search(r"\d", text):
        if text.lower() in {"now", "today"}:
            return None
        raise NoDateError("no date")
    if match := _ISO.fullmatch(text) or _COMPACT.fullmatch(text):
        return ReadDate(_seconds(match, int(match["month"] or 1), int(match["day"] or 1)))
    if match := _NUMBERS.fullmatch(text):
        return _by_numbers(match)
    return _in_words(text)


def _by_numbers(match: re.Match[str]) -> ReadDate:
    one, two = int(match["one"]), int(match["two"])
    if one > _LAST_MONTH:
        return ReadDate(_seconds(match, month=two, day=one))
    # `15/06/2023` has its day first, and `06/15/2023` its month: neither can be the other.
    return ReadDate(_seconds(match, month=one, day=two), one != two and two <= _LAST_MONTH)


def _seconds(match: re.Match[str], month: int, day: int) -> float:
    if match["zone"]:
        raise NoDateError("a time with a time zone, which the package cannot read; it takes UTC")
    year = int(match["year"])
    if year < _CENTURY:  # as pandas does: within fifty years from now
        this = datetime.now(UTC).year
        year += this // _CENTURY * _CENTURY
        year += _CENTURY if year < this - 50 else -_CENTURY if year >= this + 50 else 0
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise NoDateError(f"no date of the calendar ({error})") from None


def _in_words(text: str) -> ReadDate | None:
    """Return a date with the month in words; None for what only the package can read."""
    words = " ".join(re.sub(r"[,-]", " ", text).split())
    for form in _forms():
        try:
            return ReadDate(datetime.strptime(words, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    return None


def _forms() -> Iterator[str]:
    for month in ("%b", "%B"):
        yield from (f"%d {month} %Y", f"{month} %d %Y", f"%Y {month} %d", f"{month} %Y")
