"""How reading a result and making summary, report and page grow with trades and account values."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tools.benchmarks.backtests.reading import write_result
from tools.benchmarks.context import ROOT, Context
from tools.benchmarks.growth.sizes import at_all_sizes, sizes_up_to
from tools.benchmarks.measure import Command, Took, peak_bytes_of, run_command
from tools.benchmarks.rows import Curve

_MOST_TRADES, _OTHER_TRADES = 256_000, 1_000
_MOST_VALUES, _OTHER_VALUES = 1_024_000, 16_000
_ROUNDS = 3


def measure(context: Context) -> Iterator[Curve]:
    """Let a process read each result and make everything of it."""
    few, many = sizes_up_to(context, _OTHER_VALUES)[-1], sizes_up_to(context, _OTHER_TRADES)[-1]
    trades = {size: (few, size) for size in sizes_up_to(context, _MOST_TRADES)}
    yield from _curves(context, "trade", trades)
    values = {size: (size, min(many, size)) for size in sizes_up_to(context, _MOST_VALUES)}
    yield from _curves(context, "account value", values)


def _curves(context: Context, of: str, shapes: Mapping[int, tuple[int, int]]) -> Iterator[Curve]:
    """Yield a curve for each step. `shapes` are numbers of values and of trades, by size."""
    for size, (values, trades) in shapes.items():
        write_result(context, _path(context, size), values, trades, values)
    sizes = tuple(shapes)
    took = at_all_sizes(context, sizes, _ROUNDS, partial(_make, context))
    told = [[json.loads(one.output.splitlines()[-1]) for one in runs] for runs in took]
    for step in told[0][0]:
        yield Curve(step, of, sizes, tuple(tuple(one[step] for one in runs) for runs in told))
    yield Curve("all of it", of, sizes, tuple(map(peak_bytes_of, took)), "B")
    for size in sizes:
        _path(context, size).unlink()


def _path(context: Context, size: int) -> Path:
    return context.scratch / f"result-{size}.json"


def _make(context: Context, size: int) -> Took:
    command: Command = [
        *(sys.executable, "-m", "tools.benchmarks.growth.steps"),
        _path(context, size),
    ]
    return run_command(command, cwd=ROOT, environ=context.environ)
