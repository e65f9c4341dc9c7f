"""The backtests of windows and combinations: which there are, and how long each may take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from deploy_action.backtest.metrics import are_alike
from deploy_action.backtest.sweep.robustness import idle
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    from deploy_action.backtest.figures.kept import KeptFigures
    from deploy_action.backtest.period.windows import Window, WindowBacktest
    from deploy_action.backtest.sweep.combinations import Swept
    from deploy_action.backtest.sweep.grid import Sweep
    from deploy_action.text.located_json import JsonValue


@dataclass(frozen=True, slots=True)
class Cell:
    """One backtest beside that of the model's own setting over the whole period.

    `combination` is an index, None for the model's own setting; `window` is an index, None for the
    whole period.
    """

    combination: int | None
    window: int | None


def cells_of(windows: int, sweep: Sweep | None, current: int | None) -> list[Cell]:
    """Return all cells: the model's own windows, then each combination with its windows.

    The combination `current` takes the results of the model's own setting, and has no cells.
    """
    cells = [Cell(None, window) for window in range(windows)]
    for combination in range(0 if sweep is None else len(sweep)):
        if combination != current:
            cells += [Cell(combination, window) for window in (None, *range(windows))]
    return cells


def key_of(sweep: Sweep | None, values: tuple[JsonValue, ...] | None, window: str | None) -> str:
    """Return what names a cell in every run of the same sweep: its values and its window."""
    named = None
    if sweep is not None and values is not None:
        named = {axis.name: value for axis, value in zip(sweep.axes, values, strict=True)}
    return json.dumps([named, window], sort_keys=True)


def expected_seconds(
    cells: Sequence[Cell],
    windows: Sequence[Window],
    sweep: Sweep | None,
    earlier: Mapping[str, float],
) -> list[float]:
    """Return how long each cell may take, compared with the others.

    `earlier` are durations in seconds, by `key_of`. A cell that has none takes what the others of
    its period take in the median; without any, the length of its period counts.
    """
    values = [] if sweep is None else list(sweep.combinations())
    end = max((one.end for one in windows), default=1.0)
    periods: dict[int | None, float] = dict(enumerate(one.end - one.start for one in windows))
    periods[None] = end - min((one.start for one in windows), default=0.0)
    keys = [
        key_of(
            sweep,
            None if cell.combination is None else values[cell.combination],
            None if cell.window is None else windows[cell.window].name,
        )
        for cell in cells
    ]
    found = [earlier.get(key) for key in keys]
    if not any(found):
        return [periods[cell.window] for cell in cells]
    by_period: dict[int | None, list[float]] = {}
    for cell, seconds in zip(cells, found, strict=True):
        if seconds is not None:
            by_period.setdefault(cell.window, []).append(seconds)
    typical = {window: median(seconds) for window, seconds in by_period.items()}
    other = median(one for one in found if one is not None)
    return [
        typical.get(cell.window, other) if seconds is None else seconds
        for cell, seconds in zip(cells, found, strict=True)
    ]


def with_current(swept: Swept, figures: KeptFigures, windows: tuple[WindowBacktest, ...]) -> Swept:
    """Return a whole sweep with the combination that is the model's own setting.

    If its values are known, it takes that setting's `figures` and `windows`. If not all of them
    are, it is the one that may be it and did the same, figure for figure: the first of several that
    differ only in parameters without effect, and none where others did the same, too.
    """
    if swept.own is None:
        return swept
    if (index := swept.index_of_own()) is not None:
        combinations = list(swept.combinations)
        combinations[index] = replace(combinations[index], figures=figures, windows=windows)
        return replace(swept, combinations=tuple(combinations), current=index)
    alike = [
        index
        for index, one in enumerate(swept.combinations)
        if swept.may_be_own(index) and one.figures is not None and _is_same(one.figures, figures)
    ]
    without_effect = {axis.name for axis in idle(swept)}
    acting = [
        index for index, axis in enumerate(swept.sweep.axes) if axis.name not in without_effect
    ]
    values = (swept.combinations[index].values for index in alike)
    different = {json.dumps([one[index] for index in acting]) for one in values}
    return replace(swept, current=alike[0] if len(different) == 1 else None)


def _is_same(one: KeptFigures, other: KeptFigures) -> bool:
    return one.trades_sha256 == other.trades_sha256 and are_alike(one.metrics, other.metrics)
