"""How time and memory grow: each thing at four sizes, each four times the one before."""

from __future__ import annotations

from collections.abc import Iterator

from tools.benchmarks.context import Context
from tools.benchmarks.growth import deploys, discovery, results, servers
from tools.benchmarks.rows import Curve


def measure(context: Context) -> Iterator[Curve]:
    """Measure everything that a user may have much of."""
    yield from deploys.measure(context)
    yield from discovery.measure(context)
    yield from results.measure(context)
    yield from servers.measure(context)
