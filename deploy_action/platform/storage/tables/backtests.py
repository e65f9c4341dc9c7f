"""How backtests are kept: their columns, and the windows that belong to one of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from deploy_action.platform.storage.records import Backtest, Beside, WindowPlace

# The first index also keeps a window that is asked for twice from being there twice. The second
# one leaves windows out: of a whole there may be a hundred.
WINDOWS: Final = """
ALTER TABLE backtests ADD COLUMN window_of TEXT REFERENCES backtests (id);
ALTER TABLE backtests ADD COLUMN window_number INTEGER;
ALTER TABLE backtests ADD COLUMN window_name TEXT;
ALTER TABLE backtests ADD COLUMN windows_beside INTEGER;
ALTER TABLE backtests ADD COLUMN combinations_beside INTEGER;
CREATE UNIQUE INDEX windows_of_backtest ON backtests (window_of, window_number);
CREATE INDEX wholes_of_version ON backtests (version_id) WHERE window_of IS NULL
"""
BACKTEST_COLUMNS: Final = ", ".join(
    f"backtests.{name}"
    for name in (
        *("id", "version_id", "args", "description", "status", "created_at", "workplace", "run"),
        *("ended_at", "window_of", "window_number", "window_name"),
        *("windows_beside", "combinations_beside"),
    )
)
_OF_WINDOW: Final = "window_of = ? AND window_number = ?"


def backtest_of(row: Sequence[Any]) -> Backtest:
    """Return the backtest of a row of `BACKTEST_COLUMNS`."""
    identifier, version_id, args, description, status, created_at, workplace, run, *rest = row
    ended_at, window_of, number, name, windows, combinations = rest
    return Backtest(
        id=identifier,
        version_id=version_id,
        args=json.loads(args),
        description=description,
        status=status,
        created_at=created_at,
        workplace=workplace,
        run=json.loads(run),
        ended_at=ended_at,
        window=None if window_of is None else WindowPlace(window_of, number, name),
        beside=None if windows is None else Beside(windows, combinations),
    )


class WindowTables:
    """Writes of windows, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def remove(self, window: WindowPlace) -> str | None:
        """Remove the backtest of a window, and return its id; None if there is none."""
        key = window.whole, window.number
        row = self._connection.execute(
            f"SELECT id FROM backtests WHERE {_OF_WINDOW}",  # noqa: S608  # a constant
            key,
        ).fetchone()
        if row is None:
            return None
        self._connection.execute("DELETE FROM figures WHERE backtest_id = ?", row)
        self._connection.execute(f"DELETE FROM backtests WHERE {_OF_WINDOW}", key)  # noqa: S608  # a constant
        return str(row[0])
