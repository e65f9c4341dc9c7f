"""Which server a run speaks to: the one that is named, or the embedded platform, started here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from deploy_action.inputs.definitions import LOCAL
from deploy_action.inputs.parsing import CONSTRAINTS_VARIABLE, parse_disk, parse_switch
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.console import Console
    from deploy_action.deployment_api.client import DeploymentApi
    from deploy_action.errors import Problem
    from deploy_action.inputs.settings import Settings
    from deploy_action.interruption import Deadline
    from deploy_action.platform.runs.isolation import AsRoot
    from deploy_action.platform.runs.model_run import BacktestRequest
    from deploy_action.spectator import Spectator

# A runner reads these files after the step: its outputs, and what later steps get.
_FILE_COMMANDS = (
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_PATH",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server to speak to, and the refresh token for it.

    `progress` is what its backtests tell while they run; None unless it is the embedded platform.
    """

    url: str
    token: str | None = field(repr=False)
    progress: BacktestProgress | None = None


class BacktestProgress:
    """Observes the embedded platform: tells when the candidate began, and prints the rest."""

    def __init__(self, spectator: Spectator, on_stopped: Callable[[Problem], None]) -> None:
        self._on_stopped = on_stopped
        self._spectator = spectator
        self.go_on_to_base = spectator.go_on_to_base
        self.section, self.line = spectator.section, spectator.line
        self._on_began: Callable[[], None] | None = None
        self._on_work: Callable[[], None] | None = None
        self._on_candidate: Callable[[str, str], None] | None = None

    def call_when_began(self, do: Callable[[], None]) -> None:
        """Call `do` once when the candidate's backtest begins."""
        self._on_began = do

    def call_at_work(self, do: Callable[[], None]) -> None:
        """Call `do` once when a model is at work: this process has little to do then."""
        self._on_work = do

    def call_when_at_work(self, do: Callable[[str, str], None]) -> None:
        """Call `do` once when the candidate is called with prices, with its version and backtest.

        The environment was made then, and the prices were downloaded.
        """
        self._on_candidate = do

    def began(self, backtest: BacktestRequest) -> None:
        """Make the call if it is the candidate that began."""
        self._spectator.began(backtest)
        if self._on_began is not None and self._spectator.is_candidate(backtest):
            do, self._on_began = self._on_began, None
            do()

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        """Make the calls if it is the first progress, and print it."""
        do, self._on_work = self._on_work, None
        if do is not None:
            do()
        if self._on_candidate is not None and self._spectator.is_candidate(backtest):
            begin, self._on_candidate = self._on_candidate, None
            begin(backtest.version_id, backtest.backtest_id)
        self._spectator.progress(backtest, share)

    def stopped(self, backtest: BacktestRequest, place: Problem) -> None:
        """Pass on where the candidate's script stood."""
        if self._spectator.is_candidate(backtest):
            self._on_stopped(place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Opens servers and connections for one run; `stack` closes them at its end.

    `now` is the time from which all backtests of the run count back. `on_stopped` gets the place
    where the model's script stood, if its backtest was stopped.
    """

    environ: Mapping[str, str]
    console: Console
    platform_data: Path
    deadline: Deadline
    stack: ExitStack
    on_stopped: Callable[[Problem], None]
    now: datetime

    def named(self, settings: Settings) -> Server:
        """Return the server that the inputs name."""
        return Server(settings.api_url, settings.token)

    def start_platform(self, bundle_sha256: str) -> Server:
        """Start the embedded platform; its token is good for this run only."""
        from secrets import token_urlsafe

        from deploy_action.platform.assembly import BacktestSettings
        from deploy_action.platform.processes.confinement import DISK_VARIABLE, MOST_DISK_BYTES
        from deploy_action.platform.runs.isolation import Isolation
        from deploy_action.platform.server import PlatformServer
        from deploy_action.spectator import Spectator

        token = token_urlsafe(32)
        self.console.mask([token])
        progress = BacktestProgress(Spectator(self.console, bundle_sha256), self.on_stopped)
        server = PlatformServer(
            self.platform_data,
            refresh_token=token,
            strict=False,
            on_error=self.console.info,
            running=BacktestSettings(
                environ=self.environ,
                observer=progress,
                use_constraints=parse_switch(self.environ, CONSTRAINTS_VARIABLE),
                isolation=Isolation(self._models_as_root(), _runners_files(self.environ)),
                disk_bytes=parse_disk(self.environ, DISK_VARIABLE, MOST_DISK_BYTES),
            ),
            homes=_runners_directories(self.environ) if self.console.for_runner else (),
        )
        self.stack.enter_context(server)
        return Server(server.url, token, progress)

    def _models_as_root(self) -> AsRoot:
        """Return what becomes of models that root cannot isolate."""
        from deploy_action.platform.runs.isolation import ISOLATION_VARIABLE, AsRoot

        if not parse_switch(self.environ, ISOLATION_VARIABLE):
            return AsRoot.ALLOWED
        # On a terminal, people run what they could run by hand.
        return AsRoot.REFUSED if self.console.for_runner else AsRoot.RUN_WITH_WARNING

    def connect(self, server: Server) -> DeploymentApi:
        """Return a new connection: two threads must not share one."""
        from deploy_action.deployment_api.client import DeploymentApi
        from deploy_action.deployment_api.transport import Transport
        from deploy_action.http.exchange import Retries
        from deploy_action.http.proxies import may_be_set

        transport = Transport(
            base_url=server.url,
            retries=Retries(self.deadline, on_retry=self.console.info),
            # The embedded platform is on this machine: no proxy may be used.
            use_environment=server.progress is None and may_be_set(self.environ),
        )
        return DeploymentApi(
            transport,
            server.token or "",
            on_secret=lambda secret: self.console.mask([secret]),
            redact=self.console.redact,
            now=self.now,
        )


def _runners_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return what a model must not write to: what the runner reads, and the checkout."""
    from pathlib import Path

    files = [Path(environ[name]) for name in _FILE_COMMANDS if environ.get(name)]
    checkout = [Path(environ[name]) for name in ("GITHUB_WORKSPACE",) if environ.get(name)]
    return tuple(dict.fromkeys([*files, *(file.parent for file in files), *checkout]))


def _runners_directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return directories that belong to the user who runs the job, whoever we are."""
    from pathlib import Path

    names = ("RUNNER_TEMP", "GITHUB_WORKSPACE")
    return tuple(Path(environ[name]) for name in names if environ.get(name))


def server_name(settings: Settings) -> str:
    """Return the name of the server in messages."""
    return "the embedded platform" if settings.api_url == LOCAL else settings.api_url
