from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploy_action.backtest.runs_on import RunsOn
from deploy_action.deployment_api.answers import (
    RouteMissingError,
    WebPageError,
    _clip,
    _text,
    id_of,
)
from deploy_action.deployment_api.bodies import Upload
from deploy_action.deployment_api.client import (
    DeploymentApi,
    Model,
    Project,
    Submission,
    TokenRefusedError,
)
from deploy_action.deployment_api.live import LiveApi
from deploy_action.deployment_api.retry_rules import BrokenExchangeError
from deploy_action.deployment_api.transport import Transport
from deploy_action.errors import DeployActionError, Problem, RefusedError
from deploy_action.http.exchange import Answer, Retries
from deploy_action.interruption import Deadline
from tests.support.scripted_server import (
    DEPLOYED,
    ID_TOKEN,
    Reply,
    Request,
    ScriptedServer,
    StartScripted,
)
from tests.support.scripted_server import SIGN_IN as SIGNED_IN

SIGN_IN = "POST /auth/token"
DEPLOY = "POST /model/deploy"
BACKTEST = "POST /model/backtest"

SUBMISSION = Submission(
    project_id="project-1",
    model_id="model-1",
    model_name="Trend",
    model_type="strategy",
    general_description="Follows the trend",
    description="Größer: 中文 🚀\n\nzweite Zeile",
    runs_on=RunsOn(
        plan="nano",
        python_version="3.10",
        arguments={"to": "1y", "symbols": ["BTC-USD"], "name": "Zoë"},
    ),
)

NEW = Submission(
    project_id="project-1",
    model_id=None,
    model_name="Trend",
    model_type="screener",
    general_description="Follows the trend",
    description="First",
    runs_on=RunsOn(plan="nano", python_version="3.10", schedule="0 9 * * 1-5"),
)


def make_api(url: str, on_secret: Callable[[str], None] = lambda _secret: None) -> DeploymentApi:
    retries = Retries(Deadline.after(1), pause=lambda _seconds: None)
    transport = Transport(url, retries)
    return DeploymentApi(transport, secrets.token_hex(), on_secret)


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    file = tmp_path / "model.zip"
    file.write_bytes(b"a zip")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Upload(file, digest, lambda _done, _total: None)


def jwt(claims: object) -> str:
    """Return a token with these claims and an invalid signature."""
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()) for one in ({"alg": "x"}, claims)]
    return ".".join([*(part.decode().rstrip("=") for part in parts), "signature"])


# --------------------------------------------------------------------------- sign-in


def test_the_refresh_token_is_exchanged_for_an_id_token(scripted: StartScripted) -> None:
    server, told = scripted({"GET /project/list": Reply(body=[])}), list[str]()
    api = make_api(server.url, told.append)
    api.sign_in()
    api.projects()
    first, second = server.requests
    assert first.fields == {"refreshToken": api.refresh_token}
    assert "token" not in first.headers
    assert second.headers["token"] == ID_TOKEN
    assert told == [ID_TOKEN]
    assert api.personal_project_id() == "user-1"


def test_the_first_call_signs_in_by_itself(scripted: StartScripted) -> None:
    server = scripted({"GET /project/list": Reply(body=[])})
    assert make_api(server.url).projects() == ()
    assert server.routes() == [SIGN_IN, "GET /project/list"]


@pytest.mark.parametrize("claim", ["user_id", "sub"])
def test_the_user_is_read_from_the_id_token(scripted: StartScripted, claim: str) -> None:
    """The documented answer has only the `idToken`."""
    server = scripted({SIGN_IN: Reply(body={"idToken": jwt({claim: "user-7"})})})
    api = make_api(server.url)
    api.sign_in()
    assert api.personal_project_id() == "user-7"


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b.c", "a.!!!.c", jwt([]), jwt({"sub": {}}), "..", "a." + "W1tb" * 9 + ".c"],
)
def test_a_token_without_a_user_leaves_the_personal_project_unknown(
    scripted: StartScripted, token: str
) -> None:
    server = scripted({SIGN_IN: Reply(body={"idToken": token})})
    api = make_api(server.url)
    api.sign_in()
    with pytest.raises(RefusedError, match=r"does not say who the user is") as caught:
        api.personal_project_id()
    assert "`project-id`" in caught.value.problems[0].hint


