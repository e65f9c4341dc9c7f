"""Who hears that the disk is full, and what works then."""

from __future__ import annotations

import errno
import json
import os
import resource
import secrets
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from deploy_action.platform.upkeep.full_disk import FullDiskAlarm
from tests.platform.conftest import StartPlatform
from tests.support.live_fleet import BOT, PROJECT, Fleet, serving_fleet
from tests.support.platform_client import TIMEOUT, Clock, make_bundle
from tests.support.serve_command import serve_command
from tests.support.waiting import PATIENCE, wait_for

FULL = "less than 64 MiB are free"


def test_a_full_disk_is_told_once_a_day() -> None:
    clock, sent = Clock(), list[str]()
    alarm = FullDiskAlarm(lambda: FULL, lambda *message: sent.append(message[1]), monotonic=clock)
    for seconds in (0, 60, 86_339, 1, 60):
        clock.now += seconds
        alarm.tell(FULL)
    assert len(sent) == 2
    assert sent[0].startswith("Less than 64 MiB are free. Deployed models run on")


def test_it_looks_until_the_disk_is_full_whatever_a_look_raises() -> None:
    told, looks = threading.Event(), iter([None, OSError(errno.EIO, "no"), FULL])

    def look() -> str | None:
        found = next(looks, None)
        if isinstance(found, OSError):
            raise found
        return found

    alarm = FullDiskAlarm(look, lambda *_: told.set(), pause=0.001)
    alarm.start()
    assert told.wait(TIMEOUT)
    alarm.close()


