"""When a screener runs: its cron expression, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def next_run(schedule: str, after: float) -> float:
    """Return the first time of a valid cron expression after a time, in seconds since 1970."""
    from cronsim import CronSim

    return next(CronSim(schedule, datetime.fromtimestamp(after, UTC))).timestamp()


def missed_runs(schedule: str, planned: float, now: float, most: int = 100) -> list[float]:
    """Return the planned times up to now, `planned` first; at most `most` of them."""
    missed: list[float] = []
    while planned <= now and len(missed) < most:
        missed.append(planned)
        planned = next_run(schedule, planned)
    return missed
