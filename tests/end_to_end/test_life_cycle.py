"""The action and a real server with real processes: deploy, replace, stop, start, roll back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy_action.stages.live import following
from tests.conftest import Ended, Runner
from tests.support.live_fleet import PROJECT, Fleet, serving_fleet
from tests.support.repositories import commit_all, git, make_repository

# It lives until it is stopped, and then runs its teardown.
BOT = """
import os, signal, sys, time

def tear_down(*_):
    report("teardown", state="began")
    print("teardown:", stop_reason(), flush=True)
    report("teardown", state="ended")
    os._exit(0)

signal.signal(signal.SIGTERM, tear_down)
print("this is", NAME, "with", os.environ.get("GREETING"), flush=True)
report("starting")
report("started")
while True:
    time.sleep(3600)
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with serving_fleet(tmp_path_factory.mktemp("server") / "data") as served:
        yield served


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for states only: the seconds for which a new version is watched have own tests."""
    monkeypatch.setattr(following, "_PAUSES", (0.2,) * 1_000)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 0.2)


@dataclass
class Trader:
    """Somebody with a repository, whose workflow runs the action."""

    fleet: Fleet
    runner: Runner
    model: str

    def run(self, mode: str, **inputs: str) -> Ended:
        return self.runner.run(
            mode=mode,
            api_url=self.fleet.url,
            token=self.fleet.refresh_token,
            project_id=PROJECT,
            model_id=self.model,
            **inputs,
        )

    def write(self, script: str) -> None:
        (self.runner.workspace / "bot.py").write_text(script)

    def deploy(self, name: str, **inputs: str) -> Ended:
        """Deploy a version that says its name."""
        self.write(BOT.replace("NAME", repr(name)))
        return self.run("deploy", version_description=name, **inputs)

    def live(self, name: str) -> object:
        """Return what the server says that the model does now."""
        return self.fleet.live(self.model)[name]

    def logged(self) -> str:
        """Return the logs of all versions of all models."""
        logs = (self.fleet.data / "logs").rglob("*")
        return "\n".join(path.read_text() for path in logs if path.is_file())


@pytest.fixture
def trader(fleet: Fleet, runner: Runner, request: pytest.FixtureRequest) -> Iterator[Trader]:
    """Return somebody with a model of their own, which is stopped at the end."""
    (runner.workspace / "blankly.json").write_text(
        json.dumps({"main_script": "./bot.py", "python_version": "3.11", "type": "strategy",
                    "requirements": "./requirements.txt", "working_directory": "."})
    )  # fmt: skip
    someone = Trader(fleet, runner, f"m-{request.node.name}")
    yield someone
    someone.run("stop")


def title(ended: Ended) -> str:
    return ended.summary.splitlines()[0]


def test_from_the_first_push_to_the_way_back(trader: Trader) -> None:
    first = trader.deploy("first", model_env="GREETING=hello")
    assert first.code == 0, first.log
    assert title(first) == "## ✅ Deployed and running: `workspace`"
    assert first.outputs["state"] == "running"
    assert "this is first with hello" in first.summary

    dry = trader.deploy("second", dry_run="true")
    assert f"Would run it in place of version `{first.outputs['version-id'][:8]}`" in dry.log
    second = trader.deploy("second")
    assert second.code == 0, second.log
    assert trader.live("versionId") == second.outputs["version-id"]
    assert "teardown: replace" in trader.logged()

    stopped = trader.run("stop")
    assert stopped.code == 0, stopped.log
    assert title(stopped) == "## ✅ Stopped: `workspace`"
    assert stopped.outputs["state"] == "stopped"
    assert stopped.outputs["version-id"] == second.outputs["version-id"]
    assert "teardown: stop" in trader.logged()

    dry = trader.deploy("third", dry_run="true")
    assert "Would only store it: the model is stopped since" in dry.log
    third = trader.deploy("third")
    assert third.code == 0, third.log
    assert title(third) == "## ⏸️ Stored, not running: `workspace`"
    assert third.outputs["state"] == "stopped"
    assert trader.live("state") == "stopped"

    started = trader.run("start")
    assert started.code == 0, started.log
    assert started.outputs["version-id"] == third.outputs["version-id"]
    assert started.outputs["state"] == "running"
    assert title(trader.run("start")) == "## ✅ Runs already: `workspace`"

    for earlier in (second, first):
        back = trader.run("rollback")
        assert back.code == 0, back.log
        assert title(back) == "## ✅ Rolled back and running: `workspace`"
        assert back.outputs["version-id"] == earlier.outputs["version-id"]
    assert trader.logged().count("this is first with hello") == 2
    none = trader.run("rollback")
    assert none.code == 1
    assert "No earlier version" in none.summary
    assert trader.live("state") == "running"

    forward = trader.run("rollback", version_id=third.outputs["version-id"])
    assert forward.code == 0, forward.log
    assert trader.live("versionId") == third.outputs["version-id"]


def test_a_stop_without_a_teardown_gets_no_tick(trader: Trader) -> None:
    trader.write(BOT.replace("NAME", "'hasty'").replace("report(", "print(", 2))
    assert trader.run("deploy", version_description="hasty").code == 0
    stopped = trader.run("stop")
    assert stopped.code == 0
    assert title(stopped) == "## ⚠️ Stopped, but something went wrong: `workspace`"
    assert "Positions and orders may be open" in stopped.summary
    assert stopped.outputs["state"] == "stopped"


def test_a_version_that_ends_at_once_is_no_deploy(trader: Trader) -> None:
    first = trader.deploy("first")
    trader.write("print('bye', flush=True)\nraise SystemExit(3)\n")
    ended = trader.run("deploy", version_description="broken")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not running: `workspace`"
    assert ended.outputs["status"] == "failed"
    assert "Nothing of the model runs now." in ended.summary
    assert "bye" in ended.summary
    assert first.outputs["version-id"][:8] in ended.summary

    back = trader.run("rollback")
    assert back.code == 0, back.log
    assert back.outputs["version-id"] == first.outputs["version-id"]


def test_what_did_not_change_is_not_restarted(trader: Trader) -> None:
    first = trader.deploy("same", unchanged="skip", model_env="GREETING=hello")
    since = trader.live("since")
    (trader.runner.workspace.parent / "other").write_text("of another model")
    again = trader.deploy("same", unchanged="skip", model_env="GREETING=hello")
    assert again.code == 0, again.log
    assert title(again) == "## ✅ Unchanged, and it runs: `workspace`"
    assert again.outputs["status"] == "unchanged"
    assert again.outputs["version-id"] == first.outputs["version-id"]
    assert trader.live("since") == since

    said = trader.deploy("same", unchanged="skip", model_env="GREETING=hello", dry_run="true")
    alone = f"leave version `{first.outputs['version-id'][:8]}` alone"
    assert alone in said.log

    other = trader.deploy("same", unchanged="skip", model_env="GREETING=bye")
    assert other.outputs["status"] == "deployed"
    assert other.outputs["version-id"] != first.outputs["version-id"]
    assert "this is same with bye" in other.summary


def test_an_older_commit_does_not_come_back_by_itself(trader: Trader) -> None:
    workspace = make_repository(trader.runner.workspace)
    trader.write(BOT.replace("NAME", "'new'"))
    newest = commit_all(workspace)
    assert trader.run("deploy").code == 0

    git(workspace, "checkout", "--quiet", _date_back(workspace, newest))
    for dry_run in ("true", "false"):
        refused = trader.run("deploy", dry_run=dry_run)
        assert refused.code == 1
        assert "older than that of the current version" in refused.summary
        assert "`mode: rollback`" in refused.summary
    assert trader.run("deploy", dry_run="true", allow_older="true").code == 0
    assert trader.run("deploy", allow_older="true").code == 0


def _date_back(workspace: Path, commit: str) -> str:
    """Return a commit like another, of an earlier time."""
    tree = git(workspace, "rev-parse", f"{commit}^{{tree}}")
    text = (
        f"tree {tree}\nauthor Trader <trader@example.com> 1600000000 +0000\n"
        "committer Trader <trader@example.com> 1600000000 +0000\n\nOld\n"
    )
    return git(workspace, "hash-object", "-t", "commit", "-w", "--stdin", message=text.encode())


def test_a_run_that_is_out_of_time_leaves_the_server_to_go_on(trader: Trader) -> None:
    """A script without a strategy is `running` after ten seconds."""
    trader.write("import time\nprint('at work', flush=True)\ntime.sleep(3600)\n")
    ended = trader.run("deploy", version_description="slow", timeout_minutes="0.08")
    assert ended.code == 1
    assert title(ended) == "## ⏳ Not running yet: `workspace`"
    assert "The server goes on" in ended.summary
    assert ended.outputs["state"] == "preparing"
    trader.fleet.wait_for(trader.model, versionId=ended.outputs["version-id"])
