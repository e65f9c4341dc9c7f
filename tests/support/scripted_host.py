"""A host without processes: tests decide what becomes of preparations and instances."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy_action.errors import Problem
from deploy_action.platform.live.host import Launch, Listener, Prepared
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.storage.records import StopReason


@dataclass
class ScriptedPrepared:
    """A version that is prepared."""

    launch: Launch
    problems: tuple[Problem, ...] = ()
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True


@dataclass
class ScriptedInstance:
    """An instance that runs until it is told to end."""

    host: ScriptedHost
    launch: Launch
    listener: Listener
    reasons: list[StopReason] = field(default_factory=list)
    is_over: bool = False

    def stop(self, reason: StopReason) -> None:
        self.reasons.append(reason)
        if self.host.stops_at_once:
            self.report("teardown", state="ended")
            self.end(0)

    def end(self, code: int = 0, **how: bool) -> None:
        """End the instance."""
        if not self.is_over:
            self.is_over = True
            self.listener.ended(Ended(code, **how))

    def report(self, event: str, **fields: object) -> None:
        document = {"event": event, **fields}
        self.listener.event(document, len(json.dumps(document)))


@dataclass
class ScriptedHost:
    """Prepares and starts nothing, and notes what it was asked for.

    A preparation ends when `may_prepare` is set; `faults` are raised by the preparations of
    versions. With `starts_at_once`, instances say that they have started, without being asked by a
    test. `left` is of which models something is kept. `twice` notes each moment at
    which a model had two instances.
    """

    instances: list[ScriptedInstance] = field(default_factory=list)
    prepared: list[ScriptedPrepared] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    faults: dict[str, Exception] = field(default_factory=dict)
    start_fault: Exception | None = None
    may_prepare: threading.Event = field(default_factory=threading.Event)
    starts_at_once: bool = False
    stops_at_once: bool = True
    twice: list[str] = field(default_factory=list)

    def prepare(
        self,
        launch: Launch,
        on_line: Callable[[str], None],
        stop: threading.Event,
        *,
        check: bool,
    ) -> Prepared:
        self.asked.append(launch.version_id)
        on_line(f"preparing, check={check}")
        while not self.may_prepare.wait(0.01):
            if stop.is_set():
                raise StoppedError
        if fault := self.faults.get(launch.version_id):
            raise fault
        prepared = ScriptedPrepared(launch)
        self.prepared.append(prepared)
        return prepared

    def start(self, prepared: Prepared, listener: Listener) -> ScriptedInstance:
        if self.start_fault is not None:
            raise self.start_fault
        assert isinstance(prepared, ScriptedPrepared)
        place = prepared.launch.place
        self.twice += [place for one in self.running if one.launch.place == place]
        instance = ScriptedInstance(self, prepared.launch, listener)
        self.instances.append(instance)
        if self.starts_at_once:
            instance.report("starting")
            instance.report("started")
        return instance

    @property
    def running(self) -> list[ScriptedInstance]:
        """The instances that have not ended."""
        return [one for one in self.instances if not one.is_over]

    def clear(self, place: str, stop: threading.Event) -> None:
        assert not stop.is_set()
        self.cleared.append(place)

    def kept(self) -> set[str]:
        return self.left

    def forget(self, place: str) -> None:
        self.forgotten.append(place)

    def close(self) -> None:
        pass

    def let_end(self) -> None:
        """End what was told to stop, and what will be: a server that ends waits for it."""
        self.stops_at_once = True
        for one in self.running:
            if one.reasons:
                one.end(0)
