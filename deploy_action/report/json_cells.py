"""The windows and combinations in the JSON report, of which there may be ten thousand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deploy_action.backtest.metrics import known

if TYPE_CHECKING:
    from deploy_action.backtest.figures.kept import KeptFigures
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.backtest.sweep.combinations import Combination, Swept
    from deploy_action.backtest.sweep.shards import Part


def dumped(value: Any) -> str:
    """Return a value as JSON; infinite where a server's numbers overflowed, it is null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return known(value)
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def window_document(one: WindowBacktest) -> dict[str, Any]:
    """Return the JSON object of a window."""
    return {"name": one.name, "start": one.start, "end": one.end, **_cell(one)}


def sweep_blocks(swept: Swept, *, is_part: bool) -> Iterator[str]:
    """Yield the JSON object of a sweep, combination by combination; a part has only its own."""
    axes = [{"name": axis.name, "values": axis.values} for axis in swept.sweep.axes]
    head = dumped({"axes": axes, "own": swept.own, "current": swept.current})
    yield f'{head[:-1]}, "combinations": ['
    separator = ""
    for one in swept.combinations:
        if is_part and not (one.is_known or any(window.is_known for window in one.windows)):
            continue
        yield f"{separator}{dumped(_combination(one))}"
        separator = ", "
    yield "]}"


def part_document(part: Part) -> dict[str, Any]:
    """Return the JSON object that says which part of what a run did."""
    return {
        "number": part.shard.number,
        "of": part.shard.of,
        "windows": [{"name": one.name, "start": one.start, "end": one.end} for one in part.windows],
        "balanced_by": part.balanced_by,
    }


def cell_seconds(windows: Iterable[WindowBacktest], swept: Swept | None) -> list[list[Any]]:
    """Return how long the process of each ran, where that is known: combination, window, seconds.

    A combination is the list of its values, null for the model's own setting; the window is null
    for the whole period.
    """
    of_windows = [(None, one.name, one.seconds) for one in windows]
    combinations = () if swept is None else swept.combinations
    of_sweep = [
        (one.values, name, seconds)
        for one in combinations
        for name, seconds in (
            (None, one.seconds),
            *((window.name, window.seconds) for window in one.windows),
        )
    ]
    return [[*cell] for cell in (*of_windows, *of_sweep) if cell[-1] is not None]


def _combination(one: Combination) -> dict[str, Any]:
    windows = [window_document(window) for window in one.windows]
    return {"values": one.values, **_cell(one), "windows": windows}


def _cell(one: WindowBacktest | Combination) -> dict[str, Any]:
    return {
        "reason": one.reason,
        **_figures(one.figures),
        "problems": [problem.document() for problem in one.problems],
    }


def _figures(figures: KeptFigures | None) -> dict[str, Any]:
    if figures is None:
        return dict.fromkeys(("metrics", "trades_sha256", "is_exact", "covered", "moments"))
    return {
        "metrics": dict(figures.metrics),
        "trades_sha256": figures.trades_sha256,
        "is_exact": figures.is_exact,
        "covered": figures.covered,
        "moments": None if figures.moments is None else asdict(figures.moments),
    }
