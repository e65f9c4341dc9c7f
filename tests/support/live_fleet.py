"""Models that mark what they do, a server to kill, and clients that make wishes at random."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from tests.support.platform_client import make_bundle
from tests.support.waiting import PATIENCE, wait_for

_ROOT = Path(__file__).parents[2]
PROJECT = "fleet"
# Marks go to the state directory, which all versions of a model share, and so does the lock that
# each process holds as long as it lives: none may find it taken.
BOT = """
import fcntl, os, signal, sys, time

state = os.environ["BLANKLY_STATE_DIR"]
marks = open(os.path.join(state, "marks"), "a", buffering=1)

def mark(what):
    marks.write(f"{time.monotonic()} {what} {VERSION} {os.getpid()}\\n")

lock = os.open(os.path.join(state, "lock"), os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    mark("twice")
mark("begin")

def tear_down(*_):
    mark("teardown-" + stop_reason())
    time.sleep(SLOWNESS)
    mark("end")
    os._exit(0)

signal.signal(signal.SIGTERM, tear_down)
report("starting")
report("started")
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a model's process noted: when (a monotonic time), what, in which version, which id."""

    at: float
    what: str
    version: str
    pid: int


@dataclass
class Fleet:
    """A server in a process of its own, and its client."""

    data: Path
    port: int
    refresh_token: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[str] | None = None
    restarts: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it accepts."""
        self.launch()
        assert self.process is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("http"), "the server did not start"
        self.sign_in()

    def launch(self) -> None:
        """Start the server, and do not wait."""
        command = [sys.executable, "-m", "tests.support.live_serving"]
        self.process = subprocess.Popen(
            [*command, str(self.data), self.refresh_token, str(self.port)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def sign_in(self) -> None:
        """Buy an idToken."""
        answer = requests.post(
            f"{self.url}/auth/token", data={"refreshToken": self.refresh_token}, timeout=PATIENCE
        )
        self.headers = {"token": answer.json()["idToken"]}

    def end(self, number: signal.Signals) -> None:
        """End the server with a signal, and wait for that."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def post(self, path: str, **fields: str) -> requests.Response:
        return requests.post(
            f"{self.url}{path}",
            headers=self.headers,
            data={"projectId": PROJECT, **fields},
            timeout=PATIENCE,
        )

    def deploy(self, model: str, slowness: float = 0.0) -> dict[str, Any]:
        """Deploy a new version, and return the answer."""
        name = secrets.token_hex(4)
        script = BOT.replace("VERSION", repr(name)).replace("SLOWNESS", repr(slowness))
        answer = requests.post(
            f"{self.url}/model/deploy",
            headers=self.headers,
            data={
                "projectId": PROJECT,
                "modelId": model,
                "pythonVersion": "3.11",
                "versionDescription": name,
                "type": "strategy",
                "plan": "large",
            },
            files={"model": ("model.zip", make_bundle(**{"bot.py": script}))},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def stop(self, model: str) -> None:
        answer = self.post("/model/kill", modelId=model)
        assert answer.status_code == 200, answer.text

    def run(self, model: str, version_id: str) -> None:
        answer = self.post(
            "/model/run", modelId=model, versionId=version_id, plan="large", type="strategy"
        )
        assert answer.status_code == 200, answer.text

    def details(self, model: str) -> dict[str, Any]:
        answer = self.post("/model/details", modelId=model)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def live(self, model: str) -> dict[str, Any]:
        return self.details(model)["live"] or {}

    def starts(self, model: str) -> list[float]:
        """Return when processes of the model were started, in seconds since 1970, by its logs."""
        found = []
        for version in self.details(model)["versions"]:
            for path in (self.data / "logs" / version["versionId"]).glob("*"):
                for line in path.read_text("utf-8").splitlines():
                    moment, _, text = line.partition(" ")
                    if text.startswith("platform Starting version "):
                        found.append(datetime.fromisoformat(moment).timestamp())
        return found

    def wait_for(self, model: str, **expected: object) -> None:
        """Wait until the model's state has these members."""
        wait_for(lambda: expected.items() <= self.live(model).items(), pause=0.1)


def read_marks(data: Path) -> dict[str, list[Mark]]:
    """Return the marks of all models, by the name of their state directory."""
    found = {}
    for path in data.glob("state/*/marks"):
        lines = [line.split() for line in path.read_text("ascii").splitlines()]
        found[path.parent.name] = [
            Mark(float(at), what, version, int(pid)) for at, what, version, pid in lines
        ]
    return found


def free_port() -> int:
    """Return a port that nobody listens on, so that each server of a fleet has the same."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving_fleet(data: Path) -> Iterator[Fleet]:
    """Run a server for a fleet; end it with its models."""
    fleet = Fleet(data, free_port())
    fleet.start()
    try:
        yield fleet
    finally:
        fleet.end(signal.SIGTERM)


@dataclass
class Owner:
    """Somebody who makes wishes for one model, one after the other, and remembers the last.

    `stopped` are the intervals, of monotonic times, from the moment at which the server said that
    the model is stopped to the next wish to start something: nothing may begin in them. In `told`
    they are from the answer to the wish to stop, in seconds since 1970: nothing may be started.
    """

    fleet: Fleet
    model: str
    chance: random.Random
    up: threading.Event
    stopped: list[tuple[float, float]] = field(default_factory=list)
    told: list[tuple[float, float]] = field(default_factory=list)
    _stopped_at: float | None = None
    _told_at: float | None = None

    @property
    def place(self) -> str:
        """The name of the model's state directory: models are numbered as they are made."""
        return self.model.removeprefix("m")

    def wish_at_random(self) -> None:
        """Make one wish. The server may be killed meanwhile."""
        wish = self.chance.choice(
            [self.deploy, self.deploy, self.stop, self.start, self.roll_back, self.crash]
        )
        self.up.wait()
        with suppress(requests.RequestException, ValueError):
            wish()
        time.sleep(self.chance.choice((0, 0, 0.02, 0.1, 0.3)))

    def deploy(self) -> str:
        """Deploy a version. It stays stopped, if the model is."""
        answer = self.fleet.deploy(self.model, self.chance.choice((0, 0, 0.05, 0.2)))
        return str(answer["versionId"])

    def stop(self) -> None:
        self.fleet.stop(self.model)
        self._told_at = self._told_at or time.time()
        if self.chance.random() < 1 / 2:
            self.fleet.wait_for(self.model, state="stopped")
            self._stopped_at = self._stopped_at or time.monotonic()

    def start(self) -> None:
        self._run(self.fleet.live(self.model).get("startVersionId"))

    def roll_back(self) -> None:
        self._run(self.fleet.live(self.model).get("previousVersionId"))

    def _run(self, version_id: object) -> None:
        if isinstance(version_id, str):
            self.note_start()
            self.fleet.run(self.model, version_id)

    def note_start(self) -> None:
        """Note that from now on something may begin."""
        if self._stopped_at is not None:
            self.stopped.append((self._stopped_at, time.monotonic()))
        if self._told_at is not None:
            self.told.append((self._told_at, time.time()))
        self._stopped_at = self._told_at = None

    def crash(self) -> None:
        """Kill the model's process, as the system does."""
        for marks in read_marks(self.fleet.data).values():
            if marks and marks[-1].what == "begin" and self.chance.random() < 1 / 4:
                with suppress(ProcessLookupError):
                    os.kill(marks[-1].pid, signal.SIGKILL)
