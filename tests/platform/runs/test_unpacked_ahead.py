"""An upload is unpacked once: to be checked, and for its backtest where that begins at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy_action.platform.api.operations import uploads
from deploy_action.platform.assembly import BacktestSettings
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.runs import model_run, unpacking
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from deploy_action.platform.runs.model_run import BacktestRequest, Outcome
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import Platform, make_bundle
from tests.support.scripted_runner import finished
from tests.support.waiting import wait_for

FILES = {"bot.py": "print()", "prices/a.csv": "1,2\n" * 1_000}


@dataclass(slots=True)
class LookingRunner:
    """Notes what it finds unpacked; while `gate` is closed, its backtests do not end."""

    found: list[dict[str, str] | None] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        self.found.append(None if request.unpacked is None else contents(request.unpacked))
        while not self.gate.wait(0.01):
            if stop.is_set():
                raise StoppedError
        return finished()


def contents(directory: Path) -> dict[str, str]:
    assert directory.stat().st_mode & 0o077 == 0
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory / "model")): path.read_text() for path in files}


def copies(platform: Platform) -> list[Path]:
    return [path for path in (platform.data / "runs").glob("*/*") if path.is_dir()]


def start(start_platform: StartPlatform, runner: LookingRunner) -> tuple[Platform, str]:
    platform = start_platform(running=BacktestSettings(runner=runner, parallel=1))
    return platform, platform.create_model()


def test_a_backtest_that_begins_at_once_finds_its_model_unpacked(
    start_platform: StartPlatform,
) -> None:
    runner = LookingRunner()
    runner.gate.set()
    platform, model_id = start(start_platform, runner)
    assert platform.backtest(model_id, make_bundle(**FILES)).json()["status"] == "success"
    assert runner.found == [{"blankly.json": '{"type": "strategy"}', **FILES}]
    assert copies(platform) == []


def test_what_waits_takes_no_room_on_the_disk(start_platform: StartPlatform) -> None:
    runner = LookingRunner()
    platform, model_id = start(start_platform, runner)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(platform.backtest, model_id, make_bundle(**FILES))
        wait_for(lambda: runner.found)
        others = [threads.submit(platform.backtest, model_id, make_bundle()) for _ in range(2)]
        wait_for(lambda: len(platform.backtests(model_id)) == 3)
        taken = len(copies(platform))
        runner.gate.set()
    assert taken == 1
    assert [each.result().json()["status"] for each in (first, *others)] == ["success"] * 3
    assert runner.found[1:] == [None, None]
    assert copies(platform) == []


def test_a_damaged_upload_leaves_nothing(start_platform: StartPlatform) -> None:
    runner = LookingRunner()
    platform, model_id = start(start_platform, runner)
    content = "not the content that the checksum is of"
    bundle = make_bundle(**{"noise.py": "x = 1\n", "a.py": content})
    damaged = bytearray(bundle)
    damaged[bundle.index(b"model/a.py") + len("model/a.py") + 4] ^= 0xFF
    answer = platform.backtest(model_id, bytes(damaged))
    assert answer.status_code == 400
    assert "'model/a.py' is damaged" in answer.json()["error"]
    assert (runner.found, copies(platform), platform.left_behind()) == ([], [], [])


def test_a_refused_request_leaves_nothing(start_platform: StartPlatform) -> None:
    """Its bundle is good and unpacked when its model turns out to be gone."""
    runner = LookingRunner()
    platform, model_id = start(start_platform, runner)
    original = unpacking.unpack

    def unpack_and_delete(bundle: Path, destination: Path) -> Path:
        found = original(bundle, destination)
        deleted = platform.post("/model/delete", projectId=platform.user_id, modelId=model_id)
        assert deleted.status_code == 200
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "unpack", unpack_and_delete)
        answer = platform.backtest(model_id, make_bundle(**FILES))
    assert answer.status_code == 400
    assert (runner.found, copies(platform), platform.left_behind()) == ([], [], [])


def test_where_there_is_no_room_for_it_the_upload_is_checked_all_the_same(
    start_platform: StartPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(_bundle: Path, destination: Path) -> Path:
        (destination / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "unpack", unpack)
    runner = LookingRunner()
    runner.gate.set()
    platform, model_id = start(start_platform, runner)
    bundle = make_bundle(**FILES)
    assert platform.backtest(model_id, bundle).json()["status"] == "success"
    assert (runner.found, copies(platform)) == ([None], [])
    damaged = bytearray(bundle)
    damaged[bundle.index(b"model/bot.py") + len("model/bot.py") + 4] ^= 0xFF
    assert "damaged" in platform.backtest(model_id, bytes(damaged)).json()["error"]


def test_one_that_is_stopped_before_it_began_leaves_nothing(start_platform: StartPlatform) -> None:
    runner = LookingRunner()
    platform, model_id = start(start_platform, runner)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(platform.backtest, model_id, make_bundle(**FILES))
        wait_for(lambda: runner.found)
        assert len(copies(platform)) == 1
        platform.server.close()
        assert answer.result().json()["status"] == "stopped"
    assert copies(platform) == []


def test_the_run_takes_what_was_unpacked(
    start_platform: StartPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real runner: it fails at `blankly.json`, which it reads before it makes anything."""

    def unpack(bundle: Path, _destination: Path) -> Path:
        raise AssertionError(f"{bundle} was unpacked twice")

    monkeypatch.setattr(model_run, "unpack", unpack)
    settings = BacktestSettings(isolation=Isolation(AsRoot.ALLOWED), parallel=1)
    platform = start_platform(running=settings)
    model_id = platform.create_model()
    answer = platform.backtest(model_id, make_bundle(**{"other.py": "print()"}))
    assert "`main_script` is `bot.py`, which does not exist." in answer.json()["error"]
    assert copies(platform) == []
