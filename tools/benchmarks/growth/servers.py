"""How a server's answers and pages grow with its models, and with the versions of one of them."""

from __future__ import annotations

import json
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tools.benchmarks.context import ROOT, Context
from tools.benchmarks.growth.sizes import sizes_up_to
from tools.benchmarks.measure import BrokenError, Command, run_command, serving
from tools.benchmarks.models import example
from tools.benchmarks.pages.measuring import Site
from tools.benchmarks.rows import Curve

_MOST_MODELS = 512
_MOST_VERSIONS = 2_048
_ROUNDS = 5
_PATIENCE_SECONDS = 300.0


def measure(context: Context) -> Iterator[Curve]:
    """Measure a server that gets more and more models, and one with more and more versions."""
    yield from _curves(context, "model", _MOST_MODELS, _of_models)
    yield from _curves(context, "version", _MOST_VERSIONS, _of_versions)


@dataclass(slots=True)
class _Grown:
    """A server that has grown: its ids, and somebody who is signed in."""

    site: Site
    project: str
    model: str
    token: str
    id_token: str

    def ask(self, path: str) -> Callable[[], float]:
        """Return a request of the API that can be timed."""
        fields = {"projectId": self.project, "modelId": self.model}
        return partial(self.site.seconds, path, fields, {"token": self.id_token})


Measured = dict[str, Callable[[], float]]


def _of_models(_: Context, server: _Grown) -> Measured:
    return {
        "POST /model/list": server.ask("/model/list"),
        "the home page": partial(server.site.seconds, "/"),
        "GET /metrics": partial(server.site.seconds, "/metrics"),
    }


def _of_versions(context: Context, server: _Grown) -> Measured:
    model = example(context.scratch).directory
    command: Command = [
        *(context.programs / "blankly-deploy", "deploy", model, "--api-url", server.site.url),
        *("--project-id", server.project, "--model-id", server.model),
    ]
    environ = {**context.environ, "INPUT_TOKEN": server.token}

    def deploy() -> float:
        return run_command(command, cwd=context.scratch, environ=environ).seconds

    return {
        "POST /model/details": server.ask("/model/details"),
        "the page of all versions": partial(
            server.site.seconds, f"/{server.project}/{server.model}/versions"
        ),
        "a deploy": deploy,
    }


@dataclass(slots=True)
class _Values:
    """What was measured at each size, by what was measured."""

    seconds: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    memory: list[tuple[float, ...]] = field(default_factory=list)


def _curves(
    context: Context, of: str, largest: int, acts: Callable[[Context, _Grown], Measured]
) -> Iterator[Curve]:
    """Let one server grow, and measure it at each size."""
    sizes = sizes_up_to(context, largest)
    data, log = context.scratch / f"growing-{of}", context.scratch / f"growing-{of}.log"
    place = context.scratch / f"growing-{of}.socket"
    command: Command = [
        *(sys.executable, "-m", "tools.benchmarks.growth.server"),
        *(data, of, place),
    ]
    environ = {**context.environ, "PYTHONPATH": str(ROOT)}
    values = _Values()
    token = secrets.token_urlsafe()
    with serving(command, {**environ, "PLATFORM_TOKEN": token}, log) as line:
        if line != "ready":
            raise BrokenError(f"the server says {line}")
        for size in sizes:
            found = _grow(place, size)
            site = Site(found["url"], found["pid"], {})
            site.sign_in(token)
            grown = _Grown(site, found["project"], found["model"], token, found["idToken"])
            for what, act in acts(context, grown).items():
                act()
                seconds = tuple(act() for _ in range(context.rounds(_ROUNDS)))
                values.seconds.setdefault(what, []).append(seconds)
            values.memory.append((float(site.resident_bytes()),))
    for what, seconds_of_all in values.seconds.items():
        yield Curve(what, of, sizes, tuple(seconds_of_all))
    yield Curve("the server", of, sizes, tuple(values.memory), "B")


def _grow(place: Path, size: int) -> Any:
    """Tell the server to grow to a size; return what it says of itself."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE_SECONDS)
        connection.connect(str(place))
        with connection.makefile("rw") as file:
            file.write(f"{size}\n")
            file.flush()
            return json.loads(file.readline())
