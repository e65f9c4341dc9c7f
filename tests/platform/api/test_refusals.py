from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest
import requests

from deploy_action.platform.api.operations.plans import LIVE_PLANS
from tests.support.platform_client import TIMEOUT, Platform, make_bundle

_TYPE_MISMATCH = "The specified type does not match the model type."
_NO_MODEL = "This modelId was not found under this project."


def _error(answer: requests.Response) -> str:
    assert answer.status_code == 400
    document = answer.json()
    assert set(document) == {"error"}
    return str(document["error"])


@pytest.mark.parametrize("token", [None, "", "x" * 43, "é"])
def test_strangers_see_a_page(platform: Platform, token: str | None) -> None:
    headers = {} if token is None else {"token": token.encode().decode("latin-1")}
    for method, path in [("GET", "/project/list"), ("POST", "/model/deploy")]:
        answer = requests.request(
            method, f"{platform.server.url}{path}", headers=headers, timeout=TIMEOUT
        )
        assert answer.status_code == 401
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_stranger_who_asks_first_sends_no_body(platform: Platform) -> None:
    address = urlsplit(platform.server.url)
    with socket.create_connection((str(address.hostname), address.port or 0), TIMEOUT) as stranger:
        stranger.sendall(
            b"POST /model/deploy HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 9\r\n\r\n"
        )
        assert stranger.recv(12) == b"HTTP/1.1 401"


@pytest.mark.parametrize(
    ("method", "path", "shown"),
    [
        ("GET", "/", "Cannot GET /"),
        ("GET", "/model/deploy", "Cannot GET /model/deploy"),
        ("PUT", "/model/deploy", "Cannot PUT /model/deploy"),
        ("GET", "/auth/token", "Cannot GET /auth/token"),
        ("GET", "/model/deploy/x", "Cannot GET /model/deploy/x"),
        ("GET", "/<b>&'x", "Cannot GET /%3Cb%3E&amp;&#x27;x"),
        ("GET", "/%C3%A9", "Cannot GET /%C3%A9"),
        ("GET", "/project%2Flist", "Cannot GET /project%2Flist"),
    ],
)
def test_an_unknown_route_is_a_page(platform: Platform, method: str, path: str, shown: str) -> None:
    """With the method and the escaped path, as Express writes it."""
    answer = requests.request(method, f"{platform.server.url}{path}", timeout=TIMEOUT)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f"<pre>{shown}</pre>" in answer.text


@pytest.mark.parametrize("absent", ["pythonVersion", "versionDescription", "projectId", "modelId",
                                    "type", "plan"])  # fmt: skip
def test_a_deploy_names_the_missing_field(platform: Platform, absent: str) -> None:
    fields: dict[str, str | None] = {"projectId": "not mine", absent: None}
    answer = platform.deploy(**{"model_id": "m", "bundle": b"no zip"} | fields)  # type: ignore[arg-type]  # the changes
    assert _error(answer) == f"Missing required argument: {absent}"


@pytest.mark.parametrize("absent", ["pythonVersion", "projectId", "modelId", "type", "plan",
                                    "backtestDescription"])  # fmt: skip
def test_a_backtest_names_the_missing_field(platform: Platform, absent: str) -> None:
    changes: dict[str, str | None] = {"projectId": "not mine"} | {absent: None}
    assert _error(platform.backtest("m", b"no zip", **changes)) == (
        f"Missing required argument: {absent}"
    )


def test_a_backtest_without_arguments_is_refused(platform: Platform) -> None:
    answer = platform.backtest("m", backtestArgs=None, backtestingArgs=None)
    assert _error(answer) == "Missing required argument: backtestingArgs"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/project/create", ["name", "description"]),
        ("/project/plans", ["type"]),
        ("/project/generate-project-token", ["projectId"]),
        ("/project/list-tokens", ["projectId"]),
        ("/project/delete-project-token", ["projectId", "tokenId"]),
        ("/project/delete", ["projectId"]),
        ("/model/run", ["modelId", "projectId", "versionId"]),
        ("/model/kill", ["projectId", "modelId"]),
        ("/model/delete", ["projectId", "modelId"]),
        ("/model/create-model", ["projectId", "type", "name", "description"]),
        ("/model/list", ["projectId"]),
        ("/model/details", ["projectId", "modelId"]),
        ("/model/backtest-uploaded-model",
         ["projectId", "modelId", "versionId", "backtestDescription", "backtestingArgs"]),
    ],
)  # fmt: skip
def test_each_required_field_is_required(platform: Platform, path: str, fields: list[str]) -> None:
    """An empty field is present; an absent one, or a null in JSON, is not."""
    for number, absent in enumerate(fields):
        answer = platform.post(path, **dict.fromkeys(fields[:number], ""))
        assert _error(answer) == f"Missing required argument: {absent}"
        answer = platform.post_json(path, **dict.fromkeys(fields[:number], "") | {absent: None})
        assert _error(answer) == f"Missing required argument: {absent}"


