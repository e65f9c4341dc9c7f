from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)
from starlette.routing import Route as StarletteRoute

from deploy_action.platform.api.app import PlatformApp
from deploy_action.platform.api.credentials import Credentials
from deploy_action.platform.api.operations.documents import Pending
from deploy_action.platform.api.request import Reporter, Request, StoredFile
from deploy_action.platform.api.route import Route
from deploy_action.platform.api.routes import OPENAPI_PATH
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import TIMEOUT, Clock, Platform, make_bundle
from tests.support.scripted_live_server import LivePlatform, ServerParts
from tests.support.torture import Rounds

_CONTRACT_PATHS = {
    "/auth/token", "/project/create", "/project/list", "/model/deploy", "/model/backtest",
    "/project/plans", "/model/create-model", "/model/list", "/model/details", "/model/status",
    "/model/backtest-uploaded-model", "/project/teams", "/project/generate-project-token",
    "/model/run", "/model/kill", "/model/upload", "/model/delete", "/project/delete",
    "/project/list-tokens", "/project/delete-project-token", "/time", "/v1/live/spot-market",
}  # fmt: skip


def _document(platform: Platform) -> dict[str, Any]:
    document: dict[str, Any] = requests.get(
        f"{platform.server.url}{OPENAPI_PATH}", timeout=TIMEOUT
    ).json()
    return document


StoreAndRoutes = tuple[Store, tuple[Route, ...]]


@pytest.fixture
def lenient_routes(tmp_path: Path, clock: Clock) -> Iterator[StoreAndRoutes]:
    """Return the routes of a lenient platform that runs models on a scripted host."""
    server = ServerParts(tmp_path / "data", "x", strict=False, clock=clock)
    with server:
        yield server.store, server.routes.all
    assert server.errors == []


def test_every_route_is_described(lenient_routes: StoreAndRoutes) -> None:
    store, routes = lenient_routes
    credentials = Credentials("x", Clock())
    app = PlatformApp(store, credentials, routes, on_error=pytest.fail).asgi()
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, StarletteRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }

    document = next(route for route in routes if route.path == OPENAPI_PATH)
    described: Any = document.operation(Request({}))

    operations = {
        (path, method) for path, methods in described["paths"].items() for method in methods
    }
    assert served - operations == {(OPENAPI_PATH, "get")}
    assert operations <= served
    assert {path for path, _ in operations} >= _CONTRACT_PATHS
    assert json.loads(json.dumps(described)) == described
    assert document.operation(Request({})) is described  # made once: anybody may ask


class _Watched(dict[str, object]):
    """Fields that record which of them are read."""

    def __init__(self, fields: dict[str, object]) -> None:
        super().__init__(fields)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> object:
        self.seen.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.seen.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: object = None) -> object:
        self.seen.add(name)
        return super().get(name, default)


_NUMBERS = (
    *("size", "funds", "price", "activate", "executed_time", "canceled_time", "start_at", "end_at"),
    "time_elapsed",
)
_SWITCHES = ("enabled", "running", "successful", "test_account")


def _token_id(store: Store) -> str:
    """Return the id of the first key of the project `p`, if it has one."""
    with store.snapshot() as snapshot:
        return next((key.pass_digest[:10] for key in snapshot.project_keys("p")), "")


def _complete_request(store: Store, route: Route, version_id: str) -> tuple[Request, _Watched]:
    """Return a request with every field that the route declares, and these fields."""
    values = {
        "refreshToken": "x", "projectId": "p", "modelId": "m", "versionId": version_id,
        "type": "strategy", "plan": "nano", "createNew": "true", "backtestArgs": "{}",
        "environment": "{}", "pythonVersion": "3.10", "schedule": "", "unchanged": "deploy",
        "committedAt": "2024-05-31T12:00:00Z", "tokenId": _token_id(store),
        "runUrl": "https://forge.example/trader/models/actions/runs/1",
        "tested": '{"metrics": {}}',
        "windowOf": "", "window": "", "windowNumber": "", "windows": "2", "combinations": "",
        "backtests": "1", "versions": "1",
        "lines": "1", "after": f"{version_id}/1-0",
        **dict.fromkeys(_NUMBERS, "1"), **dict.fromkeys(_SWITCHES, "true"),
        "metrics": '{"a": {}}', "values": "[]",
    }  # fmt: skip
    if route.takes_file:
        values["versionId"] = ""  # one is taken in place of the file
    names = [field.name for field in route.fields if field.name != "backtestingArgs"]
    fields = _Watched({name: values.get(name, "text") for name in names})
    if not route.takes_file:
        reporter = Reporter("p", "m", None) if route.is_event else None
        return Request(fields, reporter=reporter), fields
    with store.incoming() as path:
        pass
    content = make_bundle()
    path.write_bytes(content)
    return Request(fields, StoredFile(path, len(content), "0" * 64)), fields


