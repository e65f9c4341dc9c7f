"""The deployed models of a server: what is wished for them, and what keeps them so."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext

from deploy_action.platform.live.host import StillRunningError
from deploy_action.platform.live.keeping.keeper import Keeper
from deploy_action.platform.live.status import LiveStatus, read_status, read_statuses
from deploy_action.platform.live.surroundings import Surroundings
from deploy_action.platform.live.wishes import wish_run, wish_stop
from deploy_action.platform.storage.records import Life, Model, State
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.text.variables import replaced


class NotKeptError(Exception):
    """A model is stopped, but a new server would start it again: that could not be stored."""


class LiveModels:
    """Takes wishes, and keeps each model as it is wished for.

    After a wish that is part of the caller's transaction, `wake` has to be called.
    """

    def __init__(self, around: Surroundings, stop_seconds: float) -> None:
        """Prepare; a model's teardown may take `stop_seconds`.

        What ran when an earlier server ended is noted as being prepared.
        """
        self._around = around
        self.stop_seconds = stop_seconds
        self._keepers: dict[tuple[str, str], Keeper] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        with around.store.transaction() as transaction:
            for life in transaction.live.lives():
                model = transaction.model(life.project_id, life.model_id)
                if life.keep and model is not None:
                    _take_up(transaction, life, model)

    def recover(self) -> None:
        """Take up what an earlier server left: end what still runs, start what should run."""
        self._forget_deleted()
        with self._around.store.snapshot() as snapshot:
            lives = snapshot.live.lives()
        for life in lives:
            self.wake(life.project_id, life.model_id)

    def run(
        self,
        project_id: str,
        model_id: str,
        version_id: str,
        environment: Mapping[str, str] | None = None,
        seen: str | None = None,
    ) -> None:
        """Wish that a version runs, with new variables if there are some.

        For the current version of a screener, run it now. `seen` is as in `wish_run`.

        Raises:
            UnknownVersionError: there is no such version to run.
            ChangedMeanwhileError: the model's standing is another one.
        """
        with self._around.store.transaction() as transaction:
            before = transaction.live.environment(version_id)
            is_new = wish_run(transaction, project_id, model_id, version_id, environment, seen)
            model = transaction.model(project_id, model_id)
        if environment is not None and environment != before:
            text = f"Of version {version_id}, {replaced(before, environment)}."
            self._around.logs.open(version_id).write("platform", text)
            self.tell(project_id, model_id, text, version_id)
        keeper = self._keeper(project_id, model_id)
        if keeper is None:
            return
        if not is_new and model is not None and model.is_screener:
            keeper.run_now()
        keeper.halt(is_halted=False)

    def stop(self, project_id: str, model_id: str) -> None:
        """Wish that a model is stopped; nothing of it is started after this has returned.

        Raises:
            NotKeptError: it is stopped, but that could not be stored, as on a full disk.
        """
        self._keeper(project_id, model_id)
        with self._lock:  # also while this server stops: then it has a keeper, or nothing runs
            keeper = self._keepers.get((project_id, model_id))
        with nullcontext() if keeper is None else keeper.starting:
            try:
                with self._around.store.transaction() as transaction:
                    wish_stop(transaction, project_id, model_id)
            except (OSError, sqlite3.Error) as error:
                if keeper is not None:
                    keeper.halt(is_halted=True)
                raise NotKeptError from error
        if keeper is not None:
            keeper.wake()

    def tell(self, project_id: str, model_id: str, text: str, version_id: str = "") -> None:
        """Note an event of a model."""
        now = self._around.clock()
        self._around.reports.note(project_id, model_id, text, now, version_id)

    def delete(self, project_id: str, model_id: str) -> bool:
        """Stop a model, and delete it with all that is kept of it.

        Returns False, and deletes nothing, if it was started meanwhile.

        Raises:
            StillRunningError: it could not be ended.
        """
        store, key = self._around.store, (project_id, model_id)
        self.stop(project_id, model_id)
        with self._lock:
            keeper = self._keepers.get(key)
        if keeper is not None:
            keeper.close()
            is_gone = keeper.join(self.stop_seconds + 10)
            with self._lock:
                self._keepers.pop(key, None)
            if not is_gone:
                raise StillRunningError(model_id)
        with store.transaction() as transaction:
            place = transaction.live.place(project_id, model_id)
        if not store.delete_model(project_id, model_id):
            self.wake(project_id, model_id)
            return False
        self._forget(place)
        return True

    def _forget(self, place: str) -> None:
        try:
            self._around.host.forget(place)
        except (StillRunningError, OSError) as error:
            self._around.on_error(f"The state of a deleted model is left in place {place}: {error}")

    def _forget_deleted(self) -> None:
        """Remove what is left of models of which an earlier server deleted only the rows."""
        try:
            kept = self._around.host.kept()
        except OSError as error:
            self._around.on_error(f"What deleted models left cannot be looked for: {error}")
            return
        with self._around.store.snapshot() as snapshot:
            deleted = snapshot.live.were_deleted(kept)
        for place in deleted:
            self._forget(place)

    def status(self, snapshot: Transaction, project_id: str, model_id: str) -> LiveStatus | None:
        """Return what a model does; None if nothing was ever to run."""
        life = snapshot.live.life(project_id, model_id)
        if life is None:
            return None
        with self._lock:
            keeper = self._keepers.get((project_id, model_id))
        return read_status(snapshot, life, None if keeper is None else keeper.pulse)

    def statuses(self, snapshot: Transaction) -> dict[tuple[str, str], LiveStatus]:
        """Return what `status` does of each model that has one, by project and model."""
        with self._lock:
            keepers = dict(self._keepers)
        return read_statuses(snapshot, {key: keeper.pulse for key, keeper in keepers.items()})

    def fault(self) -> str | None:
        """Return what is wrong with the reconciler; None if it works."""
        with self._lock:
            dead = sum(not keeper.is_alive for keeper in self._keepers.values())
        return f"{dead} models are not watched over any more" if dead else None

    def watches(self, project_id: str, model_id: str) -> bool:
        """Whether nothing keeps the reconciler from a model; else its state may be an old one."""
        with self._lock:
            keeper = self._keepers.get((project_id, model_id))
        return keeper is None or keeper.is_alive

    def wake(self, project_id: str, model_id: str) -> None:
        """Have a new wish taken up."""
        keeper = self._keeper(project_id, model_id)
        if keeper is not None:
            keeper.wake()

    def close(self) -> None:
        """Stop all models, for as long as their teardown may take; what is wished for stays."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.close()
        until = time.monotonic() + self.stop_seconds + 10
        for keeper in keepers:
            keeper.join(max(0.0, until - time.monotonic()))
        self._around.host.close()

    def _keeper(self, project_id: str, model_id: str) -> Keeper | None:
        """Return the keeper of a model; None while the server stops, or without such a model."""
        key = (project_id, model_id)
        with self._lock:
            if self._is_closed or key in self._keepers:
                return None if self._is_closed else self._keepers[key]
            with self._around.store.transaction() as transaction:
                model: Model | None = transaction.model(project_id, model_id)
                if model is None:
                    return None
                place = transaction.live.place(project_id, model_id)
            keeper = self._keepers[key] = Keeper(self._around, model, place)
            keeper.start()
            return keeper


def _take_up(transaction: Transaction, life: Life, model: Model) -> None:
    """Note what becomes of a model that ran when the server ended."""
    if not model.is_screener:
        transaction.live.enter(life, State.PREPARING)
    elif life.state != State.SCHEDULED:
        problem = "The server ended during its run, which is not made up for."
        transaction.live.enter(life, State.SCHEDULED, problem=problem)
