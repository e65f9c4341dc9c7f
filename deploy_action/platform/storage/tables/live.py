"""The queries for what deployed models should do and what they do."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import Any, Final

from deploy_action.platform.storage.records import (
    Life,
    Progress,
    State,
    Version,
    VersionStatus,
    Wanted,
)
from deploy_action.records import fields, replace

VERSION_COLUMNS: Final = (
    "id, project_id, model_id, status, description, python_version, plan, schedule, sha256, bytes,"
    " files, created_at, git_commit, committed_at, commit_repository, progress, problem,"
    " deployed_by, run_url"
)

SCHEMA: Final = """
ALTER TABLE versions ADD COLUMN git_commit TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN committed_at REAL;
ALTER TABLE versions ADD COLUMN commit_repository TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN progress TEXT NOT NULL DEFAULT 'stored';
ALTER TABLE versions ADD COLUMN problem TEXT;
CREATE TABLE environments (
    version_id TEXT PRIMARY KEY REFERENCES versions (id),
    variables TEXT NOT NULL
) STRICT;
CREATE TABLE lives (
    project_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    wanted TEXT NOT NULL,
    generation INTEGER NOT NULL,
    keep INTEGER NOT NULL,
    version_id TEXT,
    next_id TEXT,
    stored_id TEXT,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    restarts INTEGER NOT NULL,
    exit_code INTEGER,
    problem TEXT,
    callback_errors INTEGER NOT NULL,
    last_output_at REAL,
    launched INTEGER NOT NULL,
    had_strategy INTEGER NOT NULL,
    ordered INTEGER NOT NULL,
    was_running INTEGER NOT NULL,
    next_run_at REAL,
    PRIMARY KEY (project_id, model_id),
    FOREIGN KEY (project_id, model_id) REFERENCES models (project_id, id)
) STRICT;
INSERT INTO lives
    SELECT project_id, model_id, 'stopped', 0, 0, NULL, NULL, id, 'stopped', created_at, 0, NULL,
        'it was deployed when this server ran no models yet', 0, NULL, 0, 0, 0, 0, NULL
    FROM versions WHERE status = 'deployed';
