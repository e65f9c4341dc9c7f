"""What the platform knows: projects, models, versions and backtests.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCREENER: Final = "screener"


class VersionStatus(StrEnum):
    """The state of a version."""

    DEPLOYED = "deployed"  # the model's current version
    STOPPED = "stopped"  # replaced by a later one
    BACKTEST = "backtest"  # uploaded for a backtest, never deployed


class Progress(StrEnum):
    """How far a version came on its way to run."""

    STORED = "stored"  # nobody asked to start it
    PREPARING = "preparing"  # or waiting for that
    STARTING = "starting"  # its process was started
    RAN = "ran"  # it was `running` or `scheduled` at least once
    FAILED = "failed"  # it could not be prepared, or ended at once
    SUPERSEDED = "superseded"  # a later deploy took its place before it was started
    CANCELLED = "cancelled"  # a stop came before it was started


class Wanted(StrEnum):
    """What should be the case."""

    RUNNING = "running"
    STOPPED = "stopped"


class State(StrEnum):
    """The state of a deployed model."""

    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"  # by somebody
    FINISHED = "finished"  # it ended by itself, without a strategy: never restarted
    RESTARTING = "restarting"  # it ended although a strategy had started, and waits
    FAILED = "failed"  # it could not be prepared, or was restarted too often
    SCHEDULED = "scheduled"  # a screener between its runs


class StopReason(StrEnum):
    """Why a model is stopped, which its teardown reads in `BLANKLY_STOP_REASON`."""

    REPLACE = "replace"
    STOP = "stop"
    SHUTDOWN = "shutdown"


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

    @property
    def is_screener(self) -> bool:
        """Whether it runs by a schedule, and not all the time."""
        return self.type == SCREENER


@dataclass(frozen=True, slots=True)
class Version:
    """One uploaded bundle: its lower-case hex SHA-256, its size in bytes, its number of files.

    `commit` is what it was made from, blank if that is unknown, of the repository
    `commit_repository`; `committed_at` is None then.
    """

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
    commit: str = ""
    committed_at: float | None = None
    commit_repository: str = ""
    progress: str = Progress.STORED
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """What a deployed model should do, and what it does.

    `version_id` is the version that was started last, `next_id` one that will take over as soon as
    it is prepared, and `stored_id` one that came while the model was stopped. `generation` counts
    the wishes. `keep` says that `version_id` is to be kept running: it was started, and was neither
    stopped, nor has it finished or failed. The other flags are about this version since then:
    `launched`, a process was started; `had_strategy`, one had a strategy; `ordered`, one
    without a strategy sent an order; `was_running`, one got as far as `running`.
    """

    project_id: str
    model_id: str
    wanted: str
    generation: int
    keep: bool
    version_id: str | None
    next_id: str | None
    stored_id: str | None
    state: str
    since: float
    restarts: int
    exit_code: int | None
    problem: str | None
    callback_errors: int
    last_output_at: float | None
    launched: bool
    had_strategy: bool
    ordered: bool
    was_running: bool
    next_run_at: float | None


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
