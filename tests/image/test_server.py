"""The image of the server, run by the compose file as a person would."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from tests.conftest import MANIFEST
from tests.image.conftest import build_image
from tests.support.container_runner import ROOT, Image
from tests.support.network import NETWORK
from tests.support.platform_client import Clock, Platform, make_bundle
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.slow]

NAME = "localhost/blankly-deploy-server-test"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LOOKS_AROUND = """
import os, pathlib, time

import blankly

print("user", os.getuid(), flush=True)
for place in ("/run/secrets/token", "/proc/1/environ", "/var/lib/blankly/data/platform.sqlite"):
    try:
        open(place).read()
        print("READ", place, flush=True)
    except OSError as error:
        print("refused", place, flush=True)
starts = pathlib.Path(os.environ["BLANKLY_STATE_DIR"], "starts")
starts.write_text((starts.read_text() if starts.exists() else "") + "x")
print("starts", starts.read_text(), flush=True)
while True:
    time.sleep(1)
"""
SECONDS_TO_START = 300.0  # the environment is made on a machine that may be busy


@pytest.fixture(scope="module")
def server_image() -> Image:
    return build_image(NAME, "--target=server")


@dataclass(frozen=True)
class Composed:
    """The compose file of the example, changed to what this machine allows."""

    engine: str
    folder: Path
    project: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str) -> str:
        scripts = Path(sysconfig.get_path("scripts"))
        program = ["docker", "compose"]
        if self.engine == "podman":
            program = [str(scripts / "podman-compose"), "--podman-run-args=--runtime runc"]
        done = subprocess.run(
            [*program, "-p", self.project, "-f", "compose.yml", *arguments],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def composed(server_image: Image, tmp_path: Path) -> Iterator[Composed]:
    """Start the example; where this is a container, with the limits and the network it has."""
    port, project = _free_port(), f"test-{secrets.token_hex(4)}"
    compose = yaml.safe_load((ROOT / "examples" / "server" / "compose.yml").read_text("utf-8"))
    service = compose["services"]["blankly"]
    service["image"] = NAME
    service["network_mode"] = "host"
    del service["ports"]
    service["command"] += ["--port", str(port)]
    check = service["healthcheck"]["test"]
    check[-1] = check[-1].replace("9080", str(port))
    service["ulimits"] = {"nofile": "1024:1024", "nproc": "1000:1000"}
    uv = [sys.executable, "-m", "uv", "cache", "dir"]
    cache = subprocess.run(uv, capture_output=True, text=True, check=True, timeout=20)
    service["volumes"].append(f"{cache.stdout.strip()}:/uv-cache")
    service["environment"] |= {"UV_CACHE_DIR": "/uv-cache"}
    service["environment"] |= {name: os.environ[name] for name in NETWORK if name in os.environ}
    if CERTIFICATES.exists():
        service["volumes"].append("/etc/ssl/certs:/etc/ssl/certs:ro")
    (tmp_path / "compose.yml").write_text(yaml.safe_dump(compose))
    (tmp_path / "secrets").mkdir()
    for name, content in (("token", secrets.token_hex(16)), ("notify", "")):
        (tmp_path / "secrets" / name).write_text(content)
        (tmp_path / "secrets" / name).chmod(0o600)
    started = Composed(server_image.engine, tmp_path, project, port)
    try:
        started.run("up", "--detach")
        yield started
    finally:
        started.run("down", "--volumes")


def healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def live(platform: Platform, model_id: str) -> dict[str, object]:
    found = platform.details(model_id)["live"]
    assert isinstance(found, dict)
    return found


def log(platform: Platform, model_id: str) -> str:
    return platform.post("/model/logs", projectId=platform.user_id, modelId=model_id).text


def test_a_model_runs_isolated_and_again_after_a_restart(composed: Composed) -> None:
    wait_for(lambda: healthy(composed.url))
    token = (composed.folder / "secrets" / "token").read_text()
    platform = Platform(composed, composed.folder, token, Clock())  # type: ignore[arg-type]  # it has a URL
    platform.sign_in()
    model_id = platform.create_model()
    manifest = json.dumps({**MANIFEST, "python_version": "3.11"})
    files = {"bot.py": LOOKS_AROUND, "requirements.txt": "blankly\n", "blankly.json": manifest}
    answer = platform.deploy(model_id, make_bundle(**files), pythonVersion="3.11")
    assert answer.status_code == 200, answer.text

    wait_for(lambda: live(platform, model_id)["state"] != "preparing", SECONDS_TO_START)
    assert live(platform, model_id)["state"] == "running", log(platform, model_id)
    text = log(platform, model_id)
    (user,) = [int(line.split()[-1]) for line in text.splitlines() if " out user " in line]
    assert user >= 61_184
    assert "READ" not in text
    assert text.count("refused") == 3
    assert "out starts x\n" in text

    composed.run("stop")
    composed.run("start")
    wait_for(lambda: healthy(composed.url))
    platform.sign_in()
    wait_for(lambda: "out starts xx\n" in log(platform, model_id), SECONDS_TO_START)
    assert "Stopping it (reason: shutdown)" in log(platform, model_id)
    assert "xxx" not in log(platform, model_id)
    logs = composed.run("logs")
    assert "SIGTERM: stopping." in logs
    assert re.search(r"stopped(\x1b\S*)?\n", logs)


def test_the_server_has_what_only_a_server_needs(server_image: Image) -> None:
    found = server_image.run("python", "-I", "-c", "import apprise")
    assert found.returncode == 0, found.stderr


def test_the_action_does_not(image: Image) -> None:
    found = image.run("python", "-I", "-c", "import apprise")
    assert "No module named 'apprise'" in found.stderr
