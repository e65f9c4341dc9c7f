"""What the reconciler works with: the store, the host, and who hears of what happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from deploy_action.platform.live.host import Host
from deploy_action.platform.live.restarts import RestartPolicy
from deploy_action.platform.storage.store import Store
from deploy_action.records import dataclass, field


class VersionLog(Protocol):
    """The log of a version."""

    def write(self, stream: str, text: str, redact: Callable[[str], str] = str) -> None:
        """Add a line of a stream (`out`, `err` or `platform`), with its secrets hidden."""

    def takes(self, stream: str, *, is_end: bool = False) -> bool:
        """Return whether lines of a stream are written now, which may have had too many.

        At the end of the stream, some are.
        """

    def drop(self, stream: str, lines: int, size: int) -> None:
        """Count lines, and their bytes, that are not written."""


class Logs(Protocol):
    """The logs of all versions."""

    def open(self, version_id: str) -> VersionLog:
        """Return the log of a version."""


NoticeKind = Literal["info", "success", "warning", "failure"]
"""What a message means, in Apprise's words."""


class Notices(Protocol):
    """Sends messages to people."""

    def send(self, title: str, text: str, kind: NoticeKind) -> None:
        """Send a message some time soon; never fails, and never waits."""


class Reports(Protocol):
    """Keeps what models report."""

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
        """Keep a report of a version, if it can be understood.

        `kind` is its path in the events API. `torn_down_for` is why the teardown of the version
        runs, "" if it does not.
        """

    def note(
        self, project_id: str, model_id: str, text: str, time: float, version_id: str = ""
    ) -> None:
        """Add an event of the platform's own, about a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every keeper shares.

    `clock` returns seconds since 1970, `monotonic` those of a clock that is never set. A model is
    `running` after `settling_seconds` without a strategy. `plans` are the thousandths of a core
    and the MiB of each plan. `passwords` are hidden in all that models print: those of proxies,
    which they get.
    """

    store: Store
    host: Host
    logs: Logs
    reports: Reports
    notices: Notices
    plans: Mapping[str, tuple[int, int]]
    restarts: RestartPolicy = field(default_factory=RestartPolicy)
    settling_seconds: float = 10.0
    passwords: tuple[str, ...] = field(default=(), repr=False)
    on_error: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
