"""Control groups (version 2): the memory and CPU of all processes of a model together.

The server needs a group that was delegated to it, as by `Delegate=yes` of systemd or in a container
that may write to its groups. It moves itself to a leaf of that group, because a group with
processes cannot limit its children (cgroups(7), "no internal processes").
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.records import dataclass

_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_LEAF: Final = "server"  # the name to give as DelegateSubgroup= to systemd
_CONTROLLERS: Final = ("memory", "cpu")
_PERIOD: Final = 100_000  # microseconds
_DELEGATED: Final = ("user.delegate", "trusted.delegate")  # set by systemd


class NoControlGroupsError(Exception):
    """There are none that we may use; the text says why."""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The group of one instance."""

    path: Path
    kills_before: int = 0  # of an earlier instance, if its group is still there

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of it because the memory was used up."""
        return _kills(self.path) > self.kills_before

    def remove(self) -> None:
        """Kill what is in it, and remove it; it stays as long as a process does not end."""
        with suppress(OSError):  # a kernel before 5.14 has no such file
            _write(self.path / "cgroup.kill", "1")
        with suppress(OSError):
            self.path.rmdir()


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The groups below one that was delegated to us."""

    directory: Path

    @classmethod
    def find(cls, root: Path = _ROOT, own: Path = _OWN) -> ControlGroups:
        """Prepare our group; `own` is what proc(5) says of us.

        Raises:
            NoControlGroupsError: it cannot limit models.
        """
        group = _own_group(root, own)
        # The root of all groups has no type, and may have processes beside children.
        is_root = not (group / "cgroup.type").exists()
        try:
            missing = set(_CONTROLLERS).difference(_words(group / "cgroup.controllers"))
            if missing:
                raise NoControlGroupsError(f"{' and '.join(sorted(missing))} cannot be limited")
            if not is_root:
                if group != root and not _is_delegated(group):
                    raise NoControlGroupsError("no control group was delegated to this server")
                leaf = group / _LEAF
                leaf.mkdir(exist_ok=True)
                for process in _words(group / "cgroup.procs"):
                    with suppress(ProcessLookupError):
                        _write(leaf / "cgroup.procs", process)
            enabled = " ".join(f"+{name}" for name in _CONTROLLERS)
            _write(group / "cgroup.subtree_control", enabled)
        except OSError as error:
            reason = f"its control group cannot be used ({error.strerror})"
            raise NoControlGroupsError(reason) from error
        return cls(group)

    def make(self, name: str, *, memory: int, cpu: int) -> ControlGroup:
        """Make a group for an instance, with MiB of memory and thousandths of a core.

        What an earlier one of that name has left is killed. Zero is no limit.

        Raises:
            OSError: it cannot be made.
        """
        path = self.directory / name
        ControlGroup(path).remove()
        path.mkdir(exist_ok=True)
        group = ControlGroup(path, _kills(path))
        try:
            if memory:
                _write(group.path / "memory.max", str(memory << 20))
                # One process fewer is a model that goes on half dead.
                _write(group.path / "memory.oom.group", "1")
                with suppress(OSError):  # a kernel without swapping has no such file
                    _write(group.path / "memory.swap.max", "0")
            if cpu:
                _write(group.path / "cpu.max", f"{cpu * _PERIOD // 1_000} {_PERIOD}")
        except OSError:
            group.remove()
            raise
        return group

    def remove(self, name: str) -> None:
        """Kill what is in a group, if there is one of that name, and remove it."""
        ControlGroup(self.directory / name).remove()


def _kills(group: Path) -> int:
    with suppress(OSError, ValueError):
        for line in (group / "memory.events").read_text("ascii").splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0


def _own_group(root: Path, own: Path) -> Path:
    if not (root / "cgroup.controllers").exists():
        raise NoControlGroupsError("this machine has no control groups of version 2")
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError as error:
        raise NoControlGroupsError("/proc does not tell the control group") from error
    path = next((line[3:] for line in lines if line.startswith("0::/")), "/")
    group = root / path.lstrip("/")
    return group.parent if group != root and group.name == _LEAF else group


def _is_delegated(group: Path) -> bool:
    return any(_has_attribute(group, name) for name in _DELEGATED)


def _has_attribute(path: Path, name: str) -> bool:
    try:
        return os.getxattr(path, name) == b"1"
    except OSError:
        return False


def _words(path: Path) -> Iterator[str]:
    yield from path.read_text("ascii").split()


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
