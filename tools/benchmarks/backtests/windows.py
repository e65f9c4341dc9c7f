"""Windows, and the base in each of them, compared with as many bare scripts on all cores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.repositories import commit_all, git, make_repository
from tools.benchmarks.backtests.reports import read_report
from tools.benchmarks.context import Context
from tools.benchmarks.machine import cores
from tools.benchmarks.measure import (
    BrokenError,
    Command,
    Took,
    alternate,
    cpu_seconds_of,
    run_command,
    seconds_of,
)
from tools.benchmarks.models import EXAMPLE
from tools.benchmarks.rows import Row, Target

_WINDOWS = ("2023-03-01..2023-09-01", "2023-09-01..2024-03-01", "2024-03-01..2024-08-23")
_WHOLE = "2023-03-01..2024-08-23"
_CHANGE = ('"FAST", "10"', '"FAST", "5"')
_SCRIPT = 'cd "$0" && exec "$PYTHON" bot.py'


def measure(context: Context) -> Iterator[Row]:
    """Compare a pull request on three windows with eight scripts, of which each core runs one."""
    python = context.model_python()
    workspace = _workspace(context.scratch / "windows")
    copies = list(_copies(workspace, context.scratch / "by-hand"))
    _on_platform(context, workspace)  # what is read once is read
    ours, peer = alternate(
        context.rounds(3),
        lambda: _on_platform(context, workspace),
        lambda: _by_hand(context, python, copies),
    )
    name = "python bot.py, on all cores"
    number = len(copies)
    yield Row(
        f"three windows and the base: {number} backtests",
        seconds_of(ours),
        peer=name,
        theirs=seconds_of(peer),
        target=Target(1.1, plus=0.5),
        remark=f"of the time of {cores()} cores, {_use(ours):.0%} were used; "
        f"by the scripts, {_use(peer):.0%}",
    )
    yield Row("- CPU time", cpu_seconds_of(ours), peer=name, theirs=cpu_seconds_of(peer))


def _use(runs: Sequence[Took]) -> float:
    return sum(run.cpu_seconds for run in runs) / sum(run.seconds for run in runs) / cores()


def _workspace(directory: Path) -> Path:
    """Return a repository with the example on `main`, and a change of it that is checked out."""
    make_repository(directory)
    shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True)
    commit_all(directory)
    git(directory, "switch", "--quiet", "--create", "faster")
    script = directory / "bot.py"
    script.write_text(script.read_text("utf-8").replace(*_CHANGE), "utf-8")
    commit_all(directory)
    return directory


def _copies(workspace: Path, place: Path) -> Iterator[Path]:
    """Yield directories with what both versions backtest: the whole period, and each window."""
    place.mkdir()
    for version in (workspace, EXAMPLE):
        for number, window in enumerate((_WHOLE, *_WINDOWS)):
            copy = place / f"{version.name}-{number}"
            shutil.copytree(version, copy, ignore=shutil.ignore_patterns(".git", "price_caches"))
            path = copy / "blankly.json"
            manifest = json.loads(path.read_text("utf-8"))
            start, end = window.split("..")
            manifest["backtest_args"] |= {"start_date": start, "end_date": end}
            path.write_text(json.dumps(manifest), "utf-8")
            yield copy


def _on_platform(context: Context, workspace: Path) -> Took:
    outputs = context.scratch / "windows-outputs"
    outputs.unlink(missing_ok=True)
    command: Command = [
        *(context.programs / "blankly-deploy", "backtest", workspace),
        *("--platform-data", str(context.platform_data), "--compare-with", "main"),
        *("--windows", "\n".join(_WINDOWS)),
    ]
    environ = {
        **context.environ,
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_WORKSPACE": str(workspace),
    }
    took = run_command(command, cwd=workspace, environ=environ)
    report = read_report(outputs)
    failed = [one for one in report["windows"] if not one["metrics"]]
    if failed or len(report["windows"]) != len(_WINDOWS) or not report["comparison"]:
        raise BrokenError(f"not every window has metrics and a comparison: {failed}")
    return took


def _by_hand(context: Context, python: Path, copies: Sequence[Path]) -> Took:
    return run_command(
        ["xargs", "-P", str(cores()), "-n", "1", "sh", "-c", _SCRIPT],
        cwd=context.scratch,
        environ={**context.environ, "PYTHON": str(python)},
        given="\n".join(map(str, copies)),
    )
