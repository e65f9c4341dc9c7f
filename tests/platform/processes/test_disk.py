"""What a command may write: each file, and all files together, is bounded."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from deploy_action.platform.processes import launcher
from deploy_action.platform.processes.child_process import run_process
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.processes.unprivileged import draw_user, hand_over
from tests.support.isolated import as_root, python_for_all

MEGABYTE = 1_000_000
WAITS = "\nprint('written', flush=True)\ntime.sleep(60)\n"
MANY_FILES = f"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("told"))
for number in range(30):
    with open(str(number), "wb") as file:
        file.write(bytes({MEGABYTE}))
"""
NO_BYTES = """
import time
for number in range(30_000):
    open(str(number), "w").close()
"""
# Deeper than any path may be.
DEEP = """
import os, time
for number in range(30):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
"""
SHARED = f"""
import os, tempfile, time
for place in ("/tmp", "/dev/shm"):
    handle, path = tempfile.mkstemp(dir=place)
    os.write(handle, bytes(11 * {MEGABYTE}))
    print(path, flush=True)
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")


def run(
    code: str, place: Path, user: int | None = None, megabytes: int = 20
) -> tuple[Ended, list[str]]:
    """Run code in a place with a limit; return how it ended, and what it printed."""
    lines: list[str] = []
    ended = run_process(
        [str(python_for_all()), "-c", code],
        cwd=place,
        environ={},
        on_line=lines.append,
        stop=threading.Event(),
        confinement=Confinement(user=user, disk_bytes=megabytes * MEGABYTE, places=(str(place),)),
    )
    return ended, lines


@pytest.mark.parametrize("code", [MANY_FILES, NO_BYTES, DEEP])
def test_a_command_whose_files_take_too_much_is_ended(code: str, tmp_path: Path) -> None:
    ended, lines = run(code + WAITS, tmp_path)
    assert ended.out_of_disk
    assert ended.left == 0
    if code == MANY_FILES:  # it was told first
        assert ended.code == 1
        assert lines[-1] == "told"


def test_a_command_that_keeps_to_its_limit_is_left_alone(tmp_path: Path) -> None:
    code = MANY_FILES + "time.sleep(1)\nprint('over')"
    ended, lines = run(code, tmp_path, megabytes=40)
    assert ended == Ended(0)
    assert lines == ["over"]


def test_no_file_gets_larger_than_all_may_be(tmp_path: Path) -> None:
    code = """
try:
    open("file", "wb").truncate(1 << 40)
except OSError as error:
    print(error.strerror)
"""
    assert run(code, tmp_path) == (Ended(0), ["File too large"])


def test_a_file_that_is_gone_hides_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a model that makes and removes files all the time might have any number."""
    for number in range(10):
        (tmp_path / str(number)).write_bytes(bytes(MEGABYTE))

    def scandir(place: str) -> list[os.DirEntry[str]]:
        found = [*os_scandir(place)]
        Path(found[0].path).unlink()
        return found

    os_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    *_, total = launcher.sizes_of([str(tmp_path)], None)
    assert total >= 9 * MEGABYTE


@as_root
def test_files_of_a_user_of_its_own_count_in_directories_of_everybodys(tmp_path: Path) -> None:
    """Those of others do not, and what it made is removed."""
    others = Path("/tmp") / f"{tmp_path.parent.parent.name}-others"  # noqa: S108  # as a model has it
    others.write_bytes(bytes(25 * MEGABYTE))
    try:
        user = draw_user([tmp_path])
        hand_over(tmp_path, user)
        ended, lines = run("import time; time.sleep(1); print('over')", tmp_path, user)
        assert (ended, lines) == (Ended(0), ["over"])
        ended, lines = run(SHARED + WAITS, tmp_path, user)
        assert ended.out_of_disk
        assert [path for path in lines if os.path.lexists(path)] == []
    finally:
        others.unlink()
