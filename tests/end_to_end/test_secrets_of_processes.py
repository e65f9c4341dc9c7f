"""No secret in what processes print, in the list of processes, or in variables of others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from stat import S_IMODE
from typing import Final
from urllib.parse import quote

import pytest

from tests.conftest import Ended, Runner
from tests.support.forge import ForgeServer
from tests.support.isolated import allowed_by_this_machine
from tests.support.live_server import DETAILS, LOGS, MODELS
from tests.support.package_index import PackageIndex
from tests.support.process_watch import ProcessWatch
from tests.support.scripted_server import Hang, Reply, Request, ScriptedServer, Step
from tests.support.secret_hunter import a_secret, without_masks
from tests.support.secret_runs import SIGN_IN, Stage, lives, refusals
from tests.support.torture import Rounds
from tests.support.waiting import PATIENCE, wait_for

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = "POST /model/deploy"
ACTION: Final = (str(ROOT / "entrypoint.py"),)


def start(
    stage: Stage, *command: str, environ: Mapping[str, str] | None = None, **inputs: str
) -> subprocess.Popen[str]:
    """Start the action, or a command of `blankly-deploy`."""
    given = {**stage.inputs, **inputs}
    Path(stage.runner.environ["GITHUB_OUTPUT"]).touch()
    program = ("-m", "deploy_action", *command) if command else ACTION
    return subprocess.Popen(
        [sys.executable, *program],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            **stage.runner.variables(given),
            **allowed_by_this_machine(),
            **(environ or {}),
        },
        cwd=stage.runner.workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(stage: Stage, process: subprocess.Popen[str], spared: str = "") -> str:
    """Check all that a process leaves, and what others see of its children; return the log.

    `spared` is what its children need to know.
    """
    with ProcessWatch(process.pid) as watch:
        log, _ = process.communicate(timeout=2 * PATIENCE)
    for bundle in (stage.runner.root / "temp").rglob("bundles/*"):  # has the keys
        assert S_IMODE(bundle.stat().st_mode) == 0o600
        bundle.unlink()
    ended: Ended = stage.runner.ended(process.returncode, log)
    assert stage.leaks(ended) == [], without_masks(log)
    assert stage.hunter.find("\n".join(watch.commands)) == []
    others = "\n".join(one for texts in watch.environments.values() for one in texts)
    assert stage.hunter.find(others, spared=[spared]) == []
    assert "Traceback" not in log, log
    return log


def interrupted(stage: Stage) -> None:
    number = stage.chance.choice((signal.SIGINT, signal.SIGTERM))
    route = stage.chance.choice((SIGN_IN, DEPLOY))
    stage.script[route] = Hang()
    with ScriptedServer(stage.script) as server:
        process = start(stage, api_url=server.url, model_id="m-1", timeout_minutes="5")
        wait_for(lambda: route in server.routes())
        process.send_signal(number)
        finish(stage, process)
    assert process.returncode == 128 + number


def through_a_proxy(stage: Stage) -> None:
    """Use one that answers with the header that has its password, or is not there."""
    password = stage.hunter.add("password of the proxy", a_secret(stage.chance))
    status = stage.chance.choice((407, 502, 403, 200))

    def answer(request: Request) -> Step:
        return Reply(status, f"{stage.say()} {dict(request.headers)}")

    with ScriptedServer() as proxy:
        proxy.next_step = answer  # type: ignore[method-assign]  # whatever is asked for
        address = proxy.url if stage.chance.random() < 2 / 3 else "http://127.0.0.1:9"
        written = address.replace("://", f"://me:{quote(password, safe='')}@")
        for name in ("HTTP_PROXY", "http_proxy"):
            stage.runner.environ[name] = written
        stage.runner.environ["NO_PROXY"] = "127.0.0.1"
        log = finish(
            stage,
            start(stage, api_url="http://server.example", model_id="m-1", timeout_minutes="1"),
        )
    assert "proxy" in log


def installing_in_vain(stage: Stage) -> None:
    """Use an index with a password, wrongly escaped perhaps, where nothing listens."""
    password = stage.hunter.add("password of the index", a_secret(stage.chance))
    variable = stage.chance.choice(("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"))
    safe = stage.chance.choice(("", "", "/%"))
    index = PackageIndex(stage.runner.root / "index")
    environ = {name: text for name, text in index.environ.items() if name != "UV_DEFAULT_INDEX"}
    environ |= {variable: f"http://me:{quote(password, safe=safe)}@127.0.0.1:9/simple/"}
    environ |= {"UV_HTTP_RETRIES": "0", "PATH": f"{environ['PATH']}:{os.environ['PATH']}"}
    (stage.runner.workspace / "requirements.txt").write_text("blankly\nno-such-package\n")
    process = start(stage, mode="backtest", api_url="local", environ=environ, timeout_minutes="1")
    log = finish(stage, process, spared="password of the index")
    assert process.returncode == 1, log
    assert "uv" in log


def asking_for(command: str) -> Callable[[Stage], None]:
    """Return a scenario for a command on a terminal about a model that runs."""

    def scenario(stage: Stage) -> None:
        stage.script |= lives(stage)
        if stage.chance.random() < 1 / 2:
            route = stage.chance.choice((SIGN_IN, MODELS, DETAILS, LOGS))
            stage.script[route] = refusals(stage, route)
        with ScriptedServer(stage.script) as server:
            named = {"api_url": server.url, "model_id": "m-1", "project_id": "p"}
            finish(stage, start(stage, command, environ=None, **named))

    return scenario


def writing_a_workflow(stage: Stage) -> None:
    finish(stage, start(stage, "init", *(("--dry-run",) if stage.chance.random() < 1 / 2 else ())))


def serving_with_a_wrong_url(stage: Stage) -> None:
    """Start a server with an address for messages that cannot be used, in most cases."""
    password = stage.hunter.add("password of messages", a_secret(stage.chance))
    token = stage.hunter.add("platform's token", a_secret(stage.chance))
    form = stage.chance.choice(
        ("nosuch://me:{}@host/", "tgram://{}", "mailto://{}", "{}", "https:{}", "slack://{}/a")
    )
    url = form.format(quote(password, safe=stage.chance.choice(("", "/"))))
    environ = {"PLATFORM_NOTIFY": url, "PLATFORM_TOKEN": token}
    data = str(stage.runner.root / "home" / "data")
    process = start(stage, "serve", "--port", "0", "--data", data, environ=environ)
    wait_for(lambda: process.poll() is not None or (Path(data) / "platform.sqlite").exists())
    process.terminate()  # some URLs can be used
    finish(stage, process)


SCENARIOS: Final[tuple[Callable[[Stage], None], ...]] = (
    interrupted,
    through_a_proxy,
    installing_in_vain,
    asking_for("status"),
    asking_for("logs"),
    writing_a_workflow,
    serving_with_a_wrong_url,
)


@pytest.mark.torture(quick=len(SCENARIOS))
def test_no_process_tells_a_secret(tmp_path: Path, rounds: Rounds) -> None:
    for number, chance in enumerate(rounds):
        play(SCENARIOS[number % len(SCENARIOS)], tmp_path / "round", chance)
        rounds.count("processes")


def play(scenario: Callable[[Stage], None], root: Path, chance: Random) -> None:
    root.mkdir()
    with ForgeServer() as forge:
        scenario(Stage(Runner(root), chance, forge))
    shutil.rmtree(root)
