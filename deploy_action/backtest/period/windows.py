"""Windows: several periods in one run, each a backtest of its own beside the whole period.

Times are seconds since 1970-01-01 UTC. A window has its start, and ends just before its end, as
the package takes a period.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.period.dates import NoDateError, parse_date
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import moment

if TYPE_CHECKING:
    from deploy_action.backtest.figures.kept import KeptFigures
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.errors import Problem
    from deploy_action.text.located_json import JsonValue

MOST_WINDOWS: Final = 100
_DAY: Final = 86_400
# Of an asked period, this many bars may have no prices before it counts as covered in part only.
FEW_BARS: Final = 2
_LONGEST_NAME: Final = 60
_LONGEST_SHOWN: Final = 80
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = lazy_regex(r"[+-]?[0-9]+")
_LINE: Final = lazy_regex(
    r"(?:(?P<name>.*?\S)\s*:\s+)?(?P<start>[^\s.:]\S*?)\s*\.\.\s*(?P<end>[^\s.]\S*)"
)
_DATE: Final = lazy_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?Z?)?")


@dataclass(frozen=True, slots=True)
class Window:
    """A period with a name; `start` is before `end`."""

    name: str
    start: float
    end: float

    def arguments(self) -> Mapping[str, JsonValue]:
        """Return the arguments of `Strategy.backtest()` for it, as ISO dates in UTC."""
        return {"start_date": iso(self.start), "end_date": iso(self.end)}

    @classmethod
    def of_arguments(cls, name: str, arguments: Mapping[str, Any]) -> Window | None:
        """Return the window of such arguments; None if they have no start and end."""
        try:
            start, end = (parse_date(arguments.get(key)) for key in ("start_date", "end_date"))
            if start is None or end is None:
                return None
            iso(start.time), iso(end.time)  # they may be beyond all calendar dates
        except (NoDateError, OverflowError):
            return None
        return cls(name, start.time, end.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBacktest:
    """The backtest of one window.

    Without figures, `reason` says why, and can follow a colon; blank if another part of the run has
    them. `is_coming` says that they are still to come. `problems` are warnings about it, and
    `seconds` how long its process ran.
    """

    name: str
    start: float
    end: float
    figures: KeptFigures | None = None
    reason: str = ""
    is_coming: bool = False
    problems: tuple[Problem, ...] = ()
    seconds: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was run: another part of the run may have it."""
        return self.figures is not None or bool(self.reason)


