"""Who hears that the disk is full, and what works then."""

from __future__ import annotations

import errno
import os
import resource
import secrets
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from deploy_action.platform.upkeep.full_disk import FullDiskAlarm
from tests.platform.conftest import StartPlatform
from tests.support.live_fleet import PROJECT, Fleet, serving_fleet
from tests.support.platform_client import TIMEOUT, Clock
from tests.support.serve_command import serve_command
from tests.support.waiting import PATIENCE

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


def test_signing_in_and_looking_work_on_a_full_disk(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a disk, and not in every container")
    ballast = tmp_path / "ballast"
    try:
        with serving_fleet(tmp_path / "data") as fleet:
            fleet.deploy("m")
            fleet.wait_for("m", state="running")
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            assert os.statvfs(tmp_path).f_bavail == 0
            look_around(fleet)
            ballast.unlink()
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        for data in (tmp_path / "data", tmp_path / "new"):  # one that was used, and a new one
            with serve_command(data, environ={"PLATFORM_TOKEN": secrets.token_hex(8)}) as served:
                assert served.process.wait(PATIENCE) == 2
                assert served.lines[0].startswith(f"error: The disk of {data} is full, so ")
                assert "Traceback" not in "\n".join(served.lines)
        ballast.unlink()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
