"""Prices that a model downloads, for real: in one run with a base, and in later runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Runner
from tests.end_to_end.test_backtest import platform_data  # noqa: F401  # a fixture
from tests.end_to_end.test_comparison import Repository
from tests.support.exchange import Exchange, serving_exchange

pytestmark = pytest.mark.xdist_group("backtest")


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with serving_exchange() as exchange:
        yield exchange


def test_base_candidate_and_later_runs_download_once(
    runner: Runner,
    platform_data: Path,  # noqa: F811  # the fixture
    exchange: Exchange,
) -> None:
    repository = Repository(runner, platform_data)
    script = repository.model / "bot.py"
    script.write_text(exchange.model())
    repository.commit("Trade at an exchange")
    script.write_text(exchange.model(size=1))
    repository.commit("Trade less")

    runner.on("pull_request", {"pull_request": {"title": "Less", "number": 3}})
    compared = repository.run(compare_with="HEAD^")
    assert compared.code == 0, compared.log
    assert "first trade that differs" in compared.summary
    assert len(exchange.asked) == 1
    # A later run on the default branch believes nothing that a pull request's has kept.
    runner.on("push", {"ref": "refs/heads/main", "head_commit": {"message": "Less"}})
    pushed = repository.run()
    assert len(exchange.asked) == 2
    runner.on("pull_request", {"pull_request": {"title": "Less", "number": 4}})
    other = repository.run()
    assert len(exchange.asked) == 2
    assert pushed.outputs["trades-sha256"] == other.outputs["trades-sha256"]
    assert pushed.outputs["trades-sha256"] == compared.outputs["trades-sha256"]
