"""The queries for the figures of backtests: metrics and more, computed once from each result."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from deploy_action.platform.storage.records import (
    Backtest,
    BacktestStatus,
    Version,
    VersionStatus,
)
from deploy_action.platform.storage.tables.backtests import BACKTEST_COLUMNS, backtest_of
from deploy_action.platform.storage.tables.live import VERSION_COLUMNS, versions_of
from deploy_action.records import dataclass, field

SCHEMA: Final = """
CREATE TABLE figures (
    number INTEGER PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES versions (id),
    backtest_id TEXT UNIQUE REFERENCES backtests (id),
    time REAL NOT NULL,
    document TEXT NOT NULL
) STRICT;
CREATE INDEX figures_of_version ON figures (version_id)
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a backtest of a version; `time` is when it ended, in seconds since 1970.

    `backtest_id` is None for one that was run elsewhere, before the version was deployed.
    """

    version_id: str
    backtest_id: str | None
    time: float
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """A backtest in the list of its model.

    `backtest` is None for one that was run elsewhere, before its version was deployed; `figures`
    are None until they are computed.
    """

    version: Version
    backtest: Backtest | None
    figures: Figures | None


@dataclass(frozen=True, slots=True)
class Twin:
    """A version that was uploaded to run, and its variables, which may be secrets."""

    version: Version
    environment: Mapping[str, str] = field(repr=False)


# Those that ran here, and those that ran elsewhere. Windows are part of another backtest.
_OF_MODEL: Final = """
SELECT backtests.created_at AS time, backtests.number AS number, backtests.id AS here,
    NULL AS elsewhere
FROM versions JOIN backtests ON backtests.version_id = versions.id
WHERE project_id = :project AND model_id = :model AND window_of IS NULL
UNION ALL
SELECT figures.time, figures.number, NULL, figures.number
FROM versions JOIN figures ON figures.version_id = versions.id
WHERE project_id = :project AND model_id = :model AND backtest_id IS NULL
"""
_PAGE: Final = f"""
SELECT coalesce(backtests.version_id, f.version_id), f.time, f.document, {BACKTEST_COLUMNS}
FROM ({_OF_MODEL} ORDER BY time DESC, number DESC LIMIT :most OFFSET :skipped) AS listed
LEFT JOIN backtests ON backtests.id = here
LEFT JOIN figures AS f ON f.number = elsewhere OR f.backtest_id = here
ORDER BY listed.time DESC, listed.number DESC
"""  # noqa: S608  # constants
_LACKING: Final = f"""
SELECT {BACKTEST_COLUMNS}
FROM backtests WHERE status IN (?, ?)
    AND NOT EXISTS (SELECT 1 FROM figures WHERE backtest_id = backtests.id)
