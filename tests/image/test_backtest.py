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

from deploy_action.platform.processes.unprivileged import is_transient
from tests.conftest import Ended
from tests.support.attacks import HOSTILE, successes, words_after
from tests.support.container_runner import ROOT, Runner, tree_digest
from tests.support.hostile_package import AT_EACH_START, attacks
from tests.support.network import NETWORK
from tests.support.package_index import PackageIndex
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


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for what one backtest made and later ones find, as from a cache."""
    return tmp_path_factory.mktemp("kept")


def keep(job: Runner, kept: Path) -> None:
    """Keep the environment that a job made."""
    _link(job.folder / "runner_temp" / "blankly-platform", kept)


def restore(job: Runner, kept: Path) -> None:
    """Give a job the environment that another one made, if there was one."""
    if (kept / "environments").exists():
        (job.folder / "runner_temp" / "blankly-platform").mkdir()
        _link(kept, job.folder / "runner_temp" / "blankly-platform")


def _link(source: Path, target: Path) -> None:
    places = (source / "environments", target / "environments")
    shutil.copytree(*places, symlinks=True, copy_function=os.link)
    shutil.copystat(source, target)


FINDS_BUNDLES = """
import os
found = []
for place in ("/github/runner_temp", "/tmp"):
    for root, _, files in os.walk(place):
        found += [name for name in files if name.endswith(".zip")]
print("FOUND", found)
"""


def test_a_model_is_backtested_in_isolation(job: Runner, options: list[str], kept: Path) -> None:
    """Metrics, chart and report; the second step of a job finds the environment made.

    The action is root, the model nobody in particular: it sees neither the action's memory nor its
    inputs, and changes neither what the runner reads nor what is kept for later.
    """
    copy_golden_cross(job)
    inputs = {"mode": "backtest", "api-url": "local", "token": secrets.token_hex(16)}
    before = tree_digest(job.workspace)

    first = job.run(inputs, *options)

    assert first.code == 0, first.log
    assert json.loads(first.outputs["metrics"])["cum_returns"] == pytest.approx(37.9, abs=0.05)
    assert "```mermaid" in first.summary
    # A model that leaves no process behind is alone with the action (PID 1) in the container:
    # kill(2) finds nobody to signal, which is no news for the log.
    assert "kill:" not in first.log
    report = job.folder / "runner_temp" / first.outputs["report"]
    assert json.loads(report.read_bytes())["trades_sha256"] == first.outputs["trades-sha256"]
    assert tree_digest(job.workspace) == before
    keep(job, kept)

    copy_golden_cross(job, HOSTILE)
    second = job.run(inputs, *options)

    assert second.outputs["trades-sha256"] == first.outputs["trades-sha256"]
    assert "reused" in second.log
    assert_isolated(second)
    assert_readable_by_others(job.folder / "runner_temp" / "blankly-platform" / "environments")


def test_without_a_user_of_its_own_the_model_is_not_run(
    job: Runner, options: list[str], kept: Path
) -> None:
    """Where root may not become another user, or where no place for the model's files is."""
    restore(job, kept)
    copy_golden_cross(job, "print('STARTED')\n")
    inputs = {"mode": "backtest", "api-url": "local"}

    no_user = job.run(inputs, *options, "--cap-drop=SETUID")
    (job.folder / "runner_temp").chmod(0o700)
    closed = [f"--tmpfs={place}:noexec,mode=1777" for place in ("/tmp", "/var/tmp")]  # noqa: S108  # in the container
    no_place = job.run(inputs, *options, "--read-only", *closed)
    allowed = job.run(inputs, *options, "--cap-drop=SETUID", "--env=BLANKLY_DEPLOY_ISOLATION=off")

    for ended, reason in ((no_user, "become another user"), (no_place, "/github/runner_temp")):
        assert ended.code == 1, ended.log
        assert "STARTED" not in ended.log
        (error,) = (line for line in ended.annotations if line.startswith("::error"))
        assert reason in error
        assert "The model was not run" in ended.summary
    assert allowed.code == 0, allowed.log
    assert "The model ran as root" in allowed.summary


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_a_runner_that_lets_nobody_into_its_folders_does_not_end_the_isolation(
    job: Runner, options: list[str], kept: Path, mode: int
) -> None:
    """As self-hosted runners have them: the private copies and environments go elsewhere."""
    (kept / "elsewhere").mkdir(exist_ok=True)
    options.append(f"--volume={kept / 'elsewhere'}:/var/cache/blankly-deploy")
    copy_golden_cross(job, HOSTILE)
    for name in ("runner_temp", "home", "workspace", "file_commands"):
        os.chown(job.folder / name, 1001, 1001)
        (job.folder / name).chmod(mode)

    ended = job.run({"mode": "backtest", "api-url": "local"}, *options)

    assert ended.code == 0, ended.log
    assert_isolated(ended)
    assert "/var/cache/blankly-deploy" in ended.summary
    assert "may not enter /github/runner_temp" in ended.log


