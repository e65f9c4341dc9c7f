"""The queries for people who signed out of the pages before their session expired."""

from __future__ import annotations

import sqlite3
from typing import Final

SCHEMA: Final = """
CREATE TABLE ended_sessions (
    id TEXT PRIMARY KEY,
    expires_at REAL NOT NULL
) STRICT
"""


class SessionTables:
    """Reads and writes of ended sessions, within a transaction."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self._now = now

    def end(self, session_id: str, expires_at: float) -> None:
        """Note that a session has ended, and forget those that have expired."""
        self._connection.execute("DELETE FROM ended_sessions WHERE expires_at < ?", (self._now,))
        self._connection.execute(
            "INSERT OR IGNORE INTO ended_sessions VALUES (?, ?)", (session_id, expires_at)
        )

    def has_ended(self, session_id: str) -> bool:
        """Return whether somebody ended this session."""
        found = self._connection.execute("SELECT 1 FROM ended_sessions WHERE id = ?", (session_id,))
        return found.fetchone() is not None
