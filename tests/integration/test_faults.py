"""Every fault at every step, through the whole action: never a second version, never a secret.

Most runs go to the real platform, and what it has afterwards is counted. The rules by which they
end are in `tests/support/faults/rules.py`.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import pytest

from deploy_action.deployment_api import transport
from tests.conftest import Ended, Runner, write_model
from tests.support import wire_server
from tests.support.faults import rules
from tests.support.faults.cases import Case, Sense
from tests.support.faults.damages import ALL
from tests.support.faults.plans import play
from tests.support.faults.relay import Fault, Passing
from tests.support.faults.stage import Stage, assert_sound, make_impatient
from tests.support.wire_server import (
    Connection,
    Handler,
    StartWire,
    answering,
)

SIGN_IN = "POST /auth/token"
DEPLOY = "POST /model/deploy"
BACKTEST = "POST /model/backtest"
CREATE_MODEL = "POST /model/create-model"
CREATE_PROJECT = "POST /project/create"


MADE: Final = {
    DEPLOY: {"modelId": "model-1", "versionId": "version-1", "status": "success"},
    BACKTEST: {"modelId": "model-1", "versionId": "version-1", "status": "success"},
    CREATE_MODEL: {"status": "success", "modelId": "model-1"},
    CREATE_PROJECT: {"status": "created", "projectId": "project-1", "name": "Fund"},
}
MAY_EXIST = {
    DEPLOY: "whether the new version was made: it may or may not exist",
    BACKTEST: "whether the new backtest was made: it may or may not exist",
    CREATE_MODEL: "whether the model `Trend` was made: it may or may not exist",
    CREATE_PROJECT: "whether the project `Fund` was made: it may or may not exist",
}


@dataclass(frozen=True, slots=True)
class Secrets:
    refresh_token: str
    id_token: str
    api_key: str
    api_secret: str

    @classmethod
    def new(cls) -> Secrets:
        return cls(*(secrets.token_hex(24) for _ in range(4)))

    @property
    def keys_json(self) -> str:
        keys = {"API_KEY": self.api_key, "API_SECRET": self.api_secret}
        return json.dumps({"alpaca": {"main": keys}}, indent=2)

    def all(self) -> tuple[str, ...]:
        return (self.refresh_token, self.id_token, self.api_key, self.api_secret)


def telling(status: int, headers: Mapping[str, str] | None = None) -> Handler:
    """Answer with a page that repeats the request, at lengths where quotes are cut."""

    def handle(connection: Connection) -> None:
        connection.read_body()
        token = connection.headers.get("token", "")
        page = "<html><title>Oops</title>" + "".join(
            f"{'x' * width} {token} {connection.body[:500]!r}" for width in (240, 20, 1)
        )
        connection.reply(status, page, headers)

    return handle


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses and time-outs: the action builds its transport itself."""
    make_impatient(monkeypatch)


def good_server(known: Secrets) -> dict[str, Handler]:
    """Handlers of a server without faults, projects and models."""
    user = {"idToken": known.id_token, "status": "success", "data": {"user_id": "user-1"}}
    return {
        SIGN_IN: answering(200, user),
        "GET /project/list": answering(200, []),
        "POST /project/plans": answering(200, {"nano": {"cpu": 100, "ram": 100}}),
        "POST /model/list": answering(200, []),
        **{route: answering(200, body) for route, body in MADE.items()},
    }


def run(runner: Runner, url: str, known: Secrets, route: str = DEPLOY, **inputs: str) -> Ended:
    """Run the action so that it goes through every step, with a secret in each place."""
    named = {"project_name": "Fund"} if route in {CREATE_PROJECT, "GET /project/list"} else {}
    return runner.run(
        **{
            "mode": "backtest" if route == BACKTEST else "deploy",
            "api_url": url,
            "token": known.refresh_token,
            "keys_json": known.keys_json,
            "create_new": "true",
            "model_name": "Trend",
            "version_description": "a",
            "backtest_description": "b",
            **named,
            **inputs,
        }
    )


def assert_nothing_leaked(ended: Ended, known: Secrets) -> None:
    """Look for secrets, and large parts of them, outside the commands that mask them."""
    shown = [line for line in ended.log.splitlines() if not line.startswith("::add-mask::")]
    everything = "\n".join([*shown, ended.summary, *ended.outputs.values()])
    for secret in known.all():
        assert secret[:12] not in everything
        assert secret[-12:] not in everything
    assert "Traceback" not in everything


def assert_failed(ended: Ended, known: Secrets) -> str:
    """Check what all failures have in common; return the annotation."""
    assert ended.code == 1
    assert ended.outputs["status"] == "failed"
    assert_nothing_leaked(ended, known)
    errors = [line for line in ended.annotations if line.startswith("::error")]
    assert len(errors) == 1
    return errors[0]


