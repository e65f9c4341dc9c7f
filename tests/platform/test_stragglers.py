"""Processes that a run leaves behind, found by what they inherited."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy_action.platform.stragglers import end_stragglers, has_processes
from tests.waiting import is_alive, wait_for

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
    """Whatever their names are, and those of strangers."""
    ours, others = str(uuid.uuid4()), str(uuid.uuid4())
    with (
        sleeper(CUT_NAME) as stranger,
        sleeper(BACKTESTING_ID=others) as of_another,
        sleeper(CUT_NAME, BACKTESTING_ID=ours) as first,
        sleeper(BACKTESTING_ID=ours) as second,
    ):
        end_stragglers(ours)

        wait_for(lambda: not is_alive(first) and not is_alive(second))
        assert is_alive(stranger)
        assert is_alive(of_another)


def test_a_user_has_processes_or_has_none() -> None:
    """Ours has, and one that nobody is has not."""
    with sleeper():
        assert has_processes(os.geteuid())
    taken = {path.stat().st_uid for path in Path("/proc").iterdir() if path.name.isdecimal()}
    assert not has_processes(max(taken) + 54_321)
