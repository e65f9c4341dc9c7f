"""What cleaning removes, and above all what it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_action.platform.assembly import LiveSettings
from deploy_action.platform.storage.kept_prices import KeptPrices
from deploy_action.platform.storage.records import BacktestStatus, Version, VersionStatus, Wanted
from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.cleaning import Rules, Share, clean
from deploy_action.platform.upkeep.daily import DailyCleaning
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import Clock, Platform
from tests.support.waiting import wait_for

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(tmp_path / "data", clock)
    with store.transaction() as transaction:
        transaction.add_model(
            store.user_id, "m", model_type="strategy", name="Dip", description="Buys"
        )
    yield store
    store.close()


def add_versions(
    store: Store, number: int, status: VersionStatus = VersionStatus.STOPPED
) -> list[str]:
    """Add versions with their bundles and logs, all but the last one replaced."""
    ids = [f"{status}-{each}" for each in range(number)]
    for each in ids:
        with store.transaction() as transaction:
            version = Version(
                id=each, project_id=store.user_id, model_id="m", status=status, description="",
                python_version="3.11", plan="nano", schedule=None, sha256="", bytes=1, files=1,
                created_at=transaction.now,
            )  # fmt: skip
            transaction.add_version(version, "")
        store.bundle_path(each).write_bytes(b"zip")
        log = store.logs.open(each)
        log.write("out", "hello")
        log.close()
    return ids


def bundles(store: Store) -> set[str]:
    return {path.stem for path in (store.data / "bundles").iterdir()}


def cleaned(store: Store, clock: Clock, *, versions: int = 2, days: int = 90) -> dict[str, Share]:
    shares = clean(store, Rules(versions, days), clock.now, removes=True)
    return {share.kind: share for share in shares}


def test_the_newest_versions_of_a_model_are_kept(store: Store, clock: Clock) -> None:
    ids = add_versions(store, 5)
    shares = cleaned(store, clock)
    assert bundles(store) == set(ids[-2:]) == set(store.logs.versions())
    assert (shares["bundles"].unneeded, shares["logs"].unneeded) == (3, 3)
    assert shares["bundles"].unneeded_bytes > 0
    assert cleaned(store, clock)["bundles"].unneeded == 0


@pytest.mark.parametrize("field", ["version_id", "next_id", "stored_id"])
def test_what_runs_or_would_run_is_kept(store: Store, clock: Clock, field: str) -> None:
    oldest, *_ = add_versions(store, 5)
    with store.transaction() as transaction:
        life = transaction.live.new_life(store.user_id, "m")
        transaction.live.keep(replace(life, **{field: oldest}))  # type: ignore[arg-type]  # an id
    cleaned(store, clock)
    assert oldest in bundles(store)


def test_what_rollbacks_would_run_is_kept(store: Store, clock: Clock) -> None:
    """They ran before the current one, as many as are kept; many that came later never ran."""
    first, second, third, current, *_ = add_versions(store, 9)
    with store.transaction() as transaction:
        for each in (first, second, third, current):
            transaction.live.note_ran(store.user_id, "m", each)
    cleaned(store, clock, versions=2)
    assert {second, third, current} < bundles(store)
    assert first not in bundles(store)


def test_the_current_version_is_kept_although_nothing_runs_it(store: Store, clock: Clock) -> None:
    (deployed,) = add_versions(store, 1, VersionStatus.DEPLOYED)
    add_versions(store, 5)
    cleaned(store, clock)
    assert deployed in bundles(store)


def test_a_bundle_that_is_backtested_is_kept_for_as_long_as_it_takes(
    store: Store, clock: Clock
) -> None:
    tested, other = add_versions(store, 2, VersionStatus.BACKTEST)
    with store.transaction() as transaction:
        backtest = transaction.add_backtest(
            tested, args={}, description="", workplace=store.workplace.id
        )
    clock.now += 91 * DAY
    cleaned(store, clock)
    assert bundles(store) == {tested}
    assert other not in bundles(store)
    with store.transaction() as transaction:
        transaction.end_backtest(backtest, BacktestStatus.FINISHED, {"problems": []})
    cleaned(store, clock)
    assert bundles(store) == set()


def test_results_reports_and_prices_are_kept_for_so_many_days(store: Store, clock: Clock) -> None:
    (tested,) = add_versions(store, 1, VersionStatus.BACKTEST)
    with store.transaction() as transaction:
        backtest = transaction.add_backtest(
            tested, args={}, description="", workplace=store.workplace.id
        )
    store.write_result(backtest, b"{}")
    with store.transaction() as transaction:
        transaction.end_backtest(backtest, BacktestStatus.FINISHED, {"problems": []})
    report = store.data / "reports" / "r.json"
    report.parent.mkdir()
    report.write_text("{}")
    prices = store.models_place.path / "prices" / ("a" * 64)
    prices.mkdir(parents=True)
    price = prices / f"{'b' * 32}_1_2_3_4_5_{'c' * 64}.csv"
    price.write_text("1,2\n")
    for each in (report, price):
        os.utime(each, (clock.now, clock.now))
    clock.now += 89 * DAY
    cleaned(store, clock)
    assert store.result_path(backtest).exists()
    assert report.exists()
    assert price.exists()
    clock.now += 2 * DAY
    shares = cleaned(store, clock)
    assert not store.result_path(backtest).exists()
    assert not report.exists()
    assert not price.exists()
    assert [shares[kind].unneeded for kind in ("results", "reports", "prices")] == [1, 1, 1]


def test_an_environment_in_use_is_kept(store: Store, clock: Clock) -> None:
    from deploy_action.platform.environments.locks import FileLock

    environments = store.models_place.path / "environments"
    for name in ("used", "idle"):
        (environments / name).mkdir(parents=True)
        (environments / f"{name}.lock").touch()
        marker = environments / name / "environment.json"
        marker.write_text("{}")
        os.utime(marker, (clock.now - 91 * DAY, clock.now - 91 * DAY))
    with FileLock(environments / "used.lock") as lock:
        assert lock.try_take()
        shares = cleaned(store, clock)
    assert shares["environments"].unneeded == 1
    assert sorted(path.name for path in environments.iterdir()) == ["used", "used.lock"]


def test_without_removing_it_tells_the_same_and_removes_nothing(store: Store, clock: Clock) -> None:
    ids = add_versions(store, 5)
    told = clean(store, Rules(2, 90), clock.now, removes=False)
    assert bundles(store) == set(ids)
    assert clean(store, Rules(2, 90), clock.now, removes=True) == told


def test_the_largest_size_of_prices_still_holds(tmp_path: Path) -> None:
    store = tmp_path / ("a" * 64)
    store.mkdir()
    for number in range(3):
        path = store / f"{'b' * 32}_{number}_2_3_4_5_{'c' * 64}.csv"
        path.write_bytes(bytes(10))
        os.utime(path, (number, number))
    unneeded = KeptPrices(tmp_path, largest=20).unneeded()
    assert [path.name.split("_")[1] for path in unneeded] == ["0"]


def test_a_server_cleans_when_it_starts(start_platform: StartPlatform) -> None:
    platform = start_platform()
    model_id = platform.create_model()
    first, second = (platform.deploy(model_id).json()["versionId"] for _ in range(2))
    platform.server.close()
    with closing(Store(platform.data, platform.clock)) as store, store.transaction() as transaction:
        for life in transaction.live.lives():
            transaction.live.keep(
                replace(life, wanted=Wanted.STOPPED, version_id=None, next_id=None, stored_id=None)
            )
    again = start_platform(live=LiveSettings(rules=Rules(versions=1)))
    wait_for(lambda: again.left_behind() == [f"{second}.zip"])
    assert [version["versionId"] for version in again.versions(model_id)] == [first, second]


def test_a_version_whose_bundle_was_removed_is_refused(platform: Platform) -> None:
    model_id = platform.create_model()
    version_id = platform.deploy(model_id).json()["versionId"]
    (platform.data / "bundles" / f"{version_id}.zip").unlink()
    answer = platform.post(
        "/model/backtest-uploaded-model",
        projectId=platform.user_id,
        modelId=model_id,
        versionId=version_id,
        backtestArgs="{}",
        backtestDescription="Again",
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("The bundle of this version was removed")
    assert platform.backtests(model_id) == []


def test_what_a_dead_process_left_does_not_wait_for_the_next_start(store: Store) -> None:
    left, fresh = store.data / "incoming" / "left", store.data / "incoming" / "fresh"
    cleaning = DailyCleaning(store, Rules(), pytest.fail)
    for path, age in ((left, 3_601), (fresh, 3_599)):
        path.touch()
        os.utime(path, (store.clock() - age,) * 2)
    cleaning.start()
    wait_for(lambda: not left.exists())
    cleaning.close()
    assert fresh.exists()
