"""A platform in a process of its own: prints its URL, and serves until its input ends.

With a third argument `FUNCTION:CALL:NUMBER:EVENT`, the process kills itself when FUNCTION of the
platform's modules makes (EVENT is c_call) or has made (c_return) its NUMBERth CALL.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from deploy_action.platform.assembly import BacktestSettings
from deploy_action.platform.server import PlatformServer
from tests.support.scripted_runner import ScriptedRunner


def kill_at(point: str) -> None:
    """Arm the trap for all threads that start from now on."""
    function, call, number, event = point.split(":")
    left = int(number)

    def watch(frame: FrameType, happened: str, argument: object) -> None:
        nonlocal left
        if (
            happened == event
            and getattr(argument, "__name__", "") == call
            and frame.f_code.co_qualname == function
        ):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(watch)


def report(error: str) -> None:
    """Write to the test's own stderr."""
    sys.stderr.write(f"{error}\n")


def main() -> None:
    """Serve DATA for REFRESH_TOKEN."""
    data, refresh_token, *points = sys.argv[1:]
    for point in points:
        kill_at(point)
    runner = ScriptedRunner()
    runner.gate.clear()  # a backtest goes on until this process ends
    running = BacktestSettings(runner=runner)
    with PlatformServer(
        Path(data), refresh_token=refresh_token, strict=False, on_error=report, running=running
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
