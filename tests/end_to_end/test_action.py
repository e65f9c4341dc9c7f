"""The whole action in one process: inputs in, outputs, log and summary out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy_action.deployment_api import transport
from deploy_action.deployment_api.retry_rules import is_refusal
from deploy_action.errors import DeadlineError, InterruptedRunError, Problem
from deploy_action.http.exchange import Answer
from deploy_action.outcome.ending import Ending
from deploy_action.outcome.target import Target
from deploy_action.platform.server import PlatformServer
from deploy_action.run import Run
from tests.conftest import Runner, write_model
from tests.support.backtests import raw_result
from tests.support.isolated import as_root
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_server import Reply, ScriptedServer

Scripted = Callable[..., ScriptedServer]


def fingerprint(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformServer]:
    """Return a strict platform, as `blankly-deploy serve` runs it, that accepts `refresh`."""
    with PlatformServer(tmp_path / "data", refresh_token="refresh", strict=True) as server:
        yield server


def test_a_push_becomes_a_version_with_the_commit_message(
    runner: Runner, platform: PlatformServer, tmp_path: Path
) -> None:
    runner.on("push", {"head_commit": {"message": "Buy low 株\n\nSell high"}})
    inputs = {"api_url": platform.url, "token": "refresh", "create_new": "true"}
    first = runner.run(**inputs)
    assert first.code == 0, first.log
    assert first.outputs["status"] == "deployed"
    assert first.outputs["description"] == "Buy low 株\n\nSell high"
    second = runner.run(**inputs)
    assert second.outputs["model-id"] == first.outputs["model-id"]
    assert second.outputs["version-id"] != first.outputs["version-id"]
    assert second.outputs["bundle-sha256"] == first.outputs["bundle-sha256"]
    with sqlite3.connect(tmp_path / "data" / "platform.sqlite") as database:
        rows = database.execute("SELECT description FROM versions").fetchall()
    assert rows == [("Buy low 株\n\nSell high",)] * 2


def test_workspace_and_temporary_directory_stay_clean(runner: Runner, scripted: Scripted) -> None:
    before = fingerprint(runner.root)
    server = scripted()
    runner.run(api_url=server.url, token="refresh", model_id="m")
    runner.run(mode="validate")
    runner.run(mode="nonsense")
    runner.run(api_url="http://127.0.0.1:1", token="x", model_id="m", timeout_minutes="0.01")
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        Path(runner.environ[name]).unlink()
    assert fingerprint(runner.root) == before
    assert list((runner.root / "temp").iterdir()) == []


def test_what_is_uploaded_is_what_the_outputs_name(runner: Runner, scripted: Scripted) -> None:
    server = scripted()
    ended = runner.run(api_url=server.url, token="refresh", model_id="m")
    (request,) = server.requests_to("POST /model/deploy")
    assert ended.outputs["bundle-sha256"] == hashlib.sha256(request.file).hexdigest()
    assert ended.outputs["bundle-bytes"] == str(len(request.file))
    archive = zipfile.ZipFile(io.BytesIO(request.file))
    assert archive.testzip() is None
    files = [name for name in archive.namelist() if not name.endswith("/")]
    assert ended.outputs["bundle-files"] == str(len(files))
    assert "model/blankly.json" in files


def test_links_point_to_the_pages_of_the_model(runner: Runner, scripted: Scripted) -> None:
    server = scripted()
    inputs = {"api_url": server.url, "token": "refresh", "model_id": "m/1".replace("/", "-")}
    ended = runner.run(**inputs, project_id="p", app_url="https://app.example/")
    assert ended.outputs["url"] == "https://app.example/p/model-1/overview"
    assert "(https://app.example/p/model-1/overview)" in ended.summary
    ended = runner.run(**inputs, project_id="p", mode="backtest", app_url="https://app.example")
    assert ended.outputs["url"] == "https://app.example/p/model-1/backtests"


def test_the_embedded_platform_needs_nothing(runner: Runner) -> None:
    first = runner.run(api_url="local")
    assert first.code == 0, first.log
    assert first.outputs["status"] == "deployed"
    assert first.outputs["version-id"]
    assert "url" not in first.outputs
    assert not any(line.startswith("::notice") for line in first.annotations)
    second = runner.run(api_url="local")
    assert (second.code, second.outputs["status"]) == (0, "deployed")
    assert second.outputs["version-id"] != first.outputs["version-id"]
    assert second.outputs["model-id"] == first.outputs["model-id"]
    assert second.outputs["project-id"] == first.outputs["project-id"]


def test_the_embedded_platform_creates_what_an_id_names(runner: Runner, tmp_path: Path) -> None:
    write_model(runner.workspace, project_id="my-project", model_id="my-model")
    ended = runner.run(api_url="local", platform_data=str(tmp_path / "kept"))
    assert ended.code == 0, ended.log
    assert ended.outputs["project-id"] == "my-project"
    assert ended.outputs["model-id"] == "my-model"
    assert (tmp_path / "kept" / "platform.sqlite").exists()


def test_data_of_the_platform_inside_the_model_stays_out_of_the_bundle(runner: Runner) -> None:
    """Otherwise each bundle would contain the earlier ones."""
    data = str(runner.workspace / "data")
    first = runner.run(api_url="local", platform_data=data)
    second = runner.run(api_url="local", platform_data=data)
    assert first.code == second.code == 0, second.log
    assert first.outputs["bundle-sha256"] == second.outputs["bundle-sha256"]


def test_validate_sends_nothing(runner: Runner) -> None:
    ended = runner.run(mode="validate", api_url="http://127.0.0.1:1", token="refresh")
    assert ended.code == 0
    assert ended.outputs["status"] == "valid"
    assert ended.outputs["bundle-sha256"]
    assert "Nothing was sent" in ended.summary


def test_a_python_that_cannot_be_read_is_not_shown_as_the_default(runner: Runner) -> None:
    write_model(runner.workspace, python_version=3.10)
    ended = runner.run(mode="validate")
    assert ended.code == 2
    assert "3.7" not in ended.summary


def test_every_problem_of_a_model_is_an_annotation_at_its_place(runner: Runner) -> None:
    model = write_model(runner.workspace / "bots" / "a", main_script="gone.py", plan=5)
    lines = (model / "blankly.json").read_text().splitlines()
    (line,) = [number for number, text in enumerate(lines, 1) if "gone.py" in text]
    ended = runner.run(mode="validate", model_path="bots/a")
    assert ended.code == 2
    assert ended.outputs["status"] == "failed"
    errors = [text for text in ended.annotations if text.startswith("::error")]
    assert len(errors) == 2
    assert any(f"file=bots/a/blankly.json,line={line},col=" in text for text in errors)
    assert f"bots/a/blankly.json:{line}:" in ended.summary
    assert "nothing was sent" in ended.summary.lower()


def test_without_an_id_or_permission_nothing_is_sent(runner: Runner, scripted: Scripted) -> None:
    server = scripted()
    ended = runner.run(api_url=server.url, token="refresh")
    assert ended.code == 2
    assert server.requests == []
    assert "`model-id`" in ended.summary
    assert "create-new: true" in ended.summary
    assert "`create-new: true`" in ended.annotations[0]


@pytest.mark.parametrize("mode", ["deploy", "backtest"])
def test_the_push_of_a_deleted_branch_deploys_nothing(
    runner: Runner, scripted: Scripted, mode: str
) -> None:
    """After a branch is deleted, the checkout is another branch."""
    server = scripted()
    runner.on("push", {"deleted": True, "head_commit": None, "ref": "refs/heads/old"})
    ended = runner.run(api_url=server.url, token="refresh", model_id="m", mode=mode)
    assert ended.code == 2
    assert server.requests == []
    assert "refs/heads/old" in ended.log


def test_a_screener_is_deployed_with_its_schedule_but_never_backtested(
    runner: Runner, scripted: Scripted
) -> None:
    server = scripted()
    write_model(runner.workspace, type="screener", screener={"schedule": "30 14 * * 1-5"})
    inputs = {"api_url": server.url, "token": "refresh", "model_id": "m"}
    assert runner.run(**inputs).code == 0
    (request,) = server.requests_to("POST /model/deploy")
    assert request.fields["schedule"] == "30 14 * * 1-5"
    assert request.fields["type"] == "screener"
    ended = runner.run(**inputs, mode="backtest")
    assert ended.code == 2
    assert server.requests_to("POST /model/backtest") == []
    assert "only strategies" in ended.log
    sent = len(server.requests)
    ended = runner.run(**inputs, gates="trades >= 1")
    assert ended.code == 2
    assert "only strategies can be backtested" in ended.annotations[0]
    assert len(server.requests) == sent


def test_arguments_are_merged_key_by_key(runner: Runner, scripted: Scripted) -> None:
    server = scripted()
    write_model(runner.workspace, backtest_args={"to": "1y", "use_price": "open"})
    ended = runner.run(
        api_url=server.url,
        token="refresh",
        model_id="m",
        mode="backtest",
        backtest_args="to: null\nstart_date: 2024-01-01\nend_date: 2024-06-01",
    )
    assert ended.code == 0, ended.log
    (request,) = server.requests_to("POST /model/backtest")
    assert request.fields["backtestArgs"] == request.fields["backtestingArgs"]
    assert json.loads(request.fields["backtestArgs"]) == {
        "use_price": "open",
        "start_date": "2024-01-01",
        "end_date": "2024-06-01",
    }
    assert "start_date" in ended.summary


def test_arguments_that_exclude_each_other_are_refused(runner: Runner) -> None:
    ended = runner.run(api_url="local", mode="backtest", backtest_args="start_date: 2024-01-01")
    assert ended.code == 2
    assert "`to: null`" in ended.summary


def test_keys_are_in_the_bundle_and_nowhere_else(runner: Runner, scripted: Scripted) -> None:
    secret, token = secrets.token_hex(12), secrets.token_urlsafe(24)
    keys = json.dumps({"alpaca": {"main": {"API_SECRET": secret}}}, indent=2)
    (runner.workspace / "keys.json").write_text('{"alpaca": {"main": {"API_SECRET": "***"}}}')
    runner.on("push", {"head_commit": {"message": f"Oops, my key is {secret} and {token}"}})
    server = scripted({"POST /model/deploy": lambda request: _echo(request.fields, token)})
    ended = runner.run(api_url=server.url, token=token, model_id="m", keys_json=keys)
    assert ended.code == 1
    lines = ended.log.splitlines()
    assert lines[:2] == [f"::add-mask::{token}", f"::add-mask::{secret}"]
    rest = "\n".join(line for line in lines if not line.startswith("::add-mask::"))
    (request,) = server.requests_to("POST /model/deploy")
    archive = zipfile.ZipFile(io.BytesIO(request.file))
    assert archive.read("model/keys.json").decode() == keys
    for place in (rest, ended.summary, "\n".join(ended.outputs.values())):
        assert secret not in place
        assert token not in place


def _echo(fields: object, token: str) -> object:
    from tests.support.scripted_server import Reply

    return Reply(400, {"error": f"refused {fields} of {token}"})


def test_a_leaked_key_in_the_repository_is_masked_and_warned_about(runner: Runner) -> None:
    secret = secrets.token_hex(12)
    write_model(runner.workspace, api_key=secret)
    ended = runner.run(mode="validate")
    assert ended.code == 0
    assert f"::add-mask::{secret}" in ended.log
    assert secret not in ended.log.replace(f"::add-mask::{secret}", "")
    assert secret not in ended.summary
    assert any("::warning" in line for line in ended.annotations)


def test_warnings_fail_the_run_on_request(runner: Runner, scripted: Scripted) -> None:
    write_model(runner.workspace, tpye="strategy")
    server = scripted()
    inputs = {"api_url": server.url, "token": "refresh", "model_id": "m"}
    assert runner.run(**inputs).code == 0
    sent = len(server.requests)
    ended = runner.run(**inputs, fail_on_warning="true")
    assert ended.code == 2
    assert len(server.requests) == sent
    assert ended.outputs["status"] == "failed"


def test_a_backtest_with_a_token_and_no_server_says_that_the_old_service_is_meant(
    runner: Runner,
) -> None:
    ended = runner.run(mode="backtest", token="refresh")
    assert ended.code == 2
    (problem,) = ended.annotations
    assert "A token is set, and `api-url` names no other server" in problem
    assert "it was taken down" in problem
    assert "add `api-url: local`" in problem


def test_a_dry_run_works_before_anything_exists(runner: Runner, tmp_path: Path) -> None:
    ended = runner.run(dry_run="true", create_new="true")
    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "dry-run"
    assert "hosted service was taken down" in ended.summary
    ended = runner.run(dry_run="true", api_url="local", platform_data=str(tmp_path / "none"))
    assert ended.code == 0
    assert not (tmp_path / "none").exists()
    assert ended.outputs["bundle-sha256"] in ended.summary


@pytest.mark.parametrize("path", ["..", "../other", "/etc", "gone", "bot.py", "a\x00b", "link"])
def test_a_model_path_outside_the_workspace_or_without_a_target_is_refused(
    runner: Runner, path: str
) -> None:
    (runner.workspace / "link").symlink_to(runner.root)
    ended = runner.run(mode="validate", model_path=path)
    assert ended.code == 2
    assert "`model-path`" in ended.summary


def test_an_error_of_the_operating_system_causes_no_traceback(runner: Runner) -> None:
    (runner.root / "file").write_text("")
    runner.environ["RUNNER_TEMP"] = str(runner.root / "file" / "below")
    ended = runner.run(mode="validate")
    assert ended.code == 1
    assert "Traceback" not in ended.log
    assert "Not a directory" in ended.summary


def test_a_bug_is_reported_as_one(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy_action.github.event.read_event", lambda _environ: 1 / 0)
    ended = runner.run(mode="validate")
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.log
    assert ended.outputs["status"] == "failed"
    assert "bug in the action" in ended.summary


@pytest.mark.parametrize("error", [OSError("no"), RecursionError("deep"), RuntimeError("a bug")])
def test_tidying_up_changes_nothing_that_was_done(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    leave = PlatformServer.__exit__

    def fail(server: PlatformServer, *exception: object) -> None:
        leave(server, *exception)
        raise error

    monkeypatch.setattr(PlatformServer, "__exit__", fail)
    ended = runner.run(api_url="local")
    assert ended.code == 0
    assert ended.outputs["status"] == "deployed"
    assert "Traceback" not in ended.log
    assert f"::Tidying up failed: {type(error).__name__}: {error}." in ended.log
    assert "::warning" not in ended.log


@pytest.mark.parametrize("name", ["deep", "price_caches"])  # the model ignores the second
def test_a_deep_base_changes_nothing_and_is_removed(
    runner: Runner, scripted: Scripted, name: str
) -> None:
    deep = runner.workspace / name / "/".join(["d"] * 1_100)
    subprocess.run(["mkdir", "-p", deep], check=True)  # Python recurses too deep
    (deep / "f").touch()
    base = commit_all(make_repository(runner.workspace))
    subprocess.run(["rm", "-r", runner.workspace / name], check=True)
    ended = runner.run(
        mode="backtest", api_url=scripted().url, token="refresh", model_id="m", compare_with=base
    )
    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "backtested"
    assert "Tidying up" not in ended.log
    assert list((runner.root / "temp").iterdir()) == []


def test_temporary_files_that_stay_are_said(
    runner: Runner, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_arguments, **_options: None)
    monkeypatch.setenv("PATH", "/nowhere")  # so that there is no `rm` either
    ended = runner.run(api_url=scripted().url, token="refresh", model_id="m")
    assert ended.code == 0
    assert ended.outputs["status"] == "deployed"
    assert "::Tidying up failed" in ended.log
    assert "temporary files may be left behind" in ended.log


def test_tidying_up_hides_no_failure(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlatformServer, "__exit__", lambda *_arguments: 1 / 0)
    ended = runner.run(api_url="local", plan="huge")
    assert ended.code == 1
    assert "The server has no plan `huge`" in ended.summary
    assert "bug in the action" not in ended.summary


@pytest.mark.parametrize(
    "late", [DeadlineError(Problem(message="Late.")), InterruptedRunError(2, Problem(message="C."))]
)
def test_what_comes_after_the_last_step_is_too_late(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, late: Exception
) -> None:
    keep = Run._keep_ending  # noqa: SLF001  # the moment in which the deadline passes
    calls = 0

    def raise_late(run: Run, ending: Ending) -> None:
        nonlocal calls
        calls += 1
        keep(run, ending)
        if calls == 1:
            raise late

    monkeypatch.setattr(Run, "_keep_ending", raise_late)
    ended = runner.run(api_url="local")
    assert ended.code == 0
    assert ended.outputs["status"] == "deployed"


def test_a_bug_in_the_summary_does_not_undo_a_deploy(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy_action.report.summary.build_summary", lambda _outcome: 1 / 0)
    ended = runner.run(api_url="local")
    assert ended.code == 0
    assert ended.outputs["status"] == "deployed"
    assert "bug in the action" in ended.log


def test_outputs_that_cannot_be_written_are_a_warning(runner: Runner) -> None:
    runner.environ["GITHUB_STEP_SUMMARY"] = str(runner.root / "missing" / "summary.md")
    ended = runner.run(mode="validate")
    assert ended.code == 0
    assert "cannot be written" in ended.log


def test_an_unset_summary_is_printed(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    from deploy_action.run import Run

    environ = runner.variables({"mode": "validate"})
    del environ["GITHUB_STEP_SUMMARY"]
    stream = io.StringIO()
    assert Run(environ=environ, stream=stream, for_runner=True).main() == 0
    assert "can be packed and deployed" in stream.getvalue()
    assert capsys.readouterr().out == ""


def test_a_commit_message_issues_no_commands(runner: Runner) -> None:
    message = "::error::gotcha\n##[error]gotcha\nstatus=valid\nEOF\n%0A::set-output name=x::y"
    runner.on("push", {"head_commit": {"message": message}})
    write_model(runner.workspace, **{"::warning::gotcha\n##[group]x": 1})
    ended = runner.run(mode="validate")
    assert ended.outputs["description"] == message
    assert "##[" not in ended.log
    assert not [line for line in ended.log.splitlines() if line.lstrip().startswith("::error")]
    assert "\n::warning::gotcha" not in ended.log


def test_a_temporary_directory_that_is_missing_is_made(runner: Runner) -> None:
    """Some runners name a directory without creating it."""
    runner.environ["RUNNER_TEMP"] = str(runner.root / "not" / "yet")
    assert runner.run(mode="validate").code == 0


@as_root
def test_a_runner_of_another_user_keeps_the_data_of_the_container(runner: Runner) -> None:
    """The container is root. A cache of environments was restored by the runner's user."""
    data = runner.root / "temp" / "blankly-platform"
    (data / "environments").mkdir(parents=True)
    for path in (runner.root, runner.workspace, data.parent, data, data / "environments"):
        os.chown(path, 1001, 1001)
    runner.root.chmod(0o777)
    assert runner.run(api_url="local").code == 0
    assert runner.run(api_url="local").code == 0


