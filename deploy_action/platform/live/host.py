"""What runs models, as the reconciler sees it: prepare, start, stop, and clear what was left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from deploy_action.errors import Problem
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.storage.records import StopReason
from deploy_action.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to run.

    `place` is safe as a file name, and the model's for ever: it names its state directory and its
    lock. `cpu` is in thousandths of a core and `memory` in MiB, both of the plan. `environment`
    are the model's own variables, which may be secrets.
    """

    place: str
    version_id: str
    bundle: Path
    bundle_sha256: str
    python_version: str
    plan: str
    cpu: int
    memory: int
    environment: Mapping[str, str] = field(repr=False)


class CannotPrepareError(Exception):
    """A version cannot be prepared; `problems` say why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message if problems else "")
        self.problems = problems


class StillRunningError(Exception):
    """Processes of a model are left and cannot be ended, so no other may be started."""


class Listener(Protocol):
    """Hears of an instance, on a thread of the host's, which must not be kept waiting."""

    def line(self, stream: str, text: str) -> None:
        """Take a line of output: of `out`, of `err`, or of the host itself (`platform`)."""

    def takes(self, stream: str, *, is_end: bool) -> bool:
        """Return whether lines of a stream are kept now, which may have had too many.

        At the end of the stream, some are.
        """

    def lose(self, stream: str, lines: int, size: int) -> None:
        """Note how many lines and bytes of a stream were thrown away meanwhile."""

    def event(self, event: Mapping[str, object], size: int) -> None:
        """Take what the process reports, in JSON of `size` bytes. The model can forge it."""

    def ended(self, ended: Ended) -> None:
        """Note that it has ended, and that no other process of it is left but those counted."""


class Prepared(Protocol):
    """A version that is ready to be started, once."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What should be said about it."""

    def close(self) -> None:
        """Remove it, if it will not be started."""


class Instance(Protocol):
    """A model's process with its descendants."""

    def stop(self, reason: StopReason) -> None:
        """Have its teardown called, and end it; return at once. Does nothing the second time."""


class Host(Protocol):
    """Runs models."""

    def prepare(
        self,
        launch: Launch,
        on_line: Callable[[str], None],
        stop: threading.Event,
        *,
        check: bool,
    ) -> Prepared:
        """Unpack a version into a fresh copy and make its environment.

        With `check`, also import the package, compile the sources, and look for what the script
        imports, as the model's user.

        Raises:
            CannotPrepareError: the version is at fault, or its environment cannot be made.
            StoppedError: `stop` was set.
            OSError: the host is at fault, such as by a full disk.
        """

    def start(self, prepared: Prepared, listener: Listener) -> Instance:
        """Start it. From then on `prepared` is the host's to close.

        Raises:
            StillRunningError: another instance of the model runs.
            OSError: it cannot be started.
        """

    def clear(self, place: str, stop: threading.Event) -> None:
        """End what an earlier server left of a model, after waiting for its teardown.

        Raises:
            StillRunningError: something cannot be ended.
            StoppedError: `stop` was set.
            OSError: the host is at fault, such as by its disk.
        """

    def kept(self) -> set[str]:
        """Return the names of the models of which something is kept, and maybe other names.

        Raises:
            OSError: the host is at fault, such as by its disk.
        """

    def forget(self, place: str) -> None:
        """Remove the state of a model that was deleted.

        Raises:
            StillRunningError: something of it still runs, or cannot be ended.
            OSError: the host is at fault, such as by its disk.
        """

    def close(self) -> None:
        """Give back what the host holds; no instance runs any more."""