def test_a_route_reads_the_fields_it_declares(
    lenient_routes: StoreAndRoutes,
) -> None:
    store, routes = lenient_routes
    version_id = str(uuid.uuid4())
    last = "/model/delete", "/project/delete"
    deletions = [route for path in last for route in routes if route.path == path]
    others = [route for route in routes if route not in deletions]
    # First what makes a model, and last what deletes it.
    for route in (*sorted(others, key=lambda each: not each.takes_file), *deletions):
        request, fields = _complete_request(store, route, version_id)
        answer = route.run(request)
        if isinstance(answer, dict) and "versionId" in answer:
            version_id = answer["versionId"]
        if isinstance(answer, Pending):
            answer.job.ending.result(TIMEOUT)
        declared = {field.name for field in route.fields}
        # The one of the two names of the arguments that is not given.
        assert fields.seen | {"backtestingArgs"} & declared == declared, route.path


def test_a_route_demands_the_fields_that_are_said_to_be_required(platform: Platform) -> None:
    document = _document(platform)
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" not in content or "security" in methods["post"]:
            continue  # whoever needs no token; events are refused in other words
        for name in content["application/json"]["schema"]["required"]:
            if (path, name) == ("/model/backtest", "versionId"):
                continue  # a file would do, too
            others = dict.fromkeys(content["application/json"]["schema"]["required"], "")
            del others[name]
            answer = platform.post(path, **others)
            assert answer.json() == {"error": f"Missing required argument: {name}"}, path


def test_routes_without_a_token_are_marked(platform: Platform) -> None:
    document = _document(platform)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = requests.request(method, f"{platform.server.url}{path}", timeout=TIMEOUT)
            is_open = operation.get("security") == []
            assert (answer.status_code == 401) is not is_open, path


def test_the_document_is_served_to_all(platform: Platform) -> None:
    answer = requests.get(f"{platform.server.url}{OPENAPI_PATH}", timeout=TIMEOUT)
    document = answer.json()
    assert answer.status_code == 200
    assert document["openapi"].startswith("3.1")
    for reference in set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(document))):
        found = document
        for part in reference.split("/"):
            found = found[part]


def test_answers_about_a_model_are_as_described(platform: Platform) -> None:
    """Made-up requests hardly get these answers; those of other tests are checked."""
    document = _document(platform)
    model_id = platform.create_model()
    answers = {
        "/model/deploy": platform.deploy(model_id).json(),
        "/model/backtest": platform.backtest(model_id).json(),
        "/model/list": platform.post("/model/list", projectId=platform.user_id).json(),
        "/model/details": platform.details(model_id),
    }
    for path, answer in answers.items():
        content = document["paths"][path]["post"]["responses"]["200"]["content"]
        schema = content["application/json"]["schema"]
        jsonschema.validate(answer, schema | {"components": document["components"]})


@pytest.mark.parametrize(
    "fields",
    [
        {"createNew": "true"},
        {"createNew": "false"},
        {"createNew": "true", "modelId": "m"},
        {"modelId": "m", "type": "strategy"},
    ],
)
def test_an_upload_names_its_model_or_creates_it(lenient: Platform, fields: dict[str, str]) -> None:
    content = _document(lenient)["paths"]["/model/deploy"]["post"]["requestBody"]["content"]
    required = content["multipart/form-data"]["schema"]["required"]
    others = dict.fromkeys(required, "x") | {"pythonVersion": "3.10"}
    try:
        jsonschema.validate(others | fields, content["multipart/form-data"]["schema"])
        expected = 200
    except jsonschema.ValidationError:
        expected = 400
    changes: dict[str, str | None] = {"modelId": None, "type": None, "name": "n", **fields}
    assert lenient.deploy(None, None, **changes).status_code == expected


