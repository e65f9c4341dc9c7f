"""This machine as a host of models, with a stand-in for what the real package and reporter do."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy_action.platform.live.host import Launch, Prepared
from deploy_action.platform.machine.limits import Limiter
from deploy_action.platform.machine.machine import Machine
from deploy_action.platform.machine.places import Places
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from tests.support.environments import OnePython
from tests.support.isolated import allowed_by_this_machine, python_for_all
from tests.support.waiting import wait_for

# What stands in for `run_live.py`: it passes our pipe and paths to a script of the test.
STAND_IN = """
import json, os, runpy, sys
names = ("--script", "--root", "--events-fd", "--stop-reason")
arguments = {name: sys.argv[sys.argv.index(name) + 1] for name in names if name in sys.argv}
script, events = arguments["--script"], int(arguments["--events-fd"])
if "--check" in sys.argv:
    print("checking as", os.geteuid())
    try:
        compile(open(script).read(), script, "exec")
    except SyntaxError as error:
        place = {"path": "bot.py", "line": error.lineno}
        problem = {"severity": "error", "message": error.msg, **place}
        event = {"event": "fault", "problem": problem}
        os.write(events, json.dumps(event).encode() + b"\\n")
        sys.exit(1)
    sys.exit(0)
os.environ["EVENTS"], os.environ["REASON"] = arguments["--events-fd"], arguments["--stop-reason"]
runpy.run_path(script, run_name="__main__")
"""
# Notes when it starts and ends, in its state directory, and why.
TRADER = """
import json, os, signal, sys, threading, time
marks = os.environ["BLANKLY_STATE_DIR"] + "/marks"
def mark(what):
    descriptor = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{what} {os.getpid()}\\n".encode())
    os.close(descriptor)
def say(**event): os.write(int(os.environ["EVENTS"]), (json.dumps(event) + "\\n").encode())
def reason():
    path = os.environ["REASON"]
    return open(path).read().strip() or "shutdown"
def teardown(*_):
    print("teardown", reason(), flush=True)
    mark("teardown-" + reason())
    sys.exit(0)
def trade():
    signal.signal(signal.SIGTERM, teardown)
    mark("start")
    say(event="started")
    print("trading", flush=True)
    while True: time.sleep(60)
"""


@dataclass(slots=True)
class Heard:
    """A listener that keeps what it hears."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    events: list[Mapping[str, object]] = field(default_factory=list)
    endings: list[Ended] = field(default_factory=list)
    most_lines: int = 1_000_000  # of what it takes
    lost: int = 0

    def takes(self, _stream: str, *, is_end: bool) -> bool:
        return is_end or len(self.lines) < self.most_lines

    def lose(self, _stream: str, lines: int, _size: int) -> None:
        self.lost += lines

    def line(self, stream: str, text: str) -> None:
        self.lines.append((stream, text))

    def event(self, event: Mapping[str, object], _size: int) -> None:
        self.events.append(event)

    def ended(self, ended: Ended) -> None:
        self.endings.append(ended)

    def texts(self, stream: str) -> list[str]:
        return [text for of, text in self.lines if of == stream]

    def wait_for_line(self, text: str) -> None:
        wait_for(lambda: any(line == text for _, line in self.lines))

    def wait_for_end(self) -> Ended:
        wait_for(lambda: self.endings)
        (ended,) = self.endings
        return ended


@dataclass(slots=True)
class Bench:
    """A machine in a directory, and models to run on it."""

    root: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"]})
    errors: list[str] = field(default_factory=list)
    python: Path = field(default_factory=python_for_all)
    program: Path | None = None
    hooks: Path | None = None
    machine: Machine = field(init=False)
    grace_seconds: float = 10.0
    limiter: Callable[[], Limiter] = Limiter
    disk_bytes: int | None = None

    def open(self) -> Machine:
        """Start a machine."""
        program = self.program or self.root / "program.py"
        if self.program is None:
            program.write_text(STAND_IN)
        allowed = allowed_by_this_machine(self.python)
        self.machine = Machine(
            self.places,
            OnePython(self.python, constraints=("pandas<2",)),
            environ=self.environ,
            isolation=Isolation(AsRoot.ALLOWED if allowed else AsRoot.REFUSED),
            grace_seconds=self.grace_seconds,
            program=program,
            hooks=self.hooks or self.root,
            limiter=self.limiter(),
            disk_bytes=self.disk_bytes,
            on_error=self.errors.append,
        )
        return self.machine

    @property
    def places(self) -> Places:
        return Places(self.root)

    def launch(self, script: str, place: str = "1", **settings: Any) -> Launch:
        """Return a version whose script this is."""
        bundle = self.root / f"{uuid.uuid4()}.zip"
        files = {"blankly.json": "{}", "requirements.txt": "blankly\n", "bot.py": script}
        with zipfile.ZipFile(bundle, "w") as archive:
            for name, content in {**files, **settings.pop("files", {})}.items():
                archive.writestr(f"model/{name}", content)
        return Launch(
            place=place,
            version_id=bundle.stem,
            bundle=bundle,
            bundle_sha256=hashlib.sha256(bundle.read_bytes()).hexdigest(),
            python_version="3.11",
            plan="nano",
            cpu=settings.pop("cpu", 250),
            memory=settings.pop("memory", 256),
            environment=settings.pop("environment", {}),
            **settings,
        )

    def prepare(self, launch: Launch, *, check: bool = False) -> Prepared:
        return self.machine.prepare(launch, lambda _: None, threading.Event(), check=check)

    def start(self, script: str, place: str = "1", **settings: Any) -> tuple[Any, Heard]:
        """Prepare and start a model; return the instance, and what is heard of it."""
        heard = Heard()
        prepared = self.prepare(self.launch(script, place, **settings))
        return self.machine.start(prepared, heard), heard

    def clear(self, place: str = "1") -> None:
        self.machine.clear(place, threading.Event())

    def marks(self, place: str = "1") -> list[str]:
        """Return what `TRADER`s have noted so far, as words and process ids."""
        path = self.places.state(place) / "marks"
        return path.read_text().split() if path.exists() else []

    def copies(self) -> list[Path]:
        """Return the private copies that there are."""
        return list((self.root / "live" / "copies").glob("*/*"))


def main() -> None:
    """Run a model until this process is killed: ROOT GRACE SCRIPT [PLACE]."""
    root, grace, script = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    bench = Bench(root, grace_seconds=grace)
    bench.open()
    _, heard = bench.start(script, *sys.argv[4:])
    heard.wait_for_line("trading")
    print("trading", flush=True)  # noqa: T201  # to the test that started this
    time.sleep(600)


if __name__ == "__main__":
    main()
