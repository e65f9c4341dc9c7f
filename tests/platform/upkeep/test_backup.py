"""Backups of a data directory, and what comes back from them."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_action.errors import DeployActionError, InvalidInputError, RefusedError
from deploy_action.platform.storage.records import Wanted
from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.backup import back_up, restore
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import Platform


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def filled(platform: Platform) -> Platform:
    """Return a platform with two versions, a result, a token, and what need not be kept."""
    model_id = platform.create_model()
    for _ in range(2):
        assert platform.deploy(model_id).status_code == 200
    assert platform.backtest(model_id).json()["status"] == "success"
    (platform.data / "refresh-token").write_text(f"{secrets.token_hex(16)}\n")
    (platform.data / "environments").mkdir()
    (platform.data / "environments" / "large").touch()
    return platform


def test_what_was_backed_up_comes_back(
    filled: Platform, start_platform: StartPlatform, tmp_path: Path
) -> None:
    (model,) = filled.post("/model/list", projectId=filled.user_id).json()
    before = filled.details(model["id"])
    back_up(filled.data, tmp_path / "backup.tar")
    filled.deploy(model["id"])  # afterwards: not in the backup

    restore(tmp_path / "backup.tar", tmp_path / "restored")

    again = start_platform(data=tmp_path / "restored")
    assert again.details(model["id"]) == before
    assert again.left_behind() == sorted(f"{one['versionId']}.zip" for one in all_versions(again))
    name = "refresh-token"
    assert (again.data / name).read_text() == (filled.data / name).read_text()
    assert not (again.data / "environments" / "large").exists()


def all_versions(platform: Platform) -> list[dict[str, object]]:
    database = platform.data / "platform.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        return [{"versionId": row[0]} for row in connection.execute("SELECT id FROM versions")]


def test_a_backup_of_a_busy_server_has_the_file_of_each_version(
    filled: Platform, tmp_path: Path
) -> None:
    (model,) = filled.post("/model/list", projectId=filled.user_id).json()
    enough = threading.Event()

    def deploy() -> None:
        while not enough.is_set():
            filled.deploy(model["id"])

    thread = threading.Thread(target=deploy)
    thread.start()
    try:
        for number in range(5):
            file = tmp_path / f"{number}.tar"
            back_up(filled.data, file)
            with tarfile.open(file) as archive:
                archive.extract("platform.sqlite", tmp_path / str(number), filter="data")
                kept = {Path(name).stem for name in archive.getnames()}
            with closing(sqlite3.connect(tmp_path / str(number) / "platform.sqlite")) as connection:
                stored = {row[0] for row in connection.execute("SELECT id FROM versions")}
            assert stored <= kept
    finally:
        enough.set()
        thread.join()


def test_only_the_owner_may_read_a_backup(filled: Platform, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    backup = back_up(filled.data, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert backup.bytes == file.stat().st_size
    assert backup.notes == ""


def test_relative_paths_are_those_of_the_caller(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filled.data.parent)
    back_up(Path(filled.data.name), Path("backup.tar"))
    restore(Path("backup.tar"), Path("restored"))
    assert (filled.data.parent / "restored" / "platform.sqlite").is_file()


def test_the_models_that_will_run_are_named(filled: Platform, tmp_path: Path) -> None:
    model_id = filled.post("/model/list", projectId=filled.user_id).json()[0]["id"]
    store = Store(filled.data, filled.clock)
    with store.transaction() as transaction:
        life = transaction.live.new_life(filled.user_id, model_id)
        life = replace(life, wanted=Wanted.RUNNING, next_id=str(all_versions(filled)[0]))
        transaction.live.keep(life)
    back_up(filled.data, tmp_path / "running.tar")
    with store.transaction() as transaction:
        transaction.live.keep(replace(life, wanted=Wanted.STOPPED, next_id=None))
    back_up(filled.data, tmp_path / "stopped.tar")
    store.close()
    running = restore(tmp_path / "running.tar", tmp_path / "a")
    assert running == ["Golden cross (project Personal)"]
    assert restore(tmp_path / "stopped.tar", tmp_path / "b") == []


def test_what_models_wrote_comes_back_and_no_link_leads_out(
    filled: Platform, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of another")
    state = filled.data / "state" / "1"
    state.mkdir(parents=True)
    (state / "kept.json").write_text("{}")
    (state / "link").symlink_to(tmp_path / "secret")
    back_up(filled.data, tmp_path / "backup.tar")
    (tmp_path / "secret").unlink()
    restore(tmp_path / "backup.tar", tmp_path / "restored")
    restored = tmp_path / "restored" / "state" / "1"
    assert (restored / "kept.json").read_text() == "{}"
    assert (restored / "link").is_symlink()
    assert "of another" not in (tmp_path / "backup.tar").read_text(errors="replace")


def test_what_comes_back_is_for_the_owner_only(filled: Platform, tmp_path: Path) -> None:
    """A model chose the modes of its files, which are ours (root's, too) from then on."""
    state = filled.data / "state" / "1"
    state.mkdir(parents=True)
    program = state / "sh"
    program.touch()
    program.chmod(0o6755)
    state.chmod(0o3777)
    before = os.umask(0)
    try:
        back_up(filled.data, tmp_path / "backup.tar")
        restore(tmp_path / "backup.tar", tmp_path / "restored")
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path / "restored")): stat.S_IMODE(path.lstat().st_mode)
        for path in (tmp_path / "restored").rglob("*")
    }
    assert (modes["state/1/sh"], modes["state/1"]) == (0o700, 0o700)
    assert modes["platform.sqlite"] == 0o600
    # Other users have to reach what is theirs in these.
    assert {name for name, mode in modes.items() if mode & 0o077} == {"runs", "state"}
    assert {modes["runs"], modes["state"]} == {0o711}
    with tarfile.open(tmp_path / "backup.tar") as archive:  # whoever unpacks it without us
        assert archive.getmember("platform.sqlite").mode == 0o600