def test_an_upload_without_a_file_is_refused(platform: Platform) -> None:
    fields = {
        "pythonVersion": "3.10", "versionDescription": "", "projectId": "p", "modelId": "m",
        "type": "strategy", "plan": "nano",
    }  # fmt: skip
    for files in (None, {"archive": make_bundle()}):
        answer = requests.post(
            f"{platform.server.url}/model/deploy",
            headers=platform.headers, data=fields, files=files, timeout=TIMEOUT,
        )  # fmt: skip
        assert _error(answer) == "Missing required argument: model"


def test_a_foreign_project_is_refused(platform: Platform) -> None:
    assert _error(platform.deploy("m", b"no zip", projectId="x")) == "Invalid permission."
    assert _error(platform.backtest("m", b"no zip", projectId="x")) == "Invalid permission."
    for path, fields in [
        ("/model/create-model", {"type": "strategy", "name": "n", "description": ""}),
        ("/model/list", {}),
        ("/model/details", {"modelId": "m"}),
        ("/model/backtest-uploaded-model",
         {"modelId": "m", "versionId": "v", "backtestArgs": "{}", "backtestDescription": ""}),
        ("/project/generate-project-token", {"name": "n", "autogenerated": "true"}),
    ]:  # fmt: skip
        assert _error(platform.post(path, projectId="x", **fields)) == "Invalid permission."
    assert len(platform.get("/project/list").json()) == 1


def test_an_unknown_model_is_refused(platform: Platform) -> None:
    wrong: dict[str, str | None] = {"type": "wrong", "plan": "wrong", "createNew": "false"}
    assert _error(platform.deploy("m", b"no zip", **wrong)) == _NO_MODEL
    assert _error(platform.backtest("m", b"no zip", **wrong)) == _NO_MODEL
    assert _error(platform.deploy("m", createNew="true")) == _NO_MODEL
    assert _error(platform.post("/model/details", projectId=platform.user_id, modelId="m")) == (
        _NO_MODEL
    )


def test_an_unknown_version_is_refused(platform: Platform) -> None:
    model_id, other = platform.create_model(), platform.create_model()
    version_id = platform.deploy(other).json()["versionId"]
    fields = {"projectId": platform.user_id, "versionId": version_id, "backtestDescription": ""}
    route = "/model/backtest-uploaded-model"
    answer = platform.post(route, modelId=model_id, backtestArgs="{}", **fields)
    assert _error(answer) == "This versionId was not found under this model."
    assert _error(platform.post(route, modelId="m", backtestArgs="{}", **fields)) == _NO_MODEL
    answer = platform.post(route, modelId=other, backtestArgs="{}", type="screener", **fields)
    assert _error(answer) == _TYPE_MISMATCH


def test_the_wrong_type_is_refused(platform: Platform) -> None:
    strategy, screener = platform.create_model(), platform.create_model("screener")
    assert _error(platform.deploy(strategy, b"no zip", type="screener")) == _TYPE_MISMATCH
    assert _error(platform.deploy(screener, b"no zip")) == _TYPE_MISMATCH
    assert _error(platform.backtest(screener, b"no zip")) == _TYPE_MISMATCH


def test_there_are_two_types_of_model(platform: Platform) -> None:
    expected = "The type of a model is strategy or screener."
    fields = {"projectId": platform.user_id, "name": "n", "description": ""}
    assert _error(platform.post("/model/create-model", type="bot", **fields)) == expected
    assert _error(platform.deploy(None, createNew="true", type="bot")) == expected


@pytest.mark.parametrize("schedule", [None, "", "  "])
def test_a_screener_needs_a_schedule(platform: Platform, schedule: str | None) -> None:
    model_id = platform.create_model("screener")
    answer = platform.deploy(model_id, b"no zip", type="screener", plan="x", schedule=schedule)
    assert _error(answer) == "Must pass schedule argument to run a screener"


def test_a_screener_is_not_backtested(platform: Platform) -> None:
    model_id = platform.create_model("screener")
    message = _error(platform.backtest(model_id, b"no zip", type="screener"))
    assert message == "Only strategies can be backtested, and this model is a screener."


def test_an_unknown_plan_is_refused_by_name(platform: Platform) -> None:
    """The original server hangs; this one lists its plans."""
    message = _error(platform.deploy(platform.create_model(), b"no zip", plan="giant"))
    assert "'giant'" in message
    assert all(plan in message for plan in LIVE_PLANS)


