"""The action as act and the runners of Gitea and Forgejo start it: see docs/forges.md."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.backtests import raw_result
from tests.support.forge import GITEA_WORKFLOW, ForgeServer
from tests.support.isolated import allowed_by_this_machine
from tests.support.other_runners import OtherRunner, act, forgejo, gitea, printed_by_act
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_server import Hang, Reply, ScriptedServer, described
from tests.support.waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
RESULT = {"modelId": "m-1", "backtestId": "b-1", "status": "success", "result": raw_result()}
Make = Callable[[Path, str], OtherRunner]
FORGES = pytest.mark.parametrize("make", [gitea, forgejo])


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer({"POST /model/backtest": Reply(body=RESULT)}) as server:
        yield server


@pytest.fixture
def forge() -> Iterator[ForgeServer]:
    """Return a Gitea below a path of its host."""
    with ForgeServer(is_gitea=True, base="/git/api/v1") as forge:
        yield forge


def start(runner: OtherRunner, **inputs: str) -> subprocess.Popen[str]:
    """Start the container's program; inputs arrive by their own names, too (`evalDockerEnv`)."""
    named = {name.replace("_", "-"): value for name, value in inputs.items()}
    given = {f"INPUT_{name.upper()}": value for name, value in named.items()}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "entrypoint.py")],
        env={
            "PATH": os.environ["PATH"],
            **allowed_by_this_machine(),
            **named,
            **runner.environ,
            **given,
        },
        cwd=runner.workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(runner: OtherRunner, **inputs: str) -> tuple[int, str]:
    """Return the exit code and the log."""
    process = start(runner, **inputs)
    log, _ = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, log


def to(server: ScriptedServer, **inputs: str) -> dict[str, str]:
    token = secrets.token_hex()
    return {"api_url": server.url, "token": token, "model_id": "m-1", "project_id": "p", **inputs}


def of(forge: ForgeServer) -> str:
    """Return the address of its pages."""
    return f"{forge.origin}/git"


@FORGES
def test_a_pull_request_is_backtested_and_commented(
    tmp_path: Path, server: ScriptedServer, forge: ForgeServer, make: Make
) -> None:
    """A comment of a run is edited by the next one: the workflow's user has the number -2."""
    runner, token = make(tmp_path, of(forge)), secrets.token_hex()
    forge.accounts[token] = GITEA_WORKFLOW
    asked = to(server, mode="backtest", comment="true", github_token=token, gates="trades == 0")
    code, log = run(runner, **asked)
    assert code == 0, log
    (comment,) = forge.comments
    assert comment.issue == 7
    number = "43" if make is forgejo else "272"
    assert f"({of(forge)}/trader/models/actions/runs/{number})" in comment.body
    runner.environ |= {"GITHUB_RUN_ID": "273", "GITHUB_RUN_NUMBER": "44"}
    run(runner, **{**asked, "gates": "trades > 5"})
    (comment,) = forge.comments
    assert "❌" in comment.body


@FORGES
def test_the_log_has_what_a_forge_may_not_show(
    tmp_path: Path, server: ScriptedServer, forge: ForgeServer, make: Make
) -> None:
    """They ignore annotations, and only newer ones show the summary."""
    runner = make(tmp_path, of(forge))
    code, log = run(runner, **to(server, mode="backtest", gates="sharpe > 9\ntrades == 0"))
    assert code == 1
    table = log[log.index("::error") :]
    assert "::" not in table.partition("\n")[2]
    for figure in ("sharpe > 9", "29.00%", "Max drawdown"):
        assert figure in table
        assert figure in runner.summary().replace("&gt;", ">").replace("\u00a0", " ")
    assert runner.outputs()["status"] == "failed"
    assert runner.outputs()["gates"] == "failed"


@FORGES
def test_links_lead_to_pages_that_the_forge_has(
    tmp_path: Path, server: ScriptedServer, forge: ForgeServer, make: Make
) -> None:
    runner = make(tmp_path, of(forge))
    repository = make_repository(runner.workspace)
    (repository / "bot.py").write_text("import blankly\nimport\n")
    commit = commit_all(repository)
    code, log = run(runner, **to(server))
    assert code == 2, log
    page = f"{of(forge)}/trader/models"
    assert f"({page}/src/commit/{commit}/bot.py#L2)" in runner.summary()
    assert f"({page}/commit/81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e)" in runner.summary()
    assert "/blob/" not in runner.summary()


