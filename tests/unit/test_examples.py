"""The example models: valid, reproducible, and run for real with the `blankly` package."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy_action.bundle.selection import select_files
from deploy_action.model.manifest import load_manifest
from deploy_action.platform.processes.child_process import SideChannel, run_process
from tests.support.model_checks import check

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "examples" / "models"
MODEL_PROCESS = ROOT / "deploy_action" / "platform" / "model_process"
RUN_MODEL, HOOKS = MODEL_PROCESS / "run_model.py", MODEL_PROCESS / "hooks"
NAMES = sorted(path.parent.name for path in MODELS.glob("*/blankly.json"))

# Loaded by Python itself before the model: notes every connection, name look-up and browser.
WATCHER = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "webbrowser.open"):
        with open({record!r}, "a") as record:
            record.write(f"{{event}} {{arguments}}\\n")

sys.addaudithook(watch)
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A copy of a model, and an environment that records what it does outside."""

    python: Path
    model: Path
    record: Path
    python_path: Path

    def environ(self, changes: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a model's process, which records what it does outside."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.python_path),
            "MPLBACKEND": "agg",
            "PYTHONPATH": f"{self.model}:{self.python_path}:{HOOKS}",
            "PYTHONWARNINGS": "ignore",
            **changes,
        }

    def run(self, *arguments: str, **environ: str) -> str:
        python_path = f"{self.model}:{self.python_path}"
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.model,
            env=self.environ({"PYTHONPATH": python_path, **environ}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_as_the_platform(self, **environ: str) -> dict[str, Any]:
        manifest = json.loads((self.model / "blankly.json").read_bytes())
        arguments = base64.b64encode(json.dumps(manifest["backtest_args"]).encode()).decode()
        path, printed = self.python_path / "result.json", list[str]()
        with SideChannel(printed.append) as side:
            run_process(
                [
                    str(self.python),
                    str(RUN_MODEL),
                    *("--script", str(self.model / manifest["main_script"])),
                    *("--root", str(self.model)),
                    *("--events-fd", str(side.writer)),
                    *("--result", str(path)),
                ],
                cwd=self.model,
                environ=self.environ(
                    {"BACKTESTING": "1", "BACKTESTING_ARGS": arguments, **environ}
                ),
                on_line=printed.append,
                stop=threading.Event(),
                side=side,
            )
        assert path.exists(), "\n".join(printed)
        result: dict[str, Any] = json.loads(path.read_bytes())
        return result


@pytest.fixture(params=NAMES)
def sandbox(request: pytest.FixtureRequest, blankly_python: Path, tmp_path: Path) -> Sandbox:
    python_path = tmp_path / "python-path"
    python_path.mkdir()
    record = tmp_path / "record"
    (python_path / "sitecustomize.py").write_text(WATCHER.format(record=str(record)))
    model = tmp_path / request.param
    shutil.copytree(
        MODELS / request.param, model, ignore=shutil.ignore_patterns("__pycache__", "price_caches")
    )
    return Sandbox(blankly_python, model, record, python_path)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below `directory` but Python's own caches, by its relative path."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def printed_metrics(printed: str) -> dict[str, float]:
    """Read the package's table: `Sharpe Ratio: 0.96`."""
    table = printed.partition("Blankly Metrics:")[2]
    return {
        name: float(value)
        for name, value in re.findall(r"^([A-Z][^:]+):\s+(-?[\d.]+)%?$", table, re.MULTILINE)
    }


def test_there_are_three_examples() -> None:
    """A new example is added here on purpose, and none goes missing."""
    assert NAMES == ["constant-value", "golden-cross", "rsi-reversion"]


@pytest.mark.slow
def test_an_example_runs_alike_by_hand_and_on_a_platform(sandbox: Sandbox) -> None:
    """No network, no browser, no file changed, the same metrics in any time zone; and it trades."""
    before = contents(sandbox.model)
    by_hand = printed_metrics(sandbox.run("bot.py", TZ="UTC"))
    result = sandbox.run_as_the_platform(TZ="America/St_Johns")
    assert by_hand["Cumulative Returns (%)"] > 0
    assert by_hand["Max Drawdown (%)"] > 0
    reported = result["metrics"].values()
    assert {metric["display_name"]: metric["value"] for metric in reported} == by_hand
    assert {trade["side"] for trade in result["trades"]} == {"buy", "sell"}
    assert contents(sandbox.model) == before
    assert not sandbox.record.exists(), sandbox.record.read_text()


@pytest.mark.slow
def test_the_watcher_notices_a_connection(sandbox: Sandbox) -> None:
    """Otherwise the test above could not fail."""
    sandbox.run("-c", "import socket; socket.socket().connect_ex(('127.0.0.1', 1))")
    assert "socket.connect" in sandbox.record.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_validates_without_a_problem(name: str) -> None:
    manifest, problems = load_manifest(MODELS / name)
    assert problems == ()
    assert manifest is not None
    selection = select_files(MODELS / name, manifest.ignore_files)
    assert selection.problems == ()
    assert check(MODELS / name) == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_an_example_names_is_the_one_in_the_repository(name: str) -> None:
    """An editor that follows `$schema` gets the file we ship."""
    url = json.loads((MODELS / name / "blankly.json").read_bytes())["$schema"]
    path = url.removeprefix(
        "https://raw.githubusercontent.com/blankly-community/deploy-action/main/"
    )
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_requires_what_it_is_tested_with(name: str) -> None:
    """The requirements that a reader copies are those of the environment used here."""
    lines = (MODELS / name / "requirements.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = [line for line in lines if not line.startswith("#")]
    group = project["dependency-groups"]["blankly"]
    # The client of the events API is for bots that run elsewhere: no example uses it.
    assert required == [line for line in group if not line.startswith("blankly-slate")]


def test_the_price_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    shutil.copy(MODELS / "generate_prices.py", tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "generate_prices.py")], check=True, timeout=30)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.csv")}
    kept = {path.relative_to(MODELS): path.read_bytes() for path in MODELS.glob("*/prices/*.csv")}
    assert written == kept
    assert len(kept) == 4


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/prices/*.csv")), ids=lambda path: path.stem)
def test_a_price_file_holds_daily_bars_that_could_be_real(path: Path) -> None:
    bars = [
        {column: float(value) for column, value in row.items()}
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    assert [bar["time"] for bar in bars] == [1_672_531_200 + 86_400 * day for day in range(600)]
    for bar in bars:
        assert bar["low"] <= min(bar["open"], bar["close"])
        assert bar["high"] >= max(bar["open"], bar["close"])
