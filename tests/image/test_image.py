"""The container image, built and run as the GitHub runner would."""

from __future__ import annotations

import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from deploy_action.platform.server import PlatformServer
from tests.support.container_runner import Image, Runner, tree_digest
from tests.support.waiting import PATIENCE

# One worker builds the image and runs all of these.
pytestmark = pytest.mark.xdist_group("image")


@pytest.fixture
def refresh_token() -> str:
    return secrets.token_hex(24)


@pytest.fixture
def server(tmp_path: Path, refresh_token: str) -> Iterator[PlatformServer]:
    with PlatformServer(tmp_path / "platform", refresh_token=refresh_token, strict=True) as server:
        server.start()
        yield server


def model_names(server: PlatformServer, refresh_token: str) -> list[str]:
    url = server.url
    signed_in = requests.post(
        f"{url}/auth/token", data={"refreshToken": refresh_token}, timeout=PATIENCE
    ).json()
    answer = requests.post(
        f"{url}/model/list",
        data={"projectId": signed_in["data"]["user_id"]},
        headers={"token": signed_in["idToken"]},
        timeout=PATIENCE,
    )
    return [model["name"] for model in answer.json()]


def test_validate_sends_nothing_and_leaves_the_workspace_alone(job: Runner) -> None:
    before = tree_digest(job.workspace)
    result = job.run({"mode": "validate"}, "--network=none")
    assert result.code == 0, result.log
    assert result.outputs["status"] == "valid"
    assert len(result.outputs["bundle-sha256"]) == 64
    assert result.outputs["bundle-files"] == "3"
    assert tree_digest(job.workspace) == before


def test_deploy_makes_a_version_on_a_server(
    job: Runner, server: PlatformServer, refresh_token: str
) -> None:
    inputs = {"api-url": server.url, "token": refresh_token}
    result = job.run({**inputs, "create-new": "true", "model-name": "dip"}, "--network=host")
    assert result.code == 0, result.log
    assert result.outputs["status"] == "deployed"
    assert result.outputs["version-id"]
    assert result.outputs["description"] == "Buy the dip\n\nThe whole of it."
    assert "Buy the dip" in result.summary
    assert model_names(server, refresh_token) == ["dip"]
    first_use = result.log.index(refresh_token)
    assert result.log[:first_use].endswith("::add-mask::")
    assert result.log.count(refresh_token) == 1


def test_local_deploys_without_a_server_or_a_token(job: Runner) -> None:
    result = job.run({"api-url": "local"}, "--network=none")
    assert result.code == 0, result.log
    assert result.outputs["status"] == "deployed"
    assert result.outputs["version-id"]


@pytest.mark.parametrize("mode", ["validate", "deploy"])
def test_the_root_file_system_may_be_read_only(job: Runner, mode: str) -> None:
    result = job.run(
        {"mode": mode, "api-url": "local"}, "--network=none", "--read-only", "--tmpfs=/tmp"
    )
    assert result.code == 0, result.log


def test_a_wrong_manifest_is_shown_on_its_line(job: Runner) -> None:
    job.write("models/dip/blankly.json", '{\n  "type": "strategy",\n  "python_version": 3.10\n}\n')
    job.write("models/dip/bot.py", "import blankly\n")
    job.write("models/dip/requirements.txt", "blankly\n")
    result = job.run({"model-path": "models/dip", "api-url": "local"}, "--network=none")
    assert result.code == 2, result.log
    errors = [line for line in result.log.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1
    assert "file=models/dip/blankly.json" in errors[0]
    assert "line=3" in errors[0]
    assert result.outputs["status"] == "failed"


def test_all_wrong_inputs_are_reported_at_once(job: Runner) -> None:
    result = job.run({"timeout-minutes": "soon", "dry-run": "perhaps"}, "--network=none")
    assert result.code == 2, result.log
    errors = [line for line in result.log.splitlines() if line.startswith("::error")]
    assert len(errors) == 2
    assert any("timeout-minutes" in line and "soon" in line for line in errors)
    assert any("dry-run" in line and "perhaps" in line for line in errors)


def test_the_python_variables_of_a_workflow_do_not_reach_the_action(job: Runner) -> None:
    """A PYTHONPATH for the model's own scripts must not change what the action imports."""
    job.write("lib/deploy_action/__init__.py", "raise SystemExit('the model was imported')\n")
    result = job.run(
        {"mode": "validate"}, "--network=none", "--env=PYTHONPATH=lib", "--env=PYTHONHOME=/nowhere"
    )
    assert result.code == 0, result.log


@pytest.fixture
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """Read requests and never answer; the event says that one came."""
    asked = threading.Event()
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    if connection.recv(1):
                        asked.set()
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        # Closing alone does not wake a thread that waits in accept().
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)
    for connection in kept:
        connection.close()