TELLS_OF_THE_BUILD = """
import pathlib, pine
place = pathlib.Path(pine.__file__).parent
print("BUILT", (place / "told.json").read_text())
print("STARTED", (place / "started-by.txt").read_text().split())
"""


def test_what_a_package_runs_while_it_is_installed_gets_nothing(
    job: Runner, options: list[str], tmp_path: Path
) -> None:
    """Neither in its build nor at the first start of a Python, before the model runs."""
    mark = secrets.token_hex(8)
    written = [f"/github/file_commands/{name}" for name in ("set_env", "set_output", "add_path")]
    written += ["/github/workspace", "/github/workspace/blankly.json", "/uv-cache", "/etc/passwd"]
    written += ["/github/runner_temp/blankly-platform", "/usr/local/bin/uv", "/var/lib/blankly"]
    index = PackageIndex(tmp_path / "packages")
    for path in index.wheels.iterdir():
        path.unlink()
    code = attacks(mark, read=["/etc/shadow"], written=written)
    index.add_source("pine", "1.0", code, at_each_start=AT_EACH_START)
    copy_golden_cross(job, TELLS_OF_THE_BUILD)
    with (job.workspace / "requirements.txt").open("a") as file:
        file.write("pine\n")
    mount = [f"--volume={index.wheels}:/packages:ro", "--env=PIP_FIND_LINKS=/packages"]

    ended = job.run({"mode": "backtest", "api-url": "local", "token": mark}, *options, *mount)

    assert ended.code == 0, ended.log
    said = {line.split()[0]: line for line in ended.log.splitlines() if line.strip()}
    built = json.loads(said["BUILT"].removeprefix("BUILT "))
    assert built["got"] == []
    assert is_transient(built["user"])
    assert said["STARTED"].startswith(f"STARTED ['{built['user']}'")
    assert "'0'" not in said["STARTED"]
    assert_readable_by_others(job.folder / "runner_temp" / "blankly-platform" / "environments")


def test_a_gated_deploy_compares_and_ships_what_was_tested(
    job: Runner, options: list[str], kept: Path
) -> None:
    """The checkout belongs to another user, and the image has no git."""
    restore(job, kept)
    copy_golden_cross(job)
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


def copy_golden_cross(job: Runner, code: str = "") -> None:
    """Check out the example, with more code at the top of its script."""
    model = ROOT / "examples" / "models" / "golden-cross"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(model, job.workspace, ignore=ignored, dirs_exist_ok=True)
    script = job.workspace / "bot.py"
    script.write_text(script.read_text().replace("import json\n", f"import json\n{code}", 1))


def assert_isolated(ended: Ended) -> None:
    """Check that no attack of the hostile model got anything, and that it had its own user."""
    assert successes(ended.log) == {}
    (user,) = words_after(ended.log, "USER")
    assert is_transient(int(user))


def assert_readable_by_others(environments: Path) -> None:
    """Check that a later step, which is another user, can store the environments."""
    assert environments.parent.stat().st_mode & 0o1
    for path in environments.rglob("*"):
        if not path.is_symlink():
            wanted = 0o5 if path.is_dir() else 0o4
            assert path.stat().st_mode & wanted == wanted, path
