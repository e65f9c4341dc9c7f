"""Models with years of versions, backtests and windows: clients go on reading what matters.

A client refuses an answer of more than 16 MiB. A backtest of the history takes 1.6 KiB of it, and
one run may leave two hundred of them behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.deployment_api.live import LiveApi
from deploy_action.deployment_api.transport import Transport
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline
from deploy_action.platform.storage.records import Model, VersionStatus, WindowPlace
from deploy_action.platform.storage.transaction import Transaction
from tests.support.page_models import add_version
from tests.support.scripted_live_server import LivePlatform

_WINDOWS = 100


class History:
    """A model, and what is written straight into its server's store."""

    def __init__(self, live: LivePlatform) -> None:
        self.live, self.store = live, live.parts.store
        self.model_id = live.create_model()
        with self.store.snapshot() as snapshot:
            model = snapshot.model(live.user_id, self.model_id)
        assert model is not None
        self.model: Model = model

    def tested(self, count: int, windows: int = 0) -> list[str]:
        """Add backtests, each of an upload of its own, and return their ids."""
        found = []
        for _ in range(count):
            self.live.clock.now += 1.0
            version = add_version(self.store, self.model, status=VersionStatus.BACKTEST).id
            with self.store.transaction() as transaction:
                given = {"args": {"to": "1y"}, "description": "Raise the stop", "workplace": "w"}
                whole = transaction.add_backtest(version, **given)  # type: ignore[arg-type]  # named
                for number in range(1, windows + 1):
                    window = WindowPlace(whole, number, f"part {number}")
                    transaction.add_backtest(version, **given, window=window)  # type: ignore[arg-type]  # named
                found.append(whole)
        return found

    def deployed(self, count: int) -> list[str]:
        """Add versions that were replaced, and return their ids."""
        return [
            add_version(self.store, self.model, status=VersionStatus.STOPPED).id
            for _ in range(count)
        ]

    def details(self, **asked: str) -> dict[str, Any]:
        return self.live.details(self.model_id, **asked)

    def listed(self, **asked: str) -> list[str]:
        return [one["backtestId"] for one in self.details(**asked)["backtests"]]

    def versions(self, **asked: str) -> list[str]:
        return [one["versionId"] for one in self.details(**asked)["versions"]]

    def steps(self, read: Callable[[Transaction], object]) -> int:
        """Return how many steps SQLite takes to read something."""
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        with closing(sqlite3.connect(self.live.data / "platform.sqlite")) as connection:
            transaction = Transaction(connection, 0.0)
            connection.set_progress_handler(step, 1)
            read(transaction)
        return count


@pytest.fixture
def history(live: LivePlatform) -> History:
    return History(live)


def test_windows_are_listed_only_where_they_are_asked_for(history: History) -> None:
    first, second = history.tested(2, windows=_WINDOWS)
    answer = history.live.post(
        "/model/details", projectId=history.live.user_id, modelId=history.model_id
    )

    assert history.listed() == [first, second]
    assert len(answer.content) < 16 << 10
    windows = history.details(windowOf=first)["backtests"]
    assert [one["windowNumber"] for one in windows] == list(range(1, _WINDOWS + 1))
    assert {one["windowOf"] for one in windows} == {first}
    assert history.listed(windowOf="none") == []
    other = History(history.live)
    assert other.listed(windowOf=first) == []


def test_the_newest_hundred_backtests_are_listed_and_more_where_they_are_asked_for(
    history: History,
) -> None:
    every = history.tested(105)

    assert history.listed() == every[-100:]
    assert history.listed(backtests="1000") == every
    assert history.listed(backtests="2") == every[-2:]
    assert history.listed(backtests="0") == []
    assert history.listed(backtests="2", backtestId=every[0]) == [every[0], *every[-2:]]
    assert history.listed(backtests="2", backtestId=every[-1]) == every[-2:]
    refused = history.live.post(
        "/model/details",
        projectId=history.live.user_id, modelId=history.model_id, backtests="all",
    )  # fmt: skip
    assert refused.json() == {"error": "backtests must be a whole number"}


def test_the_newest_hundred_versions_are_listed_and_those_that_matter_now(
    history: History,
) -> None:
    live = history.live
    running = live.run_a_version(history.model_id)
    (old, *newer) = history.deployed(103)
    uploaded = history.tested(1)

    assert history.versions() == [running, *newer[-100:]]
    assert history.versions(versions="1") == [running, newer[-1]]
    assert history.versions(versions="0", versionId=old) == [running, old]
    assert history.versions(versions="200") == [running, old, *newer]
    document = history.details(versions="0")
    assert document["deployedVersion"] == document["live"]["versionId"] == running
    (tested,) = history.details()["backtests"]
    assert [tested["backtestId"]] == uploaded
    assert history.versions(versions="0", versionId=tested["versionId"]) == [running]


def test_what_nobody_asked_for_is_not_read(history: History) -> None:
    """Clients ask every few seconds while they wait."""
    key = history.model.project_id, history.model.id
    history.deployed(5)
    history.tested(20)

    def backtests(transaction: Transaction) -> object:
        return transaction.newest_backtests(*key, 10)

    def versions(transaction: Transaction) -> object:
        return transaction.uploaded.newest(*key, 10), transaction.uploaded.deployed(*key)

    before = history.steps(backtests)
    with history.store.transaction() as transaction:
        (newest,) = transaction.newest_backtests(*key, 1)
        for number in range(1, 2_001):
            window = WindowPlace(newest.id, number, "part")
            transaction.add_backtest(
                newest.version_id, args={}, description="", workplace="w", window=window
            )
    assert history.steps(backtests) == before

    of_versions = history.steps(versions)
    history.tested(200)
    assert history.steps(versions) == of_versions
    assert history.steps(backtests) - before < 200 * 20  # it reads the index, and no rows


def test_the_action_asks_for_what_it_needs(history: History) -> None:
    live = history.live
    running = live.run_a_version(history.model_id)
    old, *newer = history.deployed(20)
    history.tested(3)
    transport = Transport(live.server.url, Retries(Deadline.after(1)))
    api = DeploymentApi(transport, live.refresh_token, lambda _secret: None)
    api.sign_in()

    described = LiveApi(api, live.user_id, history.model_id)
    assert list(described.describe().versions) == [running, *newer[-10:]]
    assert list(described.describe(old).versions) == [running, old, *newer[-10:]]
    found = api.history(live.user_id, history.model_id)
    assert list(found.versions or ()) == [running, old, *newer]
    assert len(found.backtests or ()) == 3