def test_keys_stay_out_of_the_workspace(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tempfile` falls back to the working directory if nothing else is writable."""
    del runner.environ["RUNNER_TEMP"]
    monkeypatch.chdir(runner.workspace)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(Path.cwd()))
    ended = runner.run(mode="validate")
    assert ended.code == 1
    assert "RUNNER_TEMP" in ended.summary


def test_a_deleted_branch_is_reported_even_without_a_model(runner: Runner) -> None:
    """The branch that is checked out instead may have no model."""
    (runner.workspace / "blankly.json").unlink()
    runner.on("push", {"deleted": True, "head_commit": None, "ref": "refs/heads/old"})
    ended = runner.run(api_url="local")
    assert ended.code == 2
    assert "refs/heads/old" in ended.summary


def test_a_secret_is_hidden_in_every_encoding(runner: Runner, scripted: Scripted) -> None:
    from urllib.parse import quote

    token = f"1//0{secrets.token_hex(8)}/+={secrets.token_hex(60)}"
    said = [token, quote(token, safe=""), token.replace("/", "\\/"), "x" * 250 + token]
    for text in said:
        server = scripted({"POST /model/deploy": _refusal(text)})
        ended = runner.run(api_url=server.url, token=token, model_id="m", project_id="p")
        assert ended.code == 1
        masks = "::add-mask::"
        log = "\n".join(line for line in ended.log.splitlines() if not line.startswith(masks))
        for place in (log, ended.summary):
            assert token[4:16] not in place


def _refusal(text: str) -> object:
    from tests.support.scripted_server import Reply

    return Reply(400, json.dumps({"error": f"no: {text}"}).replace("\\\\/", "\\/"))


def test_a_token_pasted_into_another_input_is_not_shown(runner: Runner) -> None:
    token = secrets.token_hex(120)
    ended = runner.run(api_url="https://deploy.example", token=token, model_id=f"{token}/x")
    assert ended.code == 2
    assert "`model-id`" in ended.summary
    assert token[:16] not in ended.summary
    assert token[:16] not in ended.log.replace(f"::add-mask::{token}", "")


@pytest.mark.parametrize(
    "url", ["https://user:p@ssw0rd@host", "https://user:pa/ssw0rd@host", "https://h/?t=ssw0rd"]
)
def test_secrets_in_a_url_are_not_shown(runner: Runner, url: str) -> None:
    ended = runner.run(api_url=url, token="refresh")
    assert ended.code == 2
    assert "ssw0rd" not in ended.summary + ended.log


def test_a_file_name_that_holds_a_secret_is_hidden_whole(runner: Runner) -> None:
    """If it were escaped or cut, it would no longer be recognised."""
    secret = f"sec|ret|{secrets.token_hex(8)}"
    (runner.workspace / secret).write_text("x" * 5_000)
    keys = json.dumps({"exchange": {"main": {"key": secret}}})
    ended = runner.run(mode="validate", keys_json=keys)
    assert ended.code == 0, ended.log
    assert secret[8:] not in ended.summary


def test_an_address_without_encryption_is_warned_about(runner: Runner) -> None:
    """The bundle may contain exchange keys."""
    ended = runner.run(api_url="http://192.0.2.1", dry_run="true", model_id="m")
    assert "unencrypted" in ended.summary
    ended = runner.run(api_url="http://127.0.0.1:9", dry_run="true", model_id="m")
    assert "unencrypted" not in ended.summary


def test_a_dry_run_fails_where_a_real_run_would(runner: Runner) -> None:
    ended = runner.run(dry_run="true", api_url="http://127.0.0.1:9")
    assert ended.code == 2
    assert ended.outputs["status"] == "failed"
    assert "create-new: true" in ended.summary


def test_a_missing_route_may_be_reported_as_json(runner: Runner, scripted: Scripted) -> None:
    """Some servers answer 404 with JSON instead of a page."""
    from tests.support.scripted_server import Reply

    missing = Reply(404, {"error": "not found"})
    routes = ("POST /project/plans", "POST /model/list", "POST /model/create-model")
    server = scripted(dict.fromkeys(routes, missing))
    ended = runner.run(api_url=server.url, token="refresh", create_new="true")
    assert ended.code == 0, ended.log
    (request,) = server.requests_to("POST /model/deploy")
    assert request.fields["createNew"] == "true"
    assert "modelId" not in request.fields


def test_a_new_project_cannot_hold_a_known_model(runner: Runner, scripted: Scripted) -> None:
    from tests.support.scripted_server import Reply

    server = scripted({"GET /project/list": Reply(body=[])})
    ended = runner.run(
        api_url=server.url, token="refresh", create_new="true", project_name="New", model_id="m"
    )
    assert ended.code == 1
    assert "POST /project/create" not in server.routes()
    assert server.requests_to("POST /model/deploy") == []


@pytest.mark.parametrize(
    ("path", "hint"), [("golden-croos", "golden-cross"), ("bot.py", "directory that the file")]
)
def test_a_similar_path_is_suggested(runner: Runner, path: str, hint: str) -> None:
    write_model(runner.workspace / "golden-cross")
    assert hint in runner.run(mode="validate", model_path=path).summary


def test_without_a_python_version_one_is_assumed(runner: Runner, scripted: Scripted) -> None:
    server = scripted()
    write_model(runner.workspace, python_version=None)
    inputs = {"api_url": server.url, "token": "refresh", "model_id": "m"}
    ended = runner.run(**inputs)
    assert ended.code == 0
    assert any("::warning" in line and "3.7" in line for line in ended.annotations)
    assert server.requests_to("POST /model/deploy")[0].fields["pythonVersion"] == "3.7"
    ended = runner.run(**inputs, python_version="3.9")
    assert ended.annotations == []
    assert server.requests_to("POST /model/deploy")[1].fields["pythonVersion"] == "3.9"


def test_a_python_version_that_the_dead_service_lacked_is_no_warning(
    runner: Runner, scripted: Scripted
) -> None:
    """Nobody could mend a warning about a server that has it."""
    write_model(runner.workspace, python_version="3.11")
    ended = runner.run(dry_run="true", model_id="m")  # for the service that was taken down
    assert not any("3.11" in line for line in ended.annotations)

    server = scripted()
    ended = runner.run(api_url=server.url, token="refresh", model_id="m", fail_on_warning="true")
    assert ended.code == 0
    assert server.requests_to("POST /model/deploy")[0].fields["pythonVersion"] == "3.11"
    assert runner.run(api_url="local").annotations == []
    assert runner.run(mode="validate", fail_on_warning="true").code == 0


def test_localhost_needs_no_encryption(runner: Runner) -> None:
    ended = runner.run(api_url="http://localhost:9", dry_run="true", model_id="m")
    assert "unencrypted" not in ended.summary


def test_without_any_directory_a_missing_checkout_is_suggested(runner: Runner) -> None:
    assert "actions/checkout" in runner.run(mode="validate", model_path="models/a").summary


def test_a_problem_of_an_included_file_is_where_that_is_in_the_repository(runner: Runner) -> None:
    """Also for `deploy`, which sends nothing then."""
    write_model(runner.workspace / "bots/a")
    shared = runner.workspace / "libs/common"
    shared.mkdir(parents=True)
    (shared / "prices.csv").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    )
    for mode in ("validate", "deploy", "backtest"):
        ended = runner.run(
            mode=mode, api_url="local", model_path="bots/a", include="libs/common => shared"
        )
        assert ended.code == 2
        (error,) = (one for one in ended.annotations if one.startswith("::error"))
        assert "file=libs/common/prices.csv" in error
        assert "shared/prices.csv is a pointer of Git LFS" in error
        assert "`lfs: true`" in ended.summary


def test_a_wrong_path_hides_no_other_problem(runner: Runner) -> None:
    write_model(runner.workspace, main_script="gone.py", requirements=3, ignore_files="a")
    ended = runner.run(mode="validate")
    errors = [line for line in ended.annotations if line.startswith("::error")]
    assert len(errors) == 3
    assert any("gone.py" in line for line in errors)


def test_a_failed_run_has_the_given_ids_as_outputs(runner: Runner) -> None:
    ended = runner.run(api_url="nonsense", project_id="p", model_id="m")
    assert (ended.code, ended.outputs["project-id"], ended.outputs["model-id"]) == (2, "p", "m")
    write_model(runner.workspace, project_id="p2", model_id="m2", plan=3)
    ended = runner.run(mode="validate")
    assert (ended.code, ended.outputs["project-id"], ended.outputs["model-id"]) == (2, "p2", "m2")


def test_a_path_outside_the_workspace_is_reported_with_other_bad_inputs(runner: Runner) -> None:
    ended = runner.run(model_path="a/../..", create_new="yes")
    assert ended.code == 2
    assert "`model-path`" in ended.summary
    assert "`create-new`" in ended.summary


def test_the_embedded_platform_creates_a_named_project_for_a_named_model(runner: Runner) -> None:
    first = runner.run(api_url="local", project_name="New", model_id="mine")
    assert first.code == 0, first.log
    assert first.outputs["model-id"] == "mine"
    second = runner.run(api_url="local", project_name="New")
    third = runner.run(api_url="local", project_name="New", model_id="another")
    fourth = runner.run(api_url="local", project_name="New")
    assert [one.code for one in (second, third, fourth)] == [0, 0, 0]
    assert second.outputs["project-id"] == first.outputs["project-id"]


def test_a_key_that_is_given_twice_is_masked_twice_and_refused(runner: Runner) -> None:
    one, other = secrets.token_hex(8), secrets.token_hex(8)
    keys = f'{{"a": {{"b": {{"key": "{one}", "key": "{other}"}}}}}}'
    ended = runner.run(mode="validate", keys_json=keys)
    assert ended.code == 2
    assert f"::add-mask::{one}" in ended.log
    assert f"::add-mask::{other}" in ended.log


def test_a_link_that_is_replaced_by_the_keys_is_not_followed(runner: Runner) -> None:
    """The link is not packed, so its target does not matter."""
    (runner.workspace / "keys.json").symlink_to(runner.root)
    assert runner.run(mode="validate").code == 2
    keys = json.dumps({"a": {"b": {"key": secrets.token_hex(8)}}})
    assert runner.run(mode="validate", keys_json=f"\ufeff{keys}").code == 0


def test_a_validation_checks_how_gates_are_written(runner: Runner) -> None:
    ended = runner.run(mode="validate", gates="# sharpe > 1\n\nsharpe > 1 # enough")
    assert ended.code == 0
    assert "gates" not in ended.outputs
    assert runner.run(mode="validate", gates="sharpe > enough").code == 2


def test_gates_do_not_pass_if_the_server_has_no_result(runner: Runner, scripted: Scripted) -> None:
    ended = runner.run(
        mode="backtest",
        api_url=scripted().url,
        token="refresh",
        model_id="m",
        gates="trades >= 1\nsharpe != 0",
    )
    assert (ended.code, ended.outputs["gates"]) == (1, "failed")
    assert len(ended.annotations) == 2
    assert all("the server gave no result" in one for one in ended.annotations)
    assert all("`api-url: local`" in one for one in ended.annotations)
    assert "metrics" not in ended.outputs


def test_after_a_bug_during_an_upload_nothing_is_claimed(
    runner: Runner, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bug of ours, nobody knows whether a version was created."""
    server = scripted()
    monkeypatch.setattr("deploy_action.deployment_api.client.Accepted", lambda **_fields: 1 / 0)
    ended = runner.run(api_url=server.url, token="refresh", model_id="m")
    assert ended.code == 1
    assert len(server.requests_to("POST /model/deploy")) == 1
    assert "No new version was made" not in ended.summary
    assert "is not known" in ended.summary


def test_a_signal_right_after_the_answer_leaves_no_false_claim(
    runner: Runner, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has answered the upload; the signal comes before anybody has read that."""
    server = scripted()

    def interrupt(answer: Answer) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return is_refusal(answer)

    monkeypatch.setattr(transport, "is_refusal", interrupt)
    ended = runner.run(api_url=server.url, token="refresh", model_id="m")
    assert ended.code == 130
    assert len(server.requests_to("POST /model/deploy")) == 1
    assert "No new version was made" not in ended.summary
    assert "is not known" in ended.summary


def test_a_signal_after_the_new_version_is_known_does_not_lose_it(
    runner: Runner, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = scripted()
    keep = Run._keep_target  # noqa: SLF001  # the moment in which the signal comes

    def interrupt(run: Run, target: Target) -> None:
        keep(run, target)
        if target.is_deployed and not target.is_in_doubt:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "_keep_target", interrupt)
    ended = runner.run(api_url=server.url, token="refresh", model_id="m")
    assert ended.code == 130
    assert ended.outputs["status"] == "deployed"
    assert ended.outputs["version-id"]


def test_a_signal_before_the_gates_are_judged_passes_none(
    runner: Runner, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their values are known, but a workflow that asks for `passed` must not go on."""
    answer = {"modelId": "m", "versionId": "v", "backtestId": "b", "result": raw_result()}
    server = scripted({"POST /model/backtest": Reply(body=answer)})

    def interrupt(*_results: object) -> list[Problem]:
        os.kill(os.getpid(), signal.SIGINT)
        return []

    monkeypatch.setattr("deploy_action.stages.backtests.judging.find_warning_signs", interrupt)
    ended = runner.run(
        mode="backtest", api_url=server.url, token="refresh", model_id="m", gates="sharpe >= 0"
    )
    assert ended.code == 130
    assert ended.outputs["gates"] == "failed"
    assert "not judged" in ended.summary
