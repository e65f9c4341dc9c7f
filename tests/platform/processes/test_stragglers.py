"""Processes left behind by a run are found by an inherited variable."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy_action.platform.processes.stragglers import end_stragglers, has_processes
from tests.support.waiting import PATIENCE, is_alive, wait_for

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc is Linux's, and nothing happens elsewhere"
)
# 15 bytes, the last one the first half of a character.
CUT_NAME = b"01234567890123\xc3"


@contextmanager
def sleeper(name: bytes = b"python", **environ: str) -> Iterator[int]:
    """Run a process of that name that does nothing; yield its number."""
    code = (
        "import ctypes, time;"
        f"ctypes.CDLL(None).prctl(15, {name!r}); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_the_processes_of_a_run_are_ended_and_no_others() -> None:
    ours, others = str(uuid.uuid4()), str(uuid.uuid4())
    with (
        sleeper(CUT_NAME) as stranger,
        sleeper(BACKTESTING_ID=others) as of_another,
        sleeper(CUT_NAME, BACKTESTING_ID=ours) as first,
        sleeper(BACKTESTING_ID=ours) as second,
    ):
        end_stragglers(Path(ours))
        wait_for(lambda: not is_alive(first) and not is_alive(second))
        assert is_alive(stranger)
        assert is_alive(of_another)


def test_of_a_run_without_a_user_those_in_its_directory_are_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], cwd=tmp_path) as process:
        if os.geteuid() == 0:  # else it may be an operator's shell
            end_stragglers(tmp_path, 61_778)
            assert process.poll() is None
        end_stragglers(tmp_path)
        assert process.wait(PATIENCE) == -9


def test_a_process_whose_first_thread_has_ended_is_found() -> None:
    """It looks like a zombie, but still runs."""
    run = str(uuid.uuid4())
    code = (
        "import ctypes, threading, time;"
        "threading.Thread(target=time.sleep, args=(60,)).start();"
        "print(flush=True); ctypes.CDLL(None).syscall(60, 0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env={"BACKTESTING_ID": run}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_for(lambda: not is_alive(process.pid))

        end_stragglers(Path(run))

        assert process.wait(PATIENCE) == -9


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_all_processes_of_a_runs_user_are_ended() -> None:
    user = 61_777
    hopper = (
        "import os\nos.setsid()\nwhile True:\n    os.write(1, b'.')\n    os.fork() and os._exit(0)"
    )
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", hopper],
        user=user,
        group=user,
        extra_groups=(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1_000) == b"." * 1_000

        end_stragglers(Path(str(uuid.uuid4())), user)

        process.communicate(timeout=PATIENCE)  # the pipe ends with the last that holds it


def test_whether_a_user_has_processes_is_known() -> None:
    with sleeper():
        assert has_processes(os.geteuid())
    taken = {0}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError):  # it has ended
            taken.add(path.stat().st_uid)
    assert not has_processes(max(taken) + 54_321)