def google(code: str) -> dict[str, object]:
    """Return an error of Google's secure-token API, which the original server passes on."""
    return {"error": {"code": 400, "message": code, "status": "INVALID_ARGUMENT"}}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply(401, "Error"), "answered 401: Error"),
        (Reply(401, ""), r"answered 401\)"),
        (Reply(400, google("TOKEN_EXPIRED")), "answered 400: TOKEN_EXPIRED"),
        (Reply(400, google("USER_DISABLED")), "answered 400: USER_DISABLED"),
    ],
)
def test_a_bad_refresh_token_is_reported(
    scripted: StartScripted, answer: Reply, words: str
) -> None:
    """The original server answers with the text `Error`."""
    server = scripted({SIGN_IN: answer})
    with pytest.raises(TokenRefusedError, match=f"does not accept the token .*{words}") as caught:
        make_api(server.url).sign_in()
    hint = caught.value.problems[0].hint
    assert "PLATFORM_TOKEN" in hint
    assert "blankly-deploy login" not in hint  # that is for a hosted service
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply(403, {"error": "This IP address is not allowed"}), "This IP address is not allowed"),
        (Reply(403, "<html><style>x</style><h1>Blocked</h1> by ACME Firewall"), "by ACME Firewall"),
        (Reply(400, {"error": "Missing required argument: refreshToken"}), "Missing required"),
        (Reply(400, google("PROJECT_NUMBER_MISMATCH")), "PROJECT_NUMBER_MISMATCH"),
    ],
)
def test_other_refusals_of_a_sign_in_show_the_servers_words(
    scripted: StartScripted, answer: Reply, words: str
) -> None:
    """To look for another token would be the wrong way."""
    server = scripted({SIGN_IN: answer})
    with pytest.raises(RefusedError, match=rf"refused `POST /auth/token` .*{words}") as caught:
        make_api(server.url).sign_in()
    assert not isinstance(caught.value, TokenRefusedError)
    assert "does not say that the token is wrong" in caught.value.problems[0].hint


def test_a_server_without_sign_in_is_reported_as_no_deployment_api(scripted: StartScripted) -> None:
    server = scripted({SIGN_IN: Reply(404, "<html>nginx</html>")})
    with pytest.raises(RouteMissingError, match=r"has no `POST /auth/token` \(404\)") as caught:
        make_api(server.url).sign_in()
    assert "names a Deployment API" in caught.value.problems[0].hint


