"""The queries that tell what of the platform's data nobody needs any more."""

from __future__ import annotations

import sqlite3
from typing import Final

from deploy_action.platform.storage.records import BacktestStatus, VersionStatus, Wanted

# Of the versions that ran, the current one and those that rollbacks go back to are needed.
_UNNEEDED: Final = """
WITH needed (id) AS (
    SELECT id FROM versions WHERE status = :deployed
    UNION SELECT version_id FROM lives
    UNION SELECT next_id FROM lives
    UNION SELECT stored_id FROM lives
    UNION SELECT version_id FROM backtests WHERE status IN (:queued, :running)
    UNION SELECT version_id FROM (
        SELECT version_id, row_number() OVER (
            PARTITION BY project_id, model_id ORDER BY number DESC
        ) AS place FROM ran
    ) WHERE place <= 1 + :newest
), ranked AS (
    SELECT id, created_at, status = :backtest AS is_tested, row_number() OVER (
        PARTITION BY project_id, model_id, status = :backtest ORDER BY number DESC
    ) AS place FROM versions
)
SELECT id FROM ranked
WHERE id NOT IN (SELECT id FROM needed WHERE id IS NOT NULL)
    AND CASE WHEN is_tested THEN created_at < :before ELSE place > :newest END
"""


class UpkeepTables:
    """Reads for cleaning and for backups, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def unneeded_versions(self, *, newest: int, before: float) -> list[str]:
        """Return the ids of the versions whose bundles and logs nobody needs.

        Of a model's deployed versions the `newest` are needed; of those that were uploaded for a
        backtest, the ones that were uploaded since `before`. Needed are also a version that runs,
        is to run, is backtested, or would run after a start or `newest` rollbacks.
        """
        rows = self._connection.execute(
            _UNNEEDED,
            {
                "deployed": VersionStatus.DEPLOYED,
                "backtest": VersionStatus.BACKTEST,
                "queued": BacktestStatus.QUEUED,
                "running": BacktestStatus.RUNNING,
                "newest": newest,
                "before": before,
            },
        )
        return [row[0] for row in rows]

    def old_backtests(self, before: float) -> list[str]:
        """Return the ids of the backtests that ended before a time."""
        rows = self._connection.execute("SELECT id FROM backtests WHERE ended_at < ?", (before,))
        return [row[0] for row in rows]

    def models_to_run(self) -> list[str]:
        """Return the names of the models that a server would run, with those of their projects."""
        rows = self._connection.execute(
            "SELECT models.name || ' (project ' || projects.name || ')' FROM lives"
            " JOIN models ON models.project_id = lives.project_id AND models.id = model_id"
            " JOIN projects ON projects.id = lives.project_id"
            " WHERE wanted = ? AND (keep OR next_id IS NOT NULL) ORDER BY models.number",
            (Wanted.RUNNING,),
        )
        return [row[0] for row in rows]
