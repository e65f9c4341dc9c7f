"""Versions as pages show them."""

from __future__ import annotations

from collections.abc import Collection

from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.live.wishes import standing
from deploy_action.platform.storage.records import Model, Version
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.forge_links import Commit, commit_of, run_link
from deploy_action.platform.web.site import Site
from deploy_action.platform.web.views.model_frame import state_of
from deploy_action.platform.web.views.model_states import StateWords
from deploy_action.platform.web.views.versions.words import (
    Became,
    Place,
    Start,
    became,
    place_of,
    start_of,
)
from deploy_action.records import dataclass

_REMOVED = (
    "Its bundle was removed: the server keeps only newer ones. Deploy its commit again to run it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version, and what a page says of it.

    `variables` are names. `run_link` is None where the run's page is not one of the repository.
    `start` is what a start of it does, or why it cannot be started.
    """

    version: Version
    place: Place
    became: Became
    variables: tuple[str, ...]
    commit: Commit | None
    run_link: str | None
    has_bundle: bool
    start: Start | str

    @property
    def can_start(self) -> bool:
        """Whether there is a button to start it."""
        return isinstance(self.start, Start)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The versions of a model at one moment."""

    site: Site
    snapshot: Transaction
    model: Model
    status: LiveStatus | None
    state: StateWords
    history: Collection[str]

    @classmethod
    def of(cls, site: Site, snapshot: Transaction, model: Model) -> Shelf:
        """Return the versions of a model."""
        key = model.project_id, model.id
        status = site.live.status(snapshot, *key)
        state, history = state_of(site, snapshot, model, status), snapshot.live.history(*key)
        return cls(site, snapshot, model, status, state, frozenset(history))

    @property
    def seen(self) -> str:
        """What forms repeat, so that nothing is started once something else runs."""
        return standing(self.snapshot.live.life(self.model.project_id, self.model.id))

    def show(self, version: Version) -> Shown:
        """Return what a page says of a version."""
        variables = self.snapshot.uploaded.variable_names(version.id)
        has_bundle = self.site.store.bundle_path(version.id).exists()
        return Shown(
            version=version,
            place=place_of(version, self.status),
            became=became(self.state, version, self.status, self.history),
            variables=variables,
            commit=commit_of(version.commit, version.commit_repository),
            run_link=run_link(version.run_url, version.commit_repository),
            has_bundle=has_bundle,
            start=start_of(version, self.status, variables) if has_bundle else _REMOVED,
        )

    def find(self, version_id: str) -> Version | None:
        """Return a version of the model, or None."""
        return self.snapshot.live.version(self.model.project_id, self.model.id, version_id)
