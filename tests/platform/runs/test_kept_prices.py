"""Prices that a model downloads: once for all backtests of a run, and for later runs."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from deploy_action.platform.runs.model_run import BacktestRequest, ModelRunner, Outcome
from deploy_action.platform.storage.kept_prices import KeptPrices, store_keys
from tests.support.environments import OnePython
from tests.support.exchange import DAY, START, Exchange, serving_exchange
from tests.support.isolated import allowed_by_this_machine
from tests.support.waiting import wait_for

EXAMPLE = Path(__file__).parents[3] / "examples" / "models" / "golden-cross"
FIXED = {"start_date": "2023-01-01", "end_date": "2023-07-01"}
KEYS = store_keys("a model", scope="")


@dataclass(slots=True)
class Bench:
    root: Path
    python: Path
    exchange: Exchange
    lines: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.root / "prices" / KEYS[0]

    def kept(self, store: Path | None = None) -> list[str]:
        """Return the names in a store."""
        return sorted(path.name for path in (store or self.store).iterdir())

    def run(
        self,
        script: str = "",
        *,
        stop: threading.Event | None = None,
        keys: tuple[str, ...] = KEYS,
        files: dict[str, str] | None = None,
        now: float | None = None,
        **arguments: object,
    ) -> Outcome:
        run = uuid.uuid4().hex
        bundle = self.root / f"{run}.zip"
        with zipfile.ZipFile(bundle, "w") as archive:
            archive.writestr("model/blankly.json", "{}")
            archive.writestr("model/bot.py", script or self.exchange.model())
            for name in ("settings.json", "backtest.json"):
                archive.write(EXAMPLE / name, f"model/{name}")
            for name, text in (files or {}).items():
                archive.writestr(f"model/{name}", text)
        workplace = self.root / "runs"
        workplace.mkdir(exist_ok=True)
        runner = ModelRunner(
            workplace=workplace,
            environments=OnePython(self.python),
            environ={"PATH": os.environ["PATH"]},
            observer=self,
            isolation=Isolation(
                AsRoot.ALLOWED if allowed_by_this_machine(self.python) else AsRoot.REFUSED
            ),
            prices=KeptPrices(self.root / "prices"),
        )
        request = BacktestRequest(
            backtest_id=run,
            bundle=bundle,
            bundle_sha256=hashlib.sha256(bundle.read_bytes()).hexdigest(),
            python_version="3.11",
            args={"initial_values": {"USD": 10_000}, **(arguments or FIXED)},
            prices=keys,
            now=now or time.time(),
        )
        return runner.run(request, stop or threading.Event())

    def began(self, backtest: BacktestRequest) -> None: ...
    def section(self, backtest: BacktestRequest, title: str) -> None: ...
    def progress(self, backtest: BacktestRequest, share: float) -> None: ...
    def stopped(self, backtest: BacktestRequest, place: object) -> None: ...
    def line(self, backtest: BacktestRequest, text: str) -> None:  # noqa: ARG002  # an observer
        self.lines.append(text)


@pytest.fixture
def bench(tmp_path: Path, blankly_python: Path) -> Iterator[Bench]:
    with serving_exchange() as exchange:
        yield Bench(tmp_path, blankly_python, exchange)


def market(outcome: Outcome) -> Any:
    assert outcome.result is not None, [problem.message for problem in outcome.problems]
    result = json.loads(outcome.result)
    return [result["market"]["prices"][0], result["trades"], result["account_values"]]


def test_a_second_run_downloads_nothing(bench: Bench) -> None:
    first = market(bench.run())
    assert bench.exchange.asked == [(START, START + 180 * DAY)]
    second = market(bench.run())
    assert len(bench.exchange.asked) == 1
    assert first[0]["bars"] == 181
    assert second[0] == first[0]
    assert len(bench.kept()) == 1


def test_two_backtests_at_once_download_once_and_see_the_same_prices(bench: Bench) -> None:
    def wait_for_the_other() -> None:
        wait_for(lambda: any("Waiting for another backtest" in line for line in bench.lines))

    bench.exchange.before_answer = wait_for_the_other
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(bench.run), pool.submit(bench.run, bench.exchange.model(size=2))]
    base, candidate = (market(run.result()) for run in runs)
    assert len(bench.exchange.asked) == 1
    assert base[0] == candidate[0]
    assert base[1] != candidate[1]


def test_a_later_period_downloads_its_end_alone(bench: Bench) -> None:
    """Five bars before the new ones are compared."""
    bench.run(start_date="2023-01-01", end_date="2023-05-01")
    bench.exchange.asked.clear()
    joined = market(bench.run())[0]
    ((start, stop),) = bench.exchange.asked
    assert time.strftime("%F", time.gmtime(start)) == "2023-04-25"
    assert stop == START + 180 * DAY
    assert joined == market(bench.run(keys=()))[0]


def test_a_period_that_counts_back_is_the_same_in_all_backtests_of_a_run(bench: Bench) -> None:
    """A later run downloads what is new, although no period of the two ends at a bar."""
    now = START + 500.4 * DAY
    first = market(bench.run(to="90d", now=now))
    assert market(bench.run(to="90d", now=now))[0] == first[0]
    assert len(bench.exchange.asked) == 1
    later = market(bench.run(to="90d", now=now + 2 * DAY))[0]
    start, stop = bench.exchange.asked[1]
    assert len(bench.exchange.asked) == 2
    assert stop - start < 10 * DAY
    assert later == market(bench.run(to="90d", now=now + 2 * DAY, keys=()))[0]


def test_a_run_that_is_stopped_while_it_downloads_leaves_nothing(bench: Bench) -> None:
    stop, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        stop.set()
        is_over.wait(60)

    bench.exchange.before_answer = hold
    with pytest.raises(StoppedError):
        bench.run(stop=stop)
    is_over.set()
    assert bench.kept() == []
    bench.exchange.before_answer = lambda: None
    assert market(bench.run())[0]["bars"] == 181


def test_a_damaged_file_is_dropped_with_a_notice(bench: Bench) -> None:
    fresh = market(bench.run())
    (name,) = bench.kept()
    content = (bench.store / name).read_bytes()
    (bench.store / name).write_bytes(content[: len(content) // 2])
    again = bench.run()
    assert any("was damaged" in problem.message for problem in again.problems)
    assert market(again)[0] == fresh[0]
    assert market(bench.run())[0] == fresh[0]
    assert len(bench.exchange.asked) == 2


def test_prices_that_the_exchange_has_changed_since_are_downloaded_again(bench: Bench) -> None:
    """Half of them from before a split would look like a crash."""
    bench.run(start_date="2023-01-01", end_date="2023-05-01")
    bench.exchange.factor = 0.5
    fresh = market(bench.run(keys=()))
    again = bench.run()
    assert any("has changed prices of ASH-USD" in problem.message for problem in again.problems)
    assert market(again)[0] == fresh[0]
    bench.exchange.asked.clear()
    assert market(bench.run())[0] == fresh[0]
    assert bench.exchange.asked == []


def test_prices_of_the_models_own_are_used_and_not_kept(bench: Bench) -> None:
    rows = ["time,low,high,open,close,volume"]
    rows += [f"{START + day * DAY},1,3,2,2,5" for day in range(181)]
    name = f"price_caches/stand_in,True,ASH-USD,{START},{START + 181 * DAY},{DAY}.csv"
    own = market(bench.run(files={name: "\n".join(rows) + "\n"}))
    assert set(own[0]["values"]) == {2.0}
    assert bench.exchange.asked == []
    assert bench.kept() == []
    assert 2.0 not in market(bench.run())[0]["values"]


def test_a_pull_request_reads_the_prices_of_others_and_keeps_its_own_apart(bench: Bench) -> None:
    scoped = store_keys("a model", scope="pull/12")
    bench.run(start_date="2023-01-01", end_date="2023-05-01")
    before = bench.kept()
    bench.exchange.asked.clear()
    market(bench.run(keys=scoped))
    assert len(bench.exchange.asked) == 1
    assert bench.kept() == before
    market(bench.run(keys=scoped))
    assert len(bench.exchange.asked) == 1
    market(bench.run())
    assert len(bench.exchange.asked) == 2
    assert len({*store_keys("a", "b", scope="c"), *store_keys("a", scope="b"), *KEYS}) == 5