def test_attempts_have_no_pages_of_their_own(
    tmp_path: Path, server: ScriptedServer, forge: ForgeServer
) -> None:
    runner, token = gitea(tmp_path, of(forge)), secrets.token_hex()
    forge.accounts[token] = GITEA_WORKFLOW
    asked = to(server, mode="backtest", comment="true", github_token=token)
    for attempt, gate in (("1", "trades > 5"), ("2", "trades == 0")):
        runner.environ["GITHUB_RUN_ATTEMPT"] = attempt
        run(runner, **asked, gates=gate)
    (comment,) = forge.comments
    assert "Earlier in this workflow run, attempt 1 failed" in comment.body
    assert "/attempts/" not in comment.body


def test_act_needs_no_event(tmp_path: Path, server: ScriptedServer) -> None:
    """Its event is `{"act": true}`: the description is that of the commit, and links are none."""
    runner = act(tmp_path)
    commit_all(make_repository(runner.workspace), "Raise the stop")
    code, log = run(runner, **to(server, comment="true", github_token=secrets.token_hex()))
    assert code == 0, log
    (request,) = server.requests_to("POST /model/deploy")
    assert request.fields["versionDescription"] == "Raise the stop"
    assert "belongs to no pull request" in log
    assert "/actions/runs/" not in log + runner.summary()
    assert "Raise the stop" in log


@pytest.mark.parametrize("event", ["pull_request", "release", "workflow_run", "issue_comment"])
def test_an_event_of_act_without_its_fields_is_no_failure(
    tmp_path: Path, server: ScriptedServer, event: str
) -> None:
    runner = act(tmp_path)
    runner.on(event, {"act": True}, "refs/heads/main")
    code, log = run(runner, **to(server, comment="true", github_token=secrets.token_hex()))
    assert (code, "Traceback" in log) == (0, False), log
    assert runner.outputs()["description"] == "Deploy run 1 (c0ffeec)"


def test_act_prints_no_secret_that_it_takes_for_a_command(
    tmp_path: Path, server: ScriptedServer
) -> None:
    """It reads a command up to the last `::`."""
    runner = act(tmp_path)
    pieces = [secrets.token_hex(8) for _ in range(2)]
    forms = ("{}::{}", "::{}{}", ":{}::{}", "{} {}::x", "{}%0A{}", "{}{}")
    values = [form.format(*pieces) for form in forms]
    server.script["GET /openapi.json"] = described("environment")
    told = " and ".join(values)
    server.script["POST /model/backtest"] = Reply(400, {"error": f"I know {told} of yours"})
    variables = "\n".join(f"KEY_{n}={value}" for n, value in enumerate(values))
    code, log = run(runner, **to(server, mode="backtest", model_env=variables))
    assert code == 1
    assert f"I know {' and '.join(['***'] * len(values))} of yours" in log
    assert not [piece for piece in pieces if piece in printed_by_act(log)]
    masked = [line for line in log.splitlines() if line.startswith("::add-mask::")]
    assert len(masked) == 4, "two tokens and two of the values"


@pytest.mark.parametrize(
    "missing",
    [
        ("GITHUB_STEP_SUMMARY",),
        ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"),
        ("GITHUB_EVENT_PATH", "GITHUB_EVENT_NAME", "GITHUB_REF", "GITHUB_SHA", "RUNNER_TEMP"),
        ("GITHUB_SERVER_URL", "GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"),
    ],
)
def test_what_a_runner_does_not_give_is_done_without(
    tmp_path: Path, server: ScriptedServer, forge: ForgeServer, missing: tuple[str, ...]
) -> None:
    runner = gitea(tmp_path, of(forge))
    for name in missing:
        del runner.environ[name]
    code, log = run(runner, **to(server, mode="backtest"))
    assert code == 0, log
    assert "29.00%" in log
    assert "Traceback" not in log


def test_files_of_a_step_that_cannot_be_written_are_named(
    tmp_path: Path, server: ScriptedServer, forge: ForgeServer
) -> None:
    runner = gitea(tmp_path, of(forge))
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        runner.environ[name] = str(tmp_path / "gone" / name)
    code, log = run(runner, **to(server, mode="backtest"))
    assert code == 0, log
    assert "29.00%" in log
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        assert f"{tmp_path}/gone/{name} cannot be written: No such file or directory." in log


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_cancelled_step_ends_as_on_github(
    tmp_path: Path, forge: ForgeServer, number: signal.Signals, code: int
) -> None:
    with ScriptedServer({"POST /model/deploy": Hang()}) as server:
        runner = forgejo(tmp_path, of(forge))
        process = start(runner, **to(server))
        wait_for(lambda: "POST /model/deploy" in server.routes())
        process.send_signal(number)
        log, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, log
    assert runner.outputs()["status"] == "failed"