def test_holes_in_a_file_take_no_room(filled: Platform, tmp_path: Path) -> None:
    """A model may make a file that is larger than the server's disk."""
    state = filled.data / "state" / "1"
    state.mkdir(parents=True)
    with (state / "sparse").open("wb") as file:
        file.write(b"begin")
        file.truncate(1 << 30)
    assert back_up(filled.data, tmp_path / "backup.tar").bytes < 10 << 20
    restore(tmp_path / "backup.tar", tmp_path / "restored")
    restored = tmp_path / "restored" / "state" / "1" / "sparse"
    assert restored.stat().st_size == 1 << 30
    assert restored.stat().st_blocks * 512 < 1 << 20
    with restored.open("rb") as file:
        assert file.read(6) == b"begin\0"


def test_no_file_is_replaced_and_no_directory_mixed(filled: Platform, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    back_up(filled.data, file)
    before = file.read_bytes()
    with pytest.raises(InvalidInputError, match="exists already"):
        back_up(filled.data, file)
    with pytest.raises(InvalidInputError, match="is not empty"):
        restore(file, filled.data)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"no tar", "cannot be restored"), (bytes(10240), "is not a backup")],
)
def test_a_file_that_is_no_backup_leaves_nothing(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(content)
    with pytest.raises(DeployActionError, match=why):
        restore(file, tmp_path / "restored")
    assert names(tmp_path / "restored") == []


def test_half_a_backup_leaves_nothing(filled: Platform, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    (filled.data / "logs").mkdir(exist_ok=True)
    (filled.data / "logs" / "long").write_bytes(secrets.token_bytes(1 << 20))
    back_up(filled.data, file)
    file.write_bytes(file.read_bytes()[: 1 << 19])
    with pytest.raises(RefusedError, match="Unexpected EOF"):
        restore(file, tmp_path / "restored")
    assert names(tmp_path / "restored") == []


def test_a_backup_that_cannot_be_written_leaves_nothing(filled: Platform, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be written"):
        back_up(filled.data, tmp_path / "nowhere" / "backup.tar")
    with pytest.raises(InvalidInputError, match="not a data directory"):
        back_up(tmp_path, tmp_path / "backup.tar")
    assert not (tmp_path / "backup.tar").exists()


def test_a_damaged_database_is_neither_backed_up_nor_restored(
    filled: Platform, tmp_path: Path
) -> None:
    """Or backups of it would take the places of good ones."""
    filled.server.close()
    back_up(filled.data, tmp_path / "good.tar")
    with closing(sqlite3.connect(filled.data / "platform.sqlite")) as connection, connection:
        connection.execute("DELETE FROM models")
    with pytest.raises(InvalidInputError, match="is damaged: a row of versions") as raised:
        back_up(filled.data, tmp_path / "backup.tar")
    assert "Restore the latest backup" in raised.value.problems[0].hint
    assert names(tmp_path) == ["data", "good.tar"]

    with tarfile.open(tmp_path / "bad.tar", "w") as bad:
        bad.add(filled.data / "platform.sqlite", "platform.sqlite")
    with pytest.raises(InvalidInputError, match="is damaged: a row of versions") as raised:
        restore(tmp_path / "bad.tar", tmp_path / "restored")
    assert raised.value.problems[0].hint == "Restore an earlier backup."
    assert list((tmp_path / "restored").iterdir()) == []


def test_the_backup_of_a_later_release_is_refused(filled: Platform, tmp_path: Path) -> None:
    back_up(filled.data, tmp_path / "backup.tar")
    restore(tmp_path / "backup.tar", tmp_path / "later")
    with closing(sqlite3.connect(tmp_path / "later" / "platform.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 1000")
    back_up(tmp_path / "later", tmp_path / "later.tar")
    with pytest.raises(InvalidInputError, match="a later release"):
        restore(tmp_path / "later.tar", tmp_path / "restored")
