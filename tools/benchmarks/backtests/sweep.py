"""A sweep on all cores, compared with the bare script, as many at once as there are cores.

The model is the example: about two seconds, most of them for the import of `blankly`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.backtests.reports import read_report
from tools.benchmarks.context import Context
from tools.benchmarks.machine import cores
from tools.benchmarks.measure import BrokenError, Took, run_command
from tools.benchmarks.models import example
from tools.benchmarks.rows import Row, Target

_SIZES = ((1, 2), (8, 10))  # values of FAST and SLOW: 2 and 80 combinations
_QUICK_SIZES = ((1, 2), (2, 2))
_TARGET = Target(1 / 0.95)
_PEER = "python bot.py, on all cores"
_ENOUGH = 10  # scripts for each core
_MOST_SECONDS = 1_800.0
_CLOSE = 0.02  # the ratios that the package prints differ in their second digit
_SCRIPT = 'FAST=$0 SLOW=$1 exec "$PYTHON" bot.py'
_SHARPE = re.compile(r"^Sharpe Ratio: +(-?[\d.]+|nan)$", re.MULTILINE)


def measure(context: Context) -> Iterator[Row]:
    bench = _Sweeps(context, context.model_python(), example(context.scratch).directory)
    bench.sweep(_Values((10,), (40,)))  # prices and modules are read once, as in any later run
    before: _Pair | None = None
    for fast, slow in _QUICK_SIZES if context.is_quick else _SIZES:
        values = _Values(tuple(range(4, 4 + fast)), tuple(range(25, 25 + slow)))
        pair = bench.compare(values)
        yield pair.row()
        if before is not None:
            yield from pair.rows_of_each(before)
        before = pair


@dataclass(frozen=True, slots=True)
class _Values:
    fast: Sequence[int]
    slow: Sequence[int]

    def pairs(self) -> list[tuple[int, int]]:
        return [(fast, slow) for fast in self.fast for slow in self.slow]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same combinations, both ways: `seconds` is what the scripts take for all of them."""

    number: int
    ours: Took
    seconds: float
    cpu_seconds: float

    def row(self) -> Row:
        return Row(
            f"sweep of {self.number} combinations",
            (self.ours.seconds,),
            peer=_PEER,
            theirs=(self.seconds,),
            remark="with the start, and with the model's own setting, which is one more",
        )

    def rows_of_each(self, fewer: _Pair) -> Iterator[Row]:
        """Yield what each combination takes that this has more than `fewer`."""
        more = self.number - fewer.number
        ours = (self.ours.seconds - fewer.ours.seconds) / more
        each = self.seconds / self.number
        yield Row(f"- each of {more} more", (ours,), peer=_PEER, theirs=(each,), target=_TARGET)
        ours = (self.ours.cpu_seconds - fewer.ours.cpu_seconds) / more
        each = self.cpu_seconds / self.number
        yield Row("- its CPU time", (ours,), peer=_PEER, theirs=(each,))


@dataclass(frozen=True, slots=True)
class _Sweeps:
    """One model, run both ways."""

    context: Context
    python: Path
    directory: Path

    def compare(self, values: _Values) -> _Pair:
        """Run scripts before and after the sweep, so that other load affects both."""
        pairs = values.pairs()
        half = len(pairs) // 2
        # Half of them each time, if that is enough for all cores to be busy most of the time.
        is_enough = half >= _ENOUGH * cores()
        before = self._scripts(pairs[:half] if is_enough else pairs)
        ours = self.sweep(values)
        after = self._scripts(pairs[half:] if is_enough else pairs)
        self._check(len(pairs), before.output + after.output if is_enough else after.output)
        share = 1 if is_enough else 0.5
        return _Pair(
            number=len(pairs),
            ours=ours,
            seconds=share * (before.seconds + after.seconds),
            cpu_seconds=share * (before.cpu_seconds + after.cpu_seconds),
        )

    def sweep(self, values: _Values) -> Took:
        """Backtest the combinations with the action."""
        self._outputs.unlink(missing_ok=True)
        sweep = {"env.FAST": [*values.fast], "env.SLOW": [*values.slow]}
        return run_command(
            [
                *(self.context.programs / "blankly-deploy", "backtest", self.directory),
                *("--platform-data", str(self.context.platform_data)),
                *("--sweep", json.dumps(sweep)),
            ],
            cwd=self.context.scratch,
            environ={**self.context.environ, "GITHUB_OUTPUT": str(self._outputs)},
            most_seconds=_MOST_SECONDS,
        )

    def _scripts(self, pairs: Sequence[tuple[int, int]]) -> Took:
        return run_command(
            ["xargs", "-P", str(cores()), "-n", "2", "sh", "-c", _SCRIPT],
            cwd=self.directory,
            environ={**self.context.environ, "PYTHON": str(self.python)},
            given="\n".join(f"{fast} {slow}" for fast, slow in pairs),
            most_seconds=_MOST_SECONDS,
        )

    @property
    def _outputs(self) -> Path:
        return self.context.scratch / "sweep-outputs"

    def _check(self, number: int, printed: str) -> None:
        """Check that both found about the same: see `_CLOSE`."""
        combinations = read_report(self._outputs)["sweep"]["combinations"]
        if failed := [one["reason"] for one in combinations if one["metrics"] is None]:
            raise BrokenError(f"{len(failed)} combinations failed: {failed[0]}")
        mine = sorted(one["metrics"]["sharpe"] for one in combinations)
        its = sorted(map(float, _SHARPE.findall(printed)))
        pairs = list(zip(mine, its, strict=False))
        differ = any(abs(one - other) > _CLOSE for one, other in pairs)
        if differ or not len(mine) == len(its) == number:
            raise BrokenError(f"the Sharpe ratios of {number} differ:\n{mine}\n{its}")