ORDER BY number DESC LIMIT ?
"""  # noqa: S608  # a constant


class FiguresTables:
    """Reads and writes of figures, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def keep(self, figures: Figures) -> None:
        """Add figures; those of a backtest replace the ones it had."""
        self._connection.execute(
            "INSERT OR REPLACE INTO figures (version_id, backtest_id, time, document)"
            " VALUES (?, ?, ?, ?)",
            (
                figures.version_id,
                figures.backtest_id,
                figures.time,
                json.dumps(figures.document, allow_nan=False, separators=(",", ":")),
            ),
        )

    def lacking(self, most: int) -> list[Backtest]:
        """Return backtests that may have a result and have no figures, the newest first."""
        rows = self._connection.execute(
            _LACKING, (BacktestStatus.FINISHED, BacktestStatus.FAILED, most)
        )
        return [backtest_of(row) for row in rows]

    def count(self, project_id: str, model_id: str) -> int:
        """Return how many backtests `page` can return."""
        found = self._connection.execute(
            f"SELECT count(*) FROM ({_OF_MODEL})",  # noqa: S608  # a constant
            {"project": project_id, "model": model_id},
        )
        return int(found.fetchone()[0])

    def page(self, project_id: str, model_id: str, *, most: int, skipped: int = 0) -> list[Listed]:
        """Return the backtests of a model, the newest first: `most`, after some are skipped."""
        rows = self._connection.execute(
            _PAGE,
            {"project": project_id, "model": model_id, "most": most, "skipped": skipped},
        ).fetchall()
        versions = versions_of(self._connection, {row[0] for row in rows})
        return [_listed(row, versions[row[0]]) for row in rows]

    def of_windows(self, backtest_id: str) -> list[tuple[Backtest, Figures | None]]:
        """Return the windows of a backtest in their order, each with its figures."""
        rows = self._connection.execute(
            f"SELECT figures.time, figures.document, {BACKTEST_COLUMNS} FROM backtests"  # noqa: S608  # a constant
            " LEFT JOIN figures ON figures.backtest_id = backtests.id"
            " WHERE window_of = ? ORDER BY window_number",
            (backtest_id,),
        )
        return [(backtest := backtest_of(row[2:]), _figures(backtest, *row[:2])) for row in rows]

    def twins(self, project_id: str, model_id: str, digests: set[str]) -> list[Twin]:
        """Return the versions that were uploaded to run with the bytes of the digests.

        Of those with the same bytes and variables, there is the latest; the oldest is first.
        """
        rows = self._connection.execute(
            f"SELECT {VERSION_COLUMNS}, variables, max(number) FROM versions"  # noqa: S608  # a constant
            " LEFT JOIN environments ON environments.version_id = versions.id"
            " WHERE project_id = ? AND model_id = ? AND status != ?"
            " AND sha256 IN (SELECT value FROM json_each(?))"
            " GROUP BY sha256, variables ORDER BY max(number)",
            (project_id, model_id, VersionStatus.BACKTEST, json.dumps(sorted(digests))),
        )
        return [
            Twin(Version(*row[:-2]), {} if row[-2] is None else json.loads(row[-2])) for row in rows
        ]

    def told(self, version_id: str) -> Figures | None:
        """Return the figures that came with the deploy of a version, None if there are none."""
        row = self._connection.execute(
            "SELECT time, document FROM figures WHERE version_id = ? AND backtest_id IS NULL"
            " ORDER BY number DESC LIMIT 1",
            (version_id,),
        ).fetchone()
        return None if row is None else Figures(version_id, None, row[0], json.loads(row[1]))

    def latest(self, project_id: str, model_id: str, most: int) -> list[Figures]:
        """Return the latest figures of a model without those of windows, the oldest first."""
        rows = self._connection.execute(
            "SELECT version_id, backtest_id, time, document FROM figures WHERE number IN"
            " (SELECT figures.number FROM figures JOIN versions ON versions.id = version_id"
            " WHERE project_id = ? AND model_id = ? AND NOT EXISTS (SELECT 1 FROM backtests"
            " WHERE backtests.id = backtest_id AND window_of IS NOT NULL)"
            " ORDER BY time DESC, figures.number DESC LIMIT ?)"
            " ORDER BY time DESC, number DESC",
            (project_id, model_id, most),
        ).fetchall()
        return [
            Figures(version_id, backtest_id, time, json.loads(document))
            for version_id, backtest_id, time, document in reversed(rows)
        ]

    def delete(self, project_id: str, model_id: str) -> None:
        """Delete the figures of a model, before its backtests and versions are deleted."""
        self._connection.execute(
            "DELETE FROM figures WHERE version_id IN"
            " (SELECT id FROM versions WHERE project_id = ? AND model_id = ?)",
            (project_id, model_id),
        )


def _listed(row: tuple[Any, ...], version: Version) -> Listed:
    _, time, document, *of_backtest = row
    backtest = None if of_backtest[0] is None else backtest_of(of_backtest)
    if backtest is not None:
        return Listed(version, backtest, _figures(backtest, time, document))
    return Listed(version, None, Figures(version.id, None, time, json.loads(document)))


def _figures(backtest: Backtest, time: float | None, document: str | None) -> Figures | None:
    if time is None or document is None:
        return None
    return Figures(backtest.version_id, backtest.id, time, json.loads(document))
