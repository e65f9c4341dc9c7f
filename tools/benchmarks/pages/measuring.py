"""The server's pages: how long each takes with many models, and what memory the server has then.

The peer is the same page of a server with one model, one backtest and one order: what a page costs
more is what grows with what is kept. The answer of `GET /healthz` is the floor of both.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import requests

from tools.benchmarks.context import ROOT, Context
from tools.benchmarks.measure import BrokenError, serving
from tools.benchmarks.rows import Row, Target, Values

_MANY = (100, 1_000, 100_000)  # models, backtests, orders
_SOME = (2, 4, 200)
_ONE = (1, 1, 1)
_ROUNDS = 15
_LOADS = 100  # of each page, before the server's memory is looked at again
_TARGET_SECONDS = 0.2
_TIMEOUT = 60


@dataclass
class Site:
    """A server, and somebody who is signed in to it."""

    url: str
    pid: int
    paths: dict[str, str]
    session: requests.Session = field(default_factory=requests.Session)

    def sign_in(self, token: str) -> None:
        self.session.post(
            f"{self.url}/login", data={"token": token}, allow_redirects=False, timeout=_TIMEOUT
        )

    def seconds(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> float:
        """Load a page, or post `fields`; return how long that took. Raises `BrokenError`."""
        started = time.perf_counter()
        answer = self.session.request(
            "GET" if fields is None else "POST",
            f"{self.url}{path}",
            data=fields,
            headers=headers,
            allow_redirects=False,
            timeout=_TIMEOUT,
        )
        seconds = time.perf_counter() - started
        if answer.status_code != HTTPStatus.OK:
            raise BrokenError(f"{path} answers with {answer.status_code}: {answer.text[:200]}")
        return seconds

    def resident_bytes(self) -> int:
        """Return the memory of the server's process."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BrokenError("Linux does not tell the memory of the server")


def measure(context: Context) -> Iterator[Row]:
    """Load every page of both servers in turn."""
    sizes = _SOME if context.is_quick else _MANY
    with _started(context, "many", sizes) as many, _started(context, "one", _ONE) as one:
        rounds = context.rounds(_ROUNDS)
        floor = statistics.median(_seconds(rounds, many, one, "/healthz", "/healthz")[0])
        for name, path in many.paths.items():
            ours, peer = _seconds(rounds, many, one, path, one.paths[name])
            yield Row(
                f"page: {name}",
                ours,
                peer="with one model",
                theirs=peer,
                target=Target(_TARGET_SECONDS, of_peer=False),
                remark=f"{statistics.median(ours) / floor:.0f} times GET /healthz",
            )
        yield _memory(context, many)


def _seconds(
    rounds: int, many: Site, one: Site, path: str, peer_path: str
) -> tuple[Values, Values]:
    """Return the times of both servers, after one load that does not count."""
    many.seconds(path), one.seconds(peer_path)
    taken = [(many.seconds(path), one.seconds(peer_path)) for _ in range(rounds)]
    ours, peers = zip(*taken, strict=True)
    return ours, peers


def _memory(context: Context, many: Site) -> Row:
    """Load every page many times; tell what memory the server had before and has then."""
    before = many.resident_bytes()
    loads = context.rounds(_LOADS)
    for _ in range(loads):
        for path in many.paths.values():
            many.seconds(path)
    what = f"memory after {loads} loads of each page"
    after = float(many.resident_bytes())
    return Row(what, (after,), "B", peer="before", theirs=(float(before),))


@contextmanager
def _started(context: Context, name: str, sizes: tuple[int, int, int]) -> Iterator[Site]:
    """Run a server with so many models, backtests and orders."""
    module = f"{__package__}.server"
    data = context.scratch / f"pages-{name}"
    command = [sys.executable, "-m", module, str(data), *map(str, sizes)]
    environ = {**context.environ, "PYTHONPATH": str(ROOT)}
    with serving(command, environ, context.scratch / f"pages-{name}.log") as line:
        found = json.loads(line)
        site = Site(found["url"], found["pid"], found["paths"])
        site.sign_in(found["token"])
        yield site
