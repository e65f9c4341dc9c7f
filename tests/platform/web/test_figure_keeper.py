"""The figures of backtests are computed once, whatever happens in between."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deploy_action.backtest.figures.document import FiguresDocument
from deploy_action.errors import Problem
from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.records import BacktestStatus
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.figures import Figures
from deploy_action.platform.web.backtests import computed, keeper
from deploy_action.platform.web.backtests.computed_views import COMPUTED_VIEWS
from deploy_action.platform.web.backtests.keeper import FigureKeeper
from tests.platform.conftest import StartPlatform
from tests.support.backtests import START, a_market, an_order, raw_result
from tests.support.platform_client import Clock, Platform
from tests.support.scripted_host import ScriptedHost
from tests.support.scripted_live_server import LivePlatform
from tests.support.scripted_runner import ScriptedRunner
from tests.support.versions import a_version
from tests.support.waiting import PATIENCE, wait_for

RESULT = raw_result(
    (10_000.0, 10_400.0, 9_900.0, 12_900.0),
    [an_order("buy", 1.0, 100.0), an_order("sell", 1.0, 90.0)],
    market=a_market({"OAK-USD": [100.0, 110.0, 105.0, 120.0]}),
)


def kept(live: LivePlatform, model_id: str) -> list[Figures]:
    with live.parts.store.snapshot() as snapshot:
        return snapshot.figures.latest(live.user_id, model_id, 100)


def outcome(result: object, **facts: Any) -> Outcome:
    return Outcome(result=json.dumps(result).encode(), problems=(), facts=facts)


def test_the_figures_are_there_soon_after_the_end(live: LivePlatform, clock: Clock) -> None:
    live.parts.runner.outcome = outcome(RESULT, arguments={"to": "1y"}, python="3.11.2")
    model_id = live.create_model()
    answer = live.backtest(model_id).json()

    wait_for(lambda: kept(live, model_id))

    (figures,) = kept(live, model_id)
    document = figures.document
    assert (figures.backtest_id, figures.time) == (answer["backtestId"], clock.now)
    assert document["metrics"]["cum_returns"] == pytest.approx(29.0)
    assert document["metrics"]["hold_return"] == pytest.approx(20.0)
    assert document["period"] == [START, START + 4 * 86_400]
    assert document["arguments"] == {"to": "1y"}
    assert document["symbols"] == ["OAK-USD"]
    assert document["environment"]["Python"] == "3.11.2"
    assert len(document["tradesSha256"]) == 64


def test_a_server_with_pages_computes_figures_and_one_without_does_not(
    start_platform: StartPlatform, tmp_path: Path, clock: Clock
) -> None:
    def start(*, has_pages: bool) -> Platform:
        runner = ScriptedRunner(outcome(RESULT))
        live = LiveSettings(has_pages=has_pages, make_host=lambda _store: ScriptedHost())
        return start_platform(
            data=tmp_path / str(has_pages), running=BacktestSettings(runner=runner), live=live
        )

    for has_pages in (True, False):
        platform = start(has_pages=has_pages)
        platform.backtest(platform.create_model())
        store = Store(platform.data, clock)

        def lacking(store: Store = store) -> bool:
            with store.snapshot() as snapshot:
                return bool(snapshot.figures.lacking(1))

        if has_pages:
            wait_for(lambda: not lacking())
        platform.server.close()
        assert lacking() is not has_pages
        store.close()


def test_an_ephemeral_backtest_has_none(live: LivePlatform) -> None:
    live.parts.runner.outcome = outcome(RESULT)
    model_id = live.create_model()
    live.backtest(model_id, ephemeral="true")
    live.backtest(model_id)

    wait_for(lambda: kept(live, model_id))

    assert len(kept(live, model_id)) == 1


def test_a_result_that_cannot_be_read_is_noted_and_the_next_one_computed(
    live: LivePlatform,
) -> None:
    model_id = live.create_model()
    live.parts.runner.outcome = outcome({**RESULT, "symbols": 5})
    live.backtest(model_id)
    live.parts.runner.outcome = outcome(RESULT)
    live.backtest(model_id)

    wait_for(lambda: len(kept(live, model_id)) == 2)

    documents = {"problem" in each.document: each.document for each in kept(live, model_id)}
    assert "symbols" in documents[True]["problem"]
    assert documents[False]["metrics"]["trades"] == 2


def test_a_failed_backtest_without_a_result_says_so(live: LivePlatform) -> None:
    live.parts.runner.outcome = Outcome(result=None, problems=(Problem(message="It failed."),))
    model_id = live.create_model()
    live.backtest(model_id)

    wait_for(lambda: kept(live, model_id))

    assert kept(live, model_id)[0].document == {"problem": "it has no result, or not any more"}


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(tmp_path / "data", clock)
    yield store
    store.close()


def add_backtest(store: Store, result: object | None = RESULT) -> str:
    """Add a backtest that ended before anybody computed figures."""
    with store.transaction() as transaction:
        if not transaction.models(store.user_id):
            transaction.add_model(
                store.user_id, "m", model_type="strategy", name="m", description=""
            )
        version = a_version(store.user_id, "m")
        transaction.add_version(version, "")
        backtest_id = transaction.add_backtest(
            version.id, args={}, description="", workplace=store.workplace.id
        )
    if result is not None:
        store.write_result(backtest_id, json.dumps(result).encode())
    with store.transaction() as transaction:
        transaction.end_backtest(backtest_id, BacktestStatus.FINISHED, {"problems": []})
    return backtest_id


def test_what_ended_before_a_crash_is_computed_after_the_next_start(store: Store) -> None:
    backtests = {add_backtest(store) for _ in range(25)}
    thread = FigureKeeper(store, pytest.fail)
    thread.start()

    def computed() -> set[str | None]:
        with store.snapshot() as snapshot:
            return {each.backtest_id for each in snapshot.figures.latest(store.user_id, "m", 100)}

    wait_for(lambda: computed() == backtests)
    thread.close()


def test_a_full_disk_is_told_once_and_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy_action.platform.web.backtests.keeper._SECONDS_AFTER_FAILURE", 0.01)
    add_backtest(store)
    told: list[str] = []
    store.database._connect().execute("ALTER TABLE figures RENAME TO lost")  # noqa: SLF001  # no other way to make writes fail
    thread = FigureKeeper(store, told.append)
    thread.start()
    wait_for(lambda: told)
    store.database._connect().execute("ALTER TABLE lost RENAME TO figures")  # noqa: SLF001  # as above

    def is_computed() -> bool:
        with store.snapshot() as snapshot:
            return bool(snapshot.figures.latest(store.user_id, "m", 1))

    wait_for(is_computed)
    thread.close()
    assert len(told) == 1


def test_a_bug_is_told_and_does_not_stop_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = add_backtest(store), add_backtest(store)

    def compute(path: Path, backtest: Any) -> FiguresDocument:
        if backtest.id == broken:
            raise ZeroDivisionError
        return computed.compute(path, backtest)

    monkeypatch.setattr(keeper, "compute", compute)
    told: list[str] = []
    thread = FigureKeeper(store, told.append)
    thread.start()

    def found() -> dict[str | None, Any]:
        with store.snapshot() as snapshot:
            return {
                each.backtest_id: each.document
                for each in snapshot.figures.latest(store.user_id, "m", 9)
            }

    wait_for(lambda: len(found()) == 2)
    thread.close()
    assert "log of the server" in found()[broken]["problem"]
    assert "metrics" in found()[sound]
    assert "ZeroDivisionError" in told[0]


@pytest.mark.parametrize("is_view_first", [True, False])
def test_figures_and_a_view_are_not_computed_at_the_same_time(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, is_view_first: bool
) -> None:
    """Each result may take hundreds of megabytes."""
    add_backtest(store)
    both, began, computed = threading.Barrier(2), threading.Event(), list[str]()

    def work(name: str) -> dict[str, object]:
        began.set()
        with suppress(threading.BrokenBarrierError):
            both.wait(0.3)
            computed.append("both at once")
        computed.append(name)
        return {"problem": ""}

    monkeypatch.setattr(keeper, "compute", lambda _path, _backtest: work("figures"))
    thread = FigureKeeper(store, pytest.fail)
    view = threading.Thread(
        target=COMPUTED_VIEWS.get, args=(object(), 1, lambda: work("view")), daemon=True
    )
    first, second = (view, thread) if is_view_first else (thread, view)
    first.start()
    assert began.wait(PATIENCE)
    second.start()
    wait_for(lambda: len(computed) == 2)
    view.join()
    thread.close()

    assert computed == (["view", "figures"] if is_view_first else ["figures", "view"])


def test_closing_leaves_the_others_for_the_next_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        add_backtest(store)
    begun: list[str] = []

    def compute(_: Path, backtest: Any) -> dict[str, object]:
        begun.append(backtest.id)
        thread._closing.set()  # noqa: SLF001  # as `close` does, while this one is computed
        return {"problem": ""}

    monkeypatch.setattr(keeper, "compute", compute)
    thread = FigureKeeper(store, pytest.fail)
    thread.start()
    wait_for(lambda: not thread._thread.is_alive())  # noqa: SLF001  # as `close` waits for
    thread.close()

    assert len(begun) == 1
    with store.snapshot() as snapshot:
        assert len(snapshot.figures.lacking(9)) == 2
