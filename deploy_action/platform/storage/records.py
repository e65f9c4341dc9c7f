"""What the platform knows: projects, models, versions and backtests.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class VersionStatus(StrEnum):
    """The state of a version."""

    DEPLOYED = "deployed"  # the model's current version
    STOPPED = "stopped"  # replaced by a later one
    BACKTEST = "backtest"  # uploaded for a backtest, never deployed


class BacktestStatus(StrEnum):
    """The state of a backtest."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"  # it has a result
    FAILED = "failed"  # it may have a result: its script failed after the backtest
    STOPPED = "stopped"  # by its client, by its time limit, or with the platform


@dataclass(frozen=True, slots=True)
class Project:
    """A project, which holds models."""

    id: str
    name: str
    description: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model; its id is unique within its project only."""

    project_id: str
    id: str
    type: str
    name: str
    description: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Version:
    """One uploaded bundle: its lower-case hex SHA-256, its size in bytes, its number of files."""

    id: str
    project_id: str
    model_id: str
    status: str
    description: str
    python_version: str
    plan: str
    schedule: str | None
    sha256: str
    bytes: int
    files: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Backtest:
    """A backtest of a version, with its JSON arguments and its state.

    `workplace` is the id of the process that runs it, `run` the facts that the API shows.
    """

    id: str
    version_id: str
    args: Mapping[str, object]
    description: str
    status: str
    created_at: float
    workplace: str
    run: Mapping[str, object]
    ended_at: float | None
