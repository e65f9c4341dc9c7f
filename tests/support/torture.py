"""Tests with rounds: a few in a usual run, as many as there is time for in `make torture`.

    @pytest.mark.torture(quick=2)
    def test_nothing_is_lost(rounds: Rounds) -> None:
        for chance in rounds:
            ...  # what `chance`, a random.Random, decides
            rounds.count("kills", 3)

A usual run has `quick` rounds, always the same ones; with `quick=0` the test is left out. With
`--torture-minutes`, each marked test begins new rounds for its share of that time: twice the share
of others with `weight=2`, and at least one round. `--torture-seed` repeats a run. The seed is
printed before the tests, the figures that were counted after them.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

_PROPERTY: Final = "torture"
AT_ANY_MOMENT: Final = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""Of tests in which deadlines pass: one may come between the making of a socket and the moment at
which something has it and will close it. Python closes it then, and warns of it. So these tests see
no socket that was forgotten; others do."""


class Rounds:
    """The rounds of a test: each gives a source of chance that depends on seed, test and number."""

    def __init__(self, name: str, seed: int, *, most: int | None, seconds: float) -> None:
        self.figures: Counter[str] = Counter()
        self._name, self._seed, self._most, self._seconds = name, seed, most, seconds

    def __iter__(self) -> Iterator[random.Random]:
        """Yield a source of chance for each round, as long as there is time or a round left."""
        end = time.monotonic() + self._seconds
        while not self._is_over(end):
            self.figures["rounds"] += 1
            yield random.Random(f"{self._seed} {self._name} {self.figures['rounds']}")  # noqa: S311

    def count(self, what: str, number: int = 1) -> None:
        """Add to a figure that is told after the tests, such as `kills`."""
        self.figures[what] += number

    def _is_over(self, end: float) -> bool:
        if self._most is not None:
            return self.figures["rounds"] >= self._most
        return self.figures["rounds"] > 0 and time.monotonic() > end


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `make torture`."""
    group = parser.getgroup("torture")
    group.addoption("--torture-minutes", type=float, help="how long all marked tests may repeat")
    group.addoption("--torture-seed", type=int, help="the seed of an earlier run, to repeat it")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, before processes that share the tests are started with these options."""
    if config.option.torture_seed is None:
        is_long = config.option.torture_minutes is not None
        config.option.torture_seed = secrets.randbelow(1_000_000) if is_long else 0


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Print the seed of a long run."""
    if config.option.torture_minutes is None:
        return []
    return [
        f"torture: {config.option.torture_minutes:g} minutes, seed {config.option.torture_seed}"
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that have no rounds in a usual run."""
    if config.option.torture_minutes is None:
        left_out = [item for item in items if _asked(item, "quick", 1) == 0]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Iterator[Rounds]:
    """Return the rounds of a test that is marked with `torture`."""
    option, item = request.config.option, request.node
    if option.torture_minutes is None:
        most, seconds = _asked(item, "quick", 1), 0.0
    else:
        weights = [_asked(each, "weight", 1) for each in request.session.items]
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        seconds = option.torture_minutes * 60 * workers * _asked(item, "weight", 1) / sum(weights)
        most = None
    found = Rounds(item.nodeid, option.torture_seed, most=most, seconds=seconds)
    yield found
    item.user_properties.append((_PROPERTY, dict(found.figures)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the figures of a long run."""
    config = terminalreporter.config
    if config.option.torture_minutes is None:
        return
    terminalreporter.section(f"torture, seed {config.option.torture_seed}")
    failed = {report.nodeid for report in terminalreporter.getreports("failed")}
    for report in terminalreporter.getreports(""):  # of what comes after a test: it has the figures
        for figures in (value for name, value in report.user_properties if name == _PROPERTY):
            told = ", ".join(f"{number:,} {what}" for what, number in figures.items())
            outcome = "failed" if report.nodeid in failed else "passed"
            terminalreporter.line(f"{outcome} {report.nodeid}: {told}")


def _asked(item: pytest.Item, name: str, default: int) -> int:
    """Return an argument of an item's mark; an item without the mark has no weight."""
    mark = item.get_closest_marker("torture")
    if mark is None:
        return default if name == "quick" else 0
    return int(mark.kwargs.get(name, default))
