from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import is_alive, wait_for
from tools.bench import RESULTS, TITLES
from tools.benchmarks.measure import BrokenError, run_command
from tools.benchmarks.written import keeping

ROOT = Path(__file__).parents[2]
MEGABYTE = 1_000_000


def bench(temporary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_quick_benchmarks_print_ratios_and_leave_nothing_behind(tmp_path: Path) -> None:
    """All benchmarks take minutes; these need no environment of a model."""
    temporary, results = tmp_path / "temporary", tmp_path / "results"
    temporary.mkdir()
    before = contents(RESULTS)

    only = "deploy,startup,reading,pages"
    ended = bench(temporary, "--quick", "--only", only, "--results", str(results))

    assert ended.returncode == 0, ended.stderr
    header, _, *rows, footer = ended.stdout.splitlines()
    assert header.split() == ["ours", "peer", "ours/peer", "target", "met"]
    assert any(row.startswith("validate, start to end") for row in rows)
    assert any(row.startswith("Deploy 200 tiny files") for row in rows)
    assert any(row.startswith("page: home") for row in rows)
    assert any(row.startswith("a result of 10,000 values, 2,000 trades") for row in rows)
    skipped = "overhead, environment, windows, at-once, sweep, growth, fleet, image"
    assert f"Not asked for: {skipped}." in footer
    assert list(temporary.iterdir()) == []
    assert contents(RESULTS) == before

    kept = keeping.read(results)
    assert list(kept) == ["startup", "deploy", "reading", "pages"]
    assert all(section.is_quick for section in kept.values())
    written = {path.name: path.read_text("utf-8") for path in results.iterdir()}
    assert written.pop("results.json")
    assert written == keeping.written(kept, TITLES)


def test_a_benchmark_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ended = bench(tmp_path, "--only", "deploy,speed")
    assert ended.returncode == 2
    assert "there is no speed" in ended.stderr


def run(code: str, directory: Path) -> float:
    """Run Python, and return its peak memory in MB."""
    command = [sys.executable, "-I", "-S", "-c", code]
    took = run_command(command, cwd=directory, environ={})
    return took.peak_bytes / MEGABYTE


def test_a_command_that_fails_breaks_the_benchmark(tmp_path: Path) -> None:
    """A command that fails fast would look good."""
    with pytest.raises(BrokenError, match="no such model"):
        run("import sys; sys.exit('no such model')", tmp_path)
    with pytest.raises(BrokenError, match="ended with -9"):
        run("import os; os.kill(os.getpid(), 9)", tmp_path)


def test_a_command_that_hangs_is_ended_with_all_of_its_processes(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 600 & echo $! > child; wait"]
    with pytest.raises(BrokenError, match="did not end within 4 s"):
        run_command(command, cwd=tmp_path, environ=os.environ, most_seconds=4.0)
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not is_alive(child))


def test_the_memory_of_a_command_is_its_own(tmp_path: Path) -> None:
    """Linux counts that of who started it, unless that is as small as the launcher."""
    ours = bytearray(200 * MEGABYTE)
    ours[::4096] = b"x" * len(ours[::4096])
    assert run("pass", tmp_path) < 40
    assert 60 < run("a = b'x' * 60_000_000", tmp_path) < 100


def test_time_and_processor_time_are_of_the_command(tmp_path: Path) -> None:
    code = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    took = run_command([sys.executable, "-c", code], cwd=tmp_path, environ={})
    assert took.seconds >= took.cpu_seconds - 0.01
    assert took.cpu_seconds >= 0.2
