"""The client's call for backtests of a version that the server has."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy_action.backtest.runs_on import RunsOn
from deploy_action.deployment_api.client import (
    LARGEST_RESULT,
    DeploymentApi,
    Submission,
)
from deploy_action.deployment_api.windows import KeptWindow
from deploy_action.errors import RefusedError
from deploy_action.platform.assembly import BacktestSettings
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.server import PlatformServer
from tests.support.backtests import raw_result
from tests.support.platform_client import make_bundle
from tests.support.scripted_runner import ScriptedRunner
from tests.support.scripted_server import (
    ID_TOKEN,
    CutAfterBody,
    Reply,
    Request,
    ScriptedServer,
    StartScripted,
    Step,
)
from tests.support.transports import Waits, make_transport, upload_of

BACKTEST = "POST /model/backtest"
RUNS_ON = RunsOn(plan="nano", python_version="3.10", arguments={"to": "1y"})
SUBMISSION = Submission(
    project_id="project-1",
    model_id="model-1",
    model_name="Trend",
    model_type="strategy",
    general_description="",
    description="Sweep",
    runs_on=RUNS_ON,
    environment={"FAST": "5"},
)
ANSWER = {
    "modelId": "model-1",
    "versionId": "version-1",
    "backtestId": "backtest-1",
    "status": "success",
    "result": raw_result(),
    "run": {"bundleSha256": "a" * 64, "problems": []},
}


def make_api(url: str, waits: Waits | None = None) -> DeploymentApi:
    now = datetime(2024, 5, 31, 12, tzinfo=UTC)
    transport = make_transport(url, waits)
    return DeploymentApi(transport, secrets.token_hex(), lambda _secret: None, now=now)


@contextmanager
def real(tmp_path: Path, runner: ScriptedRunner) -> Iterator[DeploymentApi]:
    """Yield a client of an embedded platform."""
    token = secrets.token_hex(16)
    running = BacktestSettings(runner=runner)
    with PlatformServer(tmp_path, refresh_token=token, strict=False, running=running) as server:
        yield replace(make_api(server.url), refresh_token=token)


def test_the_request_is_a_form_with_what_an_upload_has(scripted: StartScripted) -> None:
    server = scripted({BACKTEST: Reply(body=ANSWER)})
    done = make_api(server.url).backtest_version(SUBMISSION, "version-1")
    request = server.requests[-1]
    assert request.fields == {
        **SUBMISSION.backtest_fields(),
        "versionId": "version-1",
        "ephemeral": "true",
    }
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Backtest-Now"] == "2024-05-31T12:00:00Z"
    assert "Idempotency-Key" not in request.headers
    assert done.run is not None
    assert done.run.bundle_sha256 == "a" * 64
    assert done.result is not None
    assert json.loads(bytes(done.result.raw.text)) == raw_result()
    assert (done.version_id, done.problems) == ("version-1", ())


@pytest.mark.parametrize(
    "failure",
    [CutAfterBody(), Reply(502, "Bad gateway"), Reply(504, "Too late"), Reply(429, "Later")],
    ids=["cut", "502", "504", "429"],
)
def test_it_is_repeated_although_it_may_have_run(scripted: StartScripted, failure: Step) -> None:
    """It leaves nothing behind, so a second run does no harm."""
    server = scripted({BACKTEST: [failure, failure, Reply(body=ANSWER)]})
    waits = Waits()
    done = make_api(server.url, waits).backtest_version(SUBMISSION, "version-1")
    assert done.result is not None
    assert len(waits.seconds) == 2


def test_what_the_server_refuses_is_not_repeated(scripted: StartScripted) -> None:
    server = scripted({BACKTEST: Reply(400, {"error": "This versionId was not found."})})
    with pytest.raises(RefusedError, match="This versionId was not found") as caught:
        make_api(server.url).backtest_version(SUBMISSION, "version-1")
    assert server.routes().count(BACKTEST) == 1
    assert not caught.value.may_have_acted


def test_its_answer_may_be_as_large_as_that_to_an_upload(scripted: StartScripted) -> None:
    large = json.dumps(
        {**ANSWER, "result": {**raw_result(), "indicators": ["x" * 1000] * (17 << 10)}}
    )
    assert len(large) < LARGEST_RESULT
    server = scripted({BACKTEST: Reply(body=large)})
    done = make_api(server.url).backtest_version(SUBMISSION, "version-1")
    assert done.result is not None


def test_only_a_server_that_lists_both_fields_is_asked(scripted: StartScripted) -> None:
    for names, expected in (
        (("versionId", "ephemeral"), True),
        (("versionId",), False),
        (("ephemeral",), False),
    ):
        properties = {name: {"type": "string"} for name in names}
        content = {"multipart/form-data": {"schema": {"properties": properties}}}
        described = {"paths": {"/model/backtest": {"post": {"requestBody": {"content": content}}}}}
        server = scripted({"GET /openapi.json": Reply(body=described)})
        assert make_api(server.url).can_backtest_versions is expected
    assert not make_api(scripted({}).url).can_backtest_versions


WINDOW_FIELDS = {"windowOf": "backtest-1", "window": "2022", "windowNumber": "3"}


@pytest.mark.parametrize("lacks", ["", *WINDOW_FIELDS])
def test_a_window_is_kept_by_a_server_that_lists_all_fields_of_it(
    scripted: StartScripted, lacks: str
) -> None:
    properties = {name: {"type": "string"} for name in WINDOW_FIELDS if name != lacks}
    content = {"multipart/form-data": {"schema": {"properties": properties}}}
    described = {"paths": {"/model/backtest": {"post": {"requestBody": {"content": content}}}}}
    server = scripted({BACKTEST: Reply(body=ANSWER), "GET /openapi.json": Reply(body=described)})
    window = KeptWindow("backtest-1", 3, "2022")
    make_api(server.url).backtest_version(SUBMISSION, "version-1", window)
    sent = server.requests_to(BACKTEST)[0].fields
    kept = {name: sent[name] for name in (*WINDOW_FIELDS, "ephemeral") if name in sent}
    assert kept == ({"ephemeral": "true"} if lacks else WINDOW_FIELDS)
    assert sent["versionId"] == "version-1"


def test_threads_share_the_sign_in_that_an_expired_token_needs(scripted: StartScripted) -> None:
    """An idToken is valid for an hour, and a sweep may take longer."""
    old, new = "old-id-token-of-the-test", f"new-{ID_TOKEN}"

    def answer(request: Request) -> Step:
        return Reply(body=ANSWER) if request.headers["token"] == new else Reply(401, "Expired")

    signed_in = [Reply(body={"idToken": each, "status": "success"}) for each in (old, new)]
    server: ScriptedServer = scripted({"POST /auth/token": signed_in, BACKTEST: answer})
    api = make_api(server.url)
    api.sign_in()
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: api.backtest_version(SUBMISSION, "v"), range(4)))
    assert all(each.result is not None for each in done)
    assert server.routes().count("POST /auth/token") == 2


def test_the_embedded_platform_takes_it(tmp_path: Path) -> None:
    runner = ScriptedRunner(Outcome(result=json.dumps(raw_result()).encode(), problems=()))
    (file := tmp_path / "model.zip").write_bytes(make_bundle())
    with real(tmp_path / "data", runner) as api:
        api.sign_in()
        submission = replace(SUBMISSION, project_id=api.personal_project_id())
        first = api.backtest(submission, upload_of(file))
        assert api.can_backtest_versions
        assert first.version_id is not None
        again = api.backtest_version(submission, first.version_id)
        listed = api.history(submission.project_id, "model-1")
    assert first.run is not None
    assert again.run is not None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert first.run.bundle_sha256 == again.run.bundle_sha256 == digest
    assert again.result is not None
    assert runner.requests[1].environment == {"FAST": "5"}
    assert runner.requests[1].now == api.now.timestamp()
    assert list(listed.backtests or ()) == [first.backtest_id]
