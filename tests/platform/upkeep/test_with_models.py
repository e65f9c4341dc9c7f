"""Stops, backups and cleaning of a server while its models run, with real processes."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.backup import back_up, restore
from deploy_action.platform.upkeep.cleaning import Rules, clean
from tests.support.live_fleet import Fleet, read_marks, serving_fleet


def told(data: Path) -> dict[str, Counter[str]]:
    """Count the marks of each model's processes."""
    return {
        place: Counter(mark.what for mark in marks) for place, marks in read_marks(data).items()
    }


def running(fleet: Fleet, *models: str, slowness: float = 0.0) -> None:
    for model in models:
        fleet.deploy(model, slowness)
    for model in models:
        fleet.wait_for(model, state="running")


def test_all_models_have_their_teardown_at_the_same_time_when_the_server_stops(
    tmp_path: Path,
) -> None:
    with serving_fleet(tmp_path / "data") as fleet:
        running(fleet, "a", "b", "c", slowness=2.5)
        fleet.end(signal.SIGTERM)
        marks = [mark for each in read_marks(fleet.data).values() for mark in each]
        assert Counter(mark.what for mark in marks) == {
            "begin": 3, "teardown-shutdown": 3, "end": 3
        }  # fmt: skip
        began = [mark.at for mark in marks if mark.what == "teardown-shutdown"]
        ended = [mark.at for mark in marks if mark.what == "end"]
        assert max(began) < min(ended)

        fleet.start()
        for model in ("a", "b", "c"):
            fleet.wait_for(model, state="running")
        assert all(counts["begin"] == 2 for counts in told(fleet.data).values())


def test_what_should_run_runs_once_on_the_machine_that_a_backup_is_restored_on(
    tmp_path: Path,
) -> None:
    with serving_fleet(tmp_path / "old") as fleet:
        running(fleet, "runs", "stopped")
        fleet.stop("stopped")
        fleet.wait_for("stopped", state="stopped")
        back_up(fleet.data, tmp_path / "backup.tar")
    assert restore(tmp_path / "backup.tar", tmp_path / "new") == ["runs (project fleet)"]
    before = told(tmp_path / "new")
    with serving_fleet(tmp_path / "new") as restored:
        restored.wait_for("runs", state="running", wanted="running")
        restored.wait_for("stopped", state="stopped", wanted="stopped")
        after = told(tmp_path / "new")
    assert {place: after[place] - before[place] for place in after} == {
        "1": Counter(begin=1),
        "2": Counter(),
    }


def test_cleaning_leaves_running_models_and_their_rollback_alone(tmp_path: Path) -> None:
    with serving_fleet(tmp_path / "data") as fleet:
        running(fleet, "a")
        first = fleet.live("a")["versionId"]
        running(fleet, "a")
        fleet.wait_for("a", previousVersionId=first)
        second = fleet.live("a")["versionId"]
        fleet.stop("a")
        fleet.wait_for("a", state="stopped")
        for _ in range(3):  # stored, because the model is stopped
            fleet.deploy("a")
        store = Store(fleet.data, time.time)
        shares = clean(store, Rules(versions=1), time.time(), removes=True)
        store.close()
        assert {share.kind: share.unneeded for share in shares}["bundles"] == 2
        fleet.run("a", second)
        fleet.wait_for("a", state="running", versionId=second)
        fleet.run("a", first)
        fleet.wait_for("a", state="running", versionId=first)
        assert "twice" not in told(fleet.data)["1"]
