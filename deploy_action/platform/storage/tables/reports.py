"""The queries for what models report: orders, events, variables, results."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from deploy_action.records import dataclass, field

SCHEMA: Final = """
CREATE TABLE reports (
    number INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT,
    time REAL NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (project_id, model_id, kind, name),
    FOREIGN KEY (project_id, model_id) REFERENCES models (project_id, id)
) STRICT;
CREATE INDEX reports_of_kind ON reports (project_id, model_id, kind, number)
"""

_COLUMNS: Final = "name, time, document, number"
_OF_KIND: Final = "project_id = ? AND model_id = ? AND kind = ?"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a model reported last under a name, or once without one; `time` is the model's.

    `number` grows with each report that is added, of any model; it is 0 until it is stored.
    """

    name: str | None
    time: float
    document: Mapping[str, Any]
    number: int = field(default=0, compare=False)


class ReportTables:
    """Reads and writes of reports, within a transaction.

    A report of a kind is added (its name is None), or replaces the one of its name.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, project_id: str, model_id: str, kind: str, kept: Kept) -> None:
        """Add a report of a model that exists, or replace the one of its name."""
        # JSON in ASCII can hold half a surrogate pair and a NUL, which SQLite's text cannot.
        document = json.dumps(kept.document, allow_nan=False, separators=(",", ":"))
        self._connection.execute(
            "INSERT INTO reports (project_id, model_id, kind, name, time, document)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (project_id, model_id, kind, name)"
            " DO UPDATE SET time = excluded.time, document = excluded.document",
            (project_id, model_id, kind, kept.name, kept.time, document),
        )

    def named(self, project_id: str, model_id: str, kind: str, name: str) -> Kept | None:
        """Return the report of a name, or None."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM reports WHERE {_OF_KIND} AND name = ?",  # noqa: S608  # constants
            (project_id, model_id, kind, name),
        ).fetchone()
        return None if row is None else _kept(row)

    def latest(
        self, project_id: str, model_id: str, kind: str, most: int, *, before: int | None = None
    ) -> list[Kept]:
        """Return the latest reports of a kind, at most so many, the oldest first.

        With `before`, only those whose number is smaller.
        """
        earlier = "" if before is None else " AND number < ?"
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM reports WHERE {_OF_KIND}{earlier}"  # noqa: S608  # constants
            " ORDER BY number DESC LIMIT ?",
            (project_id, model_id, kind, *([] if before is None else [before]), most),
        ).fetchall()
        return [_kept(row) for row in reversed(rows)]

    def of_all_models(self, kind: str) -> list[tuple[str, str, Kept]]:
        """Return the reports of a kind with the ids of their projects and models."""
        rows = self._connection.execute(
            "SELECT reports.name, time, document, reports.number, reports.project_id, model_id"
            # In this order, each model's rows are looked up; else all reports would be read.
            " FROM models CROSS JOIN reports ON reports.project_id = models.project_id"
            " AND model_id = models.id WHERE kind = ? ORDER BY reports.number",
            (kind,),
        ).fetchall()
        return [(row[4], row[5], _kept(row[:4])) for row in rows]

    def numbered(self, project_id: str, model_id: str, kind: str, number: int) -> Kept | None:
        """Return the report of a number, or None if it is another model's, or of another kind."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM reports WHERE {_OF_KIND} AND number = ?",  # noqa: S608  # constants
            (project_id, model_id, kind, number),
        ).fetchone()
        return None if row is None else _kept(row)

    def between(
        self, project_id: str, model_id: str, kind: str, begin: float, end: float, most: int
    ) -> list[Kept]:
        """Return the first reports of a kind whose time is from `begin` to `end`, at most `most`.

        The oldest come first. All reports of the kind are looked at.
        """
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM reports WHERE {_OF_KIND} AND time BETWEEN ? AND ?"  # noqa: S608  # constants
            " ORDER BY time, number LIMIT ?",
            (project_id, model_id, kind, begin, end, most),
        )
        return [_kept(row) for row in rows]

    def count(self, project_id: str, model_id: str, kind: str) -> int:
        """Return how many reports of a kind are kept."""
        row = self._connection.execute(
            f"SELECT count(*) FROM reports WHERE {_OF_KIND}",  # noqa: S608  # a constant
            (project_id, model_id, kind),
        ).fetchone()
        return int(row[0])

    def latest_of_each(self, kind: str) -> dict[tuple[str, str], Kept]:
        """Return the latest report of a kind of each model that has one, by project and model."""
        rows = self._connection.execute(
            "SELECT project_id, model_id, name, time, document, number FROM reports"
            " WHERE number IN (SELECT (SELECT max(number) FROM reports WHERE"
            " project_id = models.project_id AND model_id = models.id AND kind = ?) FROM models)",
            (kind,),
        )
        return {(row[0], row[1]): _kept(row[2:]) for row in rows}

    def models_that_named(self, kind: str, name: str) -> set[tuple[str, str]]:
        """Return the project and the model of each that has a report of this name."""
        rows = self._connection.execute(
            "SELECT project_id, model_id FROM models JOIN reports USING (project_id)"
            " WHERE model_id = models.id AND kind = ? AND reports.name = ?",
            (kind, name),
        )
        return {(row[0], row[1]) for row in rows}

    def prune(self, project_id: str, model_id: str, kind: str, most: int) -> bool:
        """Remove all but the latest reports of a kind; return whether there were others."""
        key = (project_id, model_id, kind)
        found = self._connection.execute(
            f"DELETE FROM reports WHERE {_OF_KIND} AND number <= (SELECT number FROM reports"  # noqa: S608  # a constant
            f" WHERE {_OF_KIND} ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (*key, *key, most),
        )
        return found.rowcount > 0

    def delete(self, project_id: str, model_id: str) -> None:
        """Delete all reports of a model, before the model is deleted."""
        self._connection.execute(
            "DELETE FROM reports WHERE project_id = ? AND model_id = ?", (project_id, model_id)
        )


def _kept(row: tuple[Any, ...]) -> Kept:
    return Kept(row[0], row[1], json.loads(row[2]), row[3])
