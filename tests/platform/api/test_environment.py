"""The field `environment`: variables for the model's process."""

from __future__ import annotations

import json
import secrets
import stat
from pathlib import Path

import pytest

from deploy_action.platform.assembly import BacktestSettings
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import Platform
from tests.support.scripted_runner import ScriptedRunner
from tests.support.waiting import wait_for


def files_with(secret: str, root: Path) -> list[Path]:
    return [
        path for path in root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_a_backtest_gets_the_variables_and_nothing_keeps_them(
    start_platform: StartPlatform,
) -> None:
    runner = ScriptedRunner()
    platform = start_platform(running=BacktestSettings(runner=runner))
    value = secrets.token_hex(16)
    model_id = platform.create_model()
    answer = platform.backtest(model_id, environment=json.dumps({"KEY": value, "EMPTY": ""}))
    assert answer.status_code == 200
    (request,) = runner.requests
    assert request.environment == {"KEY": value, "EMPTY": ""}
    assert value not in repr(request)
    assert value not in answer.text + json.dumps(platform.details(model_id))
    assert files_with(value, platform.data) == []
    platform.backtest(model_id)
    assert runner.requests[1].environment == {}


def test_a_version_keeps_its_variables_where_only_the_owner_reads_them(platform: Platform) -> None:
    """No answer has a value; a backtest of the version runs with them."""
    value = secrets.token_hex(16)
    model_id = platform.create_model()
    deployed = platform.deploy(model_id, environment=json.dumps({"KEY": value}))
    assert deployed.status_code == 200
    details = platform.details(model_id)
    (version,) = platform.versions(model_id)
    assert version["environment"] == ["KEY"]
    assert value not in deployed.text + json.dumps(details)
    kept = files_with(value, platform.data)
    assert kept
    assert {path.name.partition("-")[0] for path in kept} == {"platform.sqlite"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


def test_a_backtest_of_a_version_has_its_variables(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    platform = start_platform(running=BacktestSettings(runner=runner))
    model_id = platform.create_model()
    version_id = platform.deploy(model_id, environment='{"KEY": "kept"}').json()["versionId"]
    fields = {"projectId": platform.user_id, "modelId": model_id, "versionId": version_id}
    fields |= {"backtestArgs": "{}", "backtestDescription": ""}
    for given in ({}, {"environment": '{"KEY": "new"}'}, {"environment": "{}"}):
        answer = platform.post("/model/backtest-uploaded-model", **fields, **given)
        assert answer.status_code == 200
    wait_for(lambda: len(runner.requests) == 3)
    found = [dict(one.environment) for one in runner.requests]
    assert sorted(map(str, found)) == ["{'KEY': 'kept'}", "{'KEY': 'new'}", "{}"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ("{}{}", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "is not a JSON object of texts"),
        ('{{"A": 7, "B": "{}"}}', "is not a JSON object of texts"),
        ('{{"A": {{"B": "{}"}}}}', "is not a JSON object of texts"),
        ('{{"{}-": "x"}}', "has a name that is none: a name has letters"),
        ('{{"": "{}"}}', "has a name that is none"),
        ('{{"BLANKLY_X": "{}", "A": "", "GITHUB_X": ""}}', "may not have `BLANKLY_X` and `GITHUB"),
        ('{{"BACKTESTING": "{}"}}', "may not have `BACKTESTING`"),
        ('{{"A": "{}\\u0000"}}', "has no text in `A`"),
        ('{{"A": "{}\\ud800"}}', "has no text in `A`"),
        (f'{{{{"A": "{{}}{"x" * 70_000}"}}}}', "is larger than 64 KiB"),
    ],
)
def test_what_no_process_can_get_is_refused_without_a_word_of_the_values(
    platform: Platform, environment: str, said: str
) -> None:
    value = secrets.token_hex(16)
    model_id = platform.create_model()
    answer = platform.backtest(model_id, environment=environment.format(value, ""))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"environment {said}")
    assert value not in answer.text
    assert platform.backtests(model_id) == []
