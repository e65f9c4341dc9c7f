"""The queries for lists of versions, which grow with each deploy."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deploy_action.platform.storage.records import Version, VersionStatus
from deploy_action.platform.storage.tables.live import VERSION_COLUMNS
from deploy_action.records import dataclass

# Of the uploads for backtests, there may be a thousand times as many. SQLite takes the index only
# for the condition as it is written there.
_TO_RUN: Final = f"status != '{VersionStatus.BACKTEST}'"
INDEX: Final = f"CREATE INDEX versions_to_run ON versions (project_id, model_id) WHERE {_TO_RUN}"
_OF_MODEL: Final = f"project_id = ? AND model_id = ? AND {_TO_RUN}"


@dataclass(frozen=True, slots=True)
class Tested:
    """A backtest in the list of a version; `created_at` is in seconds since 1970.

    `run` are the facts that the API shows.
    """

    id: str
    description: str
    status: str
    created_at: float
    run: Mapping[str, Any]


class VersionTables:
    """Reads of the versions that were uploaded to run, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def count(self, project_id: str, model_id: str) -> int:
        """Return how many versions of a model were uploaded to run."""
        row = self._connection.execute(
            f"SELECT count(*) FROM versions WHERE {_OF_MODEL}",  # noqa: S608  # a constant
            (project_id, model_id),
        ).fetchone()
        return int(row[0])

    def newest(self, project_id: str, model_id: str, most: int, skipped: int = 0) -> list[Version]:
        """Return some of these versions, the newest first, without the `skipped` newest."""
        rows = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE {_OF_MODEL}"  # noqa: S608  # constants
            " ORDER BY number DESC LIMIT ? OFFSET ?",
            (project_id, model_id, most, skipped),
        )
        return [Version(*row) for row in rows]

    def deployed(self, project_id: str, model_id: str) -> Version | None:
        """Return the version that was deployed last, or None."""
        row = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE {_OF_MODEL}"  # noqa: S608  # constants
            " AND status = ?",
            (project_id, model_id, VersionStatus.DEPLOYED),
        ).fetchone()
        return None if row is None else Version(*row)

    def named(self, project_id: str, model_id: str, ids: Iterable[str]) -> list[Version]:
        """Return those of these versions that were uploaded to run, the oldest first."""
        rows = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions"  # noqa: S608  # constants
            f" WHERE id IN (SELECT value FROM json_each(?)) AND {_OF_MODEL} ORDER BY number",
            (json.dumps(list(ids)), project_id, model_id),
        )
        return [Version(*row) for row in rows]

    def before(self, version: Version) -> Version | None:
        """Return the version that was uploaded to run before another one, or None."""
        row = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE {_OF_MODEL}"  # noqa: S608  # constants
            " AND number < (SELECT number FROM versions WHERE id = ?) ORDER BY number DESC LIMIT 1",
            (version.project_id, version.model_id, version.id),
        ).fetchone()
        return None if row is None else Version(*row)

    def backtests_of_bundle(self, version: Version, most: int) -> list[Tested]:
        """Return the latest backtests of a version's bundle, also as other versions of its model.

        An upload for a backtest is a version of its own, with the same bytes. Windows are left out.
        """
        rows = self._connection.execute(
            "SELECT backtests.id, backtests.description, backtests.status, backtests.created_at,"
            " run FROM backtests JOIN versions ON versions.id = version_id"
            " WHERE project_id = ? AND model_id = ? AND sha256 = ? AND window_of IS NULL"
            " ORDER BY backtests.number DESC LIMIT ?",
            (version.project_id, version.model_id, version.sha256, most),
        )
        return [
            Tested(identifier, description, status, created_at, json.loads(run))
            for identifier, description, status, created_at, run in rows
        ]

    def variable_names(self, version_id: str) -> tuple[str, ...]:
        """Return the names of a version's variables, sorted."""
        row = self._connection.execute(
            "SELECT variables FROM environments WHERE version_id = ?", (version_id,)
        ).fetchone()
        return () if row is None else tuple(sorted(json.loads(row[0])))
