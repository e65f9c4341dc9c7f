from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import requests

from deploy_action.errors import InvalidInputError
from deploy_action.platform.server import PlatformServer
from deploy_action.platform.storage.store import Store
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import TIMEOUT, Clock, Platform, make_bundle
from tests.support.serving_process import serving


def _deploy(url: str, refresh_token: str, bundle: bytes) -> requests.Response:
    answer = requests.post(
        f"{url}/auth/token", data={"refreshToken": refresh_token}, timeout=TIMEOUT
    ).json()
    return requests.post(
        f"{url}/model/deploy",
        headers={"token": answer["idToken"]},
        data={
            "pythonVersion": "3.10",
            "versionDescription": "d",
            "projectId": answer["data"]["user_id"],
            "modelId": "m",
            "type": "strategy",
            "plan": "nano",
        },
        files={"model": ("m.zip", bundle)},
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize(
    ("point", "versions"),
    [
        ("_Sink.__init__:open:1:c_return", 0),
        ("_Sink.write:write:1:c_return", 0),
        ("_Sink.finish:fsync:1:c_call", 0),
        ("_Sink.finish:close:1:c_return", 0),
        ("Database.rehearsal:execute:1:c_return", 0),
        ("Database.rehearsal:execute:2:c_return", 0),
        ("sync_directory:fsync:1:c_call", 0),
        ("sync_directory:fsync:1:c_return", 0),
        ("Database.transaction:execute:1:c_return", 0),
        ("Transaction.add_version:execute:1:c_return", 0),
        ("Transaction.add_version:execute:2:c_return", 0),
        ("Database.transaction:execute:2:c_call", 0),
        ("Database.transaction:execute:2:c_return", 1),
    ],
)
def test_a_killed_server_leaves_whole_versions_only(
    tmp_path: Path, start_platform: StartPlatform, point: str, versions: int
) -> None:
    data, refresh_token = tmp_path / "data", secrets.token_hex(16)
    bundle = make_bundle(big=secrets.token_bytes(50_000))
    with serving(data, refresh_token, point) as (url, _), pytest.raises(requests.ConnectionError):
        _deploy(url, refresh_token, bundle)

    connection = sqlite3.connect(data / "platform.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    ids = [row[0] for row in connection.execute("SELECT id FROM versions")]
    models = connection.execute("SELECT count(*) FROM models").fetchone()[0]
    connection.close()
    assert (len(ids), models) == (versions, versions)
    for version_id in ids:
        assert (data / "bundles" / f"{version_id}.zip").read_bytes() == bundle

    for path in (*data.glob("incoming/*"), *data.glob("bundles/*")):
        os.utime(path, (0, 0))
    platform = start_platform(data=data)
    assert platform.left_behind() == [f"{version_id}.zip" for version_id in ids]


def test_a_server_killed_from_outside_starts_again(tmp_path: Path) -> None:
    data, refresh_token = tmp_path / "data", secrets.token_hex(16)
    with serving(data, refresh_token) as (url, pid):
        version_id = _deploy(url, refresh_token, make_bundle()).json()["versionId"]
        os.kill(pid, signal.SIGKILL)
    with PlatformServer(data, refresh_token=refresh_token, strict=True) as server:
        platform = Platform(server, data, refresh_token, Clock())
        platform.sign_in()
        assert [version["versionId"] for version in platform.versions("m")] == [version_id]


def test_two_processes_share_a_data_directory(tmp_path: Path) -> None:
    data, refresh_token = tmp_path / "data", secrets.token_hex(16)
    with serving(data, refresh_token) as (first, _), serving(data, refresh_token) as (second, _):
        answers: list[int] = []

        def deploy(url: str) -> None:
            answers.append(_deploy(url, refresh_token, make_bundle()).status_code)

        threads = [threading.Thread(target=deploy, args=(url,)) for url in (first, second) * 6]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 12
    connection = sqlite3.connect(data / "platform.sqlite")
    rows = connection.execute("SELECT status, count(*) FROM versions GROUP BY status").fetchall()
    connection.close()
    assert dict(rows) == {"deployed": 1, "stopped": 11}


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    data, refresh_token = tmp_path / "data", secrets.token_hex(16)
    with serving(data, refresh_token) as (url, pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        bundle = make_bundle(big=secrets.token_bytes(3 << 20))
        answer = _deploy(url, refresh_token, bundle)
        assert answer.status_code == 507
        assert answer.json()["error"].startswith("The disk of the server is full, so nothing was")
        assert list((data / "incoming").iterdir()) == []
        assert list((data / "bundles").iterdir()) == []
        assert _deploy(url, refresh_token, make_bundle()).status_code == 200


@pytest.mark.parametrize("table", ["versions", "backtests"])
def test_a_row_that_cannot_be_written_leaves_no_bundle(platform: Platform, table: str) -> None:
    connection = sqlite3.connect(platform.data / "platform.sqlite")
    connection.execute(
        f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ROLLBACK, 'no room'); END"
    )
    connection.close()
    assert platform.backtest(None, createNew="true").status_code == 500
    assert "no room" in platform.errors.pop()
    assert platform.left_behind() == []
    assert platform.post("/model/list", projectId=platform.user_id).json() == []


def test_only_old_orphans_are_removed(start_platform: StartPlatform) -> None:
    """Another process may be about to store the recent ones."""
    first = start_platform()
    model_id = first.create_model()
    version_id = first.deploy(model_id).json()["versionId"]
    first.server.close()
    for name, age in [("old", 3601), ("young", 3599)]:
        for folder in ("incoming", "bundles"):
            path = first.data / folder / name
            path.touch()
            os.utime(path, (first.clock.now - age,) * 2)
        (first.data / "logs" / name).mkdir()
        (first.data / "logs" / name / "1.log").touch()
        os.utime(first.data / "logs" / name, (first.clock.now - age,) * 2)
    (first.data / "logs" / version_id).mkdir(exist_ok=True)
    for kept in (f"bundles/{version_id}.zip", f"logs/{version_id}"):
        os.utime(first.data / kept, (0, 0))
    second = start_platform()
    assert second.left_behind() == sorted([f"{version_id}.zip", "young", "young"])
    logs = sorted(path.name for path in (first.data / "logs").iterdir())
    assert logs == sorted([version_id, "young"])
    assert second.errors == []


def test_everything_survives_a_restart(start_platform: StartPlatform) -> None:
    first = start_platform()
    model_id = first.create_model()
    first.post("/project/create", name="Fund", description="")
    first.deploy(model_id)
    first.backtest(model_id)
    before = (first.details(model_id), first.get("/project/list").json())
    first.server.close()
    second = start_platform()
    assert (second.details(model_id), second.get("/project/list").json()) == before


def test_the_data_directory_is_its_owners(platform: Platform) -> None:
    model_id = platform.create_model()
    platform.deploy(model_id)
    platform.backtest(model_id)
    passable = [platform.data, runs := platform.data / "runs", *runs.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in passable} == {0o711}
    for path in platform.data.rglob("*"):
        if path not in passable:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("prepared", ["missing", "empty", "mounted"])
def test_a_new_data_directory_is_accepted(tmp_path: Path, prepared: str) -> None:
    """A fresh file system has a `lost+found`."""
    data = tmp_path / "a" / "data"
    if prepared != "missing":
        data.mkdir(parents=True)
    if prepared == "mounted":
        (data / "lost+found").mkdir()
    with PlatformServer(data, refresh_token=secrets.token_hex(16), strict=True) as server:
        assert server.url.startswith("http://127.0.0.1:")


def _problem(data: Path) -> str:
    server = PlatformServer(data, refresh_token=secrets.token_hex(16), strict=True)
    with pytest.raises(InvalidInputError) as raised:
        server.start()
    (problem,) = raised.value.problems
    assert problem.hint
    return problem.message


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    assert "not a data directory of this platform" in _problem(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert "cannot be used" in _problem(path)
    assert "cannot be used" in _problem(path / "data")


def test_a_database_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    """Whoever copied it: exchange keys are in it, and models run as other users."""
    Store(tmp_path, time.time).close()
    database = tmp_path / "platform.sqlite"
    files = [database, tmp_path / "platform.sqlite-wal", tmp_path / "platform.sqlite-shm"]
    with closing(sqlite3.connect(database)) as other:
        other.execute("SELECT * FROM versions").fetchall()
        for file in files:
            file.chmod(0o644)
        with closing(Store(tmp_path, time.time)):
            assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_data_of_another_release_is_refused(start_platform: StartPlatform) -> None:
    platform = start_platform()
    platform.server.close()
    connection = sqlite3.connect(platform.data / "platform.sqlite")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert "written by another release" in _problem(platform.data)


def test_data_of_the_schema_before_is_taken_over(start_platform: StartPlatform) -> None:
    platform = start_platform()
    model_id = platform.create_model()
    platform.deploy(model_id)
    platform.server.close()
    connection = sqlite3.connect(platform.data / "platform.sqlite")
    connection.execute("DROP INDEX versions_by_key")
    for index in ("windows_of_backtest", "wholes_of_version", "versions_to_run"):
        connection.execute(f"DROP INDEX {index}")
    beside = ["windows_beside", "combinations_beside"]
    for column in ("window_of", "window_number", "window_name", *beside):
        connection.execute(f"ALTER TABLE backtests DROP COLUMN {column}")
    connection.execute("CREATE TABLE id_tokens (digest TEXT PRIMARY KEY, expires_at REAL) STRICT")
    for table in (
        *("environments", "lives", "ran", "places", "reports", "figures", "ended_sessions"),
    ):
        connection.execute(f"DROP TABLE {table}")
    added = ["git_commit", "committed_at", "commit_repository", "progress", "problem"]
    added += ["deployed_by", "run_url"]
    for column in ("idempotency_key", *added):
        connection.execute(f"ALTER TABLE versions DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    again = start_platform()
    again.key = "k"
    bundle = make_bundle()
    first, second = (again.deploy(model_id, bundle).json()["versionId"] for _ in range(2))
    assert first == second
    assert len(again.versions(model_id)) == 2


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "platform.sqlite").write_bytes(secrets.token_bytes(8192))
    assert "is damaged: file is not a database" in _problem(tmp_path)