def test_without_a_fault_the_version_is_deployed(runner: Runner, wire: StartWire) -> None:
    """So the other runs here fail only because of their fault."""
    known = Secrets.new()
    for route in (DEPLOY, BACKTEST, CREATE_PROJECT):
        server = wire(good_server(known))
        ended = run(runner, server.url, known, route)
        assert ended.code == 0
        assert ended.outputs["version-id"] == "version-1"
        assert ended.outputs["model-id"] == "model-1"
        assert server.count(CREATE_MODEL) == 1
        assert_nothing_leaked(ended, known)


@pytest.mark.parametrize("answer", [{"idToken": 1}, [], "{", {"idToken": ""}, {"idToken": "a\nb"}])
def test_a_sign_in_without_a_token_is_fatal(
    runner: Runner, wire: StartWire, answer: object
) -> None:
    known = Secrets.new()
    server = wire({**good_server(known), SIGN_IN: answering(200, answer)})
    error = assert_failed(run(runner, server.url, known), known)
    assert "The answer of" in error
    assert server.seen[-1].route == SIGN_IN


@pytest.mark.parametrize("word", ["e", "deployed", "```text", "<!--a-comment-->"])
def test_a_word_in_the_place_of_an_id_token_is_not_masked(
    runner: Runner, wire: StartWire, word: str
) -> None:
    """A server could blank what is shown, also by later steps, or change its structure."""
    known = Secrets.new()
    sign_in = answering(200, {"idToken": word, "data": {"user_id": "user-1"}})
    server = wire({**good_server(known), SIGN_IN: sign_in})
    ended = run(runner, server.url, known)
    assert ended.code == 0
    assert f"::add-mask::{word}\n" not in ended.log
    assert "Deployed" in ended.summary
    assert "***" not in ended.summary


@pytest.mark.parametrize(
    "shape",
    ['{{"idToken": "{}", "data": ', '[{{"idToken": "{}"}}]', '{{"id_token": "{}"}}', "<html>{}"],
)
def test_a_broken_answers_id_token_is_hidden(runner: Runner, wire: StartWire, shape: str) -> None:
    """It was not recognised, so it cannot be masked."""
    known = Secrets.new()
    server = wire({**good_server(known), SIGN_IN: answering(200, shape.format(known.id_token))})
    assert_failed(run(runner, server.url, known), known)


def test_an_id_token_that_fits_no_header_is_not_quoted(runner: Runner, wire: StartWire) -> None:
    """The library would quote it in its error."""
    known = Secrets.new()
    for text in (f" {known.id_token}", f"{known.id_token}\r\nX: y", f"{known.id_token}é"):
        server = wire({**good_server(known), SIGN_IN: answering(200, {"idToken": text})})
        assert "it has no idToken" in assert_failed(run(runner, server.url, known), known)


@pytest.mark.parametrize("handler", [wire_server.hang, wire_server.drip_for_ever])
def test_the_deadline_ends_an_upload_in_doubt(
    runner: Runner, wire: StartWire, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "UPLOAD_ANSWER_TIMEOUT", 60)
    known = Secrets.new()
    server = wire({**good_server(known), DEPLOY: handler})
    ended = run(runner, server.url, known, timeout_minutes="0.03")
    error = assert_failed(ended, known)
    assert "deadline of 0.03 minutes" in error
    assert MAY_EXIST[DEPLOY] in error
    assert server.count(DEPLOY) == 1


def test_a_doubt_names_the_page_to_look_at(runner: Runner, wire: StartWire) -> None:
    known = Secrets.new()
    server = wire({**good_server(known), DEPLOY: telling(500)})
    ended = run(
        runner, server.url, known, app_url="https://app.example", model_id="m-7", project_id="p-7"
    )
    page = "https://app.example/p-7/m-7/overview"
    assert f"Look at {page}, or at what" in assert_failed(ended, known)
    assert ended.outputs["url"] == page
    assert "may or may not exist" in ended.summary


def test_an_unreachable_server_is_named(runner: Runner) -> None:
    known = Secrets.new()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ended = run(runner, url, known)
    error = assert_failed(ended, known)
    assert f"{url} cannot be reached: nothing listens there (Connection refused)." in error
    assert ended.log.count("Trying again") == 3


def test_a_host_name_without_an_address_is_reported(runner: Runner) -> None:
    """The address has a zone that does not exist; the network is not asked."""
    known = Secrets.new()
    error = assert_failed(run(runner, "http://[fe80::1%25none]:9", known), known)
    assert "there is no address for that host name" in error


@pytest.mark.parametrize("name", ["\ud800", "a\n::error::b", "<b>`x`</b>", "x" * 100_000])
def test_hostile_project_names_do_no_harm(runner: Runner, wire: StartWire, name: str) -> None:
    known = Secrets.new()
    projects = [{"projectId": f"p-{number}", "name": name} for number in range(12)]
    server = wire({**good_server(known), "GET /project/list": answering(200, projects)})
    ended = run(
        runner, server.url, known, project_name="Absent", create_new="false", model_id="m-1"
    )
    error = assert_failed(ended, known)
    assert "There is no project named `Absent`" in error
    assert "and 2 more" in error
    assert len(error) < 4_000
    assert "\n::error::b" not in ended.log


