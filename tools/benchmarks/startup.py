"""Start-up: from the start of a process to its first connection to a server."""

from __future__ import annotations

import secrets
import statistics
import sys
from collections.abc import Iterator

from tools.benchmarks.context import BLANKLY_PYTHON, NO_BLANKLY, Context, tool
from tools.benchmarks.measure import BrokenError, Command, Row, in_seconds, run_command
from tools.benchmarks.models import example
from tools.benchmarks.upload_server import UploadServer

_REQUESTS = "import requests, sys; requests.post(sys.argv[1] + '/auth/token', data={'a': 'b'})"
_PACKAGE = "import sys; from blankly.deployment.api import API; API('any', sys.argv[1])"


def measure(context: Context) -> Iterator[Row]:
    model = example(context.scratch).directory
    with UploadServer() as server:
        program = tool("blankly-deploy")
        deploy: Command = [program, "deploy", model, "--api-url", server.url, "--model-id", "m"]
        ours = _Start("blankly-deploy", deploy)
        peers = [
            _Start("python -c 'import requests'", [sys.executable, "-c", "import requests"]),
            _Start("the same, to its first POST", [sys.executable, "-c", _REQUESTS, server.url]),
        ]
        if BLANKLY_PYTHON.exists():
            sign_in: Command = [BLANKLY_PYTHON, "-c", _PACKAGE, server.url]
            peers.append(_Start("the blankly package's API class", sign_in))
        for _ in range(context.rounds(9)):
            for start in (ours, *peers):
                start.run(context, server)
    if not ours.connects:
        raise BrokenError("blankly-deploy did not connect to the server")
    mine = statistics.median(ours.seconds)
    for peer in peers:
        its = statistics.median(peer.seconds)
        end = "first connection" if peer.connects else "end"
        yield Row(
            "Process start to first connection",
            in_seconds(mine),
            f"{in_seconds(its)} {peer.name}",
            mine / its,
            f"the peer's time is to its {end}",
        )
    if not BLANKLY_PYTHON.exists():
        yield Row("Process start to first connection", "skipped beside blankly", remark=NO_BLANKLY)


class _Start:
    """A command to start repeatedly; if it does not connect, it is measured until it ends."""

    def __init__(self, name: str, command: Command) -> None:
        self.name = name
        self.connects = False
        self.seconds: list[float] = []
        self._command = command

    def run(self, context: Context, server: UploadServer) -> None:
        # Any token will do for this server.
        environ = {**context.environ, "INPUT_TOKEN": secrets.token_urlsafe()}
        took = run_command(self._command, cwd=context.scratch, environ=environ)
        connected = server.take_first_connection()
        self.connects = connected is not None
        self.seconds.append(took.seconds if connected is None else connected - took.started)
