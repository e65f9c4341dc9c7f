"""Start-up of the installed program: `validate`, and a deploy to its first request."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.benchmarks.context import BLANKLY_PYTHON, NO_BLANKLY, Context
from tools.benchmarks.deploys.sink import Sink, running_sink
from tools.benchmarks.measure import BrokenError, Command, run_command
from tools.benchmarks.models import example
from tools.benchmarks.rows import Row, Target

_TARGET = Target(1.3)
_IMPORT = "import requests, yaml"
_POST = "import requests, sys; requests.post(sys.argv[1] + '/auth/token', data={'a': 'b'})"
_PACKAGE = "import sys; from blankly.deployment.api import API; API('any', sys.argv[1])"
_ROUNDS = 15


@dataclass(slots=True)
class _Start:
    """A command to start again and again, and how long it took to `until`: its end or a request."""

    command: Command
    is_to_connection: bool = False
    seconds: list[float] = field(default_factory=list)

    def run(self, context: Context, sink: Sink) -> None:
        # Any token will do for this server.
        environ = {**context.environ, "INPUT_TOKEN": secrets.token_urlsafe()}
        sink.seen()
        took = run_command(self.command, cwd=context.scratch, environ=environ)
        connected = sink.seen().connected
        if (connected is not None) != self.is_to_connection:
            raise BrokenError(f"{self.command[1:3]} did connect to the server, or did not")
        self.seconds.append(took.seconds if connected is None else connected - took.started)


def measure(context: Context) -> Iterator[Row]:
    """Start everything in turn, many times."""
    model = example(context.scratch).directory
    python, ours = context.programs / "python", context.programs / "blankly-deploy"
    with running_sink(context.environ, context.scratch) as sink:
        options: Command = ["--api-url", sink.url, "--model-id", "m"]
        validate = _Start([ours, "validate", model])
        deploy = _Start([ours, "deploy", model, *options], is_to_connection=True)
        imports = _Start([python, "-c", _IMPORT])
        bare = _Start([python, "-c", "pass"])
        post = _Start([python, "-c", _POST, sink.url], is_to_connection=True)
        package = _Start([BLANKLY_PYTHON, "-c", _PACKAGE, sink.url], is_to_connection=True)
        starts = [validate, imports, bare, deploy, post]
        if BLANKLY_PYTHON.exists():
            starts.append(package)
        for number in range(context.rounds(_ROUNDS)):
            for start in reversed(starts) if number % 2 else starts:
                start.run(context, sink)
    command, request = "validate, start to end", "deploy, start to its first request"
    yield _row(command, validate, f"python -c '{_IMPORT}'", imports, _TARGET)
    yield _row(command, validate, "python -c pass, the floor", bare)
    yield _row(request, deploy, "import requests, to its first POST", post, _TARGET)
    if BLANKLY_PYTHON.exists():
        yield _row(request, deploy, "the package's API class, to the same", package)
    else:
        yield Row(f"{request}, beside the package", remark=NO_BLANKLY)


def _row(what: str, ours: _Start, name: str, peer: _Start, target: Target | None = None) -> Row:
    return Row(what, tuple(ours.seconds), peer=name, theirs=tuple(peer.seconds), target=target)
