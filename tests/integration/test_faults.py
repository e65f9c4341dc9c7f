"""Every fault at every step, through the whole action: never a second version, never a secret."""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from deploy_action.deployment_api import settling, transport
from deploy_action.http import exchange as http_exchange
from tests.conftest import Ended, Runner
from tests.support import wire_server
from tests.support.wire_server import (
    Connection,
    Handler,
    StartWire,
    answering,
    early,
    in_turn,
    not_found,
)

SIGN_IN = "POST /auth/token"
DEPLOY = "POST /model/deploy"
BACKTEST = "POST /model/backtest"
CREATE_MODEL = "POST /model/create-model"
CREATE_PROJECT = "POST /project/create"
CHANGES = (DEPLOY, BACKTEST, CREATE_MODEL, CREATE_PROJECT)
READS = (SIGN_IN, "GET /project/list", "POST /project/plans", "POST /model/list")

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


@dataclass(frozen=True, slots=True)
class Fault:
    """A step that goes wrong: how often the request may be seen, and what the run must say."""

    handler: Handler
    words: str
    doubt: bool = False
    requests: int = 1


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


def telling_json(status: int) -> Handler:
    """Answer with an error that ends in the token, at a length where quotes are cut."""

    def handle(connection: Connection) -> None:
        connection.read_body()
        token = connection.headers.get("token", "")
        connection.reply(status, {"error": f"Nope. {'x' * 270} {token}"})

    return handle


