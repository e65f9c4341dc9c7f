"""Cron expressions: five fields, from the minute to the day of the week."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 200
_FIELDS: Final = 5


def cron_fault(expression: str) -> str | None:
    """Return what is wrong with a cron expression, as the end of a sentence; None if it is valid.

    The syntax is Debian's cron (cronsim); fields for seconds and names such as `@daily` are
    refused.
    """
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    fields = expression.split()
    if len(expression) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if len(fields) != _FIELDS:  # cronsim takes six as well, the first for seconds
        return f"has {len(fields)} fields, and a cron expression has five"
    try:
        CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return f"is not a cron expression ({str(error).lower()})"
    return None
