"""A backtest on the embedded platform, compared with running the model's script by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_action.platform.runs.isolation import ISOLATION_VARIABLE
from tools.benchmarks.backtests.reports import read_report, report_path
from tools.benchmarks.context import Context
from tools.benchmarks.measure import (
    BrokenError,
    Took,
    alternate,
    cpu_seconds_of,
    run_command,
    seconds_of,
)
from tools.benchmarks.models import BenchModel, example, with_many_rows, with_many_trades
from tools.benchmarks.rows import Row, Target

_TARGET = Target(1.1, plus=0.5)
_MOST_SUMMARY_BYTES = 1 << 20  # a runner drops a larger one
# As `BacktestResult.__str__` of the package prints them: "Sharpe Ratio:        0.96".
_PRINTED_METRIC = re.compile(r"^(\S.*?): +(\S.*?)%?$", re.MULTILINE)


def measure(context: Context) -> Iterator[Row]:
    rows, trades = (60_000, 50) if context.is_quick else (1_000_000, 10_000)
    scratch = context.scratch
    yield from _Comparison(context, example(scratch)).rows(context.rounds(5))
    yield from _Comparison(context, with_many_rows(scratch, rows)).rows(context.rounds(3))
    yield from _Comparison(context, with_many_trades(scratch, trades)).rows(context.rounds(3))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One model, run both ways."""

    context: Context
    model: BenchModel

    def rows(self, rounds: int) -> Iterator[Row]:
        python = self.context.model_python()
        by_hand, ours = alternate(rounds, lambda: self._by_hand(python), self._on_platform)
        report = read_report(self._outputs)
        self._check(by_hand[-1].output, report)
        peer = "python bot.py"
        yield Row(
            f"backtest of {self.model.name}",
            seconds_of(ours),
            peer=peer,
            theirs=seconds_of(by_hand),
            target=_TARGET,
            remark=f"the environment is there, and both find the same metrics{self._isolation()}",
        )
        seconds = report["run"]["seconds"]
        yield Row(
            "- CPU time",
            cpu_seconds_of(ours),
            peer=peer,
            theirs=cpu_seconds_of(by_hand),
            remark=f"in the last run, the model took {seconds['model']:.2f} s "
            f"of {seconds['total']:.2f} s; {self._sizes(report)}",
        )

    @property
    def _summary(self) -> Path:
        return self.context.scratch / "summary.md"

    @property
    def _outputs(self) -> Path:
        return self.context.scratch / "outputs"

    def _by_hand(self, python: Path) -> Took:
        return run_command(
            [python, "bot.py"], cwd=self.model.directory, environ=self.context.environ
        )

    def _on_platform(self) -> Took:
        self._summary.unlink(missing_ok=True)
        self._outputs.unlink(missing_ok=True)
        program, data = self.context.programs / "blankly-deploy", str(self.context.platform_data)
        return run_command(
            [program, "backtest", self.model.directory, "--platform-data", data],
            cwd=self.context.scratch,
            environ={
                **self.context.environ,
                "GITHUB_STEP_SUMMARY": str(self._summary),
                "GITHUB_OUTPUT": str(self._outputs),
            },
        )

    def _isolation(self) -> str:
        """Say so where models run as nobody else, unlike in the image."""
        is_off = self.context.environ.get(ISOLATION_VARIABLE) == "off"
        return "; models run as the same user as the action here" if is_off else ""

    def _sizes(self, report: Mapping[str, Any]) -> str:
        return (
            f"summary {self._summary.stat().st_size:,} bytes (1 MiB is the most), "
            f"report {report_path(self._outputs).stat().st_size:,} bytes, "
            f"{len(report['result']['trades']):,} orders"
        )

    def _check(self, printed: str, report: Mapping[str, Any]) -> None:
        """Check that both have the same metrics, enough trades, and a summary that fits."""
        mine = {
            metric["display_name"]: metric["value"]
            for metric in report["result"]["metrics"].values()
        }
        listing = printed.rpartition("Blankly Metrics:")[2]
        its = {name: _number(text) for name, text in _PRINTED_METRIC.findall(listing)}
        if not mine or mine != its:
            raise BrokenError(f"{self.model.name}: the metrics differ:\n{mine}\n{its}")
        trades = len(report["result"]["trades"])
        if trades < self.model.least_trades:
            raise BrokenError(f"{self.model.name}: only {trades} trades")
        if (size := self._summary.stat().st_size) > _MOST_SUMMARY_BYTES:
            raise BrokenError(f"{self.model.name}: the summary has {size:,} bytes")


def _number(text: str) -> float | str | None:
    """Parse a printed value; a metric that failed is text."""
    if text == "None":
        return None
    try:
        return float(text)
    except ValueError:
        return text
