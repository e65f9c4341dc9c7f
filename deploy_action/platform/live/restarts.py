"""When a model that ended is started again."""

from __future__ import annotations

from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a model may end unexpectedly in a row (`most`, 0: never restarted), and the pauses.

    The pause doubles with each restart, from `first_seconds` up to `longest_seconds`. A model that
    ran for `clean_seconds` begins with a count of 0 again.
    """

    most: int = 5
    first_seconds: float = 5.0
    longest_seconds: float = 300.0
    clean_seconds: float = 3600.0

    def pause(self, restarts: int) -> float | None:
        """Return the seconds before the next restart, after so many; None: there is none."""
        if restarts >= self.most:
            return None
        return min(self.longest_seconds, self.first_seconds * 2.0 ** min(restarts, 32))