# What the checks of schemathesis expect, and this API does otherwise on purpose:
_NOT_CHECKED = [
    negative_data_rejection,  # any JSON serves as a text
    positive_data_acceptance,  # a well-formed request may name a project that does not exist
    unsupported_method,  # as Express, 404 and not 405
]


def test_the_server_keeps_to_its_document(lenient: Platform) -> None:
    """Requests that schemathesis generates from the document get the documented answers."""
    reporter = _reporter(lenient)
    with requests.Session() as session:
        for operation in _operations(lenient.server.url):
            _check_operation(operation, {**lenient.headers, **reporter}, session)
    assert lenient.details(reporter["model_id"])["reportsLost"] == 0


@pytest.mark.torture(quick=0)
def test_the_server_keeps_to_its_document_for_long(tmp_path: Path, rounds: Rounds) -> None:
    """With other requests each time, valid and invalid ones, many about models that are there."""
    clock = Clock()
    clock.now = time.time()
    with ServerParts(tmp_path / "data", "x", strict=False, clock=clock) as server:
        platform = LivePlatform.of(server)
        for chance in rounds:
            known = _known(platform)
            headers = {**platform.headers, **_reporter(platform)}
            with requests.Session() as session:
                for operation in _operations(server.url):
                    mode = chance.choice(list(schemathesis.GenerationMode))
                    count = _check_at_random(operation, headers, session, known, chance, mode)
                    rounds.count("requests", count)
            assert server.errors == []
            assert platform.get("/healthz").status_code == 200


def _reporter(platform: Platform) -> dict[str, str]:
    """Return the headers with which a model reports."""
    key = platform.post("/project/generate-project-token", projectId=platform.user_id).json()
    model_id = platform.create_model()
    return {"model_id": model_id, "api_key": key["apiKey"], "api_pass": key["apiPass"]}


def _known(platform: Platform) -> dict[str, str]:
    """Return ids of what is there: a model with a version and a backtest of it."""
    model_id = platform.create_model()
    version_id = platform.deploy(model_id).json()["versionId"]
    backtest_id = platform.backtest(model_id).json()["backtestId"]
    return {
        "projectId": platform.user_id,
        "modelId": model_id,
        "versionId": version_id,
        "backtestId": backtest_id,
        "windowOf": backtest_id,
        "plan": "nano",
        "type": "strategy",
        "pythonVersion": "3.10",
    }


def _operations(url: str) -> Iterator[Any]:
    for found in schemathesis.openapi.from_url(f"{url}{OPENAPI_PATH}").get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


def _check_at_random(  # all that a request is made of
    operation: Any,
    headers: Mapping[str, str],
    session: requests.Session,
    known: Mapping[str, str],
    chance: random.Random,
    mode: schemathesis.GenerationMode,
) -> int:
    """Send some requests, and check the answers; return how many."""
    sent = 0
    names = st.lists(st.sampled_from(sorted(known)), unique=True)

    @seed(chance.getrandbits(64))
    @settings(
        max_examples=6,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), given_names=names)
    def check(case: schemathesis.Case[Any], given_names: list[str]) -> None:
        nonlocal sent
        sent += 1
        if isinstance(case.body, dict):
            case.body |= {name: known[name] for name in given_names if name in case.body}
        case.call_and_validate(
            headers=dict(headers),
            excluded_checks=_excluded(operation),
            timeout=TIMEOUT,
            session=session,
        )

    with suppress(Unsatisfiable):  # of some requests, nothing can be invalid
        check()
    return sent


def _excluded(operation: Any) -> list[Any]:
    # As the original, where there is no refreshToken:
    failing = [not_a_server_error] if operation.path == "/auth/token" else []
    return [*_NOT_CHECKED, *failing]


def _check_operation(operation: Any, headers: Mapping[str, str], session: requests.Session) -> None:
    @settings(
        max_examples=3 if operation.path.startswith("/v1/") else 8,  # each waits for the disk
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(
            headers=dict(headers),
            excluded_checks=_excluded(operation),
            timeout=TIMEOUT,
            session=session,
        )

    check()
