"""A platform in another process, as `isolated_serving.py` makes it, and its client."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.isolated import python_for_all
from tests.support.platform_client import Clock, Platform, make_bundle
from tests.support.serving_process import ROOT, serving_process
from tests.support.waiting import wait_for

# Runs the script of a model, deployed or in a backtest, which finds `report(event, **fields)`.
PROGRAM = """
import json, os, sys
if "--check" in sys.argv:
    sys.exit()
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
def report(event, **fields):
    document = json.dumps({"event": event, **fields})
    os.write(int(options["--events-fd"]), document.encode() + b"\\n")
path = options["--script"]
with open(path) as file:
    code = compile(file.read(), path, "exec")
exec(code, {"__name__": "__main__", "report": report})
"""


@dataclass
class Served:
    """A platform in another process, with a secret variable, and what its models print."""

    url: str
    data: Path
    log: Path
    process: subprocess.Popen[str]
    token: str
    secret: str
    platform: Platform = field(init=False)

    def __post_init__(self) -> None:
        self.platform = Platform(self, self.data, self.token, Clock())  # type: ignore[arg-type]  # it has a URL
        self.platform.sign_in()

    def deploy(self, model_id: str, script: str, **files: str) -> dict[str, Any]:
        answer = self.platform.deploy(
            model_id,
            make_bundle(**{"bot.py": script, "requirements.txt": "", **files}),
            environment=json.dumps({"SERVER_URL": self.url}),
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def backtest(self, script: str) -> dict[str, Any]:
        bundle = make_bundle(**{"bot.py": script, "requirements.txt": ""})
        answer = self.platform.backtest(
            "tester", bundle, environment=json.dumps({"SERVER_URL": self.url})
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def printed(self, model_id: str) -> str:
        fields = {"projectId": self.platform.user_id, "modelId": model_id, "lines": "1000"}
        return self.platform.post("/model/logs", **fields).text

    def wait_for_line(self, model_id: str, text: str) -> str:
        wait_for(lambda: f" out {text}" in self.printed(model_id), pause=0.1)
        return self.printed(model_id)


@contextmanager
def isolated_server(tmp_path: Path, *, umask: int = 0o022) -> Iterator[Served]:
    """Start a platform from a copy of the package that every user reaches."""
    package = tmp_path / "package"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "deploy_action", package / "deploy_action", ignore=ignored)
    program = package / "program.py"
    program.write_text(PROGRAM)
    for path in (package, *package.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    token, secret = secrets.token_hex(16), secrets.token_hex(16)
    data, log = tmp_path / "data", tmp_path / "log"
    log.touch(0o600)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{package}{os.pathsep}{ROOT}",
        "PYTHONSAFEPATH": "1",
        "PLATFORM_TOKEN": token,
        "EXCHANGE_SECRET": secret,
    }
    arguments = (data, program, python_for_all(), log)
    with serving_process("isolated_serving", *arguments, environ=environ, umask=umask) as started:
        url, process = started
        yield Served(url, data, log, process, token, secret)
