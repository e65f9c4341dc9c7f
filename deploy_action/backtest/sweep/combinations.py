"""The backtests of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found: all combinations, in the order of `Sweep.combinations`.

    `current` is the index of the one that is the model's own setting; None if none is, or if that
    is not known.
    """

    sweep: Sweep
    combinations: tuple[Combination, ...]
    current: int | None = None

    def name(self, index: int) -> str:
        """Return a combination for people."""
        return self.sweep.name(self.combinations[index].values)

    def known(self) -> Iterator[tuple[int, Combination]]:
        """Yield the combinations that have figures, with their indices."""
        return ((number, one) for number, one in enumerate(self.combinations) if one.figures)
