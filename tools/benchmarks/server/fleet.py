"""Deployed models: how fast many of them are started, replaced and stopped, and what a server uses.

The peer starts as many bare processes, which import the package and sleep, without a server.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.benchmarks.context import Context, tool
from tools.benchmarks.measure import BrokenError, Command, serving
from tools.benchmarks.models import EXAMPLE
from tools.benchmarks.rows import Row, Target

_MODELS, _FEW = 50, 3
_IDLE_SECONDS = 20.0
_PATIENCE_SECONDS = 300.0
_MOST_BYTES, _MOST_SHARE = 150e6, 0.02
_BOT = (
    "import blankly\nimport time\n\nprint('ready', flush=True)\nwhile True:\n    time.sleep(3600)\n"
)


def measure(context: Context) -> Iterator[Row]:
    number = _FEW if context.is_quick else _MODELS
    python = context.model_python()
    bare = _start_bare(python, number, context.scratch)
    token, data = secrets.token_urlsafe(), str(context.platform_data)
    command: Command = [tool("blankly-deploy"), "serve", "--data", data, "--port", "0"]
    # The models are ours: they may run as root where they cannot be given users of their own.
    environ = {**context.environ, "PLATFORM_TOKEN": token, "BLANKLY_DEPLOY_ISOLATION": "off"}
    with serving(command, environ, context.scratch / "fleet.log") as line:
        fleet = _Fleet.signed_in(line.rpartition(" ")[2], token, number)
        server = _server_of(data)
        fleet.warm_up()  # makes the environment
        started = _timed(lambda: fleet.deploy_all("first"))
        yield Row(
            f"{number} models, first deploy to running",
            (started,),
            peer="bare processes, which nobody watches",
            theirs=(bare,),
            remark="10 s of them pass before a script without a strategy counts as running",
        )
        before = _cpu_seconds(server)
        time.sleep(_IDLE_SECONDS if not context.is_quick else 1)
        idle = _IDLE_SECONDS if not context.is_quick else 1
        share = (_cpu_seconds(server) - before) / idle
        most, room = Target(_MOST_SHARE, of_peer=False), Target(_MOST_BYTES, of_peer=False)
        what = f"the server, while {number} models idle"
        yield Row(what, (share,), "share", target=most, remark="of a core")
        memory = _resident_bytes(server)
        yield Row("- its memory", (memory,), "B", target=room)
        replaced = _timed(lambda: fleet.deploy_all("second"))
        yield Row(f"{number} models, all replaced at once", (replaced,))
        stopped = _timed(fleet.stop_all)
        yield Row(f"{number} models, all stopped at once", (stopped,))
        fleet.check()


def _start_bare(python: Path, number: int, scratch: Path) -> float:
    """Return the seconds until so many bare processes are ready."""
    script = scratch / "bare.py"
    script.write_text(_BOT, "utf-8")
    started = time.monotonic()
    processes = [
        subprocess.Popen([python, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(number)
    ]
    try:
        for one in processes:
            if one.stdout is None or one.stdout.readline() != b"ready\n":
                raise BrokenError("a bare process did not start")
        return time.monotonic() - started
    finally:
        for one in processes:
            one.kill()
            one.communicate()


def _timed(act: Callable[[], None]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


@dataclass(slots=True)
class _Fleet:
    """A client with as many models as are measured."""

    url: str
    headers: dict[str, str]
    project: str
    models: list[str] = field(default_factory=list)

    @classmethod
    def signed_in(cls, url: str, refresh_token: str, number: int) -> _Fleet:
        import requests

        answer = requests.post(
            f"{url}/auth/token", data={"refreshToken": refresh_token}, timeout=30
        ).json()
        fleet = cls(url, {"token": answer["idToken"]}, answer["data"]["user_id"])
        for index in range(number):
            fields = {"type": "strategy", "name": f"bench {index}", "description": "bench"}
            fleet.models.append(fleet.post("/model/create-model", fields)["modelId"])
        return fleet

    def post(self, path: str, fields: Mapping[str, str], bundle: bytes | None = None) -> Any:
        import requests

        answer = requests.post(
            f"{self.url}{path}",
            headers=self.headers,
            data={"projectId": self.project, **fields},
            files=None if bundle is None else {"model": ("model.zip", bundle)},
            timeout=_PATIENCE_SECONDS,
        )
        if not answer.ok:
            raise BrokenError(f"{path}: {answer.status_code} {answer.text[:200]}")
        return answer.json() if answer.text else None

    def deploy_all(self, name: str) -> None:
        """Deploy a version of each model, and wait until all of them run."""
        bundle = _bundle(name)
        fields = {"pythonVersion": "3.11", "type": "strategy", "plan": "large"}
        fields["versionDescription"] = name

        def deploy(model: str) -> str:
            answer = self.post("/model/deploy", {**fields, "modelId": model}, bundle)
            return str(answer["versionId"])

        with ThreadPoolExecutor(8) as pool:
            versions = dict(zip(self.models, pool.map(deploy, self.models), strict=True))
        self._wait("running", versions)

    def warm_up(self) -> None:
        """Run a model that is not measured, and stop it."""
        measured, self.models = self.models, self.models[:1]
        self.deploy_all("warm up")
        self.stop_all()
        self.post("/model/delete", {"modelId": self.models[0]})
        fields = {"type": "strategy", "name": "bench again", "description": "bench"}
        measured[0] = self.post("/model/create-model", fields)["modelId"]
        self.models = measured

    def stop_all(self) -> None:
        for model in self.models:
            self.post("/model/kill", {"modelId": model})
        self._wait("stopped", {})

    def _wait(self, state: str, versions: dict[str, str]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        waiting = list(self.models)
        while waiting:
            live = self.post("/model/details", {"modelId": waiting[-1]})["live"]
            if live["state"] == "failed" or time.monotonic() > end:
                raise BrokenError(f"a model is not {state}: {live}")
            if live["state"] == state and versions.get(waiting[-1]) in {None, live["versionId"]}:
                waiting.pop()
            else:
                time.sleep(0.1)

    def check(self) -> None:
        """Look whether each model ran both versions, and did not fail."""
        for model in self.models:
            details = self.post("/model/details", {"modelId": model})
            if [one["progress"] for one in details["versions"]] != ["ran", "ran"]:
                raise BrokenError("not every version ran")
            if details["live"]["restarts"]:
                raise BrokenError("a model was restarted")


def _bundle(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/blankly.json", json.dumps({"type": "strategy", "name": name}))
        archive.writestr("model/bot.py", _BOT)
        archive.write(EXAMPLE / "requirements.txt", "model/requirements.txt")
    return buffer.getvalue()


def _server_of(data: str) -> int:
    """Return the process id of the server of a data directory."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and data.encode() in words:
            return int(path.parent.name)
    raise BrokenError("the server's process is not found")


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024.0
    raise BrokenError("the server has ended")
