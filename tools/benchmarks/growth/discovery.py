"""How `discover` grows with the number of models in a repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.support.repositories import commit_all, make_repository
from tools.benchmarks.context import Context
from tools.benchmarks.growth.sizes import at_all_sizes, sizes_up_to
from tools.benchmarks.measure import (
    BrokenError,
    Command,
    Took,
    peak_bytes_of,
    run_command,
    seconds_of,
)
from tools.benchmarks.models import EXAMPLE
from tools.benchmarks.rows import Curve

_MOST_MODELS = 512
_ROUNDS = 3


def measure(context: Context) -> Iterator[Curve]:
    """Find all models, and those that changed since the commit before."""
    sizes = sizes_up_to(context, _MOST_MODELS)
    place = context.scratch / "repositories"
    for size in sizes:
        _write(place / str(size), size)
    commands = {"discover": (), "discover, only what changed": ("--changed-since", "HEAD~1")}
    for what, options in commands.items():
        run = partial(_discover, context, place, options)
        took = at_all_sizes(context, sizes, _ROUNDS, run)
        yield Curve(what, "model", sizes, tuple(map(seconds_of, took)))
        yield Curve(what, "model", sizes, tuple(map(peak_bytes_of, took)), "B")
    shutil.rmtree(place)


def _write(repository: Path, number: int) -> None:
    """Write a repository of so many models, of which a quarter changed with the last commit."""
    make_repository(repository)
    for index in range(number):
        model = repository / f"group-{index // 32}" / f"model-{index}"
        shutil.copytree(EXAMPLE, model, ignore=shutil.ignore_patterns("price_caches"))
    commit_all(repository, "Add models")
    for index in range(0, number, 4):
        model = repository / f"group-{index // 32}" / f"model-{index}"
        (model / "bot.py").write_text("print('changed')\n", "utf-8")
    commit_all(repository, "Change a quarter of them")


def _discover(context: Context, place: Path, options: tuple[str, ...], size: int) -> Took:
    outputs = context.scratch / "discover-outputs"
    outputs.unlink(missing_ok=True)
    repository = place / str(size)
    command: Command = [context.programs / "blankly-deploy", "discover", repository, *options]
    around = {"GITHUB_WORKSPACE": str(repository), "GITHUB_OUTPUT": str(outputs)}
    took = run_command(command, cwd=repository, environ={**context.environ, **around})
    found = outputs.read_text("utf-8").count(json.dumps("name"))
    if found != (size // 4 if options else size):
        raise BrokenError(f"{found} of {size} models were found")
    return took
