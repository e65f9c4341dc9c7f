"""How much memory there is: of the machine, and in control groups of both versions."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy_action.platform.processes.child_process import run_process
from deploy_action.platform.processes.launcher import memory_of
from deploy_action.platform.processes.memory import MEMORY, Memory

MIB = 1 << 20
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
# Holds 40 MiB in each of three processes, one of which has a parent that has ended.
TREE = """
import os, sys, time
held = b"x" * (40 << 20)
if os.fork() == 0:
    if os.fork() == 0:
        held = b"y" * (40 << 20)
        print("ready", flush=True)
        time.sleep(float(sys.argv[1]))
    os._exit(0)
os.wait()
if os.fork() == 0:
    held = b"z" * (40 << 20)
    time.sleep(float(sys.argv[1]))
    os._exit(0)
os.wait()
"""


def machine(root: Path, available: int, own: str, files: Mapping[str, str]) -> Memory:
    """Return the memory of a made-up machine; `files` are those of its control groups."""
    proc, groups = root / "proc", root / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {available >> 10} kB\n")
    (proc / "self" / "cgroup").write_text(own)
    for name, content in files.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Memory(proc, groups)


def test_without_limits_it_is_what_the_kernel_estimates(tmp_path: Path) -> None:
    files = {"a/memory.max": "max\n", "a/memory.current": f"{MIB}\n"}
    assert machine(tmp_path, 700 * MIB, "0::/a\n", files).available() == 700 * MIB


def test_a_control_group_leaves_less(tmp_path: Path) -> None:
    """What it can give back, pages of files that were not read for a while, does not count."""
    files = {
        "a/b/memory.max": "max\n",
        "a/memory.max": f"{500 * MIB}\n",
        "a/memory.current": f"{300 * MIB}\n",
        "a/memory.stat": f"anon 5\ninactive_file {100 * MIB}\nactive_file {90 * MIB}\n",
    }
    memory = machine(tmp_path, 700 * MIB, "1:cpu:/x\n0::/a/b\n", files)
    assert memory.available() == 300 * MIB
    assert memory.limit() == 400 * MIB


def test_control_groups_of_version_1_count_too(tmp_path: Path) -> None:
    """In a container the path is that of the host, and its own group is the root."""
    files = {
        "memory/memory.limit_in_bytes": f"{500 * MIB}\n",
        "memory/memory.usage_in_bytes": f"{450 * MIB}\n",
        "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {10 * MIB}\n",
    }
    own = "5:cpuset:/\n4:cpu,memory:/docker/1\n0::/../..\n"
    assert machine(tmp_path, 700 * MIB, own, files).available() == 60 * MIB


def test_more_than_the_limit_may_be_used_and_nothing_is_left(tmp_path: Path) -> None:
    files = {"memory.max": f"{MIB}\n", "memory.current": f"{2 * MIB}\n"}
    assert machine(tmp_path, 700 * MIB, "0::/\n", files).available() == 0


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert Memory(tmp_path, tmp_path).available() is None
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    assert Memory(tmp_path, tmp_path).available() is None


@LINUX
def test_this_machine_has_some() -> None:
    available, limit = MEMORY.available(), MEMORY.limit()
    assert available is not None
    assert limit is not None
    assert 0 < available < limit * 5 // 4


@LINUX
def test_a_tree_of_processes_has_what_all_of_them_have() -> None:
    code = """
import os, sys
os.fork()
os.fork()
held = b"x" * (40 << 20)
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        assert 160 * MIB < memory_of([process.pid]) < 300 * MIB
    assert memory_of([process.pid]) == 0


def peak_of(code: str, *arguments: str) -> int:
    command = [sys.executable, "-c", code, *arguments]
    ended = run_process(
        command, cwd=Path("/"), environ={}, on_line=lambda _: None, stop=threading.Event()
    )
    assert ended.code == 0
    return ended.peak_bytes or 0


@LINUX
def test_the_peak_of_a_command_is_known_however_short_it_was() -> None:
    assert 100 * MIB < peak_of("x = b'x' * (100 << 20); del x") < 180 * MIB


@LINUX
def test_the_peak_of_a_command_is_that_of_all_its_processes_at_once() -> None:
    """It is looked at now and then, so they have to live for a moment."""
    assert any(peak_of(TREE, seconds) > 120 * MIB for seconds in ("0.5", "5", "20"))
