"""How a run ended."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.errors import Problem


class Status(StrEnum):
    """The values of the output `status`."""

    DEPLOYED = "deployed"
    BACKTESTED = "backtested"
    VALID = "valid"
    DRY_RUN = "dry-run"
    UNCHANGED = "unchanged"
    DISCOVERED = "discovered"
    STARTED = "started"
    STOPPED = "stopped"
    MERGED = "merged"
    COMMENTED = "commented"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The status of a run, and what ended it.

    `is_unsent` says that an input or a file was wrong, so that nothing was sent. `would_do` are the
    steps that a dry run left out. `seconds` is how long the run took.
    """

    status: Status = Status.FAILED
    problems: tuple[Problem, ...] = ()
    is_unsent: bool = False
    would_do: tuple[str, ...] = ()
    seconds: float = 0.0
