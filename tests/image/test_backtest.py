"""A backtest in the container: uv, Python and the kernel's protections as they are there."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.container_runner import ROOT, Runner, tree_digest
from tests.support.network import NETWORK
from tests.support.repositories import commit_all, git
from tests.support.scripted_server import ScriptedServer

pytestmark = pytest.mark.xdist_group("image")

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture
def options() -> list[str]:
    """Return the options that let a container reach what this machine reaches.

    Its packages come out of this machine's cache: what is tested is not the download.
    """
    uv = [sys.executable, "-m", "uv", "cache", "dir"]
    cache = subprocess.run(uv, capture_output=True, text=True, check=True, timeout=20)
    Path(cache.stdout.strip()).mkdir(parents=True, exist_ok=True)
    given = ["--network=host", f"--volume={cache.stdout.strip()}:/uv-cache"]
    given += ["--env=UV_CACHE_DIR=/uv-cache"]
    given += [f"--env={name}" for name in NETWORK if name in os.environ]
    if CERTIFICATES.exists():
        given.append("--volume=/etc/ssl/certs:/etc/ssl/certs:ro")
    return given


LOOKS_AROUND = """
import glob
import os

def attempt(what, mode, *paths):
    for path in paths:
        try:
            with open(path, mode) as file:
                file.read(1) if mode == "rb" else file.write("x")
            print("DONE", what, path)
        except OSError as error:
            print("REFUSED", what, type(error).__name__)

print("USER", os.getuid() == os.getgid() != 0, os.getgroups())
attempt("environ", "rb", f"/proc/{os.getppid()}/environ")
attempt("memory", "rb", f"/proc/{os.getppid()}/mem")
attempt("outputs", "a", "/github/file_commands/set_output")
attempt("workspace", "a", "/github/workspace/blankly.json")
attempt("environment", "a", os.__file__, json.__file__)
attempt("platform", "rb", "/github/runner_temp/blankly-platform/platform.sqlite")
attempt("bundles", "rb", *glob.glob("/github/runner_temp/blankly-platform/*/*.zip") or ["none"])
import resource
print("LIMITED", 0 < resource.getrlimit(resource.RLIMIT_DATA)[0] < 1 << 62)
"""
FINDS_BUNDLES = """
import os
found = []
for place in ("/github/runner_temp", "/tmp"):
    for root, _, files in os.walk(place):
        found += [name for name in files if name.endswith(".zip")]
print("FOUND", found)
"""
REFUSED = ("environ", "memory", "outputs", "workspace", "environment", "platform", "bundles")


def test_a_model_is_backtested_in_isolation(job: Runner, options: list[str]) -> None:
    """Metrics, chart and report; the second step of a job finds the environment made.

    The action is root, the model nobody in particular: it sees neither the action's memory nor its
    inputs, and changes neither what the runner reads nor what is kept for later.
    """
    shutil.rmtree(job.workspace)
    model = ROOT / "examples" / "models" / "golden-cross"
    shutil.copytree(model, job.workspace, ignore=shutil.ignore_patterns("__pycache__"))
    inputs = {"mode": "backtest", "api-url": "local", "token": secrets.token_hex(16)}
    before = tree_digest(job.workspace)

    first = job.run(inputs, *options)

    assert first.code == 0, first.log
    assert json.loads(first.outputs["metrics"])["cum_returns"] == 38
    assert "```mermaid" in first.summary
    # A model that leaves no process behind is alone with the action (PID 1) in the container:
    # kill(2) finds nobody to signal, which is no news for the log.
    assert "kill:" not in first.log
    report = job.folder / "runner_temp" / first.outputs["report"]
    assert json.loads(report.read_bytes())["trades_sha256"] == first.outputs["trades-sha256"]
    assert tree_digest(job.workspace) == before

    script = job.workspace / "bot.py"
    script.write_text(
        script.read_text().replace("import json\n", f"import json\n{LOOKS_AROUND}", 1)
    )
    second = job.run(inputs, *options)

    assert second.outputs["trades-sha256"] == first.outputs["trades-sha256"]
    assert "reused" in second.log
    assert "USER True []" in second.log
    assert "DONE" not in second.log
    assert [what for what in REFUSED if f"REFUSED {what} PermissionError" not in second.log] == [
        "bundles"  # it cannot even list them
    ]
    assert "LIMITED True" in second.log
    assert_readable_by_others(job.folder / "runner_temp" / "blankly-platform" / "environments")


def test_a_gated_deploy_compares_and_ships_what_was_tested(job: Runner, options: list[str]) -> None:
    """The checkout belongs to another user, and the image has no git."""
    shutil.rmtree(job.workspace)
    model = ROOT / "examples" / "models" / "golden-cross"
    shutil.copytree(model, job.workspace, ignore=shutil.ignore_patterns("__pycache__"))
    git(job.workspace, "init", "--quiet", "--initial-branch=main")
    commit_all(job.workspace, "The model")
    script = job.workspace / "bot.py"
    renamed = script.read_text().replace("closes", "past_closes")
    script.write_text(renamed.replace("import json\n", f"import json\n{FINDS_BUNDLES}", 1))
    commit_all(job.workspace, "Rename")
    for path in (job.workspace, *job.workspace.rglob("*")):
        os.chown(path, 1001, 1001, follow_symlinks=False)
    with ScriptedServer() as server:
        inputs = {
            "api-url": server.url,
            "token": secrets.token_hex(16),
            "model-id": "model-1",
            "compare-with": "HEAD^",
            "gates": "max_drawdown <= base\ntrades >= 10",
        }

        ended = job.run(inputs, *options)

        assert ended.code == 0, ended.log
        (sent,) = server.requests_to("POST /model/deploy")
    assert "FOUND []" in ended.log
    assert ended.outputs["gates"] == "passed"
    assert hashlib.sha256(sent.file).hexdigest() == ended.outputs["bundle-sha256"]
    assert "Trade-for-trade identical" in ended.summary


def assert_readable_by_others(environments: Path) -> None:
    """Check that a later step, which is another user, can store the environments."""
    assert environments.parent.stat().st_mode & 0o1
    for path in environments.rglob("*"):
        if not path.is_symlink():
            wanted = 0o5 if path.is_dir() else 0o4
            assert path.stat().st_mode & wanted == wanted, path
