"""The values of a model's accounts over time, as a line that has gaps where nothing is known.

A value is what a whole account at an exchange is worth, deposits and other bots included. A point
is a time in seconds since 1970 and a value, which is None in a gap. There is one between any two
runs of the model, however short the pause.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Final, NamedTuple

from deploy_action.platform.live.reports.reading import BOUNDS
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_USUAL_EVERY: Final = 15 * _MINUTE
_LINE_SECONDS: Final = 30 * _DAY
_MOST_OF_LINE: Final = 125  # points: of 30 days, one every 6 hours
_MOST_OF_HISTORY: Final = 200
# Of each step of so many seconds, one point is shown; 0: all points are.
_STEPS: Final = (
    *(0.0, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR),
    *(12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 30 * _DAY),
)
_COMPARABLE: Final = ("quote", "missing")  # values are, that agree in these

Point = tuple[float, float | None]
_LinePoint = tuple[float, float, float | None]  # with when the process began that read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account's value: the latest one at `time`, and `points` that lead there.

    `value` is in `quote`; None where `problem` says why it is not known. `missing` are the assets
    that it leaves out, because they have no price in `quote`; `simulated` says that no real money
    is in the account. While the model runs, the next value comes `every` so many seconds. Points
    from before `alike_since` count something else than the latest, such as another currency.
    """

    exchange: str
    portfolio: str | None
    quote: str | None
    simulated: bool
    time: float
    value: float | None
    missing: Sequence[str]
    problem: str | None
    every: float
    points: Sequence[Point]
    alike_since: float = 0.0


class _Known(NamedTuple):
    """A value, when the process `began` that read it, `what` it counts, and when the next is due.

    `every` is in seconds.
    """

    time: float
    value: float
    began: float | None
    what: object
    every: float


def read_accounts(snapshot: Transaction, project_id: str, model_id: str) -> list[Account]:
    """Return a model's accounts, with at most 200 points from the first day that is kept."""
    tables = snapshot.reports

    def latest(kind: str) -> list[Kept]:
        return tables.latest(project_id, model_id, kind, BOUNDS[kind].entries)

    lines, days, samples = latest("accountLine"), latest("accountDay"), latest("account")
    return _known_now([_account(line, *_history(line, days, samples)) for line in lines])


def read_latest(snapshot: Transaction, project_id: str, model_id: str) -> list[Account]:
    """Return a model's accounts without points."""
    most = BOUNDS["accountLine"].entries
    lines = snapshot.reports.latest(project_id, model_id, "accountLine", most)
    return _known_now([_account(line, []) for line in lines])


def read_lines(snapshot: Transaction) -> dict[tuple[str, str], list[Account]]:
    """Return the accounts of all models, by project and model, with points of the last 30 days.

    The line begins anew when something else is counted, such as another currency.
    """
    found: dict[tuple[str, str], list[Account]] = {}
    for project_id, model_id, line in snapshot.reports.of_all_models("accountLine"):
        known = _of_line(line.document, line.document["points"])
        points = _with_gaps(known, line.document["step"])
        found.setdefault((project_id, model_id), []).append(_account(line, points))
    return {key: _known_now(accounts) for key, accounts in found.items()}


