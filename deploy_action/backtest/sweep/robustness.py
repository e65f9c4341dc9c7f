"""Whether a setting is robust: what the combinations beside it made, and all the others.

Results are returns; Sharpe ratios where the combinations differ in period or in money at the start,
because the returns of those cannot be compared. `docs/sweeps.md` has the definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.metrics import known
from deploy_action.backtest.period.asked import PERIOD, seconds_back
from deploy_action.backtest.sweep.grid import Axis, Sweep, label_of
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Combination, Swept
    from deploy_action.text.located_json import JsonValue

_OTHER_SCALE: Final = frozenset({*PERIOD, "initial_values"})
_KEPT: Final = 0.5
_MUCH_BETTER: Final = 1.5
_FEWEST: Final = 2  # neighbours of which one can say that they are alike


class Standing(StrEnum):
    """What the neighbours of a setting say of it."""

    PLATEAU = "plateau"
    """Every neighbour makes at least half of its result, and none makes 1.5 times as much."""
    SLOPE = "slope"
    """A neighbour makes 1.5 times as much, or some make less than half of it."""
    PEAK = "peak"
    """Most neighbours make less than half of its result, and none makes more than it."""
    NO_GAIN = "no gain"
    """It made nothing itself, of which others could keep a share."""
    UNKNOWN = "unknown"
    """It has no result, or fewer than two neighbours with one, or not half of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A combination one step away in one parameter; `result` is None if it has none.

    `is_same` says that its trades are those of the setting.
    """

    index: int
    result: float | None
    is_same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """A setting, the combinations beside it, and what these say of it.

    `setting` is the current one, else the best: see `is_current`. `edges` are the names of ordered
    parameters in which it is at an end of what was tried. `worst_other` is the index of the worst
    combination that differs from it in one parameter without order; None if none has a result.
    """

    setting: int
    is_current: bool
    result: float | None
    neighbours: tuple[Neighbour, ...] = ()
    edges: tuple[str, ...] = ()
    worst_other: int | None = None
    standing: Standing = Standing.UNKNOWN

    @property
    def known(self) -> tuple[tuple[float, int], ...]:
        """The results of the neighbours that have one, with their indices, the worst first."""
        pairs = ((one.result, one.index) for one in self.neighbours)
        return tuple(sorted((made, index) for made, index in pairs if made is not None))

    @property
    def shares(self) -> tuple[float, ...]:
        """What the neighbours make as shares of the setting's result, the least first.

        None of a setting that made nothing.
        """
        if self.result is None or self.result <= 0:
            return ()
        return tuple(made / self.result for made, _ in self.known)

    @property
    def median_share(self) -> float:
        """The median of the shares, of which there is at least one."""
        return median(self.shares)

    @property
    def kept(self) -> int:
        """How many neighbours make at least half of the setting's result."""
        return sum(share >= _KEPT for share in self.shares)

    @property
    def better(self) -> int | None:
        """The index of the best neighbour, if it makes more than the setting does."""
        if self.result is None or not self.known or self.known[-1][0] <= self.result:
            return None
        return self.known[-1][1]

    @property
    def worst(self) -> int | None:
        """The index of the worst neighbour, if there is one."""
        return self.known[0][1] if self.known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """What a sweep says of a setting, and of the model.

    `objective` is the metric that is compared. `ranking` has the indices of all combinations with a
    result, the best first; of equals, the current setting is the first. `beat` of the `held`
    combinations of which it is known made more than holding. `idle` are the names of parameters of
    which no value ever changed the trades, `unordered` those of others whose values have no order,
    so that there are no neighbours along them.
    """

    objective: str
    neighbourhood: Neighbourhood | None
    ranking: tuple[int, ...]
    gained: int
    beat: int
    held: int
    idle: tuple[str, ...]
    unordered: tuple[str, ...] = ()


def robustness_of(swept: Swept) -> Robustness:
    """Return what a sweep says of its current setting, and of all combinations."""
    objective = objective_of(swept.sweep)
    results = [result_of(one, objective) for one in swept.combinations]
    ranked = ranking(swept, objective)
    best = ranked[0] if ranked else None
    setting = best if swept.current is None else swept.current
    without_effect = tuple(idle(swept))
    beyond = [result_of(one, "excess_return") for one in swept.combinations]
    gains = [result_of(one, "cum_returns") for one in swept.combinations]
    return Robustness(
        objective=objective,
        neighbourhood=None if setting is None else _around(swept, setting, results, without_effect),
        ranking=ranked,
        gained=sum(one > 0 for one in gains if one is not None),
        beat=sum(one > 0 for one in beyond if one is not None),
        held=sum(one is not None for one in beyond),
        idle=tuple(label_of(axis) for axis in without_effect),
        unordered=tuple(
            label_of(axis)
            for axis in swept.sweep.axes
            if len(axis.values) > 1 and axis not in without_effect and not ordered(axis)
        ),
    )


