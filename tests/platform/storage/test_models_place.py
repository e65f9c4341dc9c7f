"""Where models are, and what is done about those of platforms that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy_action.platform.processes.unprivileged import draw_user
from deploy_action.platform.storage import data_directory, models_place
from deploy_action.platform.storage.models_place import find_models_place
from tests.support.isolated import as_root, python_for_all
from tests.support.waiting import is_alive


def test_models_are_below_the_data_if_their_users_may_enter(tmp_path: Path) -> None:
    place = find_models_place(tmp_path)
    assert (place.path, place.obstacle) == (tmp_path, None)


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755 & ~0o001])
def test_models_are_elsewhere_if_their_users_may_not_enter_the_data(
    tmp_path: Path, mode: int
) -> None:
    data = tmp_path / "runner" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(mode)
    place = find_models_place(data)
    assert place.obstacle is not None
    assert f"may not enter {data.parent}" in place.obstacle.reason
    assert place.path.stat().st_uid == 0
    assert place.path.stat().st_mode & 0o7777 == 0o711
    draw_user([place.path])
    with suppress(OSError):  # somebody uses it
        place.path.rmdir()


@as_root
def test_a_place_elsewhere_that_others_may_have_filled_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, open_to_all, ours = (tmp_path / name for name in ("data", "open", "ours"))
    for directory in (data, open_to_all, ours, open_to_all / "blankly-deploy" / "environments"):
        directory.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    (open_to_all / "blankly-deploy").chmod(0o777)
    monkeypatch.setattr(models_place, "_ELSEWHERE", (str(open_to_all), str(ours)))
    assert find_models_place(data).path == ours / "blankly-deploy"


@as_root
def test_models_places_are_passable_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        data_directory.make_passable(tmp_path / data_directory.RUNS)
        workplace = data_directory.Workplace(tmp_path)
    finally:
        os.umask(before)
    draw_user([workplace.path])
    workplace.close()


@contextmanager
def left_behind(directory: Path, user: int | None) -> Iterator[int]:
    """Run a process that a killed platform and launcher left: nothing names its run."""
    command = [str(python_for_all()), "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(
        command,
        cwd=directory,
        env={},
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
            assert process.wait(20) == -signal.SIGKILL
        finally:
            process.kill()


def abandoned(data: Path) -> Path:
    """Return the directory of a run in a workplace whose process is dead."""
    private = data / data_directory.RUNS / "workplace" / "run"
    private.mkdir(parents=True)
    (private.parent / ".lock").touch()
    return private


@as_root
def test_a_restart_ends_all_processes_of_the_user_of_a_killed_run(tmp_path: Path) -> None:
    private, user = abandoned(tmp_path), draw_user([])
    os.chown(private, user, user)
    with left_behind(Path("/"), user), bystander() as other:
        assert data_directory.remove_abandoned_workplaces(tmp_path) == []
        assert is_alive(other)
    assert not private.parent.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_restart_ends_processes_in_the_directory_of_a_killed_run(tmp_path: Path) -> None:
    """All that an ordinary user can tell when the launcher was killed, too."""
    private = abandoned(tmp_path)
    with left_behind(private, None), bystander() as other:
        assert data_directory.remove_abandoned_workplaces(tmp_path) == []
        assert is_alive(other)
    assert not private.parent.exists()


@contextmanager
def bystander() -> Iterator[int]:
    """Run a process that is nobody's."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()
