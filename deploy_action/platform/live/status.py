"""The state of a deployed model, as the API shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from deploy_action.platform.storage.records import Life, State, Version, Wanted
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What is newer than the store: it changes too often to be written each time."""

    last_output_at: float | None
    callback_errors: int
    callbacks_fail_since: float | None
    callbacks_work: bool
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """What a deployed model does, and what it should do; times are seconds since 1970.

    `version` is the version that `state` is about. `start_id` is the one that a start would run and
    `previous_id` the one that a rollback would, None if there is none. `next_id` is prepared
    while another one runs. `callbacks_fail_since` is when the first of the latest callbacks failed,
    None if one has succeeded since the latest error, or if that is not known. `callbacks_work` says
    that one has succeeded since then.
    """

    state: State
    wanted: Wanted
    version: Version | None
    since: float
    restarts: int
    exit_code: int | None
    problem: str | None
    callback_errors: int
    callbacks_fail_since: float | None
    callbacks_work: bool
    last_output_at: float | None
    strategy_started: bool
    start_id: str | None
    previous_id: str | None
    next_id: str | None
    next_run_at: float | None

    @property
    def callbacks_fail(self) -> bool:
        """Whether no callback has succeeded since the latest error of one."""
        return self.callbacks_fail_since is not None


def read_status(snapshot: Transaction, life: Life, pulse: Pulse | None) -> LiveStatus:
    """Return the status of a model, from its life and what is known since."""
    tables = snapshot.live
    history = tables.history(life.project_id, life.model_id)
    shown = _shown(life)[1]
    version = tables.version(life.project_id, life.model_id, shown) if shown else None
    return _status(life, history, version, pulse)


def read_statuses(
    snapshot: Transaction, pulses: Mapping[tuple[str, str], Pulse | None]
) -> dict[tuple[str, str], LiveStatus]:
    """Return the status of each model for which there ever was a wish, by project and model."""
    lives, histories = snapshot.live.lives(), snapshot.live.histories()
    shown = {(life.project_id, life.model_id): _shown(life)[1] for life in lives}
    versions = snapshot.live.versions({each for each in shown.values() if each is not None})
    found = {}
    for life in lives:
        key = life.project_id, life.model_id
        version = versions.get(shown[key] or "")
        found[key] = _status(life, histories.get(key, ()), version, pulses.get(key))
    return found


def _status(
    life: Life, history: Sequence[str], version: Version | None, pulse: Pulse | None
) -> LiveStatus:
    state, shown, next_id = _shown(life)
    if shown != life.version_id:  # nothing is known of it yet
        life = replace(life, problem=None, exit_code=None, restarts=0, callback_errors=0)
    return LiveStatus(
        state=state,
        wanted=Wanted(life.wanted),
        version=version,
        since=life.since,
        restarts=life.restarts,
        exit_code=life.exit_code,
        problem=life.problem if pulse is None else pulse.problem or life.problem,
        callback_errors=life.callback_errors if pulse is None else pulse.callback_errors,
        callbacks_fail_since=None if pulse is None else pulse.callbacks_fail_since,
        callbacks_work=pulse is not None and pulse.callbacks_work,
        last_output_at=life.last_output_at if pulse is None else pulse.last_output_at,
        strategy_started=life.had_strategy,
        start_id=_start_id(life, history),
        previous_id=_previous_id(life, history),
        next_id=next_id,
        next_run_at=life.next_run_at,
    )


def _shown(life: Life) -> tuple[State, str | None, str | None]:
    """Return state, version and next version, also while the keeper has yet to act on a wish."""
    state = State(life.state)
    if life.wanted == Wanted.STOPPED:
        return (state if state is State.STOPPED else State.STOPPING), life.version_id, None
    if life.next_id is not None and not life.keep and state is not State.STOPPING:
        return State.PREPARING, life.next_id, None
    return state, life.version_id, life.next_id


def _start_id(life: Life, history: Sequence[str]) -> str | None:
    if life.stored_id is not None:
        return life.stored_id
    if life.version_id is not None and (life.launched or life.version_id in history):
        return life.version_id
    return history[-1] if history else None


def _previous_id(life: Life, history: Sequence[str]) -> str | None:
    is_listed = life.version_id in history  # else it was never running
    earlier = history[: history.index(life.version_id)] if is_listed else history
    return earlier[-1] if earlier else None


def settings_digest(version: Version, model_type: str) -> str:
    """Return the SHA-256, in lower-case hex, of a version's plan, Python, schedule and type."""
    settings = {
        "plan": version.plan,
        "pythonVersion": version.python_version,
        "schedule": version.schedule,
        "type": model_type,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
