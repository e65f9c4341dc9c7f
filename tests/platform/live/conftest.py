"""Deployed models on a scripted host."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy_action.platform.live.models import LiveModels
from deploy_action.platform.live.restarts import RestartPolicy
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.live.surroundings import Surroundings
from deploy_action.platform.live.wishes import wish_deploy
from deploy_action.platform.storage.logs import LogBook
from deploy_action.platform.storage.records import Life, Progress, State, Version, VersionStatus
from deploy_action.platform.storage.store import Store
from tests.support.scripted_host import ScriptedHost, ScriptedInstance
from tests.support.waiting import wait_for

PROJECT, MODEL = "project", "model"


@dataclass
class Clocks:
    """The time of day and the monotonic clock, in seconds; both go on by hand."""

    now: float = 1_700_000_000.0

    def read(self) -> float:
        return self.now


@dataclass
class Ears:
    """Keeps what people and the events are told."""

    notices: list[tuple[str, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    reports: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    torn_down_for: list[str] = field(default_factory=list)  # of each report
    events: list[str] = field(default_factory=list)

    def send(self, title: str, text: str, kind: str) -> None:
        self.kinds.append(kind)
        self.notices.append((title, text))

    def take(
        self,
        project_id: str,
        model_id: str,
        kind: str,
        fields: Mapping[str, object],
        time: float,
        version_id: str = "",
        torn_down_for: str = "",
    ) -> None:
        assert (project_id, model_id) == (PROJECT, MODEL)
        assert time > 0
        assert version_id
        self.reports.append((kind, fields))
        self.torn_down_for.append(torn_down_for)

    def note(
        self, project_id: str, model_id: str, text: str, time: float, version_id: str = ""
    ) -> None:
        assert (project_id, model_id) == (PROJECT, MODEL)
        assert time > 0
        assert isinstance(version_id, str)
        self.events.append(text)


@dataclass
class LivePlatform:
    """A store and the models on it; `restart` is what a new server does with the same data."""

    data: Path
    model_type: str
    restarts: RestartPolicy
    clocks: Clocks = field(default_factory=Clocks)
    ears: Ears = field(default_factory=Ears)
    errors: list[str] = field(default_factory=list)
    host: ScriptedHost = field(default_factory=ScriptedHost)

    def open(self, *left: str) -> None:
        """Open it on a host that keeps something of the models with these places."""
        self.host = ScriptedHost(left=set(left))
        self.host.may_prepare.set()
        self.store = Store(self.data, self.clocks.read)
        self.around = Surroundings(
            store=self.store,
            host=self.host,
            logs=LogBook(self.data / "logs"),
            reports=self.ears,
            notices=self.ears,
            plans={"nano": (250, 256)},
            restarts=self.restarts,
            on_error=self.errors.append,
            clock=self.clocks.read,
            monotonic=self.clocks.read,
        )
        self.models = LiveModels(self.around, stop_seconds=5)
        with self.store.transaction() as transaction:
            if not transaction.has_project(PROJECT):
                transaction.add_project(PROJECT, name=PROJECT, description="")
                transaction.add_model(
                    PROJECT, MODEL, model_type=self.model_type, name="Golden", description=""
                )
        self.models.recover()

    def close(self) -> None:
        self.host.let_end()
        self.models.close()
        self.store.close()

    def restart(self) -> None:
        """Close it and open it again."""
        self.close()
        self.open()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and have it noticed."""
        self.clocks.now += seconds
        self.models.wake(PROJECT, MODEL)

    def deploy(self, *, wait: bool = False, **settings: object) -> str:
        """Deploy a version, and return its id; with `wait`, once it is started."""
        version = Version(
            **{  # type: ignore[arg-type]  # some of the fields
                "id": str(uuid.uuid4()),
                "project_id": PROJECT,
                "model_id": MODEL,
                "status": VersionStatus.DEPLOYED,
                "description": "a version",
                "python_version": "3.11",
                "plan": "nano",
                "schedule": None,
                "sha256": "0" * 64,
                "bytes": 1,
                "files": 1,
                "created_at": self.clocks.now,
                **settings,
            }
        )
        with self.store.transaction() as transaction:
            transaction.add_version(version, "")
            wish_deploy(transaction, version)
        self.models.wake(PROJECT, MODEL)
        if wait:
            wait_for(lambda: self.instance.launch.version_id == version.id)
        return version.id

    @property
    def instance(self) -> ScriptedInstance:
        """The instance that was started last."""
        wait_for(lambda: self.host.instances)
        return self.host.instances[-1]

    def run_a_version(self) -> str:
        """Deploy a version and have its strategy started."""
        version_id = self.deploy(wait=True)
        self.start_strategy()
        return version_id

    def start_strategy(self) -> None:
        self.instance.report("starting")
        self.instance.report("started")
        self.wait_for(State.RUNNING)

    @property
    def status(self) -> LiveStatus:
        with self.store.snapshot() as snapshot:
            status = self.models.status(snapshot, PROJECT, MODEL)
        assert status is not None
        return status

    @property
    def life(self) -> Life:
        with self.store.snapshot() as snapshot:
            life = snapshot.live.life(PROJECT, MODEL)
        assert life is not None
        return life

    def wait_for(self, state: State) -> None:
        wait_for(lambda: self.status.state is state)

    def version(self, version_id: str) -> Version:
        with self.store.snapshot() as snapshot:
            version = snapshot.live.version(PROJECT, MODEL, version_id)
        assert version is not None
        return version

    def wait_for_progress(self, version_id: str, progress: Progress) -> None:
        wait_for(lambda: self.version(version_id).progress == progress)

    def stop(self) -> None:
        self.models.stop(PROJECT, MODEL)

    def run(self, version_id: str, environment: Mapping[str, str] | None = None) -> None:
        self.models.run(PROJECT, MODEL, version_id, environment)

    def roll_back(self) -> str:
        """Run the version that ran before, and return its id."""
        previous = self.status.previous_id
        if previous is None:
            raise LookupError
        self.run(previous)
        wait_for(lambda: self.instance.launch.version_id == previous)
        self.start_strategy()
        return previous

    def log(self, version_id: str) -> str:
        return "\n".join(LogBook(self.data / "logs").open(version_id).tail(1000))


OpenLive = Callable[..., LivePlatform]


@pytest.fixture
def open_live(tmp_path: Path) -> Iterator[OpenLive]:
    """Return a function that opens a platform for deployed models; no keeper may meet a bug."""
    opened: list[LivePlatform] = []

    def open_one(
        model_type: str = "strategy", restarts: RestartPolicy | None = None
    ) -> LivePlatform:
        live = LivePlatform(tmp_path / "data", model_type, restarts or RestartPolicy())
        live.open()
        opened.append(live)
        return live

    yield open_one
    for live in opened:
        live.close()
        assert live.errors == []
        assert live.host.twice == []


@pytest.fixture
def live(open_live: OpenLive) -> LivePlatform:
    """Return a platform with one strategy."""
    return open_live()
