"""Backtests of a stored version, and backtests of which nothing is kept."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import jsonschema
import pytest
import requests

from deploy_action.errors import Problem
from deploy_action.platform.assembly import BacktestSettings
from deploy_action.platform.runs.backtests import default_parallel
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.cleaning import Rules, clean
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import TIMEOUT, Platform, make_bundle
from tests.support.scripted_runner import RESULT, ScriptedRunner, finished
from tests.support.serving_process import serving
from tests.support.waiting import wait_for

_FAILED = Outcome(result=None, problems=(Problem(message="It fell."),))
_BROKEN = Outcome(result=finished().result, problems=(Problem(message="It fell later."),))


def start(
    start_platform: StartPlatform, runner: ScriptedRunner, *, strict: bool = True
) -> tuple[Platform, dict[str, str]]:
    """Start a platform with a version; return the fields that name it, too."""
    platform = start_platform(running=BacktestSettings(runner=runner), strict=strict)
    uploaded = platform.backtest(platform.create_model()).json()
    return platform, fields_of(uploaded)


def fields_of(uploaded: dict[str, str]) -> dict[str, str]:
    return {
        **{name: uploaded[name] for name in ("projectId", "modelId", "versionId")},
        "pythonVersion": "3.10",
        "type": "strategy",
        "plan": "nano",
        "backtestArgs": '{"to": "2y"}',
        "backtestDescription": "Again",
    }


def stored(platform: Platform) -> list[str]:
    """Return the names of the files that platforms store for backtests."""
    places = ("incoming", "bundles", "results", "runs")
    found = (path for place in places for path in (platform.data / place).rglob("*.*"))
    return sorted(path.name for path in found if path.name != ".lock")


def holds(data: Path, number: int, process: int | str = "self") -> bool:
    """Whether a process has so many bundles open: one for each backtest that runs or waits."""
    bundles = data / "bundles"
    opened = 0
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened += each.readlink().parent == bundles
    return opened == number


@pytest.mark.parametrize("strict", [True, False])
def test_a_stored_version_is_backtested_as_if_it_were_uploaded(
    start_platform: StartPlatform, *, strict: bool
) -> None:
    runner = ScriptedRunner()
    platform, fields = start(start_platform, runner, strict=strict)
    answer = platform.post("/model/backtest", **fields).json()
    first, second = runner.requests
    assert first.bundle == second.bundle
    assert second.bundle_sha256 == hashlib.sha256(first.bundle.read_bytes()).hexdigest()
    assert (second.args, second.prices) == ({"to": "2y"}, first.prices)
    assert (answer["status"], answer["result"]) == ("success", RESULT)
    assert answer["run"]["bundleSha256"] == second.bundle_sha256
    assert answer["versionId"] == fields["versionId"]
    listed = platform.backtests(fields["modelId"])
    assert [each["versionId"] for each in listed] == [fields["versionId"]] * 2
    assert listed[1]["backtestId"] == answer["backtestId"]
    assert (listed[1]["description"], listed[1]["result"]) == ("Again", RESULT)


def test_a_directory_may_be_named_from_where_the_server_starts(
    start_platform: StartPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models run in directories of their own, where such a name would mean another place."""
    monkeypatch.chdir(tmp_path)
    runner = ScriptedRunner()
    platform = start_platform(running=BacktestSettings(runner=runner), data=Path("here"))
    platform.backtest(platform.create_model())
    (request,) = runner.requests
    assert request.bundle.is_relative_to(tmp_path / "here")


