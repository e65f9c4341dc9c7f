"""What a server tells of a deployed model, and what that means for one of its versions.

Times are in seconds since 1970-01-01 UTC. What the server does not tell is blank or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from deploy_action.records import dataclass, field

_UP: Final = frozenset({"running", "scheduled"})
_RUNNING: Final = "running"
_STOPPED: Final = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The life of a model on a server that runs models.

    `state` is one of `preparing`, `running`, `stopping`, `stopped`, `finished`, `restarting`,
    `failed` and `scheduled`, and that of the version `version_id`. `wanted` is `running` or
    `stopped`. `next_id` is the version that is being prepared while another one runs, `start_id`
    and `previous_id` are those that a start and a rollback would run. `callbacks_fail` says that
    no callback has succeeded since the latest one that raised, and `callbacks_fail_since` when the
    first of those failed, None if the server does not tell.
    """

    state: str
    version_id: str = ""
    wanted: str = ""
    since: float | None = None
    restarts: int = 0
    exit_code: int | None = None
    problem: str = ""
    callback_errors: int = 0
    callbacks_fail: bool = False
    callbacks_fail_since: float | None = None
    last_output_at: float | None = None
    next_run_at: float | None = None
    next_id: str = ""
    start_id: str = ""
    previous_id: str = ""

    @property
    def is_up(self) -> bool:
        """Whether something runs, or will by its schedule."""
        return self.state in _UP

    @property
    def is_to_run(self) -> bool:
        """Whether somebody wants it to run, whatever it does now."""
        return self.wanted == _RUNNING or bool(self.next_id)

    @property
    def is_kept_stopped(self) -> bool:
        """Whether somebody stopped it, so that a deploy only stores a version."""
        return self.wanted == _STOPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedVersion:
    """A version of a model. `progress` is how far it came, `problem` what stopped it there.

    `committed_at` is the time of its commit in `repository`; `environment` are the names of its
    variables.
    """

    id: str
    progress: str = ""
    problem: str = ""
    description: str = ""
    created_at: float | None = None
    plan: str = ""
    schedule: str = ""
    python_version: str = ""
    bundle_sha256: str = ""
    committed_at: float | None = None
    repository: str = ""
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order, as the model reported it; `is_updated`: its status is not the one when sent."""

    time: float | None = None
    symbol: str = ""
    side: str = ""
    type: str = ""
    size: float | None = None
    funds: float | None = None
    price: float | None = None
    status: str = ""
    is_updated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an account is worth, all of it, in `quote`; None where `problem` says why not.

    `missing` are assets that have no price and are left out; `is_simulated`: no real money.
    """

    exchange: str
    portfolio: str = ""
    quote: str = ""
    is_simulated: bool = False
    time: float | None = None
    value: float | None = None
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; `source` is who says so, `model` or `platform`."""

    time: float | None = None
    source: str = ""
    type: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedModel:
    """A model as its server describes it.

    `tells_life` says that the server runs models and tells what they do; `live` is None, too, for
    a model that was never deployed. `current_id` is the version that was deployed last, by the
    server's own word. `versions` are by their ids, `orders` and `events` the latest ones; in all
    three the oldest come first. `told_at` is when the server told this, by its own clock.
    """

    name: str = ""
    type: str = ""
    tells_life: bool = False
    live: Live | None = None
    current_id: str = ""
    versions: Mapping[str, DeployedVersion] = field(default_factory=dict)
    accounts: tuple[Account, ...] = ()
    orders: tuple[Order, ...] = ()
    events: tuple[Event, ...] = ()
    told_at: float | None = None

    def standing(self, version_id: str) -> Standing:
        """Return what became of a version that is to run."""
        live, version = self.live, self.versions.get(version_id)
        progress = "" if version is None else version.progress
        if live is None or live.next_id == version_id:
            return _ENDINGS.get(progress, Standing.COMING) if live is None else Standing.COMING
        if live.version_id == version_id:
            return _current(live, progress)
        if progress == "stored" and live.is_kept_stopped:
            return Standing.STORED
        # What ran before was replaced since then.
        return Standing.SUPERSEDED if progress == "ran" else _ENDINGS.get(progress, Standing.COMING)


UNTOLD: Final = DeployedModel()
"""A model of which nothing is known."""


class Standing(Enum):
    """What became of a version that is to run."""

    COMING = auto()  # it is being prepared or started, or waits for that
    UP = auto()  # it runs, or will by its schedule
    ENDED = auto()  # its script ran to its end, with nothing wrong
    DOWN = auto()  # it could not be prepared, or ended unexpectedly
    STORED = auto()  # it is not to run: somebody stopped the model before
    CANCELLED = auto()  # somebody stopped the model since then
    SUPERSEDED = auto()  # another version took its place


_ENDINGS: Final = {
    "failed": Standing.DOWN,
    "superseded": Standing.SUPERSEDED,
    "cancelled": Standing.CANCELLED,
}


def _current(live: Live, progress: str) -> Standing:
    """Return what the state of the current version means for it."""
    match live.state:
        case "running" | "scheduled":
            return Standing.UP
        case "finished" if progress != "failed":
            return Standing.ENDED
        case "finished" | "restarting" | "failed":
            return Standing.DOWN
        case "stopped" if live.is_kept_stopped:
            return Standing.STORED if progress == "stored" else Standing.CANCELLED
        case _:
            return Standing.COMING
