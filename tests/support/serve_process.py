"""`blankly-deploy serve` as a process that can be killed, and what it says of its models."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.support.isolated import allowed_by_this_machine
from tests.support.network import DIRECTORIES, NETWORK
from tests.support.platform_client import TIMEOUT
from tests.support.waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]


@dataclass
class ServeProcess:
    """A server on one data directory; it is started, ended and killed as often as one likes.

    It keeps the address that it got at first.
    """

    data: Path
    flags: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    url: str = ""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.data.parent.mkdir(exist_ok=True)
        port = self.url.rpartition(":")[2] or "0"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "deploy_action", "serve"),
                *("--port", port, "--data", str(self.data), *self.flags),
            ],
            cwd=ROOT,
            env=self._environ(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.url = line.removeprefix("listening on ").strip()
                return
        raise AssertionError("the server did not start")

    def end(self) -> int:
        """Stop it as an operator does, and return its exit code."""
        process = self._process
        if process is None:
            return 0
        process.terminate()
        process.wait(2 * PATIENCE)
        return self._gone(process)

    def kill(self) -> None:
        """End it as a power failure would."""
        process = self._process
        assert process is not None
        process.kill()
        process.wait(PATIENCE)
        self._gone(process)

    def post(self, path: str, **fields: str) -> requests.Response:
        """Post to a route, signed in."""
        headers = {"token": self._sign_in()["idToken"]}
        return requests.post(f"{self.url}{path}", headers=headers, data=fields, timeout=TIMEOUT)

    @property
    def user_id(self) -> str:
        """The id of its user, and so of the personal project."""
        user_id: str = self._sign_in()["data"]["user_id"]
        return user_id

    def _sign_in(self) -> dict[str, Any]:
        form = {"refreshToken": self.token}
        answer: dict[str, Any] = requests.post(
            f"{self.url}/auth/token", data=form, timeout=TIMEOUT
        ).json()
        return answer

    def details(self, model: Mapping[str, str]) -> dict[str, Any]:
        """Return what it says of a model; `model` has its `projectId` and `modelId`."""
        details: dict[str, Any] = self.post("/model/details", **model).json()
        return details

    def wait_for(self, model: Mapping[str, str], **live: object) -> dict[str, Any]:
        """Wait until `live` of a model has these values, and return its details."""
        found: dict[str, Any] = {}

        def is_so() -> bool:
            found.update(self.details(model))
            now: dict[str, Any] = found["live"] or {}
            return all(now.get(name) == value for name, value in live.items())

        try:
            wait_for(is_so, 2 * PATIENCE)
        except AssertionError:
            raise AssertionError(f"{found.get('live')}\n{self.log(model)}") from None
        return found

    def run(self, model: Mapping[str, str], version: str) -> None:
        """Have a version of a strategy run."""
        fields = {"versionId": version, "plan": "nano", "type": "strategy"}
        answer = self.post("/model/run", **model, **fields)
        assert answer.status_code == 200, answer.text

    def kill_models(self) -> None:
        """Kill the processes of its models, as the system does when memory is short."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes()
                if b"run_live.py" in words and str(self.data).encode() in words:
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def log(self, model: Mapping[str, str], version: str = "") -> str:
        """Return the log of a model's version, by default of the one that ran last."""
        fields = {"versionId": version} if version else {}
        return self.post("/model/logs", **model, **fields, lines="1000").text

    def _gone(self, process: subprocess.Popen[str]) -> int:
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
        return process.returncode

    def _environ(self) -> dict[str, str]:
        passed = ("PATH", "HOME", *NETWORK, *DIRECTORIES)
        return {
            **{name: os.environ[name] for name in passed if name in os.environ},
            **allowed_by_this_machine(),
            "PLATFORM_TOKEN": self.token,
        }
