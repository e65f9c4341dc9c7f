"""Reading a large result, and computing everything from it, beside Python's own JSON reader."""

from __future__ import annotations

import json
import operator
import random
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from tools.benchmarks.context import ROOT, Context
from tools.benchmarks.measure import (
    BrokenError,
    Command,
    Took,
    alternate,
    peak_bytes_of,
    run_command,
)
from tools.benchmarks.rows import Row

_START = 1_577_836_800.0  # 2020-01-01, midnight UTC
_MINUTE = 60.0
_READ = """
import sys, time
from deploy_action.backtest.wire import parse_result
import deploy_action.backtest.figures.analysis
with open(sys.argv[1], "rb") as file:
    data = file.read()
started = time.process_time()
metrics = parse_result(data).analysis.metrics
print(time.process_time() - started, metrics["trades"])
"""
_LOAD = """
import json, sys, time
with open(sys.argv[1], "rb") as file:
    data = file.read()
started = time.process_time()
result = json.loads(data)
print(time.process_time() - started, len(result["trades"]))
"""


def measure(context: Context) -> Iterator[Row]:
    values = 10_000 if context.is_quick else 1_000_000
    for trades, bars in ((values // 100, 0), (values // 100, values), (values // 5, values)):
        case = _Case(context, values, trades, bars)
        case.write()
        ours, peer = alternate(
            context.rounds(3), partial(case.run, _READ), partial(case.run, _LOAD)
        )
        yield Row(
            case.name,
            _told(ours),
            peer="json.loads",
            theirs=_told(peer),
            remark="CPU time; ours checks the result, and computes every metric",
        )
        yield Row(
            "- peak memory",
            peak_bytes_of(ours),
            "B",
            peer="json.loads",
            theirs=peak_bytes_of(peer),
            remark=f"with the {case.path.stat().st_size / 1e6:.0f} MB of JSON",
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """A result with so many account values, trades and prices."""

    context: Context
    values: int
    trades: int
    bars: int

    @property
    def name(self) -> str:
        priced = f", {self.bars:,} prices" if self.bars else ""
        return f"a result of {self.values:,} values, {self.trades:,} trades{priced}"

    @property
    def path(self) -> Path:
        return self.context.scratch / "result.json"

    def write(self) -> None:
        write_result(self.context, self.path, self.values, self.trades, self.bars)

    def run(self, script: str) -> Took:
        command: Command = [sys.executable, "-c", script, self.path]
        took = run_command(command, cwd=ROOT, environ=self.context.environ)
        if took.output.split()[1] != str(self.trades):
            raise BrokenError(f"there should be {self.trades} trades: {took.output}")
        return took


def write_result(context: Context, path: Path, values: int, trades: int, bars: int) -> None:
    """Write a result in a process of its own: our size would count for those that read it."""
    command: Command = [sys.executable, "-m", __name__, path, *map(str, (values, trades, bars))]
    run_command(command, cwd=ROOT, environ=context.environ)


def _told(runs: list[Took]) -> tuple[float, ...]:
    """Return the times that the scripts print, without their start."""
    return tuple(float(run.output.split()[0]) for run in runs)


def result_of(values: int, trades: int, bars: int) -> dict[str, object]:
    """Return a result with a value and a price each minute, and trades at regular times."""
    source = random.Random(1)  # noqa: S311  # prices, and no secrets
    times = [_START + number * _MINUTE for number in range(values)]
    account, prices = _walk(source, 10_000.0, values), _walk(source, 100.0, values)
    market = {
        "use_price": "close",
        "initial_values": {"USD": 10_000.0},
        "start_value": 10_000.0,
        "prices": [
            {
                "symbol": "OAK-USD",
                "base": "OAK",
                "quote": "USD",
                "resolution": _MINUTE,
                "maker_fee": 0.001,
                "taker_fee": 0.001,
                "bars": bars,
                "times": times[:bars],
                "values": prices[:bars],
            }
        ],
    }
    orders = [
        {
            "id": str(uuid.UUID(int=source.getrandbits(128))),
            "symbol": "OAK-USD",
            "exchange": "keyless",
            "type": "market",
            "side": "sell" if number % 2 else "buy",
            "size": 1 + number // 2 % 7 / 10,
            "price": prices[number * values // trades],
            "time": times[number * values // trades],
            "status": "done",
            "time_in_force": "GTC",
        }
        for number in range(trades)
    ]
    return {
        "exchange": "keyless",
        "symbols": ["OAK-USD"],
        "quote_asset": "USD",
        "start_time": times[0],
        "stop_time": times[-1],
        "metrics": {},
        "account_values": [
            {"time": time, "value": value} for time, value in zip(times, account, strict=True)
        ],
        "trades": orders,
        "market": market if bars else None,
    }


def _walk(source: random.Random, start: float, number: int) -> list[float]:
    steps = (1 + source.gauss(0, 0.0003) for _ in range(number))
    return list(accumulate(steps, operator.mul, initial=start))[1:]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(result_of(*map(int, sys.argv[2:]))), encoding="utf-8")
