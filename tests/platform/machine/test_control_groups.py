"""The memory and CPU of a plan, by control groups: on a directory that stands in for the kernel's.

The kernel's own files behave otherwise in part: it makes them, and refuses what it does not know.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.platform.live.host import CannotPrepareError
from deploy_action.platform.machine.control_groups import ControlGroups, NoControlGroupsError
from deploy_action.platform.machine.limits import Limiter
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.storage.records import StopReason
from tests.support.machines import TRADER, Bench


class Kernel:
    """A directory with the files of control groups, in which we are at `path`."""

    def __init__(self, directory: Path, path: str, controllers: str = "cpu memory pids") -> None:
        self.root = directory / "cgroup"
        self.group = self.root / path.lstrip("/")
        self.group.mkdir(parents=True)
        (self.root / "cgroup.controllers").write_text(controllers)
        (self.group / "cgroup.controllers").write_text(controllers)
        (self.group / "cgroup.type").write_text("domain")
        (self.group / "cgroup.procs").write_text(f"{os.getpid()}\n")
        self.own = directory / "own"
        self.own.write_text(f"1:name=systemd:/elsewhere\n0::{path}\n")

    def find(self) -> ControlGroups:
        return ControlGroups.find(self.root, self.own)


def delegate(group: Path) -> None:
    try:
        os.setxattr(group, "user.delegate", b"1")
    except OSError:
        pytest.skip("this file system has no attributes for users")


def test_the_server_moves_to_a_leaf_and_limits_the_rest(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "/")
    groups = kernel.find()
    assert (kernel.root / "server" / "cgroup.procs").read_text() == str(os.getpid())
    assert (kernel.root / "cgroup.subtree_control").read_text() == "+memory +cpu"
    group = groups.make("model-7", memory=256, cpu=250)
    assert group.path == kernel.root / "model-7"
    assert (group.path / "memory.max").read_text() == "268435456"
    assert (group.path / "memory.swap.max").read_text() == "0"
    assert (group.path / "memory.oom.group").read_text() == "1"
    assert (group.path / "cpu.max").read_text() == "25000 100000"
    groups.remove("model-7")
    assert (group.path / "cgroup.kill").read_text() == "1"


def test_a_group_that_systemd_delegates_is_used(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "/system.slice/bot.service")
    with pytest.raises(NoControlGroupsError, match="no control group was delegated"):
        kernel.find()
    assert not (kernel.group / "server").exists()
    delegate(kernel.group)
    assert kernel.find().directory == kernel.group


def test_a_leaf_that_systemd_has_made_is_used(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "/system.slice/bot.service")
    delegate(kernel.group)
    (kernel.group / "server").mkdir()
    kernel.own.write_text("0::/system.slice/bot.service/server\n")
    assert kernel.find().directory == kernel.group


@pytest.mark.parametrize(
    ("controllers", "reason"),
    [("cpu pids", "memory cannot be limited"), ("", "cpu and memory cannot be limited")],
)
def test_without_its_controllers_it_is_not_used(
    tmp_path: Path, controllers: str, reason: str
) -> None:
    with pytest.raises(NoControlGroupsError, match=reason):
        Kernel(tmp_path, "/", controllers).find()


def test_a_group_that_cannot_be_changed_is_not_used(tmp_path: Path) -> None:
    """As in a container that may only read them."""
    kernel = Kernel(tmp_path, "/")
    (kernel.root / "cgroup.subtree_control").mkdir()
    with pytest.raises(NoControlGroupsError, match="cannot be used"):
        kernel.find()


def test_a_limit_that_cannot_be_set_leaves_no_group(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "/")
    groups = kernel.find()
    (kernel.root / "model-1").mkdir()
    (kernel.root / "model-1" / "cpu.max").mkdir()
    with pytest.raises(OSError, match="directory"):
        groups.make("model-1", memory=0, cpu=250)


def test_version_1_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(NoControlGroupsError, match="no control groups of version 2"):
        ControlGroups.find(tmp_path, tmp_path / "own")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    groups = Kernel(tmp_path, "/").find()
    bench = Bench(tmp_path, limiter=lambda: Limiter(lambda: groups))
    bench.open()
    yield bench
    bench.machine.close()
    assert bench.errors == []


def test_a_model_joins_its_group_and_being_killed_in_it_is_told(bench: Bench) -> None:
    instance, heard = bench.start(
        f"{TRADER}\nimport resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])\ntrade()"
    )
    heard.wait_for_line("trading")
    group = bench.root / "cgroup" / "model-1"
    assert (group / "cgroup.procs").read_text() == "0"  # the process that writes it
    assert heard.texts("out")[0] == "-1"
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    instance.stop(StopReason.STOP)
    assert heard.wait_for_end() == Ended(0, out_of_memory=True)


def test_what_an_earlier_instance_suffered_is_not_told_again(bench: Bench) -> None:
    group = bench.root / "cgroup" / "model-1"
    group.mkdir()
    (group / "memory.events").write_text("oom_kill 3\n")
    _, heard = bench.start("print('x')")
    assert heard.wait_for_end() == Ended(0)


def test_a_check_that_is_killed_in_its_group_says_so(bench: Bench) -> None:
    bench.machine.close()
    bench.program = bench.root / "own.py"
    events = bench.root / "cgroup" / "check-1" / "memory.events"
    bench.program.write_text(
        f"import pathlib; pathlib.Path({str(events)!r}).write_text('oom_kill 1')"
    )
    bench.open()
    events.parent.mkdir()
    events.touch()
    events.chmod(0o666)
    with pytest.raises(CannotPrepareError) as raised:
        bench.prepare(bench.launch(""), check=True)
    assert "256 MiB of memory, the limit of the plan nano" in raised.value.problems[0].message


def test_the_limits_are_described(bench: Bench) -> None:
    said: list[str] = []
    bench.machine.prepare(bench.launch(""), said.append, threading.Event(), check=False).close()
    limits = "Plan nano: 256 MiB of memory and 0.25 CPU cores for all its processes together."
    assert limits in said
