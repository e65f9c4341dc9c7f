"""The backtests of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deploy_action.backtest.sweep.grid import is_same_value
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.figures.kept import KeptFigures
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.backtest.sweep.grid import Sweep
    from deploy_action.errors import Problem
    from deploy_action.text.located_json import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """The backtests of one combination: over the whole period, and in each window.

    Without figures, `reason` says why, and can follow a colon; blank if another part of the run has
    them. `problems` are warnings about it, and `seconds` how long its process ran.
    """

    values: tuple[JsonValue, ...]
    figures: KeptFigures | None = None
    reason: str = ""
    problems: tuple[Problem, ...] = ()
    windows: tuple[WindowBacktest, ...] = ()
    seconds: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was run: another part of the run may have it."""
        return self.figures is not None or bool(self.reason)


def index_of(sweep: Sweep, own: tuple[int | None, ...] | None) -> int | None:
    """Return the index of the combination with these values; None unless all are known."""
    index = 0
    for axis, value in zip(sweep.axes, own or [None], strict=own is not None):
        if value is None:
            return None
        index = index * len(axis.values) + value
    return index


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found: all combinations, in the order of `Sweep.combinations`.

    `own` are the values of the model's own setting: for each parameter the index of its value, None
    where that is not known. It is None if one of them is not among those that are tried. `current`
    is the index of the combination that is this setting, None if none is known to be.
    """

    sweep: Sweep
    combinations: tuple[Combination, ...]
    own: tuple[int | None, ...] | None = None
    current: int | None = None

    def index_of_own(self) -> int | None:
        """Return the index of the model's own setting; None unless all its values are known."""
        return index_of(self.sweep, self.own)

    def may_be_own(self, index: int) -> bool:
        """Whether a combination has all that is known of the model's own setting."""
        if self.own is None:
            return False
        tried = self.combinations[index].values
        pairs = zip(self.sweep.axes, self.own, tried, strict=True)
        return all(
            own is None or is_same_value(axis.values[own], value) for axis, own, value in pairs
        )

    def name(self, index: int, redact: Callable[[str], str] = str) -> str:
        """Return a combination for people; `redact` as in `grid.shown`."""
        return self.sweep.name(self.combinations[index].values, redact)

    def known(self) -> Iterator[tuple[int, Combination]]:
        """Yield the combinations that have figures, with their indices."""
        return ((number, one) for number, one in enumerate(self.combinations) if one.figures)