def test_the_plan_of_a_backtest_is_ignored(platform: Platform) -> None:
    assert platform.backtest(platform.create_model(), plan="giant").status_code == 200


@pytest.mark.parametrize("args", ["", "{", "[1]", '"x"', "null", '{"a": NaN}', "[" * 100_000,
                                  "9" * 5000, '{"a": 1e999}', '{"a": [{"b": -1e999}]}',
                                  r'{"a": "\ud800"}', r'{"\ud800": 1}',
                                  '{"a":' + "[" * 100 + "]" * 100 + "}"])  # fmt: skip
def test_backtest_arguments_are_a_json_object(platform: Platform, args: str) -> None:
    model_id = platform.create_model()
    assert "backtestArgs is not" in _error(platform.backtest(model_id, backtestArgs=args))
    assert platform.left_behind() == []


@pytest.mark.parametrize("bad", ["", "x" * 201, "a\nb", "a\0b", "\u202e"])
def test_invalid_ids_are_refused(lenient: Platform, bad: str) -> None:
    assert "projectId must be" in _error(lenient.deploy("m", projectId=bad))
    assert "modelId must be" in _error(lenient.deploy(bad))
    assert len(lenient.get("/project/list").json()) == 1


def test_text_in_json_is_valid_unicode(platform: Platform) -> None:
    """A lone surrogate cannot be stored."""
    answer = requests.post(
        f"{platform.server.url}/project/create",
        headers={**platform.headers, "Content-Type": "application/json"},
        data=json.dumps({"name": "\ud800", "description": ""}),
        timeout=TIMEOUT,
    )
    assert _error(answer) == "name is not valid Unicode"


def test_invalid_unicode_in_backtest_arguments_is_refused(platform: Platform) -> None:
    """If stored, they would make every later answer about the model fail."""
    model_id = platform.create_model()
    version_id = platform.deploy(model_id).json()["versionId"]
    for args in ("NaN", "1e999", r'"\ud800"', "[" * 100 + "]" * 100):
        answer = requests.post(
            f"{platform.server.url}/model/backtest-uploaded-model",
            headers={**platform.headers, "Content-Type": "application/json"},
            data=f'{{"projectId": "{platform.user_id}", "modelId": "{model_id}", "versionId":'
            f' "{version_id}", "backtestDescription": "", "backtestArgs": {{"a": {args}}}}}',
            timeout=TIMEOUT,
        )
        assert "backtestArgs is not" in _error(answer)
    assert platform.backtests(model_id) == []


@pytest.mark.parametrize("bad", [r'"a\ud800b"', r'"a\u0000b"', "[" * 500 + "]" * 500, "1e999"])
def test_text_that_cannot_be_stored_is_refused(lenient: Platform, bad: str) -> None:
    version_id = lenient.deploy("m", projectId="p").json()["versionId"]
    fields = {"projectId": "p", "modelId": "m", "type": "strategy", "name": "n", "description": "d",
              "versionId": version_id, "backtestDescription": "d", "backtestArgs": "{}",
              "autogenerated": "true"}  # fmt: skip
    for path, names in [
        ("/project/create", ["name", "description"]),
        ("/model/create-model", ["projectId", "type", "name", "description"]),
        ("/model/backtest-uploaded-model", ["projectId", "modelId", "versionId",
                                            "backtestDescription"]),
        ("/project/generate-project-token", ["projectId", "name", "autogenerated"]),
        ("/project/plans", ["type"]),
    ]:  # fmt: skip
        for name in names:
            document = {each: json.dumps(value) for each, value in fields.items()} | {name: bad}
            written = ", ".join(f'"{each}": {value}' for each, value in document.items())
            answer = requests.post(
                f"{lenient.server.url}{path}",
                headers={**lenient.headers, "Content-Type": "application/json"},
                data=f"{{{written}}}",
                timeout=TIMEOUT,
            )
            assert f"{name} " in _error(answer)
    assert len(lenient.get("/project/list").json()) == 2


@pytest.mark.parametrize("field", ["versionDescription", "pythonVersion", "name", "schedule"])
def test_a_nul_in_the_text_of_an_upload_is_refused(lenient: Platform, field: str) -> None:
    changes: dict[str, str | None] = {field: "a\0b"}
    assert _error(lenient.deploy("m", None, **changes)) == f"{field} contains a NUL character"


def test_a_refused_upload_makes_no_project_or_model(lenient: Platform) -> None:
    assert lenient.deploy("m", b"no zip", projectId="fund").status_code == 400
    assert lenient.backtest(None, b"no zip", projectId="fund", createNew="true").status_code == 400
    assert len(lenient.get("/project/list").json()) == 1
    assert lenient.left_behind() == []
