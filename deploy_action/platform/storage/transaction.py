"""The queries of the platform's database, within a transaction."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import astuple

from deploy_action.platform.storage.records import (
    Backtest,
    BacktestStatus,
    Beside,
    Model,
    Project,
    ProjectKey,
    Version,
    VersionStatus,
    WindowPlace,
)
from deploy_action.platform.storage.tables.backtests import (
    BACKTEST_COLUMNS,
    WindowTables,
    backtest_of,
)
from deploy_action.platform.storage.tables.figures import FiguresTables
from deploy_action.platform.storage.tables.live import VERSION_COLUMNS, LiveTables
from deploy_action.platform.storage.tables.reports import ReportTables
from deploy_action.platform.storage.tables.sessions import SessionTables
from deploy_action.platform.storage.tables.upkeep import UpkeepTables
from deploy_action.platform.storage.tables.versions import VersionTables
from deploy_action.records import fields


class Transaction:
    """Reads and writes that happen together or not at all."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        """Use a connection that is in a transaction; `now` is the time of what is added."""
        self._connection = connection
        self.now = now
        self.live = LiveTables(connection, now)
        self.reports = ReportTables(connection)
        self.upkeep = UpkeepTables(connection)
        self.figures = FiguresTables(connection)
        self.sessions = SessionTables(connection, now)
        self.uploaded = VersionTables(connection)
        self.windows = WindowTables(connection)

    def user_id(self) -> str:
        """Return the id of the platform's one user."""
        return str(self._connection.execute("SELECT id FROM users").fetchone()[0])

    def add_user(self, user_id: str) -> None:
        """Add the platform's one user, with a personal project."""
        self._connection.execute("INSERT INTO users VALUES (?)", (user_id,))
        self.add_project(user_id, name="Personal", description="The user's personal project")

    def projects(self) -> list[Project]:
        """Return every project, the oldest first."""
        rows = self._connection.execute(
            "SELECT id, name, description, created_at FROM projects ORDER BY number"
        )
        return [Project(*row) for row in rows]

    def project(self, project_id: str) -> Project | None:
        """Return a project, or None."""
        row = self._connection.execute(
            "SELECT id, name, description, created_at FROM projects WHERE id = ?", (project_id,)
        ).fetchone()
        return None if row is None else Project(*row)

    def has_project(self, project_id: str) -> bool:
        """Return whether the project exists."""
        found = self._connection.execute("SELECT 1 FROM projects WHERE id = ?", (project_id,))
        return found.fetchone() is not None

    def add_project(self, project_id: str, *, name: str, description: str) -> Project:
        """Add a project."""
        project = Project(project_id, name, description, self.now)
        self._connection.execute(
            "INSERT INTO projects (id, name, description, created_at) VALUES (?, ?, ?, ?)",
            (project.id, project.name, project.description, project.created_at),
        )
        return project

    def models(self, project_id: str) -> list[Model]:
        """Return the models of a project, the oldest first."""
        rows = self._connection.execute(
            "SELECT project_id, id, type, name, description, created_at FROM models"
            " WHERE project_id = ? ORDER BY number",
            (project_id,),
        )
        return [Model(*row) for row in rows]

    def all_models(self) -> list[Model]:
        """Return the models of all projects, the oldest first."""
        rows = self._connection.execute(
            "SELECT project_id, id, type, name, description, created_at FROM models ORDER BY number"
        )
        return [Model(*row) for row in rows]

    def model(self, project_id: str, model_id: str) -> Model | None:
        """Return a model of a project, or None."""
        row = self._connection.execute(
            "SELECT project_id, id, type, name, description, created_at FROM models"
            " WHERE project_id = ? AND id = ?",
            (project_id, model_id),
        ).fetchone()
        return None if row is None else Model(*row)

    def add_model(
        self, project_id: str, model_id: str, *, model_type: str, name: str, description: str
    ) -> Model:
        """Add a model to a project that exists."""
        model = Model(project_id, model_id, model_type, name, description, self.now)
        self._connection.execute(
            "INSERT INTO models (project_id, id, type, name, description, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (project_id, model_id, model_type, name, description, self.now),
        )
        return model

    def versions(self, project_id: str, model_id: str) -> list[Version]:
        """Return what was uploaded for a model, the oldest first."""
        rows = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions"  # noqa: S608  # a constant
            " WHERE project_id = ? AND model_id = ? ORDER BY number",
            (project_id, model_id),
        )
        return [Version(*row) for row in rows]

    def version_ids(self) -> list[str]:
        """Return the ids of all versions."""
        return [row[0] for row in self._connection.execute("SELECT id FROM versions")]

    def version_with_key(self, key: str) -> Version | None:
        """Return the version that was uploaded with an idempotency key, or None."""
        row = self._connection.execute(
            f"SELECT {VERSION_COLUMNS} FROM versions"  # noqa: S608  # a constant
            " WHERE idempotency_key = ?",
            (key,),
        ).fetchone()
        return None if row is None else Version(*row)

    def add_version(self, version: Version, key: str) -> None:
        """Add a version. A deployed one replaces the model's deployed version.

        `key` is the idempotency key of its upload, blank for none.
        """
        if version.status == VersionStatus.DEPLOYED:
            self._connection.execute(
                "UPDATE versions SET status = ? WHERE project_id = ? AND model_id = ?"
                " AND status = ?",
                (
                    VersionStatus.STOPPED,
                    version.project_id,
                    version.model_id,
                    VersionStatus.DEPLOYED,
                ),
            )
        self._connection.execute(
            f"INSERT INTO versions ({VERSION_COLUMNS}, idempotency_key)"  # noqa: S608  # a constant
            f" VALUES ({', '.join('?' * (len(fields(Version)) + 1))})",
            (*astuple(version), key or None),
        )

    def backtests(self, project_id: str, model_id: str) -> list[Backtest]:
        """Return the backtests of a model, the oldest first."""
        return self._backtests("", (project_id, model_id))

    def backtest(self, project_id: str, model_id: str, backtest_id: str) -> Backtest | None:
        """Return a backtest of a model, None if it has none of this id."""
        found = self._backtests("AND backtests.id = ?", (project_id, model_id, backtest_id))
        return found[0] if found else None

    def newest_backtests(self, project_id: str, model_id: str, most: int) -> list[Backtest]:
        """Return the newest backtests of a model, the oldest first; windows are left out."""
        rows = self._connection.execute(
            # Of those that are not asked for, only the index is read.
            f"SELECT {BACKTEST_COLUMNS} FROM backtests WHERE number IN"  # noqa: S608  # a constant
            " (SELECT backtests.number FROM versions CROSS JOIN backtests"
            " ON version_id = versions.id WHERE project_id = ? AND model_id = ?"
            " AND window_of IS NULL ORDER BY backtests.number DESC LIMIT ?) ORDER BY number",
            (project_id, model_id, most),
        )
        return [backtest_of(row) for row in rows]

    def windows_of(self, project_id: str, model_id: str, backtest_id: str) -> list[Backtest]:
        """Return the windows of a backtest of a model, the one that was asked for first, first."""
        return self._backtests("AND window_of = ?", (project_id, model_id, backtest_id))

    def _backtests(self, condition: str, values: tuple[str, ...]) -> list[Backtest]:
        rows = self._connection.execute(
            f"SELECT {BACKTEST_COLUMNS}"  # noqa: S608  # constants
            " FROM backtests JOIN versions ON versions.id = version_id"
            f" WHERE project_id = ? AND model_id = ? {condition} ORDER BY backtests.number",
            values,
        )
        return [backtest_of(row) for row in rows]

    def add_backtest(
        self,
        version_id: str,
        *,
        args: Mapping[str, object],
        description: str,
        workplace: str,
        variables: Mapping[str, object] | None = None,
        window: WindowPlace | None = None,
        beside: Beside | None = None,
    ) -> str:
        """Add a backtest of a version that exists, and return its id.

        `variables` is what may be told of its variables, None if that is unknown. `window` is one
        of which there is none.
        """
        facts = {} if variables is None else {"variables": variables}
        backtest_id = str(uuid.uuid4())
        self._connection.execute(
            "INSERT INTO backtests (id, version_id, args, description, status, created_at,"
            " workplace, run, window_of, window_number, window_name, windows_beside,"
            " combinations_beside) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                backtest_id,
                version_id,
                json.dumps(args, allow_nan=False),
                description,
                BacktestStatus.QUEUED,
                self.now,
                workplace,
                json.dumps({**facts, "problems": []}),
                *((None,) * 3 if window is None else astuple(window)),
                *((None,) * 2 if beside is None else astuple(beside)),
            ),
        )
        return backtest_id

    def begin_backtest(self, backtest_id: str) -> None:
        """Set a backtest's status to running."""
        self._connection.execute(
            "UPDATE backtests SET status = ? WHERE id = ?", (BacktestStatus.RUNNING, backtest_id)
        )

    def end_backtest(
        self, backtest_id: str, status: BacktestStatus, run: Mapping[str, object]
    ) -> bool:
        """Set the final status of a backtest and the facts of its run; False if it is gone."""
        found = self._connection.execute(
            "UPDATE backtests SET status = ?, run = ?, ended_at = ? WHERE id = ?",
            (status, json.dumps(run, allow_nan=False), self.now, backtest_id),
        )
        return found.rowcount > 0

    def end_abandoned_backtests(self, workplaces: Sequence[str]) -> None:
        """Mark the unfinished backtests of all workplaces but these as stopped."""
        self._connection.execute(
            "UPDATE backtests SET status = ?, ended_at = ? WHERE status IN (?, ?)"
            " AND workplace NOT IN (SELECT value FROM json_each(?))",
            (
                BacktestStatus.STOPPED,
                self.now,
                BacktestStatus.QUEUED,
                BacktestStatus.RUNNING,
                json.dumps(workplaces),
            ),
        )

    def ids_with_result(self) -> list[str]:
        """Return the ids of the backtests that may have a result."""
        rows = self._connection.execute(
            "SELECT id FROM backtests WHERE status IN (?, ?)",
            (BacktestStatus.FINISHED, BacktestStatus.FAILED),
        )
        return [row[0] for row in rows]

    def add_project_key(
        self, project_id: str, *, name: str, autogenerated: str, pass_digest: str
    ) -> None:
        """Add an API key to a project that exists."""
        self._connection.execute(
            "INSERT INTO project_keys (project_id, name, autogenerated, api_key, pass_digest,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (project_id, name, autogenerated, project_id, pass_digest, self.now),
        )

    def project_keys(self, project_id: str) -> list[ProjectKey]:
        """Return the API keys of a project, the oldest first."""
        rows = self._connection.execute(
            "SELECT pass_digest, name, autogenerated, created_at FROM project_keys"
            " WHERE project_id = ? ORDER BY number",
            (project_id,),
        )
        return [ProjectKey(*row) for row in rows]

    def has_project_key(self, api_key: str, pass_digest: str) -> bool:
        """Return whether there is a key with this digest of its password."""
        found = self._connection.execute(
            "SELECT 1 FROM project_keys WHERE pass_digest = ? AND api_key = ?",
            (pass_digest, api_key),
        )
        return found.fetchone() is not None

    def delete_project_key(self, project_id: str, pass_digest: str) -> None:
        """Delete an API key of a project."""
        self._connection.execute(
            "DELETE FROM project_keys WHERE project_id = ? AND pass_digest = ?",
            (project_id, pass_digest),
        )

    def note_commit(
        self, version_id: str, commit: str, committed_at: float | None, repository: str
    ) -> None:
        """Note that a version is also what a later commit makes."""
        self._connection.execute(
            "UPDATE versions SET git_commit = ?, committed_at = ?, commit_repository = ?"
            " WHERE id = ?",
            (commit, committed_at, repository, version_id),
        )

    def set_plan(self, version_id: str, plan: str) -> None:
        """Set the plan of a version that was uploaded without one."""
        self._connection.execute("UPDATE versions SET plan = ? WHERE id = ?", (plan, version_id))

    def delete_model(self, project_id: str, model_id: str) -> None:
        """Delete a model that does not run, with everything of it."""
        key = (project_id, model_id)
        of_model = "project_id = ? AND model_id = ?"
        self.live.delete(project_id, model_id)
        self.reports.delete(project_id, model_id)
        self.figures.delete(project_id, model_id)
        self._connection.execute(
            f"DELETE FROM backtests WHERE version_id IN (SELECT id FROM versions WHERE {of_model})",  # noqa: S608  # a constant
            key,
        )
        self._connection.execute(f"DELETE FROM versions WHERE {of_model}", key)  # noqa: S608  # a constant
        self._connection.execute("DELETE FROM models WHERE project_id = ? AND id = ?", key)

    def delete_project(self, project_id: str) -> None:
        """Delete a project without models, with its keys."""
        self._connection.execute("DELETE FROM project_keys WHERE project_id = ?", (project_id,))
        self._connection.execute("DELETE FROM projects WHERE id = ?", (project_id,))