# Of the statuses that mean the same, a usual run tries some.
SOME: Final = {"101", "204", "299", "302", "304", "400", "404", "408", "409", "501", "502", "504"}
NAMED = {case.name: case for case in ALL}
FOR_DEPLOYS = [
    case
    for number, case in enumerate(ALL)
    if case.name.split(",")[0] in SOME or not case.name[:3].isdecimal() or number % 4 == 0
]
FOR_CHANGES = [
    *("400", "401", "404", "500", "504", "200 with a page", "303 to another host", "429, 0"),
    *("503, two hours", "reset after the body", "closed after the body, and acted"),
    *("500, and acted", "200 with half of JSON, and acted", "slow"),
]
LOOK_UPS = [rules.SIGN_IN, rules.PROJECTS, rules.PLANS, rules.MODELS, rules.DESCRIPTION]
FOR_LOOK_UPS = [
    *("400", "401", "500", "200 with nothing", "303 to another host", "429, two hours"),
    *("closed after the body", "announced shorter", "expires on the way"),
]
PASSING = [
    case
    for case in ALL
    if (case.passes and case.sense in {Sense.CUT, Sense.SILENCE, Sense.ANSWER, Sense.BUSY})
    or case.sense is Sense.FINE
]


def name_of(case: object) -> str:
    return case.name if isinstance(case, Case) else str(case)


@pytest.mark.parametrize("mode", ["validate", "deploy", "stop", "rollback", "discover"])
def test_no_half_of_a_secret_ends_a_long_name(runner: Runner, wire: StartWire, mode: str) -> None:
    """Names are cut at 2,000 characters; what is hidden makes room for more of them."""
    known = Secrets.new()
    write_model(runner.workspace, model_name=f"{known.refresh_token} " * 50)
    ended = run(runner, wire({}).url, known, mode=mode, model_name="")
    assert "*** ***" in ended.summary
    assert_nothing_leaked(ended, known)


@pytest.mark.parametrize("key", ["main_script", "requirements", "working_directory"])
def test_a_secret_in_the_place_of_a_path_is_hidden(
    runner: Runner, wire: StartWire, key: str
) -> None:
    """Though a path with fewer slashes is the same."""
    known = replace(Secrets.new(), refresh_token=f"{secrets.token_hex(9)}//{secrets.token_hex(9)}")
    write_model(runner.workspace, **{key: f"./{known.refresh_token}"})
    ended = run(runner, wire({}).url, known, mode="validate")
    assert "***` does not exist" in ended.summary
    assert_nothing_leaked(ended, known)


@pytest.mark.parametrize("case", FOR_DEPLOYS, ids=name_of)
def test_nothing_is_done_twice(stage: Stage, case: Case) -> None:
    """Every third one is to a server that does not tell what it has."""
    number = FOR_DEPLOYS.index(case)
    play(stage, rules.DEPLOY, case, hides=number % 3 == 0, debug=number % 2 == 0)


@pytest.mark.parametrize("name", FOR_CHANGES)
@pytest.mark.parametrize("route", [rules.CREATE_MODEL, rules.CREATE_PROJECT, rules.BACKTEST])
def test_a_change_with_a_fault(stage: Stage, route: str, name: str) -> None:
    play(stage, route, NAMED[name])


@pytest.mark.parametrize("name", FOR_LOOK_UPS)
@pytest.mark.parametrize("route", LOOK_UPS)
def test_a_look_up_that_keeps_failing(stage: Stage, route: str, name: str) -> None:
    play(stage, route, NAMED[name], always=True)


@pytest.mark.parametrize("route", [rules.SIGN_IN, rules.PLANS, rules.CREATE_MODEL, rules.DEPLOY])
def test_a_redirect_gets_no_token(stage: Stage, route: str) -> None:
    """The server at the new place is not the one that was named."""
    play(stage, route, NAMED["307 to another host"], always=True)
    assert stage.trap.seen == []


@pytest.mark.parametrize("number", range(0, len(PASSING), 3))
def test_each_look_up_may_fail_once(stage: Stage, number: int) -> None:
    """In each run, each of them has another fault."""

    def plan(passing: Passing) -> tuple[str, Fault] | None:
        if passing.nth or passing.route not in LOOK_UPS:
            return None
        case = PASSING[(number + 17 * LOOK_UPS.index(passing.route)) % len(PASSING)]
        return case.name, case.do

    told = stage.run(plan, {"project_name": f"Fund {stage.number}"})
    assert_sound(stage, told)
    assert told.ended.code == 0, told.ended.log
