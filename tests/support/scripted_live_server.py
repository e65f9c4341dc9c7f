"""A platform with deployed models over HTTP, on a host that a test scripts."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from deploy_action.platform.api.app import PlatformApp
from deploy_action.platform.api.credentials import Credentials
from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.api.http.server import HttpServer
from deploy_action.platform.api.operations.plans import LIVE_PLANS
from deploy_action.platform.api.routes import make_routes
from deploy_action.platform.live.models import LiveModels
from deploy_action.platform.live.reports import Reports
from deploy_action.platform.live.restarts import RestartPolicy
from deploy_action.platform.live.surroundings import Surroundings
from deploy_action.platform.runs.backtests import Backtests
from deploy_action.platform.server import PlatformServer
from deploy_action.platform.storage.records import State
from deploy_action.platform.storage.store import Store
from deploy_action.platform.web.backtests.keeper import FigureKeeper
from deploy_action.platform.web.website import with_pages
from tests.support.platform_client import Clock, Platform
from tests.support.scripted_host import ScriptedHost, ScriptedInstance
from tests.support.scripted_runner import ScriptedRunner
from tests.support.waiting import wait_for


class _Silence:
    def send(self, title: str, text: str, kind: str) -> None:
        """Send nothing."""


@dataclass
class ServerParts:
    """The server's parts; as a context manager, open."""

    data: Path
    refresh_token: str
    strict: bool = True
    clock: Clock = field(default_factory=Clock)
    errors: list[str] = field(default_factory=list)
    host: ScriptedHost = field(default_factory=ScriptedHost)
    runner: ScriptedRunner = field(default_factory=ScriptedRunner)
    restarts: RestartPolicy = field(default_factory=RestartPolicy)

    def __enter__(self) -> Self:
        self.host.may_prepare.set()
        stack = self._stack = ExitStack()
        self.store = Store(self.data, self.clock)
        stack.callback(self.store.close)
        self.reports = Reports(self.store, self.errors.append)
        stack.callback(self.reports.close)
        around = Surroundings(
            store=self.store,
            host=self.host,
            logs=self.store.logs,
            reports=self.reports,
            notices=_Silence(),
            plans={name: (plan["cpu"], plan["ram"]) for name, plan in LIVE_PLANS.items()},
            on_error=self.errors.append,
            clock=self.clock,
            restarts=self.restarts,
        )
        self.live = LiveModels(around, stop_seconds=5)
        stack.callback(self.live.close)
        credentials = Credentials(self.refresh_token, self.clock)
        backtests = Backtests(
            self.store,
            self.runner,
            parallel=1,
            most_seconds=None,
            on_error=self.errors.append,
        )
        stack.callback(backtests.close)
        keeper = FigureKeeper(self.store, self.errors.append)
        backtests.tell(keeper.wake)
        keeper.start()
        stack.callback(keeper.close)
        self.routes = make_routes(
            *(self.store, credentials, backtests, self.reports),
            strict=self.strict,
            live=self.live,
            has_pages=True,
        )
        app = PlatformApp(
            self.store, credentials, self.routes.all, on_error=self.errors.append
        ).asgi()
        website = with_pages(
            app,
            *(self.store, credentials, backtests, self.live, self.routes),
            name="stand-in",
            on_error=self.errors.append,
        )
        self.http = HttpServer(("127.0.0.1", 0), website, self.errors.append, Limits())
        self.http.start()
        stack.callback(self.http.close)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.host.let_end()
        self._stack.close()

    @property
    def url(self) -> str:
        host, port = self.http.address
        return f"http://{host}:{port}"


class LivePlatform(Platform):
    """A client of such a server, with one strategy."""

    @classmethod
    def of(cls, server: ServerParts) -> Self:
        """Return a client that is signed in."""
        found = cls(
            cast("PlatformServer", server), server.data, server.refresh_token, server.clock,
            server.errors,
        )  # fmt: skip
        found.parts = server
        found.sign_in()
        return found

    parts: ServerParts

    @property
    def instance(self) -> ScriptedInstance:
        """The instance that was started last."""
        wait_for(lambda: self.parts.host.instances)
        return self.parts.host.instances[-1]

    def live(self, model_id: str) -> dict[str, object]:
        found: dict[str, object] = self.details(model_id)["live"]  # type: ignore[assignment]  # JSON
        return found

    def wait_for_state(self, model_id: str, state: State) -> None:
        wait_for(lambda: self.live(model_id)["state"] == state)

    def run_a_version(self, model_id: str, bundle: bytes | None = None, **changes: str) -> str:
        """Deploy a version, and return its id when it runs."""
        answer = self.deploy(model_id, bundle, **changes).json()
        version_id: str = answer["versionId"]
        wait_for(lambda: self.instance.launch.version_id == version_id)
        self.instance.report("starting")
        self.instance.report("started")
        wait_for(lambda: self.live(model_id)["versionId"] == version_id)
        self.wait_for_state(model_id, State.RUNNING)
        return version_id
