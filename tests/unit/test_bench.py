from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.benchmarks.measure import BrokenError, run_command

ROOT = Path(__file__).parents[2]


def bench(temporary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_quick_benchmarks_print_ratios_and_leave_nothing_behind(tmp_path: Path) -> None:
    """All benchmarks take minutes; these need no environment of a model."""
    ended = bench(tmp_path, "--quick", "--only", "deploy,startup,reading")
    assert ended.returncode == 0, ended.stderr
    header, _, *rows, footer = ended.stdout.splitlines()
    assert header.split() == ["ours", "peer", "ours/peer"]
    assert any(row.startswith("Process start to first connection") for row in rows)
    assert any(row.startswith("Deploy ") for row in rows)
    assert any(row.startswith("Result: 10,000 values, 2,000 trades") for row in rows)
    assert "Not asked for: overhead, environment, at-once, sweep, fleet, image." in footer
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ended = bench(tmp_path, "--only", "deploy,speed")
    assert ended.returncode == 2
    assert "there is no speed" in ended.stderr


def test_a_command_that_fails_breaks_the_benchmark(tmp_path: Path) -> None:
    """A command that fails fast would look good."""
    command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(BrokenError, match="no such model"):
        run_command(command, cwd=tmp_path, environ={})