def test_the_error_says_that_the_hosted_service_is_gone(
    scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can repair the default address, so the message names the two alternatives."""
    server = scripted({SIGN_IN: Reply(200, "<!doctype html>For sale")})
    monkeypatch.setattr("deploy_action.deployment_api.answers.HOSTED_API_URL", server.url)
    with pytest.raises(RouteMissingError, match=r"answers .* with a web page") as caught:
        make_api(server.url).sign_in()
    assert "taken down" in caught.value.problems[0].hint


# --------------------------------------------------------------------------- looking up


def test_projects_are_read_with_either_name_of_the_id(scripted: StartScripted) -> None:
    """A project without an id cannot be deployed to, and is left out."""
    listed = [
        {"projectId": "p-1", "name": "Fund"},
        {"id": 7, "name": None},
        {"name": "no id"},
        "nonsense",
    ]
    server = scripted({"GET /project/list": Reply(body=listed)})
    assert make_api(server.url).projects() == (Project("p-1", "Fund"), Project("7", ""))


@pytest.mark.parametrize("listed", [[{}], [{"status": "success"}], ["m-1"], [[]], [{"id": ""}]])
def test_a_list_of_something_else_is_not_taken_for_an_empty_one(
    scripted: StartScripted, listed: list[object]
) -> None:
    """Another model would be made, and run beside the one that the list does not name."""
    routes = ("POST /model/list", "GET /project/list", "GET /project/teams")
    api = make_api(scripted({route: Reply(body=listed) for route in routes}).url)
    for read in (lambda: api.models("p-1"), api.projects, api.teams):
        with pytest.raises(BrokenExchangeError, match="no entry of its list has an id"):
            read()


def test_models_are_read(scripted: StartScripted) -> None:
    listed = [{"id": "m-1", "name": "Trend", "type": "strategy"}, {"modelId": "m-2"}, {}]
    server = scripted({"POST /model/list": Reply(body=listed)})
    models = make_api(server.url).models("p-1")
    assert models == (Model("m-1", "Trend", "strategy"), Model("m-2", "", ""))
    assert server.requests[-1].fields == {"projectId": "p-1"}


def test_only_plans_for_live_models_are_read(scripted: StartScripted) -> None:
    server = scripted({"POST /project/plans": Reply(body={"nano": {"cpu": 100}, "slow": {}})})
    assert make_api(server.url).plans() == {"nano", "slow"}
    assert server.requests[-1].fields == {"type": "live"}


@pytest.mark.parametrize(
    "reply", [Reply(404, "<html>"), Reply(405), Reply(501), Reply(200, "<!DOCTYPE html>")]
)
def test_routes_of_later_servers_may_be_missing(scripted: StartScripted, reply: Reply) -> None:
    """The documentation has no route for plans, for listing models or for creating them."""
    routes = ("POST /project/plans", "POST /model/list", "POST /model/create-model")
    server = scripted(dict.fromkeys(routes, reply))
    api = make_api(server.url)
    assert api.plans() == frozenset()
    assert api.create_model(NEW) is None
    if reply.body == "<!DOCTYPE html>":
        with pytest.raises(WebPageError, match=r"answers `POST /model/list` with a web page"):
            api.models("p-1")
    else:
        assert api.models("p-1") == ()


@pytest.mark.parametrize(
    "reply", [Reply(body={"error": "User not found"}), Reply(400, {"error": "x"})]
)
def test_an_error_in_an_answer_counts_in_any_status(scripted: StartScripted, reply: Reply) -> None:
    """The server also sends `{error}` with status 200."""
    server = scripted({"GET /project/list": reply})
    with pytest.raises(RefusedError, match="refused `GET /project/list`"):
        make_api(server.url).projects()


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ("Invalid permission.", "`project-id`"),
        ("This modelId was not found under this project.", "`create-new: true`"),
        ("The specified type does not match the model type.", "`type` in `blankly.json`"),
        ("Something else", "Correct what the server names"),
    ],
)
def test_the_servers_known_errors_have_a_hint(
    scripted: StartScripted, upload: Upload, said: str, way_out: str
) -> None:
    server = scripted({DEPLOY: Reply(400, {"error": said})})
    with pytest.raises(RefusedError) as caught:
        make_api(server.url).deploy(SUBMISSION, upload)
    assert said in str(caught.value)
    assert way_out in caught.value.problems[0].hint
    assert not caught.value.may_have_acted


# --------------------------------------------------------------------------- changing


def test_a_project_is_created(scripted: StartScripted) -> None:
    body = {"name": "Fund", "status": "created", "createdAt": 1, "projectId": "p-9"}
    server = scripted({"POST /project/create": Reply(body=body)})
    assert make_api(server.url).create_project("Fund", "Ours") == Project("p-9", "Fund")
    assert server.requests[-1].fields == {"name": "Fund", "description": "Ours"}


def test_a_model_is_created(scripted: StartScripted) -> None:
    server = scripted(
        {"POST /model/create-model": Reply(body={"status": "success", "modelId": "m-9"})}
    )
    assert make_api(server.url).create_model(NEW) == "m-9"
    assert server.requests[-1].fields == {
        "projectId": "project-1",
        "type": "screener",
        "name": "Trend",
        "description": "Follows the trend",
    }


@pytest.mark.parametrize("route", ["POST /project/create", "POST /model/create-model"])
def test_a_creation_without_an_id_is_in_doubt(scripted: StartScripted, route: str) -> None:
    """It is useless, and must not be repeated."""
    server = scripted({route: Reply(body={"status": "success"})})
    api = make_api(server.url)
    with pytest.raises(BrokenExchangeError, match="Id\\.") as caught:
        api.create_project("a", "b") if "project" in route else api.create_model(NEW)
    assert caught.value.may_have_acted
    assert len(server.requests_to(route)) == 1


def test_a_deploy_sends_what_is_documented_and_what_is_required(
    scripted: StartScripted, upload: Upload
) -> None:
    server = scripted()

    accepted = make_api(server.url).deploy(SUBMISSION, upload)

    request = server.requests_to(DEPLOY)[0]
    assert request.fields == {
        "plan": "nano",
        "name": "Trend",
        "modelId": "model-1",
        "projectId": "project-1",
        "generalDescription": "Follows the trend",
        "versionDescription": "Größer: 中文 🚀\n\nzweite Zeile",
        "createNew": "false",
        "pythonVersion": "3.10",
        "type": "strategy",
    }
    assert request.file == b"a zip"
    assert accepted.model_id == "model-1"
    assert accepted.version_id == "11111111-2222-3333-4444-555555555555"
    assert accepted.backtest_id is None


def test_a_screener_is_deployed_with_its_schedule(scripted: StartScripted, upload: Upload) -> None:
    server = scripted()
    accepted = make_api(server.url).deploy(NEW, upload)
    fields = server.requests_to(DEPLOY)[0].fields
    assert fields["schedule"] == "0 9 * * 1-5"
    assert fields["type"] == "screener"
    assert fields["createNew"] == "true"
    assert "modelId" not in fields
    assert accepted.model_id == "model-1"


def test_backtest_arguments_have_both_names(scripted: StartScripted, upload: Upload) -> None:
    """The server requires one name and reads the other."""
    server = scripted({BACKTEST: Reply(body={**_deployed(), "backtestId": "b-1"})})

    accepted = make_api(server.url).backtest(SUBMISSION, upload)

    fields = dict(server.requests_to(BACKTEST)[0].fields)
    arguments = fields.pop("backtestArgs")
    assert fields.pop("backtestingArgs") == arguments
    assert json.loads(arguments) == {"to": "1y", "symbols": ["BTC-USD"], "name": "Zoë"}
    assert fields == {
        "plan": "nano",
        "name": "Trend",
        "modelId": "model-1",
        "projectId": "project-1",
        "generalDescription": "Follows the trend",
        "backtestDescription": "Größer: 中文 🚀\n\nzweite Zeile",
        "createNew": "false",
        "pythonVersion": "3.10",
        "type": "strategy",
    }
    assert accepted.backtest_id == "b-1"


def test_a_backtest_says_of_which_pull_request_it_is(
    scripted: StartScripted, upload: Upload
) -> None:
    server = scripted({BACKTEST: Reply(body={**_deployed(), "backtestId": "b-1"})})
    make_api(server.url).backtest(replace(SUBMISSION, price_scope="pull/7"), upload)
    assert server.requests_to(BACKTEST)[0].fields["priceScope"] == "pull/7"


def _deployed() -> dict[str, object]:
    assert isinstance(DEPLOYED.body, dict)
    return DEPLOYED.body


@pytest.mark.parametrize(
    "body",
    [
        {"status": "success"},
        {"versionId": "v-1"},
        {"status": "success", "error": None},
        {"status": "success", "error": "", "versionId": "v-1"},
    ],
)
def test_an_upload_succeeds_with_a_status_or_a_version(
    scripted: StartScripted, upload: Upload, body: object
) -> None:
    server = scripted({DEPLOY: Reply(201, body)})
    assert make_api(server.url).deploy(SUBMISSION, upload).model_id == "model-1"


@pytest.mark.parametrize("body", [{}, {"status": "pending"}, {"status": None, "versionId": "v"}])
def test_an_upload_without_success_is_in_doubt(
    scripted: StartScripted, upload: Upload, body: object
) -> None:
    server = scripted({DEPLOY: Reply(200, body)})
    with pytest.raises(BrokenExchangeError, match="it reports no success") as caught:
        make_api(server.url).deploy(SUBMISSION, upload)
    assert caught.value.may_have_acted
    assert len(server.requests_to(DEPLOY)) == 1


# --------------------------------------------------------------------------- any answer


@pytest.fixture(scope="module")
def echo() -> Iterator[ScriptedServer]:
    """Shared by all examples of the module: its script is what the test puts into it."""
    with ScriptedServer() as server:
        yield server


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "status", "idToken", "modelId", "versionId", "projectId", "id", "name"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
BODIES = JSON.map(json.dumps) | st.text() | st.binary(max_size=60)
CALLS: dict[str, Callable[[DeploymentApi, Upload], object]] = {
    SIGN_IN: lambda api, _: api.sign_in(),
    "GET /project/list": lambda api, _: api.projects(),
    "POST /project/plans": lambda api, _: api.plans(),
    "POST /model/list": lambda api, _: api.models("p"),
    "POST /project/create": lambda api, _: api.create_project("a", "b"),
    "POST /model/create-model": lambda api, _: api.create_model(NEW),
    "POST /model/details": lambda api, _: LiveApi(api, "p", "m").describe(),
    DEPLOY: lambda api, upload: api.deploy(SUBMISSION, upload),
    BACKTEST: lambda api, upload: api.backtest(SUBMISSION, upload),
}


@pytest.mark.parametrize("route", CALLS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(status=200, body='{"status": []}')
@given(status=st.sampled_from([200, 201, 204, 302, 400, 404, 418, 500, 503]), body=BODIES)
def test_any_answer_is_used_or_refused_with_a_message(
    echo: ScriptedServer, upload: Upload, route: str, status: int, body: bytes | str
) -> None:
    encoded = body if isinstance(body, bytes) else body.encode("utf-8", "replace")
    echo.script = {SIGN_IN: SIGNED_IN, route: Reply(status, b"" if status == 204 else encoded)}
    api = make_api(echo.url)
    problems: tuple[Problem, ...] = ()
    try:
        CALLS[route](api, upload)
    except DeployActionError as error:
        problems = error.problems
    api.transport.close()
    for problem in problems:
        assert problem.hint
        assert len(problem.message) < 1_000
        assert problem.message.isprintable()


@example("x" * 200)
@example("x" * 201)
@example("0" * 201 + "\n")
@given(st.text(max_size=400) | st.integers() | st.booleans() | JSON)
def test_an_identifier_that_is_long_or_not_printable_is_ignored(value: object) -> None:
    found = id_of({"id": value}, "missing", "id")
    assert found is None or (found.strip() and found.isprintable() and len(found) <= 200)
    if isinstance(value, bool):
        assert found is None
    elif isinstance(value, int) and abs(value) < 10**100:
        assert found == str(value)


@given(st.text(max_size=2_000))
def test_a_quote_is_one_short_printable_line(text: str) -> None:
    quoted = _clip(text)
    assert quoted.isprintable()
    assert len(quoted) <= 300
    assert quoted == quoted.strip()


def test_a_page_is_quoted_without_its_markup() -> None:
    page = (
        "<html><head><style>a > b {}</style><script>if (a < b) {}</script></head>"
        "<body class='x'><h1>502</h1>\n<p>Bad   gateway</p><script>unclosed"
    )
    assert _clip(_text(Answer(502, page.encode()))) == "502 Bad gateway"


def test_a_page_of_brackets_is_read_quickly() -> None:
    """A regular expression that searches for the end of each tag would take minutes."""
    started = time.process_time()
    assert _text(Answer(500, b"<" * 10_000_000))[:3] == "<<<"
    assert time.process_time() - started < 30


def test_a_secret_on_the_edge_of_a_quote_is_hidden(scripted: StartScripted) -> None:
    """Half a secret would not be recognised."""
    for width in range(0, 320, 16):

        def tell(request: Request, width: int = width) -> Reply:
            return Reply(400, {"error": f"{'x' * width} {request.headers['token']}"})

        server = scripted({"GET /project/list": tell})

        with pytest.raises(RefusedError) as caught:
            make_api(server.url).projects()

        assert ID_TOKEN[:6] not in str(caught.value)
