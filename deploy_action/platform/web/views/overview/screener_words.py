"""The runs of a screener, in words: the one that is under way, the last one, the next one."""

from __future__ import annotations

from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import State
from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class ScreenerWords:
    """What is known of a screener's runs; times are in seconds since 1970.

    `running_since` is when the run that is under way began, None if none is. `last` says how the
    last one that ended did, and `ended_at` when that was; that is None where it is not known.
    """

    running_since: float | None
    last: str
    has_failed: bool
    ended_at: float | None
    next_at: float | None


def screener_in_words(status: LiveStatus) -> ScreenerWords:
    """Return what is known of the runs of a screener with this status."""
    waits = status.state is State.SCHEDULED
    has_failed = bool(status.exit_code) or (waits and bool(status.problem))
    if status.exit_code is None and not has_failed:
        last = "none of this version has ended since it was last deployed or started"
    elif status.exit_code is None:
        last = "failed before anything of it ran"
    elif has_failed:
        last = f"failed, with exit code {status.exit_code}"
    else:
        last = "ended with exit code 0, which does not prove that nothing failed"
    is_known = status.exit_code is not None or has_failed
    return ScreenerWords(
        running_since=status.since if status.state is State.RUNNING else None,
        last=last,
        has_failed=has_failed,
        ended_at=status.since if waits and is_known else None,
        next_at=status.next_run_at if waits or status.state is State.RUNNING else None,
    )
