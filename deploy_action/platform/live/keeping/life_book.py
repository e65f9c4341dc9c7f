"""What the store knows of one model's life, and the changes that its keeper makes to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy_action.platform.storage.records import Life, Model, Progress, State, Version
from deploy_action.platform.storage.store import Store
from deploy_action.records import dataclass, replace


@dataclass(frozen=True, slots=True)
class LifeBook:
    """Reads and changes the life of a model; each change is a transaction of its own."""

    store: Store
    model: Model

    def read(self) -> Life | None:
        """Return the life of the model; None if it was deleted."""
        with self.store.snapshot() as snapshot:
            return snapshot.live.life(self.model.project_id, self.model.id)

    def change(self, **changes: Any) -> None:
        """Change fields of the life, whatever was wished for meanwhile."""
        with self.store.transaction() as transaction:
            life = transaction.live.life(self.model.project_id, self.model.id)
            if life is not None:
                transaction.live.keep(replace(life, **changes))

    def enter(self, state: State, **changes: Any) -> None:
        """Change the state, and other fields with it."""
        with self.store.transaction() as transaction:
            life = transaction.live.life(self.model.project_id, self.model.id)
            if life is not None:
                transaction.live.enter(life, state, **changes)

    def version(self, version_id: str) -> tuple[Version, Mapping[str, str]] | None:
        """Return a version with its variables; None if it was removed."""
        with self.store.snapshot() as snapshot:
            version = snapshot.live.version(self.model.project_id, self.model.id, version_id)
            if version is None:
                return None
            return version, snapshot.live.environment(version_id)

    def note_progress(self, version_id: str, progress: Progress, problem: str | None) -> None:
        """Note how far a version came."""
        with self.store.transaction() as transaction:
            transaction.live.note_progress(version_id, progress, problem)

    def take_over(self, version_id: str, generation: int, *, launched: bool) -> str | None:
        """Make the next version the current one; return the id of the one that it replaces.

        Raises:
            WishChangedError: it is not what is wished for any more; nothing was changed.
        """
        with self.store.transaction() as transaction:
            life = transaction.live.life(self.model.project_id, self.model.id)
            if life is None or (life.next_id, life.generation) != (version_id, generation):
                raise WishChangedError
            fresh = replace(
                transaction.live.new_life(life.project_id, life.model_id),
                wanted=life.wanted,
                generation=life.generation,
                keep=True,
                version_id=version_id,
                stored_id=life.stored_id,
                launched=launched,
            )
            transaction.live.enter(fresh, State.PREPARING)
            transaction.live.note_current(life.project_id, life.model_id, version_id)
            transaction.live.note_progress(version_id, Progress.STARTING, None)
        return life.version_id if life.keep and life.version_id != version_id else None

    def give_up_next(self, version_id: str, generation: int, problem: str) -> bool | None:
        """Note that the next version cannot be prepared.

        Returns whether the current version goes on; None if the wish has changed meanwhile.
        """
        with self.store.transaction() as transaction:
            life = transaction.live.life(self.model.project_id, self.model.id)
            if life is None or (life.next_id, life.generation) != (version_id, generation):
                return None
            transaction.live.note_progress(version_id, Progress.FAILED, problem)
            left = replace(life, next_id=None)
            if life.keep:
                transaction.live.keep(left)
            else:
                transaction.live.enter(
                    left,
                    State.FAILED,
                    version_id=version_id,
                    launched=False,
                    problem=problem,
                    exit_code=None,
                )
        return life.keep

    def note_ran(self, version_id: str, state: State, problem: str | None) -> None:
        """Note that the current version got as far as `running` or `scheduled`."""
        with self.store.transaction() as transaction:
            life = transaction.live.life(self.model.project_id, self.model.id)
            if life is None or life.version_id != version_id:
                return
            transaction.live.note_progress(version_id, Progress.RAN, None)
            transaction.live.note_ran(life.project_id, life.model_id, version_id)
            transaction.live.enter(life, state, was_running=True, problem=problem)


class WishChangedError(Exception):
    """Something else is wished for by now."""
