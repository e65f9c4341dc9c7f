"""What people wish for a model, as changes of its life within a transaction."""

from __future__ import annotations

from collections.abc import Mapping

from deploy_action.platform.storage.records import (
    Life,
    Progress,
    State,
    Version,
    VersionStatus,
    Wanted,
)
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import replace


class UnknownVersionError(Exception):
    """The model has no such version, or one that was only backtested."""


class ChangedMeanwhileError(Exception):
    """What a model does, or should do, is not what it was."""


def standing(life: Life | None) -> str:
    """Return a text that changes whenever something else of a model runs, or should."""
    if life is None:
        return "0"
    parts = (life.generation, int(life.keep), life.version_id, life.next_id)
    return ".".join("" if part is None else str(part) for part in parts)


def wish_deploy(transaction: Transaction, version: Version) -> bool:
    """Wish that a version that was just added runs; return False if it is only stored.

    That is so for a model that somebody stopped: a deploy does not start it.
    """
    tables = transaction.live
    life = tables.life(version.project_id, version.model_id)
    if life is not None and life.generation and life.wanted == Wanted.STOPPED:
        tables.keep(replace(life, stored_id=version.id))
        return False
    _take_over(transaction, life, version)
    return True


def wish_run(
    transaction: Transaction,
    project_id: str,
    model_id: str,
    version_id: str,
    environment: Mapping[str, str] | None = None,
    seen: str | None = None,
) -> bool:
    """Wish that a version runs; return False if it is the one that does.

    `environment` replaces the variables of the version. `seen` is the `standing` at which somebody
    wished that; None is any.

    Raises:
        UnknownVersionError: there is no such version to run.
        ChangedMeanwhileError: the standing is another one.
    """
    tables = transaction.live
    if seen is not None and seen != standing(tables.life(project_id, model_id)):
        raise ChangedMeanwhileError
    version = tables.version(project_id, model_id, version_id)
    if version is None or version.status == VersionStatus.BACKTEST:
        raise UnknownVersionError(version_id)
    is_changed = environment is not None and environment != tables.environment(version_id)
    if environment is not None:
        tables.keep_environment(version_id, environment)
    life = tables.life(project_id, model_id)
    if life is not None and _runs(life, version_id) and not is_changed:
        if life.next_id is not None:  # the one that should take over no longer should
            tables.note_progress(life.next_id, Progress.SUPERSEDED, None)
            tables.keep(replace(life, next_id=None, generation=life.generation + 1))
        return False
    _take_over(transaction, life, version)
    return True


def _runs(life: Life, version_id: str) -> bool:
    """Whether a version runs, or is about to: one that waits for its restart is started at once."""
    is_wanted = life.keep and life.wanted == Wanted.RUNNING
    return is_wanted and life.version_id == version_id and life.state != State.RESTARTING


def _take_over(transaction: Transaction, life: Life | None, version: Version) -> None:
    tables = transaction.live
    life = life or tables.new_life(version.project_id, version.model_id)
    if life.next_id not in {None, version.id}:
        tables.note_progress(str(life.next_id), Progress.SUPERSEDED, None)
    tables.note_progress(version.id, Progress.PREPARING, None)
    goes_on = life.keep or life.state == State.STOPPING  # else it is being prepared from now on
    tables.keep(
        replace(
            life,
            wanted=Wanted.RUNNING,
            since=life.since if goes_on else transaction.now,
            generation=life.generation + 1,
            next_id=version.id,
            stored_id=None,
        )
    )


def wish_stop(transaction: Transaction, project_id: str, model_id: str) -> None:
    """Wish that nothing of a model runs, and that nothing is started any more.

    That holds whatever runs: who wants a stop must not be told to look again first.
    """
    tables = transaction.live
    life = tables.life(project_id, model_id) or tables.new_life(project_id, model_id)
    stored_id = life.stored_id
    if life.next_id is not None:
        tables.note_progress(life.next_id, Progress.CANCELLED, None)
        if life.version_id is None:  # then `start` means the one that was never started
            stored_id = life.next_id
    tables.keep(
        replace(
            life,
            wanted=Wanted.STOPPED,
            since=life.since if life.wanted == Wanted.STOPPED else transaction.now,
            generation=life.generation + 1,
            keep=False,
            next_id=None,
            stored_id=stored_id,
            next_run_at=None,
        )
    )