FAULTS: Final[Mapping[str, Fault]] = {
    "400": Fault(telling_json(400), r"refused `ROUTE` \(400\): Nope"),
    "403": Fault(telling(403), r"refused `ROUTE` \(403\)"),
    "413": Fault(answering(413), r"refused `ROUTE` \(413\).*`ignore_files`"),
    "413 early": Fault(early(413), r"refused `ROUTE` \(413\).*`ignore_files`"),
    "422": Fault(telling(422), r"refused `ROUTE` \(422\)"),
    "401 twice": Fault(telling(401), r"refuses `ROUTE` for this user \(401\)", requests=2),
    "429 for ever": Fault(telling(429), r"refused `ROUTE` \(429\).*later", requests=4),
    "503 for ever": Fault(
        telling(503, {"Retry-After": "0"}), r"refused `ROUTE` \(503\).*later", requests=4
    ),
    "503 of a gateway": Fault(telling(503), r"failed at `ROUTE` \(503\)", doubt=True),
    "408": Fault(telling(408), r"failed at `ROUTE` \(408\)", doubt=True),
    "503, long": Fault(
        telling(503, {"Retry-After": "7200"}), r"answered 503.*after the deadline of 30 minutes"
    ),
    "500": Fault(telling(500), r"failed at `ROUTE` \(500\): Oops", doubt=True),
    "500 JSON": Fault(telling_json(500), r"failed at `ROUTE` \(500\): Nope", doubt=True),
    "502": Fault(telling(502), r"failed at `ROUTE` \(502\)", doubt=True),
    "504": Fault(answering(504), r"\(504\), and does not say why", doubt=True),
    "520": Fault(telling(520), r"failed at `ROUTE` \(520\)", doubt=True),
    "200 error": Fault(telling_json(200), r"refused `ROUTE` \(200\): Nope"),
    "200 broken JSON": Fault(answering(200, '{"status": "succ'), "is not JSON", doubt=True),
    "200 list": Fault(answering(200, [{"status": "success"}]), "not a JSON object", doubt=True),
    "200 null": Fault(answering(200, "null"), "is not JSON", doubt=True),
    "200 nothing": Fault(answering(200), "is not JSON", doubt=True),
    "200 without a status": Fault(answering(200, {"fine": 1}), "cannot be used", doubt=True),
    "200 without success": Fault(answering(200, {"status": "no"}), "cannot be used", doubt=True),
    "204": Fault(answering(204), "is not JSON", doubt=True),
    "301": Fault(
        answering(301, headers={"Location": "http://127.0.0.2/elsewhere"}),
        "redirects `ROUTE` to http://127.0.0.2/elsewhere, and the token is not sent on",
        doubt=True,
    ),
    "303": Fault(answering(303), "redirects `ROUTE` to an unnamed place", doubt=True),
    "reset after the body": Fault(wire_server.reset_after_body, "was cut", doubt=True),
    "closed after the body": Fault(
        wire_server.close_after_body, "closed without an answer", doubt=True
    ),
    "hangs": Fault(wire_server.hang, "no data was transferred for too long", doubt=True),
    "too large": Fault(wire_server.too_large, "answer is larger than 16 MiB", doubt=True),
    "truncated": Fault(wire_server.truncated, "answer ends too early", doubt=True),
    "half a chunk": Fault(wire_server.half_chunked, "answer ends too early", doubt=True),
    "garbage": Fault(wire_server.garbage, "the answer is not HTTP", doubt=True),
    "badly compressed": Fault(wire_server.badly_compressed, "not compressed", doubt=True),
}
# On an upload, where there is no other way to do what it does.
ROUTE_FAULTS: Final[Mapping[str, Fault]] = {
    "404": Fault(not_found, r"has no `ROUTE` \(404\)"),
    "405": Fault(answering(405), r"has no `ROUTE` \(405\)"),
    "200 HTML": Fault(
        telling(200), "answers `ROUTE` with a web page, as if it had no such", doubt=True
    ),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses and time-outs: the action builds its transport itself."""
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(settling, "_SOON", (0.0, 0.001))
    monkeypatch.setattr(transport, "READ_TIMEOUT", 0.4)
    monkeypatch.setattr(transport, "UPLOAD_ANSWER_TIMEOUT", 0.4)


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


CASES = [
    (route, name)
    for route in CHANGES
    for name in FAULTS
    # The result of a backtest may be twenty times as large as any other answer.
    if (route, name) != (BACKTEST, "too large")
] + [(route, name) for route in (DEPLOY, BACKTEST) for name in ROUTE_FAULTS]


@pytest.mark.parametrize(("route", "name"), CASES)
def test_nothing_is_done_twice(runner: Runner, wire: StartWire, route: str, name: str) -> None:
    fault, known = {**FAULTS, **ROUTE_FAULTS}[name], Secrets.new()
    server = wire({**good_server(known), route: fault.handler})
    ended = run(runner, server.url, known, route)
    error = assert_failed(ended, known)
    assert server.count(route) == fault.requests
    assert re.search(fault.words.replace("ROUTE", route), error)
    assert (MAY_EXIST[route] in error) == fault.doubt
    assert ("before you run this again" in error) == fault.doubt
    assert server.url in error
    if route in {CREATE_MODEL, CREATE_PROJECT}:
        assert server.count(DEPLOY) == 0, "what comes after a failure is not tried"


@pytest.mark.parametrize("route", CHANGES)
def test_an_expired_token_is_renewed_once(runner: Runner, wire: StartWire, route: str) -> None:
    """The request is sent again with the new token, and succeeds."""
    known, second = Secrets.new(), Secrets.new()
    handlers = good_server(known)
    renewed = answering(200, {"idToken": second.id_token, "data": {"user_id": "user-1"}})
    handlers[SIGN_IN] = in_turn(handlers[SIGN_IN], renewed)
    handlers[route] = in_turn(answering(401, "<html>"), handlers[route])
    server = wire(handlers)
    ended = run(runner, server.url, known, route)
    assert ended.code == 0
    tokens = [one.headers["token"] for one in server.seen if one.route == route]
    assert tokens == [known.id_token, second.id_token]
    assert server.count(SIGN_IN) == 2
    assert_nothing_leaked(ended, known)
    assert_nothing_leaked(ended, second)


@pytest.mark.parametrize("route", CHANGES)
@pytest.mark.parametrize("status", [429, 503])
def test_a_change_is_sent_again_to_a_busy_server(
    runner: Runner, wire: StartWire, route: str, status: int
) -> None:
    """With these answers the server says that it did nothing."""
    known = Secrets.new()
    handlers = good_server(known)
    handlers[route] = in_turn(telling(status, {"Retry-After": "0"}), handlers[route])
    server = wire(handlers)
    ended = run(runner, server.url, known, route)
    assert ended.code == 0
    assert server.count(route) == 2
    assert f"{server.url} answered {status}. Trying again in" in ended.log


@pytest.mark.parametrize("route", READS)
@pytest.mark.parametrize(
    "name", ["500", "503 for ever", "reset after the body", "hangs", "garbage"]
)
def test_a_read_that_keeps_failing_stops_the_run(
    runner: Runner, wire: StartWire, route: str, name: str
) -> None:
    known = Secrets.new()
    server = wire({**good_server(known), route: FAULTS[name].handler})
    ended = run(runner, server.url, known, route)
    error = assert_failed(ended, known)
    assert server.count(route) == 4
    assert [server.count(change) for change in CHANGES] == [0, 0, 0, 0]
    assert "may or may not exist" not in error


@pytest.mark.parametrize("route", READS)
@pytest.mark.parametrize(
    "name", ["500", "502", "503 for ever", "truncated", "closed after the body"]
)
def test_a_read_that_fails_once_goes_unnoticed(
    runner: Runner, wire: StartWire, route: str, name: str
) -> None:
    known = Secrets.new()
    handlers = good_server(known)
    handlers[route] = in_turn(FAULTS[name].handler, handlers[route])
    server = wire(handlers)
    ended = run(runner, server.url, known, route)
    assert ended.code == 0
    assert server.count(route) == 2
    assert server.count(DEPLOY) == 1


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


def test_a_redirect_gets_no_token(runner: Runner, wire: StartWire) -> None:
    """The server at the new place is not the one that was named."""
    known, elsewhere = Secrets.new(), wire({})
    moved = answering(307, headers={"Location": elsewhere.url + "/model/deploy"})
    for route in (SIGN_IN, "POST /project/plans", CREATE_MODEL, DEPLOY):
        server = wire({**good_server(known), route: moved})
        error = assert_failed(run(runner, server.url, known, route), known)
        assert f"redirects `{route}` to {elsewhere.url}/model/deploy" in error
    assert elsewhere.seen == []


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