def day_name(time: float, account: str) -> str:
    """Return the name under which the value of an account on a day is kept."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d} {account}"


def extended(
    line: Mapping[str, Any] | None, sample: Mapping[str, Any], time: float
) -> dict[str, object]:
    """Return the line of an account with one more sample, which may have no value."""
    points: list[_LinePoint] = []
    step, value = 0.0, sample["value"]
    if line is not None:
        if value is None:  # such a sample does not tell what is counted
            sample = {**sample, **{name: line[name] for name in _COMPARABLE}}
        if all(line[name] == sample[name] for name in _COMPARABLE):
            points, step = line["points"], line["step"]
    known = _of_line(sample, (one for one in points if time - _LINE_SECONDS <= one[0] < time))
    if value is not None:
        known.append(_Known(time, value, sample["began"], None, _every(sample)))
    step = _step(known, _MOST_OF_LINE, at_least=step)
    kept = [(each.time, each.value, each.began) for each in _last_of_each(known, step)]
    return {**sample, "points": kept, "step": step}


def _known_now(accounts: list[Account]) -> list[Account]:
    """Return accounts without those that could not be read before another reading of the same.

    Whether there is real money in an account may not be known until it is read for the first time.
    """

    def is_past(one: Account) -> bool:
        return one.value is None and any(
            other.time > one.time
            and (other.exchange, other.portfolio) == (one.exchange, one.portfolio)
            for other in accounts
        )

    return [one for one in accounts if not is_past(one)]


def _account(line: Kept, points: list[Point], alike_since: float = 0.0) -> Account:
    get = line.document.get
    if get("value") is None and points:
        points = [*points, (line.time, None)]
    return Account(
        exchange=line.document["exchange"],
        portfolio=get("portfolio"),
        quote=get("quote"),
        simulated=line.document["simulated"],
        time=line.time,
        value=get("value"),
        missing=line.document["missing"],
        problem=get("problem"),
        every=_every(line.document),
        points=points,
        alike_since=alike_since,
    )


def _of_line(document: Mapping[str, Any], points: Iterable[_LinePoint]) -> list[_Known]:
    every = _every(document)
    return [_Known(time, value, began, None, every) for time, value, began in points]


def _every(sample: Mapping[str, Any]) -> float:
    return sample["every"] or _USUAL_EVERY


def _history(
    line: Kept, days: Iterable[Kept], samples: Iterable[Kept]
) -> tuple[list[Point], float]:
    """Return an account's values from the first day on: one a day, and then all that are kept.

    Also return since when they count the same as the latest.
    """
    account = _identity(line)
    recent = [each for each in samples if _identity(each) == account]
    start = recent[0].time if recent else line.time
    older = [each for each in days if each.time < start and _identity(each) == account]
    known = [_known(each, _DAY) for each in older]
    known += [
        _known(each, _every(each.document)) for each in recent if each.document["value"] is not None
    ]
    step = _step(known, _MOST_OF_HISTORY)
    alike = list(takewhile(lambda each: each.what == known[-1].what, reversed(known)))
    points = _with_gaps(_last_of_each(known, step), step)[-_MOST_OF_HISTORY:]
    return points, alike[-1].time if alike else 0.0


def _identity(kept: Kept) -> list[object]:
    return [kept.document[name] for name in ("exchange", "portfolio", "simulated")]


def _known(kept: Kept, every: float) -> _Known:
    what = [kept.document[name] for name in _COMPARABLE]
    return _Known(kept.time, kept.document["value"], kept.document.get("began"), what, every)


def _step(known: Sequence[_Known], most: int, *, at_least: float = 0.0) -> float:
    """Return the shortest step that leaves no more than so many points."""

    def fits(step: float) -> bool:
        return step >= at_least and len(_with_gaps(_last_of_each(known, step), step)) <= most

    return _STEPS[min(bisect_left(_STEPS, 1, key=fits), len(_STEPS) - 1)]


def _last_of_each(known: Sequence[_Known], step: float) -> list[_Known]:
    """Return the last value of each step in time; values that count different things all stay."""
    if not step:
        return list(known)
    found: list[_Known] = []
    for each in known:
        before = found[-1] if found else None
        if before and (before.time // step, before.what) == (each.time // step, each.what):
            found.pop()
        found.append(each)
    return found


def _with_gaps(known: Iterable[_Known], step: float) -> list[Point]:
    """Return points, with one in each gap.

    There the next value comes late, counts something else, or is of another run of the model.
    """
    points: list[Point] = []
    before: _Known | None = None
    for each in known:
        if before is not None:
            is_late = each.time - before.time > max(1.5 * before.every, 2 * step)
            if is_late or (each.what, each.began) != (before.what, before.began):
                points.append(((before.time + each.time) / 2, None))
        points.append((each.time, each.value))
        before = each
    return points