CREATE TABLE ran (
    number INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    version_id TEXT NOT NULL REFERENCES versions (id)
) STRICT;
CREATE INDEX ran_of_model ON ran (project_id, model_id);
CREATE TABLE places (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    UNIQUE (project_id, model_id)
) STRICT
"""

# Who deployed a version, and by which run of a workflow.
DEPLOYERS: Final = """
ALTER TABLE versions ADD COLUMN deployed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN run_url TEXT NOT NULL DEFAULT ''
"""

_COLUMNS: Final = ", ".join(field.name for field in fields(Life))
_FLAGS: Final = ("keep", "launched", "had_strategy", "ordered", "was_running")


def versions_of(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, Version]:
    """Return those of these versions that exist, by their ids."""
    rows = connection.execute(
        f"SELECT {VERSION_COLUMNS} FROM versions"  # noqa: S608  # a constant
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[0]: Version(*row) for row in rows}


class LiveTables:
    """Reads and writes of deployed models' lives, within a transaction."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self._now = now

    def life(self, project_id: str, model_id: str) -> Life | None:
        """Return the life of a model; None if nothing was ever to run."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM lives WHERE project_id = ? AND model_id = ?",  # noqa: S608  # a constant
            (project_id, model_id),
        ).fetchone()
        return None if row is None else _life(row)

    def lives(self) -> list[Life]:
        """Return the lives of all models."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM lives")  # noqa: S608  # a constant
        return [_life(row) for row in rows]

    def keep(self, life: Life) -> None:
        """Add or replace the life of a model that exists."""
        marks = ", ".join("?" for _ in fields(Life))
        self._connection.execute(
            f"INSERT OR REPLACE INTO lives ({_COLUMNS}) VALUES ({marks})",  # noqa: S608  # constants
            astuple(life),
        )

    def enter(self, life: Life, state: State, **changes: Any) -> None:
        """Change the state of a model, and other fields with it."""
        self.keep(replace(life, state=state, since=self._now, **changes))

    def new_life(self, project_id: str, model_id: str) -> Life:
        """Return the life of a model for which there was no wish yet; it is not kept."""
        return Life(
            project_id=project_id,
            model_id=model_id,
            wanted=Wanted.STOPPED,
            state=State.STOPPED,
            since=self._now,
        )

    def place(self, project_id: str, model_id: str) -> str:
        """Return a name for a model that no other ever gets, safe as a file name."""
        key = (project_id, model_id)
        self._connection.execute(
            "INSERT OR IGNORE INTO places (project_id, model_id) VALUES (?, ?)", key
        )
        row = self._connection.execute(
            "SELECT number FROM places WHERE project_id = ? AND model_id = ?", key
        ).fetchone()
        return str(row[0])

    def were_deleted(self, places: Iterable[str]) -> list[str]:
        """Return those of the names for models that were given once, and whose model is deleted."""
        rows = self._connection.execute(
            "SELECT value FROM json_each(?) WHERE CAST(value AS INTEGER) BETWEEN 1 AND"
            " (SELECT seq FROM sqlite_sequence WHERE name = 'places')"
            " AND value NOT IN (SELECT CAST(number AS TEXT) FROM places)",
            (json.dumps([place for place in places if place.isdecimal()]),),
        )
        return [row[0] for row in rows]

    def version(self, project_id: str, model_id: str, version_id: str) -> Version | None:
        """Return a version of a model, or None."""
        row = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions"  # noqa: S608  # a constant
            " WHERE project_id = ? AND model_id = ? AND id = ?",
            (project_id, model_id, version_id),
        ).fetchone()
        return None if row is None else Version(*row)

    def versions(self, ids: Iterable[str]) -> dict[str, Version]:
        """Return those of these versions that exist, by their ids."""
        return versions_of(self._connection, ids)

    def newest_versions(self) -> dict[tuple[str, str], Version]:
        """Return the newest version of each model that has one to run, by project and model."""
        rows = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE number IN (SELECT"  # noqa: S608  # a constant
            " (SELECT max(number) FROM versions WHERE project_id = models.project_id"
            " AND model_id = models.id AND status != ?) FROM models)",
            (VersionStatus.BACKTEST,),
        )
        return {(row[1], row[2]): Version(*row) for row in rows}

    def note_current(self, project_id: str, model_id: str, version_id: str) -> None:
        """Note which version is the deployed one; it replaces the one that was."""
        self._connection.execute(
            "UPDATE versions SET status = CASE WHEN id = ? THEN ? ELSE ? END"
            " WHERE project_id = ? AND model_id = ? AND (id = ? OR status = ?)",
            (
                *(version_id, VersionStatus.DEPLOYED, VersionStatus.STOPPED),
                *(project_id, model_id, version_id, VersionStatus.DEPLOYED),
            ),
        )

    def note_progress(self, version_id: str, progress: Progress, problem: str | None) -> None:
        """Note how far a version came, and what is wrong with it."""
        self._connection.execute(
            "UPDATE versions SET progress = ?, problem = ? WHERE id = ?",
            (progress, problem, version_id),
        )

    def keep_environment(self, version_id: str, variables: Mapping[str, str]) -> None:
        """Keep the variables of a version, in place of those it had."""
        self._connection.execute(
            "INSERT OR REPLACE INTO environments VALUES (?, ?)",
            (version_id, json.dumps(dict(variables))),
        )

    def environment(self, version_id: str) -> dict[str, str]:
        """Return the variables of a version. They may be secrets."""
        row = self._connection.execute(
            "SELECT variables FROM environments WHERE version_id = ?", (version_id,)
        ).fetchone()
        return {} if row is None else json.loads(row[0])

    def history(self, project_id: str, model_id: str) -> list[str]:
        """Return the ids of the versions that ran, as steps that a rollback goes back along."""
        rows = self._connection.execute(
            "SELECT version_id FROM ran WHERE project_id = ? AND model_id = ? ORDER BY number",
            (project_id, model_id),
        )
        return [row[0] for row in rows]

    def histories(self) -> dict[tuple[str, str], list[str]]:
        """Return what `history` does of each model that has one, by project and model."""
        found = defaultdict[tuple[str, str], list[str]](list)
        rows = self._connection.execute(
            "SELECT project_id, model_id, version_id FROM ran ORDER BY number"
        )
        for project_id, model_id, version_id in rows:
            found[project_id, model_id].append(version_id)
        return dict(found)

    def note_ran(self, project_id: str, model_id: str, version_id: str) -> None:
        """Note that a version runs: a new last step, or the way back to an earlier one."""
        of_model = "project_id = ? AND model_id = ?"
        number = self._connection.execute(
            f"SELECT max(number) FROM ran WHERE {of_model} AND version_id = ?",  # noqa: S608  # a constant
            (project_id, model_id, version_id),
        ).fetchone()[0]
        if number is None:
            self._connection.execute(
                "INSERT INTO ran (project_id, model_id, version_id) VALUES (?, ?, ?)",
                (project_id, model_id, version_id),
            )
        else:
            self._connection.execute(
                f"DELETE FROM ran WHERE {of_model} AND number > ?",  # noqa: S608  # a constant
                (project_id, model_id, number),
            )

    def delete(self, project_id: str, model_id: str) -> None:
        """Delete a model's life, history and variables, before its versions are deleted."""
        key = (project_id, model_id)
        of_model = "project_id = ? AND model_id = ?"
        self._connection.execute(f"DELETE FROM places WHERE {of_model}", key)  # noqa: S608  # a constant
        self._connection.execute(f"DELETE FROM lives WHERE {of_model}", key)  # noqa: S608  # a constant
        self._connection.execute(f"DELETE FROM ran WHERE {of_model}", key)  # noqa: S608  # a constant
        self._connection.execute(
            f"DELETE FROM environments WHERE version_id IN"  # noqa: S608  # a constant
            f" (SELECT id FROM versions WHERE {of_model})",
            key,
        )


def _life(row: tuple[Any, ...]) -> Life:
    values: dict[str, Any] = dict(zip((field.name for field in fields(Life)), row, strict=True))
    return Life(**(values | {name: bool(values[name]) for name in _FLAGS}))