@pytest.mark.parametrize(
    ("signal_number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_cancelled_run_ends_in_time_and_says_so(
    job: Runner,
    silent_server: tuple[str, threading.Event],
    signal_number: signal.Signals,
    exit_code: int,
) -> None:
    """The runner allows 7.5 s after SIGINT."""
    url, asked = silent_server
    inputs = {"api-url": url, "token": secrets.token_hex(16), "create-new": "true"}
    process = job.start(inputs, "--network=host")
    if not asked.wait(PATIENCE):
        process.kill()
        pytest.fail(f"no request came: {process.communicate()[0]}")
    began = time.monotonic()
    process.send_signal(signal_number)
    result = job.finish(process)
    assert time.monotonic() - began < 30  # the request would hang for longer
    assert result.code == exit_code, result.log
    assert result.outputs["status"] == "failed"
    assert "Traceback" not in result.log


def test_the_image_has_no_tools_that_build_or_install(image: Image) -> None:
    tools = "git gcc cc make pip pip3 wheel apt apt-get dpkg perl su passwd mount"
    found = image.run("sh", "-c", f"for tool in {tools}; do command -v $tool; done; true")
    modules = image.run("python", "-I", "-c", "import pip")
    assert found.returncode == 0
    assert found.stdout == ""
    assert "No module named 'pip'" in modules.stderr


def test_no_program_gives_a_model_the_rights_of_root(image: Image) -> None:
    found = image.run("find", "/", "-xdev", "-perm", "/6000", "-type", "f")
    assert found.returncode == 0, found.stderr
    assert found.stdout == ""


def test_models_have_the_whole_standard_library(image: Image) -> None:
    """Without what needs a display or would install; this Python is of the same version."""
    code = (
        "import importlib.util, json, sys;"
        "specs = [importlib.util.find_spec(name) for name in sorted(sys.stdlib_module_names)"
        " if name != '__main__'];"
        "print(json.dumps([s.name for s in specs if s and (s.origin or '').endswith('.py')]))"
    )
    there = json.loads(image.run("python", "-I", "-c", code).stdout)
    here = json.loads(subprocess.check_output([sys.executable, "-I", "-c", code]))
    assert set(here) - set(there) == {"ensurepip", "idlelib", "tkinter", "turtle", "turtledemo"}


def test_scanners_find_the_packages_of_debian(image: Image) -> None:
    """The list has what is there, and not what was removed."""
    status = image.run("cat", "/var/lib/dpkg/status").stdout
    packages = set(re.findall(r"^Package: (.*)$", status, re.MULTILINE))
    assert {"base-files", "libc6", "libssl3", "libstdc++6", "zlib1g"} <= packages
    assert not packages & {"apt", "dpkg", "perl-base", "util-linux"}


def test_the_installer_of_environments_is_found(image: Image) -> None:
    """The packages are installed without their commands, except for this one."""
    code = "import uv; print(uv.find_uv_bin())"
    found = image.run("python", "-I", "-c", code)
    done = image.run(found.stdout.strip() or "/no/uv", "--version")
    assert found.stdout.strip() == "/usr/local/bin/uv", found.stderr
    assert done.stdout.startswith("uv ")


def test_nothing_is_compiled_when_it_starts(image: Image) -> None:
    """Every module, also of the standard library, has valid byte code."""
    code = (
        "import sys, json, urllib3, jsonschema, yaml, dulwich.repo, deploy_action.main;"
        "from pathlib import Path;"
        "files = [getattr(m, '__cached__', None) for m in list(sys.modules.values())];"
        "print(json.dumps([f for f in files if f and not Path(f).exists()]))"
    )
    done = image.run("python", "-I", "-B", "-c", code)
    # Bit 0: by hash; bit 1: checked. A date would not survive every way through the layers.
    flags = image.run(
        "python",
        "-I",
        "-c",
        "import deploy_action.main as m; print(open(m.__cached__, 'rb').read(8)[4])",
    )

    assert json.loads(done.stdout) == [], done.stderr
    assert flags.stdout.strip() == "1"


def test_the_program_can_be_called_by_name(image: Image) -> None:
    done = image.run("blankly-deploy", "schema")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_image_says_how_it_runs_and_holds_no_secret(image: Image) -> None:
    document = image.inspect()
    config = document["Config"]
    assert isinstance(config, dict)
    assert config["Entrypoint"][:2] == ["python", "-I"]
    assert config.get("User", "") == ""
    names = {variable.partition("=")[0] for variable in config["Env"]}
    base = {"PATH", "GPG_KEY", "PYTHON_VERSION", "PYTHON_SHA256", "PYTHON_PIP_VERSION"}
    own = {"LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert own <= names <= own | base
    history = json.dumps(document.get("History", [])).lower()
    assert "certificates" not in history
    assert "index-url" not in history


def test_only_what_the_action_needs_is_in_the_image(image: Image) -> None:
    packages = image.run("du", "-sk", "/usr/local/lib/python3.11/site-packages")
    left = image.run("sh", "-c", "cat /etc/pip.conf; ls -A /root/.config /root/.cache /build")
    kibibytes = int(packages.stdout.split()[0])
    assert kibibytes < 36 * 1024, f"{kibibytes} KiB of packages"
    size = image.inspect()["Size"]
    assert isinstance(size, int)
    assert size < 175e6, f"{size} bytes"
    assert left.stdout == ""
