"""Puts the parts of a platform together: what runs backtests, and what runs deployed models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from deploy_action.platform.processes.confinement import MOST_DISK_BYTES
from deploy_action.platform.runs.isolation import ISOLATED, Isolation
from deploy_action.platform.runs.model_run import Observer, Unobserved
from deploy_action.platform.storage import data_directory
from deploy_action.platform.upkeep.cleaning import Rules
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    from deploy_action.platform.environments import Environments
    from deploy_action.platform.live.host import Host
    from deploy_action.platform.live.models import LiveModels
    from deploy_action.platform.live.reports import Reports
    from deploy_action.platform.live.surroundings import Notices
    from deploy_action.platform.runs.backtests import Backtests, Runner
    from deploy_action.platform.storage.store import Store

OnError = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSettings:
    """How a platform runs backtests.

    `environ`: installers and models get a part of it. `observer`: gets the progress. `parallel`:
    how many run at once (0: one per core). `most_seconds`: how long each may take (None: as long as
    its client waits). `isolation`: of the models. `disk_bytes`: what the files of a model may take
    beside those of its bundle, deployed ones too. `runner`: replaces the one that starts a process
    with the `blankly` package.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    observer: Observer = Unobserved()  # it has no state
    use_constraints: bool = True
    parallel: int = 0
    most_seconds: float | None = None
    isolation: Isolation = ISOLATED
    disk_bytes: int | None = MOST_DISK_BYTES
    runner: Runner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """How a platform runs deployed models.

    `stop_seconds`: how long each may take for its teardown. `restarts`: how often in a row one that
    ended unexpectedly is started again. `account_seconds`: the time between two looks at what a
    model's account is worth, 0 for none. `notify`: the Apprise URLs that get messages; they may
    contain secrets. `name`: what messages and pages call this server. `rules`: what of the data is
    kept. `has_pages`: people can look at the models in a browser. `make_host`: replaces this
    machine as what runs them.
    """

    stop_seconds: float = 30
    restarts: int = 5
    account_seconds: float = 0
    notify: Sequence[str] = field(default=(), repr=False)
    name: str = ""
    rules: Rules = Rules()  # frozen
    has_pages: bool = False
    make_host: Callable[[Store], Host] | None = None


def make_backtests(store: Store, settings: BacktestSettings, on_error: OnError) -> Backtests:
    """Return what queues and runs backtests."""
    from deploy_action.platform.runs.backtests import Backtests, default_parallel

    return Backtests(
        store,
        settings.runner or _make_runner(store, settings),
        parallel=settings.parallel or default_parallel(),
        most_seconds=settings.most_seconds,
        on_error=on_error,
    )


def _make_runner(store: Store, settings: BacktestSettings) -> Runner:
    """Return the runner of models, which must not read the secrets of this process."""
    from deploy_action.platform.processes.confinement import harden_process
    from deploy_action.platform.runs.model_run import ModelRunner
    from deploy_action.platform.runs.unpacked import UnpackedBundles
    from deploy_action.platform.storage.kept_prices import KeptPrices

    harden_process()
    isolation = _isolation(store, settings)
    return ModelRunner(
        workplace=store.workplace.path,
        environments=_environments(store, settings),
        environ=settings.environ,
        observer=settings.observer,
        isolation=isolation,
        disk_bytes=settings.disk_bytes,
        prices=KeptPrices(store.models_place.path / data_directory.PRICES),
        bundles=UnpackedBundles(store.workplace.path) if isolation.is_certain else None,
    )


def make_live(
    store: Store,
    running: BacktestSettings,
    live: LiveSettings,
    reports: Reports,
    notices: Notices,
    on_error: OnError,
) -> LiveModels:
    """Return what keeps deployed models running; `recover` has to be called."""
    from deploy_action.http.proxies import passwords_in
    from deploy_action.platform.api.operations.plans import LIVE_PLANS
    from deploy_action.platform.live.models import LiveModels
    from deploy_action.platform.live.restarts import RestartPolicy
    from deploy_action.platform.live.surroundings import Surroundings

    make_host = live.make_host or (lambda store: _make_machine(store, running, live, on_error))
    around = Surroundings(
        store=store,
        host=make_host(store),
        logs=store.logs,
        reports=reports,
        notices=notices,
        plans={name: (plan["cpu"], plan["ram"]) for name, plan in LIVE_PLANS.items()},
        restarts=RestartPolicy(most=live.restarts),
        passwords=passwords_in(running.environ),
        on_error=on_error,
    )
    return LiveModels(around, live.stop_seconds)


def _make_machine(
    store: Store, running: BacktestSettings, live: LiveSettings, on_error: OnError
) -> Host:
    from deploy_action.platform.machine.machine import Machine
    from deploy_action.platform.machine.places import Places
    from deploy_action.platform.processes.confinement import harden_process

    harden_process()
    return Machine(
        Places.of(store.data, store.models_place.path),
        _environments(store, running),
        environ=running.environ,
        isolation=_isolation(store, running),
        disk_bytes=running.disk_bytes,
        grace_seconds=live.stop_seconds,
        account_seconds=live.account_seconds,
        on_error=on_error,
    )


def _environments(store: Store, settings: BacktestSettings) -> Environments:
    from deploy_action.platform.environments import Environments

    return Environments(
        store.models_place.path / data_directory.ENVIRONMENTS,
        environ=settings.environ,
        use_constraints=settings.use_constraints,
        disk_bytes=settings.disk_bytes,
    )


def _isolation(store: Store, settings: BacktestSettings) -> Isolation:
    place, isolation = store.models_place, settings.isolation
    return isolation if place.obstacle is None else isolation.elsewhere(place.path, place.obstacle)
