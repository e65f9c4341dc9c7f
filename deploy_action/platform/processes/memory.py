"""How much memory this machine, or our container, has for models: in all, and now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class _Names:
    """The files of a control group that counts memory, and a line of its statistics."""

    root: str
    limit: str
    used: str
    reclaimable: str  # pages of files that were not read for a while


_V1: Final = _Names(
    "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)
_V2: Final = _Names("", "memory.max", "memory.current", "inactive_file")


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory as Linux tells it in `proc` and `groups`; elsewhere little is known of it."""

    proc: Path = Path("/proc")
    groups: Path = Path("/sys/fs/cgroup")

    def limit(self) -> int | None:
        """Return how many bytes a process of a model may allocate: four fifths of the memory.

        A model that allocates more gets a MemoryError at that line; otherwise the system would kill
        some process, usually the largest. None where the system does not tell.
        """
        try:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError):
            return None
        limits = [limit for limit, _ in self._limits()]
        return min([total, *limits]) * 4 // 5

    def available(self) -> int | None:
        """Return how many more bytes may be used now; None where the system does not tell.

        That is what the kernel estimates (`MemAvailable`, proc(5)), or what a control group that we
        are in leaves, if that is less.
        """
        estimate = _statistic(self.proc / "meminfo", "MemAvailable:")
        if estimate is None:
            return None
        left = [limit - used for limit, used in self._limits()]
        return max(0, min([estimate << 10, *left]))

    def _limits(self) -> Iterator[tuple[int, int]]:
        """Yield the limit of each control group that we are in, and what of it is used."""
        for group, names in self._own_groups():
            try:
                limit = int((group / names.limit).read_text("ascii"))
                used = int((group / names.used).read_text("ascii"))
            except (OSError, ValueError):  # the root has none, and `max` is no limit
                continue
            yield limit, used - (_statistic(group / "memory.stat", names.reclaimable) or 0)

    def _own_groups(self) -> Iterator[tuple[Path, _Names]]:
        """Yield our control groups that may count memory, each with those that it is in.

        A container may be shown a path that it does not see; then it sees its own group as the
        root.
        """
        try:
            lines = (self.proc / "self" / "cgroup").read_text("utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            names = _V1 if controllers else _V2
            root = self.groups / names.root
            own = root / path.lstrip("/")
            for group in (own, *own.parents):
                if group.is_relative_to(root) and ".." not in group.parts:
                    yield group, names


MEMORY: Final = Memory()


def _statistic(path: Path, name: str) -> int | None:
    """Return the number behind a name in a file of such lines; None if there is none."""
    try:
        for line in path.read_text("ascii").splitlines():
            words = line.split()
            if words[:1] == [name]:
                return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