class WrongWindowsError(ValueError):
    """Windows that cannot be meant; the argument has a sentence for each fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__(" ".join(faults))


def iso(time: float) -> str:
    """Return a time as `2023-03-01`, or `2023-03-01 12:00:00` where it is no midnight in UTC.

    Raises:
        OverflowError: it is beyond all calendar dates.
    """
    date = _EPOCH + timedelta(seconds=time)
    return f"{date:%Y-%m-%d}" if time % _DAY == 0 else str(date.replace(tzinfo=None))


def iso_or_seconds(time: float) -> str:
    """Return a time that somebody else sent as `iso`; as seconds if no calendar date has it."""
    try:
        return iso(time)
    except OverflowError:
        return moment(time)


def why_not_of(window: Window, result: BacktestResult) -> str:
    """Return why a result is not that of a window, blank if it is; it can follow a colon.

    A model may set a period of its own, and have backtested that.
    """
    values = result.account_values
    if not values:
        return ""
    coverage = result.analysis.coverage
    tolerance = FEW_BARS * max((one.resolution for one in coverage), default=float(_DAY))
    first, last = values.times[0], values.times[-1]
    if first >= window.start - tolerance and last <= window.end + tolerance:
        return ""
    return (
        f"the backtest was from {iso_or_seconds(first)} to {iso_or_seconds(last)}: the model's "
        "script sets a period of its own"
    )


def parse_windows(text: str, now: float) -> int | tuple[Window, ...]:
    """Return the number of equal parts, or the windows of the lines, in their order.

    Raises:
        WrongWindowsError: it is neither, or a window is empty, double, or in the future of `now`.
    """
    if _NUMBER.fullmatch(text.strip()):
        return _number(text.strip())
    windows: dict[str, Window] = {}
    faults = []
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        try:
            window = _window(line, now)
        except WrongWindowsError as fault:
            faults.append(str(fault))
            continue
        if window.name in windows:
            faults.append(f"two windows are named `{window.name}`.")
        windows[window.name] = window
    if not windows and not faults:
        faults.append("it names no window.")
    if len(windows) > MOST_WINDOWS:
        faults.append(f"there are {len(windows)} windows; at most {MOST_WINDOWS} are run.")
    if faults:
        raise WrongWindowsError(*faults)
    return tuple(windows.values())


def _number(text: str) -> int:
    # Python refuses to read a number of more than 4,300 digits.
    number = int(text) if len(text) < _LONGEST_NAME else -1
    if not 1 < number <= MOST_WINDOWS:
        raise WrongWindowsError(f"a number of equal parts is one from 2 to {MOST_WINDOWS}.")
    return number


def _window(line: str, now: float) -> Window:
    shown = f"`{excerpt(line, _LONGEST_SHOWN)}`"
    if not (match := _LINE.fullmatch(line)):
        raise WrongWindowsError(f"{shown} is not `[NAME: ]START..END`.")
    start, end = (_time(match[name]) for name in ("start", "end"))
    if start is None or end is None:
        wrong = match["start"] if start is None else match["end"]
        raise WrongWindowsError(
            f"`{excerpt(wrong, _LONGEST_SHOWN)}` is no date such as 2023-01-31."
        )
    if start >= end:
        raise WrongWindowsError(f"{shown} does not end after its start; its end is not part of it.")
    if start >= now:
        raise WrongWindowsError(f"{shown} starts in the future.")
    if end > now + _DAY:  # today is a window's last day if tomorrow is its end
        raise WrongWindowsError(f"{shown} ends in the future.")
    name = match["name"] or f"{match['start']}..{match['end']}"
    if excerpt(name, _LONGEST_NAME) != name:
        raise WrongWindowsError(f"the name of {shown} has more than {_LONGEST_NAME} characters.")
    return Window(name, start, end)


def _time(text: str) -> float | None:
    """Return an ISO date or time in UTC as seconds; None if it is neither."""
    if not _DATE.fullmatch(text):
        return None
    try:
        date = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return None
    return date.replace(tzinfo=UTC).timestamp()


def equal_parts(start: float, end: float, number: int) -> tuple[Window, ...]:
    """Cut a period into equal parts, in order: contiguous, none empty, together all of it.

    Where each has a day or more, they meet at midnights in UTC, and differ by up to a day.

    Raises:
        WrongWindowsError: the period has fewer seconds than there would be parts, or no dates.
    """
    if end - start < number:
        raise WrongWindowsError(f"the period is too short for {number} windows.")
    unit = _DAY if end - start >= 2 * _DAY * number else 1
    length = (end - start) / number
    inner = (math.floor((start + length * part) / unit) * unit for part in range(1, number))
    bounds = [start, *map(float, inner), end]
    try:
        return tuple(Window(*window) for window in _named(bounds))
    except OverflowError:
        raise WrongWindowsError("the period is beyond all calendar dates.") from None


def _named(bounds: list[float]) -> Iterator[tuple[str, float, float]]:
    """Name each part by its dates; by date and time where dates alone do not tell them apart."""
    days = [iso(bound // _DAY * _DAY) for bound in bounds]
    names = days if len(set(days)) == len(days) else [iso(bound) for bound in bounds]
    for (first, last), (start, end) in zip(pairwise(names), pairwise(bounds), strict=True):
        yield f"{first}..{last}", start, end