def test_a_write_without_room_is_told(
    start_platform: StartPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    platform = start_platform()
    model_id = platform.create_model()
    monkeypatch.setattr(Path, "rename", full)
    assert [platform.deploy(model_id).status_code for _ in range(2)] == [507, 507]
    platform.server.close()  # sends what waits
    notices = [each for each in platform.errors if each.startswith("notice: ")]
    assert len(notices) == 1
    assert notices[0].startswith("notice: The server's disk is full: There was no room")


def look_around(fleet: Fleet) -> None:
    """Do what a stop begins with, and what people look at: it must not fail for want of room."""
    created = fleet.post("/project/create", name="n", description="d" * 100_000)
    assert created.status_code in {500, 507}
    for _ in range(3):
        fleet.sign_in()
        found = requests.get(f"{fleet.url}/project/list", headers=fleet.headers, timeout=TIMEOUT)
        assert [each["name"] for each in found.json()] == ["Personal", PROJECT]
        assert [each["id"] for each in fleet.post("/model/list").json()] == ["m"]
        assert fleet.live("m")["state"] == "running"
        assert "out ready" in fleet.post("/model/logs", modelId="m").text
        health = requests.get(f"{fleet.url}/healthz", timeout=TIMEOUT)
        assert health.status_code == 200 or "the disk is full" in health.text


def test_signing_in_and_looking_write_no_file(tmp_path: Path) -> None:
    with serving_fleet(tmp_path / "data") as fleet:
        fleet.deploy("m")
        fleet.wait_for("m", state="running")
        assert fleet.process is not None
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(fleet.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        look_around(fleet)
        resource.prlimit(fleet.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 8 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a disk, and not in every container")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@contextmanager
def full(disk: Path, *, but: int = 0) -> Iterator[None]:
    """Fill a disk, but for some bytes, until the end of the block."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - but))
    if not but:
        with ballast.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        assert os.statvfs(disk).f_bavail == 0
    yield
    ballast.unlink()


def test_signing_in_and_looking_work_on_a_full_disk(small_disk: Path) -> None:
    with serving_fleet(small_disk / "data") as fleet:
        fleet.deploy("m")
        fleet.wait_for("m", state="running")
        with full(small_disk):
            look_around(fleet)
    with full(small_disk):
        for data in (small_disk / "data", small_disk / "new"):  # one that was used, and a new one
            with serve_command(data, environ={"PLATFORM_TOKEN": secrets.token_hex(8)}) as served:
                assert served.process.wait(PATIENCE) == 2
                assert served.lines[0].startswith(f"error: The disk of {data} is full, so ")
                assert "Traceback" not in "\n".join(served.lines)


UPLOADED = {"projectId": PROJECT, "modelId": "m", "pythonVersion": "3.11", "type": "strategy"}


def upload(fleet: Fleet, path: str, bundle: bytes, **fields: str) -> requests.Response:
    return requests.post(
        f"{fleet.url}{path}",
        headers=fleet.headers,
        data={**UPLOADED, "plan": "large", **fields},
        files={"model": ("model.zip", bundle)},
        timeout=TIMEOUT,
    )


def deploy(fleet: Fleet, bundle: bytes) -> requests.Response:
    return upload(fleet, "/model/deploy", bundle, versionDescription="d")


def backtest(fleet: Fleet, bundle: bytes, **variables: str) -> requests.Response:
    arguments = {"backtestArgs": "{}", "environment": json.dumps(variables)}
    return upload(fleet, "/model/backtest", bundle, backtestDescription="d", **arguments)


def left(fleet: Fleet) -> dict[str, int]:
    """Return how many files or directories there are of each kind that must not be left over."""
    folders = ("incoming", "bundles", "results", "runs/*", "live/copies/*")
    found = {folder: fleet.data.glob(f"{folder}/[!.]*") for folder in folders}
    return {folder: len(list(paths)) for folder, paths in found.items()}


def is_backtesting(fleet: Fleet) -> bool:
    """Return whether the process of a backtest was started."""
    result = f"--result\0{fleet.data}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if result in (process / "cmdline").read_bytes():
                return True
    return False


def test_each_stage_says_that_there_is_no_room_and_works_once_there_is(small_disk: Path) -> None:
    bot = {"bot.py": BOT.replace("VERSION", "'x'").replace("SLOWNESS", "0")}
    small, large = make_bundle(**bot), make_bundle(noise=secrets.token_bytes(600_000), **bot)
    swelling = make_bundle(zeros=bytes(3 << 20), **bot)
    with serving_fleet(small_disk / "data") as fleet:
        assert deploy(fleet, small).status_code == 200
        fleet.wait_for("m", state="running")
        first = fleet.live("m")["versionId"]
        before = left(fleet)

        # The upload, and the rows of one that fits in itself.
        for bundle, free in ((large, 400_000), (small, 0)):
            for send in (deploy, backtest):
                with full(small_disk, but=free):
                    answer = send(fleet, bundle)
                assert answer.status_code == 507, answer.text
                assert "disk of the server is full, so nothing was stored" in answer.text
                assert left(fleet) == before

        # What is unpacked: the version that runs goes on.
        with full(small_disk, but=1 << 20):
            answer = deploy(fleet, swelling)
            assert answer.status_code == 200, answer.text
            failed = answer.json()["versionId"]
            fleet.wait_for("m", state="running", versionId=first, next=None)
            versions = {one["versionId"]: one for one in fleet.details("m")["versions"]}
            version = versions[failed]
            assert version["progress"] == "failed"
            assert "No space left" in version["problem"]
            tested = backtest(fleet, swelling).json()
            assert tested["status"] != "success"
            assert "No space left" in json.dumps(tested)

        # A result: the model could write it, and the server has no room any more.
        with ThreadPoolExecutor(1) as threads:
            variables = {"RESULT_BYTES": "900000", "BACKTEST_SECONDS": "1"}
            asked = threads.submit(backtest, fleet, small, **variables)
            wait_for(lambda: is_backtesting(fleet))  # whose limits are those of before
            assert fleet.process is not None
            unlimited = resource.prlimit(fleet.process.pid, resource.RLIMIT_FSIZE)
            limit = (800_000, unlimited[1])
            resource.prlimit(fleet.process.pid, resource.RLIMIT_FSIZE, limit)
            tested = asked.result().json()
            resource.prlimit(fleet.process.pid, resource.RLIMIT_FSIZE, unlimited)
            assert tested["status"] != "success"
            assert "The platform's disk is full." in json.dumps(tested)
        listed = fleet.details("m")["backtests"]
        assert [one["status"] for one in listed] == ["failed", "failed"]
        assert left(fleet) == {**before, "bundles": before["bundles"] + 3}

        # And all of it works once there is room.
        assert backtest(fleet, small, RESULT_BYTES="900000").json()["result"]["trades"] == []
        last = deploy(fleet, swelling).json()["versionId"]
        fleet.wait_for("m", state="running", versionId=last)
        health = requests.get(f"{fleet.url}/healthz", timeout=TIMEOUT)
        assert "less than 64 MiB" in health.text
