"""Small models with invented prices, run by hand and as the platform runs them."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy_action.platform.runs.pins import PINNED_VARIABLES
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
MODEL_PROCESS = ROOT / "deploy_action" / "platform" / "model_process"
EXAMPLES = ROOT / "examples" / "models"
START = 1_672_531_200  # 2023-01-01
DAYS = 60
ARGUMENTS: Mapping[str, Any] = {
    "start_date": "2023-01-02",
    "end_date": "2023-02-25",
    "initial_values": {"USD": 10_000},
}

# What most models here begin and end with; between them come the callbacks.
HEAD = """
import blankly
from blankly.data import PriceReader

SYMBOLS = ["ASH-USD", "FIR-USD"]
prices = PriceReader([f"./{symbol}.csv" for symbol in SYMBOLS], SYMBOLS)
exchange = blankly.KeylessExchange(price_reader=prices, maker_fee=0.001, taker_fee=0.001)
strategy = blankly.Strategy(exchange)
"""
TAIL = """
if blankly.is_deployed:
    strategy.start()
else:
    import json, sys
    print(strategy.backtest(**json.loads(sys.argv[1])))
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How the process of a model ended, and all that came out of it."""

    code: int
    events: list[dict[str, Any]]
    printed: str
    result: Any  # None: there is no file
    left: list[str]  # names beside the result

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def problems(self) -> list[dict[str, Any]]:
        problems: list[dict[str, Any]] = self.last["problems"]
        return problems

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the reported metrics by the names that the package's table has."""
        reported = self.result["metrics"].values()
        return {metric["display_name"]: metric["value"] for metric in reported}


@dataclass(frozen=True, slots=True)
class Model:
    """A directory with a model, and the Python that runs it."""

    python: Path
    root: Path

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(textwrap.dedent(text))

    def configure(self, name: str, **settings: object) -> None:
        """Change settings in `settings.json` or `backtest.json`."""
        path = self.root / name
        content = json.loads(path.read_text())
        content["settings"].update(settings)
        path.write_text(json.dumps(content))

    def by_hand(self, arguments: Mapping[str, Any] = ARGUMENTS) -> str:
        """Run `python bot.py ARGUMENTS` and return what it printed."""
        done = subprocess.run(
            [str(self.python), "bot.py", json.dumps(dict(arguments))],
            cwd=self.root,
            env={"PATH": "/usr/bin:/bin", "MPLBACKEND": "agg", "BROWSER": "true"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(
        self,
        script: str | None = None,
        arguments: Mapping[str, Any] = ARGUMENTS,
        *options: str,
        **environ: str,
    ) -> Ran:
        """Run the model as the platform does; `script` is written first."""
        if script is not None:
            self.write("bot.py", script)
        out = self.root.parent / "out"
        out.mkdir(exist_ok=True)
        result = out / "result.json"
        result.unlink(missing_ok=True)
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as events:
            try:
                process = subprocess.Popen(
                    [*self.command(writer, result), *options],
                    cwd=self.root,
                    env=self.environ(arguments) | environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    pass_fds=[writer],
                )
            finally:
                os.close(writer)
            with process:
                printed, _ = process.communicate(timeout=PATIENCE)
            lines = events.read().splitlines()
        return Ran(
            code=process.returncode,
            events=[json.loads(line) for line in lines],
            printed=printed,
            result=_read_strictly(result),
            left=sorted(path.name for path in out.iterdir()),
        )

    def command(self, writer: int, result: Path) -> list[str]:
        """Return the command line that the platform uses."""
        return [
            *(str(self.python), "-u", str(MODEL_PROCESS / "run_model.py")),
            *("--script", str(self.root / "bot.py"), "--root", str(self.root)),
            *("--events-fd", str(writer), "--result", str(result)),
        ]

    def environ(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables that the platform sets."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.root.parent),
            "PYTHONPATH": f"{self.root}:{MODEL_PROCESS / 'hooks'}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **PINNED_VARIABLES,
            "BACKTESTING": "1",
            "BACKTESTING_ID": "b",
            "BACKTESTING_ARGS": base64.b64encode(json.dumps(dict(arguments)).encode()).decode(),
            "MPLBACKEND": "agg",
            "BROWSER": "true",
        }


def _read_strictly(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the result")

    return json.loads(path.read_text(), parse_constant=refuse) if path.exists() else None


def printed_metrics(printed: str) -> dict[str, float | None]:
    """Read the package's table: `Sharpe Ratio:      0.96`, or `None`."""
    table = printed.partition("Blankly Metrics:")[2]
    found = re.findall(r"^([A-Z][^:]+):\s+(\S+?)%?$", table, re.MULTILINE)
    return {name: None if value == "None" else float(value) for name, value in found}


def write_prices(path: Path, phase: float, *, bars: int = DAYS, seconds: int = 86_400) -> None:
    """Write prices that swing around a slow rise, the same on every run."""
    rows = ["time,open,high,low,close,volume"]
    for bar in range(bars):
        middle = 100 + bar / 10 + 20 * math.sin(bar / 5 + phase)
        opened, closed = middle - math.cos(bar), middle + math.cos(bar)
        low, high = min(opened, closed) - 1, max(opened, closed) + 1
        numbers = ",".join(f"{price:.2f}" for price in (opened, high, low, closed))
        rows.append(f"{START + seconds * bar},{numbers},1000")
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture
def bot(blankly_python: Path, tmp_path: Path) -> Model:
    """Return a model with settings and the prices of two symbols, and no script yet."""
    root = tmp_path / "model"
    root.mkdir()
    for name in ("settings.json", "backtest.json"):
        shutil.copy(EXAMPLES / "golden-cross" / name, root)
    write_prices(root / "ASH-USD.csv", 0)
    write_prices(root / "FIR-USD.csv", 2)
    return Model(blankly_python, root)


@pytest.fixture
def example(blankly_python: Path, tmp_path: Path) -> Callable[[str], Model]:
    """Return a function that copies an example model."""

    def copy(name: str) -> Model:
        root = tmp_path / "model"
        shutil.copytree(
            EXAMPLES / name, root, ignore=shutil.ignore_patterns("__pycache__", "price_caches")
        )
        return Model(blankly_python, root)

    return copy
