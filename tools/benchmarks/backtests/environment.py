"""A model's environment: made from a warm uv cache, reused, and made with uv by hand."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.benchmarks.context import Context, make_environment, tool
from tools.benchmarks.measure import Command, run_command
from tools.benchmarks.models import EXAMPLE
from tools.benchmarks.rows import Row, Target

_BY_HAND = """
"$1" venv --quiet --python "$2" "$3"
"$1" pip install --quiet --compile-bytecode --python "$3" --requirement "$4"
"""


def measure(context: Context) -> Iterator[Row]:
    python = context.model_python().resolve()  # it fills uv's cache, too
    # From here on nothing is downloaded, so that the network does not count.
    environ = {**context.environ, "UV_OFFLINE": "1"}
    cold: list[float] = []
    warm: list[float] = []
    by_hand: list[float] = []
    for number in range(context.rounds(3)):
        data = context.scratch / f"cold-{number}"
        cold.append(_acquire(data, environ))
        warm.append(_acquire(data, environ))
        by_hand.append(_make_by_hand(context, python, environ))
        shutil.rmtree(data)
    yield Row(
        "a model's environment, made",
        tuple(cold),
        peer="uv venv, uv pip install",
        theirs=tuple(by_hand),
        target=Target(1.1),
        remark="the packages are in uv's cache; with --compile-bytecode, as ours are",
    )
    yield Row("the same environment, found", tuple(warm), peer="made", theirs=tuple(cold))


def _acquire(data: Path, environ: Mapping[str, str]) -> float:
    started = time.monotonic()
    make_environment(data, environ)
    return time.monotonic() - started


def _make_by_hand(context: Context, python: Path, environ: Mapping[str, str]) -> float:
    venv = context.scratch / "by-hand"
    requirements = EXAMPLE / "requirements.txt"
    command: Command = ["sh", "-euc", _BY_HAND, "by-hand", tool("uv"), python, venv, requirements]
    took = run_command(command, cwd=context.scratch, environ=environ)
    shutil.rmtree(venv)
    return took.seconds
