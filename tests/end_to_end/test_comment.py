"""The comment on a pull request, as a step of a workflow keeps it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.forge import WORKFLOW, Account, ForgeServer
from tests.support.scripted_server import Hang, ScriptedServer


class Workflow:
    """A runner with a forge behind it, and a pull request."""

    def __init__(self, runner: Runner, forge: ForgeServer) -> None:
        self.runner = runner
        self.forge = forge
        self.token = secrets.token_hex()
        self.run_id = 100
        self.allow(WORKFLOW)
        runner.environ["GITHUB_API_URL"] = forge.url
        runner.on("pull_request", {"pull_request": {"title": "Faster", "number": 7}})

    def allow(self, account: Account) -> None:
        self.forge.accounts[self.token] = account

    def run(self, **inputs: str) -> Ended:
        self.run_id += 1
        self.runner.environ["GITHUB_RUN_ID"] = str(self.run_id)
        return self.runner.run(comment="true", github_token=self.token, **inputs)


@pytest.fixture
def workflow(runner: Runner) -> Iterator[Workflow]:
    with ForgeServer() as forge:
        yield Workflow(runner, forge)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def to(server: ScriptedServer) -> dict[str, str]:
    """Return the inputs of a deploy to a server."""
    return {"api_url": server.url, "token": "refresh", "model_id": "model-1"}


def test_one_comment_says_what_the_last_run_did(workflow: Workflow, server: ScriptedServer) -> None:
    assert workflow.run(**to(server)).code == 0
    (comment,) = workflow.forge.comments
    assert "Deployed `workspace`" in comment.body
    assert "https://forge.example/trader/models/actions/runs/101" in comment.body
    assert comment.issue == 7
    write_model(workflow.runner.workspace, main_script="gone.py")
    ended = workflow.run(**to(server))
    assert ended.code == 2
    (comment,) = workflow.forge.comments
    assert "Not deployed" in comment.body
    assert "Deployed `workspace`" not in comment.body


def test_wrong_inputs_also_replace_a_success(workflow: Workflow, server: ScriptedServer) -> None:
    workflow.run(**to(server))
    assert workflow.run(**to(server), gates="sharp >= 1", timeout_minutes="soon").code == 2
    (comment,) = workflow.forge.comments
    assert "Not deployed" in comment.body
    assert "sharp" in comment.body


def test_each_model_has_a_comment(workflow: Workflow, server: ScriptedServer) -> None:
    write_model(workflow.runner.workspace / "bots" / "a")
    workflow.run(**to(server), model_path="bots/a")
    workflow.run(**to(server), model_path="./bots/a/")
    workflow.run(**to(server), model_path="bots/a", model_name="other")
    assert len(workflow.forge.comments) == 2


def test_a_fork_gets_one_notice_and_no_error(workflow: Workflow, server: ScriptedServer) -> None:
    workflow.allow(Account(WORKFLOW.login, WORKFLOW.number, WORKFLOW.kind, may_write=False))
    ended = workflow.run(**to(server), fail_on_warning="true")
    assert ended.code == 0, ended.log
    (notice,) = ended.annotations
    assert notice.startswith("::notice")
    assert "pull-requests: write" in notice
    assert workflow.forge.comments == []


@pytest.mark.parametrize("inputs", [{"mode": "validate"}, {"dry_run": "true"}])
def test_a_run_that_sends_nothing_writes_no_comment(
    workflow: Workflow, server: ScriptedServer, inputs: dict[str, str]
) -> None:
    assert workflow.run(**to(server), **inputs).code == 0
    assert workflow.forge.seen == []


def test_a_push_has_no_pull_request_to_comment(workflow: Workflow, server: ScriptedServer) -> None:
    workflow.runner.on("push", {"ref": "refs/heads/main", "head_commit": {"message": "Go"}})
    ended = workflow.run(**to(server))
    assert ended.code == 0
    (notice,) = ended.annotations
    assert "belongs to no pull request" in notice
    assert workflow.forge.seen == []


def test_an_unreachable_forge_fails_no_run(workflow: Workflow, server: ScriptedServer) -> None:
    workflow.runner.environ["GITHUB_API_URL"] = "http://127.0.0.1:1"
    ended = workflow.run(**to(server))
    assert (ended.code, ended.outputs["status"]) == (0, "deployed")
    assert ended.annotations[-1].startswith("::notice")


def test_the_deadline_limits_the_wait_for_a_forge_that_hangs(
    workflow: Workflow, server: ScriptedServer
) -> None:
    workflow.forge.faults["GET"] = [Hang()]
    ended = workflow.run(**to(server), timeout_minutes="0.02")
    assert ended.code == 0
    assert "it took longer than 5 s" in ended.annotations[-1]


def test_a_signal_ends_the_wait_for_a_forge(workflow: Workflow, server: ScriptedServer) -> None:
    workflow.forge.faults["GET"] = [Hang()]
    workflow.forge.before = lambda _seen: os.kill(os.getpid(), signal.SIGTERM)
    ended = workflow.run(**to(server))
    assert ended.code == 143
    assert ended.outputs["status"] == "deployed"


def test_no_secret_gets_into_the_comment(workflow: Workflow, server: ScriptedServer) -> None:
    token = secrets.token_hex()
    workflow.run(**to(server) | {"token": token}, version_description=f"With {token}")
    (comment,) = workflow.forge.comments
    assert token not in comment.body
    assert workflow.token not in comment.body
