"""This machine as a `Host`: each model is a process, with a launcher of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from deploy_action.platform.environments import Environments
from deploy_action.platform.live.host import (
    Instance,
    Launch,
    Listener,
    Prepared,
    StillRunningError,
)
from deploy_action.platform.machine.instance import PURPOSE, RunningModel
from deploy_action.platform.machine.limits import Limiter
from deploy_action.platform.machine.places import Places, owner_if_transient
from deploy_action.platform.machine.preparation import (
    PreparedCopy,
    Workshop,
    prepare,
    state_variable,
)
from deploy_action.platform.machine.reader import Reader
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.stragglers import end_marked, end_stragglers
from deploy_action.platform.runs.isolation import ISOLATED, Isolation
from deploy_action.platform.storage.records import StopReason

_MODEL_PROCESS: Final = Path(__file__).parents[1] / "model_process"
PROGRAM: Final = _MODEL_PROCESS / "run_live.py"
HOOKS: Final = _MODEL_PROCESS / "hooks"
_POLL_SECONDS: Final = 0.1  # while a lock of an earlier server is waited for
_MARGIN_SECONDS: Final = 10.0  # from the end of the grace to the end of the last process


class Machine:
    """Runs models as processes of this machine; see `Host`.

    At most one instance of a model runs: each launcher holds the lock of its model, as long as a
    process of the model lives, also when this process is dead.
    """

    def __init__(  # noqa: PLR0913  # by keyword, most with defaults
        self,
        places: Places,
        environments: Environments,
        *,
        environ: Mapping[str, str],
        isolation: Isolation = ISOLATED,
        grace_seconds: float = 30.0,
        account_seconds: float = 0.0,
        program: Path = PROGRAM,
        hooks: Path = HOOKS,
        limiter: Limiter | None = None,
        disk_bytes: int | None = None,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare. `grace_seconds` is the time for a teardown.

        A model's accounts are looked at every `account_seconds`, 0 for never.

        `environ` are the variables of this process, of which models get few. `program` and `hooks`
        are what runs in the model's process. `disk_bytes` is what a model's files may take beside
        those of its bundle. `on_error` gets tracebacks of bugs of ours.
        """
        places.make()
        self._places = places
        self._grace_seconds = grace_seconds
        self._options = ("--account-seconds", str(account_seconds))
        self._limiter = limiter or Limiter()
        self._workshop = Workshop(
            places=places,
            environments=environments,
            isolation=isolation,
            limiter=self._limiter,
            environ=environ,
            program=program,
            hooks=hooks,
            disk_bytes=disk_bytes,
        )
        self._reader = Reader(on_error)
        self._on_error = on_error
        self._instances: set[RunningModel] = set()

    def prepare(
        self,
        launch: Launch,
        on_line: Callable[[str], None],
        stop: threading.Event,
        *,
        check: bool,
    ) -> Prepared:
        """Unpack a version into a fresh copy and make its environment; see `Host`."""
        return prepare(self._workshop, launch, on_line, stop, check=check)

    def start(self, prepared: Prepared, listener: Listener) -> Instance:
        """Start it; see `Host`."""
        if not isinstance(prepared, PreparedCopy):
            raise TypeError("this was prepared by another host")
        launch = prepared.launch
        with self._places.lock(launch.place) as lock:
            if not lock.try_take():
                raise StillRunningError("another instance of the model runs")
            self._places.hand_state(launch.place, prepared.user)
            limits = self._limiter.make(launch, prepared.user, purpose=PURPOSE)
            instance = RunningModel(
                prepared, limits, listener, self._reader, self._instances.discard, self._on_error
            )
            self._instances.add(instance)
            try:
                instance.launch(lock, self._grace_seconds, self._options)
            except BaseException:
                self._instances.discard(instance)
                self._limiter.clear(launch.place, PURPOSE)
                self._places.park_state(launch.place)
                raise
        return instance

    def clear(self, place: str, stop: threading.Event) -> None:
        """Wait until launchers of an earlier server are done, and end what they left; see `Host`.

        It waits a little longer than a teardown may take.
        """
        give_up_at = time.monotonic() + self._grace_seconds + _MARGIN_SECONDS
        with self._places.lock(place) as lock:
            while not lock.try_take():
                if time.monotonic() > give_up_at:
                    raise StillRunningError(
                        "an earlier instance of the model still runs. If no other server runs it, "
                        "look for its processes with `ps`, and end them"
                    )
                if stop.wait(_POLL_SECONDS):
                    raise StoppedError
            self._end_leftovers(place)

    def _end_leftovers(self, place: str) -> None:
        places, marker = self._places, state_variable(self._places, place)
        state, copies = places.state(place), places.others_copies(place)
        self._limiter.clear(place, PURPOSE)
        left = end_marked(marker, owner_if_transient(state))
        left += sum(end_stragglers(one.path, one.user, marker=marker) for one in copies)
        if left:
            raise StillRunningError(
                f"at least {left} of its processes could not be ended. Look for them with `ps`, "
                "and restart the machine if they stay"
            )
        for copy in copies:
            copy.remove()
        places.park_state(place)

    def kept(self) -> set[str]:
        """Return the names of the models of which something is kept; see `Host`."""
        return self._places.names()

    def forget(self, place: str) -> None:
        """Remove the state of a model that was deleted; see `Host`."""
        with self._places.lock(place) as lock:
            if not lock.try_take():
                raise StillRunningError("the model still runs")
            self._end_leftovers(place)
            self._places.forget(place)
            lock.remove()

    def close(self) -> None:
        """Stop what still runs, wait for that as long as it may take, and end."""
        instances = list(self._instances)
        for instance in instances:
            instance.stop(StopReason.SHUTDOWN)
        until = time.monotonic() + self._grace_seconds + _MARGIN_SECONDS
        for instance in instances:
            instance.is_gone.wait(max(0.0, until - time.monotonic()))
        self._reader.close()
