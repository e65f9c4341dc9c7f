"""The queries for what models report: orders, events, variables, results."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

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

_OF_KIND: Final = "project_id = ? AND model_id = ? AND kind = ?"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a model reported last under a name, or once without one; `time` is the model's."""

    name: str | None
    time: float
    document: Mapping[str, Any]


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
            f"SELECT name, time, document FROM reports WHERE {_OF_KIND} AND name = ?",  # noqa: S608  # a constant
            (project_id, model_id, kind, name),
        ).fetchone()
        return None if row is None else _kept(row)

    def latest(self, project_id: str, model_id: str, kind: str, most: int) -> list[Kept]:
        """Return the latest reports of a kind, at most so many, the oldest first."""
        rows = self._connection.execute(
            f"SELECT name, time, document FROM reports WHERE {_OF_KIND}"  # noqa: S608  # a constant
            " ORDER BY number DESC LIMIT ?",
            (project_id, model_id, kind, most),
        ).fetchall()
        return [_kept(row) for row in reversed(rows)]

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
    return Kept(row[0], row[1], json.loads(row[2]))
