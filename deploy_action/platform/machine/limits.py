"""The memory and CPU of a plan: enforced for a model as a whole, or for each of its processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deploy_action.platform.live.host import Launch
from deploy_action.platform.machine.control_groups import (
    ControlGroup,
    ControlGroups,
    NoControlGroupsError,
)
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.records import dataclass

# Of each thread, where the limit counts what is reserved and not what is used: with the usual 8 MiB
# a strategy on 20 symbols would use up the smallest plan. Python's own recursion needs less than
# half of this, in all its versions.
_STACK_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one instance."""

    confinement: Confinement
    group: ControlGroup | None = None

    @property
    def is_per_process(self) -> bool:
        """Whether a process that gets no more memory is told so, and not killed."""
        return self.confinement.memory_bytes is not None


class Limiter:
    """Makes the limits of instances, by control groups where there are some."""

    def __init__(self, find: Callable[[], ControlGroups] = ControlGroups.find) -> None:
        """Look for control groups; `find` is `ControlGroups.find`, or a stand-in."""
        self._groups: ControlGroups | None = None
        self._reason = ""
        try:
            self._groups = find()
        except NoControlGroupsError as error:
            self._reason = str(error)

    def make(self, launch: Launch, user: int | None, *, purpose: str) -> Limits:
        """Return the limits of a plan for processes of a user; `purpose` tells groups apart.

        Raises:
            OSError: the control group cannot be made.
        """
        if self._groups is None:
            memory = launch.memory << 20 or None
            return Limits(Confinement(memory, user, stack_bytes=_STACK_BYTES))
        group = self._groups.make(
            _name(launch.place, purpose), memory=launch.memory, cpu=launch.cpu
        )
        return Limits(Confinement(user=user, control_group=str(group.path)), group)

    def describe(self, launch: Launch) -> str:
        """Say what is limited, and how."""
        memory = f"{launch.memory} MiB of memory"
        if self._groups is None:
            return (
                f"Plan {launch.plan}: {memory} for each of its processes. Its CPU time is not "
                f"limited: {self._reason}."
            )
        cores = f"{launch.cpu / 1000:g} CPU cores"
        return f"Plan {launch.plan}: {memory} and {cores} for all its processes together."

    def clear(self, place: str, purpose: str) -> None:
        """Kill what is left in a group."""
        if self._groups is not None:
            self._groups.remove(_name(place, purpose))


def _name(place: str, purpose: str) -> str:
    return f"{purpose}-{place}"