def objective_of(sweep: Sweep) -> str:
    """Return the metric by which the combinations are compared."""
    is_scaled = any(axis.name in _OTHER_SCALE and len(axis.values) > 1 for axis in sweep.axes)
    return "sharpe" if is_scaled else "cum_returns"


def result_of(combination: Combination, metric: str) -> float | None:
    """Return a metric of a combination; None if it has no figures, or no such value."""
    return None if combination.figures is None else known(combination.figures.metrics[metric])


def ranking(swept: Swept, metric: str) -> tuple[int, ...]:
    """Return the indices of all combinations with a value, the best first.

    Of equals, the current setting is the first. More of the metric is better.
    """
    made = {
        index: value
        for index, one in swept.known()
        if (value := result_of(one, metric)) is not None
    }
    return tuple(sorted(made, key=lambda index: (-made[index], index != swept.current, index)))


def _around(
    swept: Swept, setting: int, results: Sequence[float | None], without_effect: Sequence[Axis]
) -> Neighbourhood:
    """Return a setting with its neighbours; those along an idle parameter would say nothing."""
    found, edges = [], []
    others: dict[int, float] = {}
    digests = [one.figures and one.figures.trades_sha256 for one in swept.combinations]
    for axis, stride in _strides(swept.sweep):
        order = ordered(axis)
        place = setting // stride % len(axis.values)
        if axis in without_effect:
            continue
        if not order:
            beside_it = (setting + (one - place) * stride for one in range(len(axis.values)))
            others |= {one: made for one in beside_it if (made := results[one]) is not None}
            others.pop(setting, None)
        if place not in order:
            continue
        rank = order.index(place)
        for beside in (rank - 1, rank + 1):
            if not 0 <= beside < len(order):
                edges.append(label_of(axis))
                continue
            index = setting + (order[beside] - place) * stride
            is_same = digests[index] is not None and digests[index] == digests[setting]
            found.append(Neighbour(index=index, result=results[index], is_same=is_same))
    around = Neighbourhood(
        setting=setting,
        is_current=setting == swept.current,
        result=results[setting],
        neighbours=tuple(found),
        edges=tuple(dict.fromkeys(edges)),
        worst_other=min(others, key=others.__getitem__, default=None),
    )
    return replace(around, standing=_standing(around))


def _standing(around: Neighbourhood) -> Standing:
    number = len(around.known)
    if around.result is None:
        return Standing.UNKNOWN
    if around.result <= 0:
        return Standing.NO_GAIN
    if number < _FEWEST or number * 2 < len(around.neighbours):
        return Standing.UNKNOWN
    if around.kept == number and around.shares[-1] < _MUCH_BETTER:
        return Standing.PLATEAU
    is_peak = around.kept * 2 < number and around.better is None
    return Standing.PEAK if is_peak else Standing.SLOPE


def _strides(sweep: Sweep) -> Iterator[tuple[Axis, int]]:
    """Yield each axis, and how far apart combinations are that differ by one place on it."""
    stride = len(sweep)
    for axis in sweep.axes:
        stride //= len(axis.values)
        yield axis, stride


def ordered(axis: Axis) -> tuple[int, ...]:
    """Return the places of an axis' values in their order: numbers, dates, or lengths of time.

    Nothing of words, booleans or mappings, nor of a single value. A null has no place in an order.
    """
    places = [place for place, value in enumerate(axis.values) if value is not None]
    for read in (_number, _date, _length):
        keys = [(key, place) for place in places if (key := read(axis.values[place])) is not None]
        if len(keys) == len(places) > 1:
            return tuple(place for _, place in sorted(keys))
    return ()


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return known(float(value))
    except (ValueError, OverflowError):
        return None


def _date(value: JsonValue) -> float | None:
    """Return an ISO date or time as a number by which it can be ordered."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    since = moment.replace(tzinfo=None) - datetime.combine(date.min, datetime.min.time())
    return since.total_seconds()


def _length(value: JsonValue) -> float | None:
    return seconds_back(value) if isinstance(value, str) else None


def idle(swept: Swept) -> Iterator[Axis]:
    """Yield the parameters of which no value ever changed the trades, if two were compared."""
    for axis, stride in _strides(swept.sweep):
        first: dict[int, str] = {}  # of the combinations that differ in this parameter alone
        compared, is_idle = False, True
        for index, one in swept.known():
            others = index - index // stride % len(axis.values) * stride
            digest = one.figures.trades_sha256 if one.figures else ""
            compared = compared or others in first
            is_idle = is_idle and first.setdefault(others, digest) == digest
        if compared and is_idle:
            yield axis