def test_one_of_file_and_version_has_to_be_given(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    platform, fields = start(start_platform, runner)
    both = platform.backtest(fields["modelId"], versionId=fields["versionId"])
    neither = platform.post("/model/backtest", **fields | {"versionId": ""})
    assert (both.status_code, neither.status_code) == (400, 400)
    assert both.json() == {"error": "Both model and versionId were given: pass one of them."}
    assert neither.json() == {"error": "Missing required argument: model"}
    assert len(runner.requests) == 1
    assert len(stored(platform)) == 2


def test_a_version_that_cannot_be_meant_is_refused(start_platform: StartPlatform) -> None:
    platform, fields = start(start_platform, ScriptedRunner())
    other = platform.create_model()
    refused = {
        "This versionId was not found under this model.": (
            {"versionId": "none"},
            {"modelId": other},
        ),
        "This modelId was not found under this project.": (
            {"modelId": "none"},
            {"modelId": "none", "createNew": "true"},
        ),
        "The specified type does not match the model type.": ({"type": "screener"},),
        "The pythonVersion of this version is 3.10. Upload it again to backtest it with another"
        " one.": ({"pythonVersion": "3.11"},),
    }
    for message, changes in refused.items():
        for change in changes:
            answer = platform.post("/model/backtest", **fields | change)
            assert (answer.status_code, answer.json()) == (400, {"error": message})
    (platform.data / "bundles" / f"{fields['versionId']}.zip").unlink()
    gone = platform.post("/model/backtest", **fields).json()["error"]
    assert gone.startswith("The bundle of this version was removed")


def test_a_version_has_its_variables_unless_others_are_given(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    platform, fields = start(start_platform, runner)
    value = secrets.token_hex(8)
    deployed = platform.deploy(fields["modelId"], environment=json.dumps({"KEY": value})).json()
    fields["versionId"] = deployed["versionId"]
    platform.post("/model/backtest", **fields)
    platform.post("/model/backtest", **fields, environment='{"FAST": "5"}')
    platform.post("/model/backtest", **fields, environment="{}")
    given = [request.environment for request in runner.requests[1:]]
    assert given == [{"KEY": value}, {"FAST": "5"}, {}]


def test_a_request_for_a_version_is_described(platform: Platform) -> None:
    document = platform.get("/openapi.json").json()
    content = document["paths"]["/model/backtest"]["post"]["requestBody"]["content"]
    fields = dict.fromkeys(("projectId", "modelId", "type", "plan", "backtestDescription"), "x")
    fields |= {"pythonVersion": "3.10", "type": "strategy", "backtestArgs": "{}"}
    multipart = content["multipart/form-data"]["schema"]
    form = content["application/x-www-form-urlencoded"]["schema"]
    assert {"versionId", "ephemeral"} <= set(multipart["properties"]) & set(form["properties"])
    for schema, given, is_valid in (
        (form, {"versionId": "v"}, True),
        (form, {}, False),
        (multipart, {"versionId": "v"}, True),
        (multipart, {"model": "zip"}, True),
        (multipart, {"model": "zip", "versionId": "v"}, False),
        (multipart, {}, False),
    ):
        validator = jsonschema.Draft202012Validator(schema)
        assert validator.is_valid(fields | given) is is_valid, given


@pytest.mark.parametrize("outcome", [finished(), _FAILED, _BROKEN], ids=["good", "bad", "late"])
def test_nothing_is_kept_of_an_ephemeral_backtest_once_it_was_answered(
    start_platform: StartPlatform, outcome: Outcome
) -> None:
    runner = ScriptedRunner()
    platform, fields = start(start_platform, runner)
    kept, before = platform.backtests(fields["modelId"]), stored(platform)
    runner.outcome = outcome
    answer = platform.post("/model/backtest", **fields, ephemeral="true").json()
    assert answer["status"] == ("failed" if outcome.problems else "success")
    assert answer.get("result") == (RESULT if outcome.result else None)
    assert answer["run"]["bundleSha256"] == runner.requests[1].bundle_sha256
    wait_for(lambda: stored(platform) == before)
    assert platform.backtests(fields["modelId"]) == kept


def test_an_upload_for_an_ephemeral_backtest_stays_a_version(start_platform: StartPlatform) -> None:
    platform, fields = start(start_platform, ScriptedRunner())
    answer = platform.backtest(fields["modelId"], ephemeral="true").json()
    assert len(platform.backtests(fields["modelId"])) == 1
    fields["versionId"] = answer["versionId"]
    assert platform.post("/model/backtest", **fields).json()["status"] == "success"


def test_an_ephemeral_backtest_ends_with_its_client(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    platform, fields = start(start_platform, runner)
    before = stored(platform)
    runner.gate.clear()
    address = urlsplit(platform.server.url)
    connection = HTTPConnection(str(address.hostname), address.port)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({**fields, "ephemeral": "true"})
    connection.request("POST", "/model/backtest", body, {**platform.headers, **form})
    wait_for(lambda: len(runner.requests) == 2)
    connection.close()
    wait_for(lambda: runner.running == 0)
    assert stored(platform) == before
    assert len(platform.backtests(fields["modelId"])) == 1


def test_cleaning_keeps_the_bundle_of_an_ephemeral_backtest_that_runs_or_waits(
    start_platform: StartPlatform,
) -> None:
    runner = ScriptedRunner()
    platform = start_platform(running=BacktestSettings(runner=runner, parallel=1))
    ids = [platform.backtest(platform.create_model()).json() for _ in range(3)]
    running, waiting, idle = (fields_of(each) for each in ids)
    runner.gate.clear()

    def cleaned() -> list[str]:
        with closing(Store(platform.data, platform.clock)) as store:  # of another process
            clean(store, Rules(days=1), platform.clock.now, removes=True)
        return sorted(path.stem for path in (platform.data / "bundles").iterdir())

    with ThreadPoolExecutor(2) as clients:
        answers = []
        for number, fields in enumerate((running, waiting)):
            ask = partial(platform.post, "/model/backtest", **fields, ephemeral="true")
            answers.append(clients.submit(ask))
            wait_for(lambda: len(runner.requests) == 4)
            wait_for(partial(holds, platform.data, number + 1))
        platform.clock.now += 3 * 86_400
        kept = cleaned()
        runner.gate.set()
        assert [each.result().json()["status"] for each in answers] == ["success"] * 2
    assert kept == sorted([running["versionId"], waiting["versionId"]])
    assert idle["versionId"] not in kept
    wait_for(partial(holds, platform.data, 0))
    assert cleaned() == []


def upload_to(url: str, refresh_token: str) -> tuple[dict[str, str], dict[str, str]]:
    """Upload a version to a platform of another process; return it, and what signs requests in."""
    token = requests.post(
        f"{url}/auth/token", data={"refreshToken": refresh_token}, timeout=TIMEOUT
    ).json()
    headers = {"token": token["idToken"]}
    fields = {
        "pythonVersion": "3.10", "versionDescription": "", "modelId": "m", "name": "m",
        "type": "strategy", "projectId": token["data"]["user_id"],
    }  # fmt: skip
    answer = requests.post(
        f"{url}/model/upload",
        headers=headers,
        data=fields,
        files={"model": ("m.zip", make_bundle())},
        timeout=TIMEOUT,
    )
    return answer.json(), headers


def test_what_waits_in_the_queue_of_a_server_is_dropped_with_its_client(tmp_path: Path) -> None:
    data, refresh_token = tmp_path / "data", secrets.token_hex(16)
    with serving(data, refresh_token) as (url, pid), ExitStack() as clients:
        version, headers = upload_to(url, refresh_token)
        fields = {**fields_of(version), "ephemeral": "true"}
        answers = []
        for number in range(default_parallel() + 1):  # the last one waits
            answer = requests.post(
                f"{url}/model/backtest", fields, headers=headers, stream=True, timeout=TIMEOUT
            )
            answers.append(clients.enter_context(answer))
            wait_for(partial(holds, data, number + 1, pid))
        answers[-1].close()
        wait_for(partial(holds, data, len(answers) - 1, pid))


def test_an_ephemeral_backtest_is_forgotten_by_a_platform_that_was_killed(
    start_platform: StartPlatform, tmp_path: Path
) -> None:
    data, refresh_token = tmp_path / "killed", secrets.token_hex(16)
    with serving(data, refresh_token) as (url, pid):
        version, headers = upload_to(url, refresh_token)
        with requests.post(
            f"{url}/model/backtest",
            headers=headers,
            data={**fields_of(version), "ephemeral": "true"},
            stream=True,
            timeout=TIMEOUT,
        ) as answer:
            assert next(answer.iter_content(1)) == b" "
            (workplace,) = (data / "runs").iterdir()
            (workplace / "b.json").write_text("{}")  # as if it was just being sent
            os.kill(pid, signal.SIGKILL)
    platform = start_platform(data=data)
    found = platform.post("/model/details", projectId=version["projectId"], modelId="m").json()
    assert found["backtests"] == []
    assert not workplace.exists()
