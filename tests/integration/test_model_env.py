"""The variables of `model-env` on their way to a server, through the whole action."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.conftest import Ended, Runner
from tests.support.scripted_server import NOT_FOUND, Reply, ScriptedServer, StartScripted

OPENAPI = "GET /openapi.json"


def describing(*fields: str, path: str = "/model/deploy") -> Reply:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in fields}}
    content = {"multipart/form-data": {"schema": schema}}
    return Reply(body={"paths": {path: {"post": {"requestBody": {"content": content}}}}})


def run(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"api_url": server.url, "token": "refresh-token", "project_id": "p", "model_id": "m"}
    return runner.run(**{**given, "version_description": "First", **inputs})


@pytest.mark.parametrize("mode", ["deploy", "backtest"])
def test_variables_are_sent_as_a_json_object_where_the_server_lists_the_field(
    runner: Runner, scripted: StartScripted, mode: str
) -> None:
    key = secrets.token_hex(16)
    server = scripted({OPENAPI: describing("plan", "environment", path=f"/model/{mode}")})
    ended = run(runner, server, mode=mode, model_env=f'# keys\nKEY="{key}"\nEMPTY=')
    assert ended.code == 0
    (sent,) = server.requests_to(f"POST /model/{mode}")
    assert json.loads(sent.fields["environment"]) == {"KEY": key, "EMPTY": ""}
    others = [value for name, value in sent.fields.items() if name != "environment"]
    assert not any(key in value for value in others)
    assert key.encode() not in sent.file
    assert f"::add-mask::{key}" in ended.log
    assert key not in ended.log.replace(f"::add-mask::{key}", "")
    assert key not in ended.summary + json.dumps(ended.outputs)


@pytest.mark.parametrize(
    "answer",
    [
        NOT_FOUND,
        Reply(200, "<!doctype html><p>An app"),
        describing("plan"),
        describing("environment", path="/model/backtest"),
        Reply(body={"paths": [1]}),
        Reply(body={"paths": {"/model/deploy": {"post": {"requestBody": {"content": [{}]}}}}}),
    ],
)
def test_a_server_that_does_not_list_the_field_gets_nothing(
    runner: Runner, scripted: StartScripted, answer: Reply
) -> None:
    """Without its variables, the new version would take the place of one that works."""
    key = secrets.token_hex(16)
    server = scripted({OPENAPI: answer})
    for dry_run in ("false", "true"):
        ended = run(runner, server, model_env=f"KEY={key}", dry_run=dry_run)
        assert ended.code == 1
        assert "lists no field `environment` of `POST /model/deploy`" in ended.log
        assert key not in ended.log.replace(f"::add-mask::{key}", "")
    assert not server.requests_to("POST /model/deploy")
    assert all(key not in json.dumps(dict(one.fields)) for one in server.requests)


@pytest.mark.parametrize("text", ["", "# only a comment"])
def test_without_variables_none_are_sent(
    runner: Runner, scripted: StartScripted, text: str
) -> None:
    server = scripted()
    assert run(runner, server, model_env=text).code == 0
    (sent,) = server.requests_to("POST /model/deploy")
    assert "environment" not in sent.fields


def test_a_dry_run_names_the_variables(runner: Runner, scripted: StartScripted) -> None:
    value = secrets.token_hex(16)
    server = scripted({OPENAPI: describing("environment")})
    ended = run(runner, server, model_env=f"KEY={value}\nMODE=paper", dry_run="true")
    assert ended.code == 0
    assert ", with 2 variables: `KEY` and `MODE`" in ended.log
    assert value not in ended.log.replace(f"::add-mask::{value}", "")


def test_values_that_a_server_repeats_are_hidden(runner: Runner, scripted: StartScripted) -> None:
    value = secrets.token_hex(16)
    said = f"KEY {value} is wrong"
    server = scripted(
        {OPENAPI: describing("environment"), "POST /model/deploy": Reply(400, {"error": said})}
    )
    ended = run(runner, server, model_env=f"KEY={value}")
    assert ended.code == 1
    assert "KEY *** is wrong" in ended.log
    assert value not in ended.summary + json.dumps(ended.outputs)
    assert value not in ended.log.replace(f"::add-mask::{value}", "")
