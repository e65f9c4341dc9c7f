"""What is wrong with the period that arguments ask for, and with the account they start with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.period.asked import seconds_back
from deploy_action.backtest.period.dates import NoDateError, ReadDate, parse_date
from deploy_action.backtest.period.windows import iso_or_seconds
from deploy_action.errors import Severity
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

_LONGEST_SHOWN: Final = 60
_DAY: Final = 86_400  # today is the last day if tomorrow is the end
_DATES: Final = ("start_date", "end_date")
_ISO_HINT: Final = "Write dates as `2023-01-31`, or as seconds since 1970 (UTC)."
_EMPTY_HINT: Final = 'For example: `"initial_values": {"USD": 10000}`.'


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one argument; the message begins with the argument's name."""

    argument: str
    message: str
    hint: str
    severity: Severity = Severity.ERROR


def check_meaning(arguments: Mapping[str, JsonValue], now: float) -> Iterator[Finding]:
    """Find arguments of the right form that cannot be meant, or may be read in two ways.

    `now` is in seconds since 1970.
    """
    dates: dict[str, ReadDate] = {}
    for name in _DATES:
        try:
            date = parse_date(arguments.get(name))
        except NoDateError as fault:
            yield Finding(name, f"{_said(name, arguments)} {fault}.", _ISO_HINT)
            continue
        if date is not None:
            dates[name] = date
            if date.is_ambiguous:
                yield _ambiguous(name, arguments, date)
    yield from _impossible_period(arguments, dates, now)
    if seconds_back(arguments.get("to")) == 0:
        yield Finding("to", f"{_said('to', arguments)} no time at all.", "Write for example `1y`.")
    values = arguments.get("initial_values")
    if isinstance(values, dict) and not any(values.values()):
        message = "`initial_values` leaves the account with nothing, so the model cannot trade."
        yield Finding("initial_values", message, _EMPTY_HINT)


def _impossible_period(
    arguments: Mapping[str, JsonValue], dates: Mapping[str, ReadDate], now: float
) -> Iterator[Finding]:
    start, end = dates.get("start_date"), dates.get("end_date")
    if start is not None and start.time > now:
        message = f"{_said('start_date', arguments)} in the future."
        yield Finding("start_date", message, "There are no prices yet: choose an earlier date.")
    elif start is not None and end is not None and end.time <= start.time:
        begin = iso_or_seconds(start.time)
        message = f"{_said('end_date', arguments)} not after `start_date`, {begin}."
        yield Finding("end_date", message, "Exchange the two, or correct one.")
    elif end is not None and end.time > now + _DAY:
        message = f"{_said('end_date', arguments)} in the future."
        yield Finding("end_date", message, "Write today at the latest, or use `to`.")


def _ambiguous(name: str, arguments: Mapping[str, JsonValue], date: ReadDate) -> Finding:
    read = iso_or_seconds(date.time)
    exchanged = f"{read[:4]}-{read[8:10]}-{read[5:7]}{read[10:]}"
    return Finding(
        name,
        f"{_said(name, arguments)} read as {read}, with the month first.",
        f"Write `{read}`, or `{exchanged}` if that is meant.",
        Severity.WARNING,
    )


def _said(name: str, arguments: Mapping[str, JsonValue]) -> str:
    value = json.dumps(arguments.get(name), ensure_ascii=False)
    return f"`{name}` is {excerpt(value, _LONGEST_SHOWN)},"
