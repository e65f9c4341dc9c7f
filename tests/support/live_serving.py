"""A platform that runs script models, in a process of its own.

    python -m tests.support.live_serving DATA REFRESH_TOKEN [PORT]

It prints its URL, and serves until its input ends or a signal comes. Models run under this Python,
without the `blankly` package: see `script_program.py`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.machine.machine import Machine
from deploy_action.platform.machine.places import Places
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from deploy_action.platform.runs.model_run import BacktestRequest, ModelRunner, Outcome
from deploy_action.platform.server import PlatformServer
from deploy_action.platform.storage.models_place import find_models_place
from deploy_action.platform.upkeep.cleaning import Rules
from tests.support.environments import OnePython

if TYPE_CHECKING:
    from deploy_action.platform.storage.store import Store

PROGRAM = Path(__file__).with_name("script_program.py")
STOP_SECONDS = 5.0


def make_machine(store: Store) -> Machine:
    """Return this machine as a host for scripts."""
    return Machine(
        Places.of(store.data, store.models_place.path),
        OnePython(Path(sys.executable)),
        environ=os.environ,
        isolation=Isolation(AsRoot.ALLOWED),
        grace_seconds=STOP_SECONDS,
        program=PROGRAM,
        on_error=report,
    )


class ScriptRunner:
    """Backtests scripts with what the product backtests models with."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        """Backtest in the workplace of this process: those of dead ones are gone."""
        (workplace,) = (find_models_place(self._data).path / "runs").iterdir()
        runner = ModelRunner(
            workplace=workplace,
            environments=OnePython(Path(sys.executable)),
            environ=os.environ,
            isolation=Isolation(AsRoot.ALLOWED),
            program=PROGRAM,
        )
        return runner.run(request, stop)


def report(error: str) -> None:
    """Write to the test's own stderr."""
    sys.stderr.write(f"{error}\n")


def _wait_for_input_to_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main() -> None:
    """Serve DATA for REFRESH_TOKEN on PORT."""
    data, refresh_token, *port = sys.argv[1:]
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    server = PlatformServer(
        Path(data),
        refresh_token=refresh_token,
        strict=False,
        address=("127.0.0.1", int(port[0]) if port else 0),
        on_error=report,
        running=BacktestSettings(runner=ScriptRunner(Path(data))),
        live=LiveSettings(
            stop_seconds=STOP_SECONDS,
            restarts=100,
            rules=Rules(versions=1_000_000),
            make_host=make_machine,
            has_pages=True,
        ),
    )
    with server:
        print(server.url, flush=True)  # noqa: T201  # for whoever started us
        threading.Thread(target=_wait_for_input_to_end, args=(over,), daemon=True).start()
        while not over.wait(0.1):  # or it would sleep through a signal that another thread takes
            pass


if __name__ == "__main__":
    main()
