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
        return self.runner.run(**{"comment": "true", "github_token": self.token, **inputs})


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


def test_legs_of_a_matrix_do_not_overwrite_each_other(
    workflow: Workflow, server: ScriptedServer
) -> None:
    """One leg fails, and the other one ends later and well."""
    legs = {"backtest_args": "{symbol: BTC}"}, {"backtest_args": "{symbol: ETH}"}
    workflow.run(**to(server), **legs[0], gates="wrong")
    workflow.run_id -= 1
    workflow.run(**to(server), **legs[1])
    first, second = workflow.forge.bodies()
    assert "## ❌ Not deployed" in first
    assert 'With `backtest-args: {"symbol": "BTC"}`.' in first
    assert "Deployed `workspace`" in second
    assert 'With `backtest-args: {"symbol": "ETH"}`.' in second


def test_a_key_tells_comments_apart(workflow: Workflow, server: ScriptedServer) -> None:
    for key in ("fast", "slow"):
        workflow.run(**to(server), comment_key=key)
    fast, slow = workflow.forge.bodies()
    assert "With `comment-key: fast`." in fast
    assert "With `comment-key: slow`." in slow


def test_a_run_with_other_arguments_goes_on_with_the_same_comment(
    workflow: Workflow, server: ScriptedServer
) -> None:
    """A commit may change them; what it did before is no news."""
    for year in ("1y", "2y"):
        workflow.run(**to(server), backtest_args=f"{{to: {year}}}")
    (body,) = workflow.forge.bodies()
    assert '{"to": "2y"}' in body


def test_two_jobs_do_not_overwrite_each_other(workflow: Workflow, server: ScriptedServer) -> None:
    for job in ("backtest", "compare"):
        workflow.runner.environ["GITHUB_JOB"] = job
        workflow.run(**to(server))
    assert len(workflow.forge.comments) == 2


def test_a_failed_step_is_told_after_one_that_passed(
    workflow: Workflow, server: ScriptedServer
) -> None:
    workflow.run(**to(server), gates="wrong")
    workflow.run_id -= 1
    workflow.run(**to(server))
    (body,) = workflow.forge.bodies()
    assert "Deployed `workspace`" in body
    assert "❌ **Another step or job of this workflow run failed**" in body


def test_on_problem_there_is_no_comment_until_something_is_wrong(
    workflow: Workflow, server: ScriptedServer
) -> None:
    """It is kept up to date from then on, also when all is well again."""
    ended = workflow.run(**to(server), comment="on-problem")
    assert workflow.forge.bodies() == []
    assert "there is no problem to tell" in ended.log
    assert ended.annotations == []
    workflow.run(**to(server), comment="on-problem", gates="wrong")
    (body,) = workflow.forge.bodies()
    assert "## ❌ Not deployed" in body
    workflow.run(**to(server), comment="on-problem")
    (body,) = workflow.forge.bodies()
    assert "Deployed `workspace`" in body
    assert "❌" not in body


def test_on_problem_a_warning_is_a_problem(workflow: Workflow, server: ScriptedServer) -> None:
    write_model(workflow.runner.workspace, ignore_file=["*.csv"])
    assert workflow.run(**to(server), comment="on-problem").code == 0
    (body,) = workflow.forge.bodies()
    assert "ignore_file" in body


def test_another_value_of_comment_is_an_error(workflow: Workflow, server: ScriptedServer) -> None:
    ended = workflow.run(**to(server), comment="problems")
    assert ended.code == 2
    assert "it takes `true`, `false` or `on-problem`" in ended.log
    assert workflow.forge.bodies() == []
