"""A platform as `serve` makes it under root, for models that are scripts.

    PLATFORM_TOKEN=… python -m tests.support.isolated_serving DATA PROGRAM PYTHON LOG

It prints its URL, and serves until its input ends. Models run PROGRAM with PYTHON,
which every user can run, in place of an environment with the `blankly` package. What
backtests print goes to the file LOG.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from deploy_action.platform import assembly
from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.machine import machine
from deploy_action.platform.runs import model_run
from deploy_action.platform.runs.model_run import BacktestRequest, Unobserved
from deploy_action.platform.server import PlatformServer
from tests.support.environments import OnePython


class Logged(Unobserved):
    """Writes what models print to a file."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def line(self, backtest: BacktestRequest, text: str) -> None:  # noqa: ARG002  # an observer
        with self._log.open("a") as file:
            file.write(f"{text}\n")


def main() -> None:
    """Serve."""
    data, program, python, log = map(Path, sys.argv[1:])
    replaced: dict[Any, dict[str, Any]] = {
        assembly: {"_environments": lambda *_: OnePython(python)},
        model_run: {"ModelRunner": partial(model_run.ModelRunner, program=program)},
        machine: {"Machine": partial(machine.Machine, program=program)},
    }
    for module, names in replaced.items():
        vars(module).update(names)
    with PlatformServer(
        data,
        refresh_token=os.environ["PLATFORM_TOKEN"],
        strict=False,
        on_error=lambda error: print(error, file=sys.stderr),  # noqa: T201  # the test's own
        running=BacktestSettings(environ=os.environ, observer=Logged(log)),
        live=LiveSettings(stop_seconds=5, has_pages=True),
    ) as server:
        print(server.url, flush=True)  # noqa: T201  # for whoever started us
        sys.stdin.read()


if __name__ == "__main__":
    main()
