"""What every mode uses: connections, the console, and where a run keeps what it finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deploy_action.console import Console
from deploy_action.outcome.ending import Ending, Status
from deploy_action.records import dataclass
from deploy_action.servers import Server, Servers

if TYPE_CHECKING:
    from deploy_action.deployment_api.client import DeploymentApi
    from deploy_action.outcome.backtests import Backtests
    from deploy_action.outcome.life import Life
    from deploy_action.outcome.target import Target
    from deploy_action.stages.live.following import Follower


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools of one run.

    The callbacks get what the stages find as soon as it is known, so that a run that fails half-way
    can report it; `backtests` returns what `on_backtests` got.
    """

    servers: Servers
    console: Console
    on_target: Callable[[Target], None]
    on_doubt: Callable[[], None]
    on_backtests: Callable[[Backtests], None]
    on_life: Callable[[Life], None]
    backtests: Callable[[], Backtests]

    def connect(self, server: Server) -> DeploymentApi:
        """Return a connection that is closed at the end of the run."""
        api = self.servers.connect(server)
        self.servers.stack.callback(api.transport.close)
        return api

    def follower(self, api: DeploymentApi, target: Target) -> Follower:
        """Return what watches the model of a target."""
        from deploy_action.deployment_api.live import LiveApi
        from deploy_action.stages.live.following import Follower

        return Follower(
            live=LiveApi(api, target.project_id, target.model_id),
            on_life=self.on_life,
            say=self.console.info,
            # A terminal gets that in the summary.
            say_log=self.console.info if self.console.for_runner else _ignore,
        )

    def would(self, steps: tuple[str, ...]) -> Ending:
        """End a dry run, which would have taken these steps."""
        if self.console.for_runner:
            for step in steps:
                self.console.info(f"Would {step}")
        return Ending(status=Status.DRY_RUN, would_do=steps)


def _ignore(_line: str) -> None:
    pass
