"""Prepares a version on a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial

from deploy_action.platform.live.host import Host, Launch, Prepared
from deploy_action.platform.live.keeping.hearing import Heard, PreparationOver
from deploy_action.platform.live.surroundings import VersionLog
from deploy_action.platform.storage.records import Version
from deploy_action.records import dataclass, field
from deploy_action.text.redaction import redacted
from deploy_action.text.variables import hidden_in


@dataclass(slots=True, eq=False)
class Preparation:
    """A version that is being prepared for the wish with a number, with checks or without.

    `prepared` is set by the keeper, once it has heard that the preparation is over. `redact`
    hides the version's secrets.
    """

    launch: Launch
    version: Version
    generation: int
    check: bool
    log: VersionLog
    redact: Callable[[str], str]
    prepared: Prepared | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def wish(self) -> tuple[str, int]:
        """The version and the number of the wish."""
        return self.launch.version_id, self.generation

    def begin(self, host: Host, inbox: queue.SimpleQueue[Heard]) -> None:
        """Start; the inbox hears how it ended, whatever happens."""

        def write(line: str) -> None:
            self.log.write("platform", line, self.redact)

        def prepare() -> None:
            try:
                prepared = host.prepare(self.launch, write, self.stop, check=self.check)
            except Exception as error:  # noqa: BLE001  # the keeper says what it means
                inbox.put(PreparationOver(self, error=error))
            else:
                inbox.put(PreparationOver(self, prepared=prepared))

        threading.Thread(target=prepare, name="preparation", daemon=True).start()

    def close(self) -> None:
        """Remove what was prepared, as it will not be started."""
        if self.prepared is not None:
            self.prepared.close()
            self.prepared = None


def redactor(launch: Launch, others: tuple[str, ...] = ()) -> Callable[[str], str]:
    """Return what hides the values of a version's variables, and `others` that it gets."""
    secrets = (*hidden_in(launch.environment), *others)
    return partial(redacted, secrets=secrets) if secrets else str
