from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy_action.platform.storage.records import BacktestStatus, State, VersionStatus, WindowPlace
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.figures import Figures
from deploy_action.platform.storage.transaction import Transaction
from tests.support.page_models import add_model, add_version, put_life, put_report, running_model
from tests.support.platform_client import Clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "data", Clock())) as store:
        yield store


def test_reports_are_read_in_pages(store: Store) -> None:
    model, other = add_model(store), add_model(store)
    for number in range(7):
        put_report(store, model, "order", {"n": number}, name=str(number))
        put_report(store, other, "order", {"n": -1}, name=str(number))
        put_report(store, model, "event", {"n": -2})
    key = model.project_id, model.id

    with store.snapshot() as snapshot:
        last = snapshot.reports.latest(*key, "order", 3)
        before = snapshot.reports.latest(*key, "order", 3, before=last[0].number)
        rest = snapshot.reports.latest(*key, "order", 3, before=before[0].number)
        none = snapshot.reports.latest(*key, "order", 3, before=rest[0].number)
        count = snapshot.reports.count(*key, "order")

    pages = [[kept.document["n"] for kept in page] for page in (last, before, rest, none)]
    assert pages == [[4, 5, 6], [1, 2, 3], [0], []]
    assert count == 7


def test_a_report_is_found_by_its_number_and_stays_there(store: Store) -> None:
    model, other = add_model(store), add_model(store)
    for name in ("1", "2"):
        put_report(store, model, "order", {"status": "open"}, name=name)
    put_report(store, model, "order", {"status": "filled"}, name="1")
    key = model.project_id, model.id

    with store.snapshot() as snapshot:
        first, second = snapshot.reports.latest(*key, "order", 9)
        found = snapshot.reports.numbered(*key, "order", first.number)
        of_other = snapshot.reports.numbered(other.project_id, other.id, "order", first.number)
        of_kind = snapshot.reports.numbered(*key, "event", first.number)

    assert (first.name, second.name) == ("1", "2")
    assert found is not None
    assert found.document == {"status": "filled"}
    assert of_other is None
    assert of_kind is None


def test_reports_are_found_by_their_time(store: Store) -> None:
    model = add_model(store)
    for at in (30.0, 10.0, 20.0, 40.0, 20.0):
        put_report(store, model, "event", {}, time=at)

    with store.snapshot() as snapshot:
        found = snapshot.reports.between(model.project_id, model.id, "event", 20.0, 40.0, 3)

    assert [kept.time for kept in found] == [20.0, 20.0, 30.0]


def test_the_latest_of_each_model(store: Store) -> None:
    first, second, silent = add_model(store), add_model(store), add_model(store)
    for model, names in ((first, "ab"), (second, "cd")):
        for name in names:
            put_report(store, model, "order", {}, name=name)
            put_report(store, model, "event", {})
    put_report(store, silent, "event", {})

    with store.snapshot() as snapshot:
        found = snapshot.reports.latest_of_each("order")

    assert {key[1]: kept.name for key, kept in found.items()} == {first.id: "b", second.id: "d"}


def test_the_newest_version_of_each_model_that_can_run(store: Store) -> None:
    first, tested = add_model(store), add_model(store)
    add_version(store, first)
    newest = add_version(store, first)
    for model in (first, tested):
        add_version(store, model, status=VersionStatus.BACKTEST)

    with store.snapshot() as snapshot:
        found = snapshot.live.newest_versions()
        some = snapshot.live.versions([newest.id, "no such version"])

    assert {key[1]: version.id for key, version in found.items()} == {first.id: newest.id}
    assert some == {newest.id: found[first.project_id, first.id]}


def test_what_ran_of_each_model(store: Store) -> None:
    model, other = running_model(store), running_model(store)
    version = add_version(store, model)
    put_life(store, model, State.RUNNING, version_id=version.id)
    add_model(store)

    with store.snapshot() as snapshot:
        every = snapshot.live.histories()
        single = {
            (each.project_id, each.id): snapshot.live.history(each.project_id, each.id)
            for each in (model, other)
        }

    assert every == single
    assert len(every[model.project_id, model.id]) == 2


def test_the_models_of_all_projects(store: Store) -> None:
    models = [add_model(store, project=project) for project in ("p-2", "p-1", "p-2")]

    with store.snapshot() as snapshot:
        assert snapshot.all_models() == models
        found = snapshot.project("p-1")
        assert found is not None
        assert found.name == "Project p-1"
        assert snapshot.project("p-3") is None


def test_a_window_is_there_once_and_can_be_replaced(store: Store) -> None:
    model = add_model(store)
    version = add_version(store, model).id
    with store.transaction() as transaction:
        whole = _backtest(transaction, version)
        window = WindowPlace(whole, 1, "bull")
        first = _backtest(transaction, version, window)
        with pytest.raises(sqlite3.IntegrityError):
            _backtest(transaction, version, window)
        transaction.figures.keep(Figures(version, first, 1.0, {}))
        assert transaction.windows.remove(window) == first
        assert transaction.windows.remove(window) is None
        second = _backtest(transaction, version, window)
        _backtest(transaction, version, WindowPlace(whole, 0, "bear"))
        assert [one.id for one, _ in transaction.figures.of_windows(whole)][1] == second
        assert not transaction.end_backtest(first, BacktestStatus.FINISHED, {})
        assert transaction.end_backtest(second, BacktestStatus.FINISHED, {})


def _backtest(transaction: Transaction, version_id: str, window: WindowPlace | None = None) -> str:
    return transaction.add_backtest(
        version_id, args={}, description="", workplace="w", window=window
    )
