"""What a run looks up, creates and uploads, through the whole action."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.scripted_server import (
    DEPLOYED,
    ID_TOKEN,
    NOT_FOUND,
    CutAfterBody,
    Reply,
    ScriptedServer,
    StartScripted,
)

SIGN_IN = "POST /auth/token"
PROJECTS = "GET /project/list"
TEAMS = "GET /project/teams"
PLANS = "POST /project/plans"
DETAILS = "POST /model/details"
OPENAPI = "GET /openapi.json"
MODELS = "POST /model/list"
CREATE_PROJECT = "POST /project/create"
CREATE_MODEL = "POST /model/create-model"
DEPLOY = "POST /model/deploy"
BACKTEST = "POST /model/backtest"

MADE_MODEL = Reply(body={"status": "success", "modelId": "model-9"})
MADE_PROJECT = Reply(body={"status": "created", "projectId": "project-9", "name": "Fund"})
VERSION = "11111111-2222-3333-4444-555555555555"


def run(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"api_url": server.url, "token": "refresh-token", "app_url": "https://app.example"}
    return runner.run(**{**given, "version_description": "First", **inputs})


def error_of(ended: Ended, code: int = 1) -> str:
    assert ended.code == code
    assert ended.outputs["status"] == "failed"
    errors = [line for line in ended.annotations if line.startswith("::error")]
    assert len(errors) == 1
    return errors[0]


def notices(ended: Ended) -> list[str]:
    return [line for line in ended.annotations if line.startswith("::notice")]


def accepted(**changes: object) -> Reply:
    assert isinstance(DEPLOYED.body, dict)
    return Reply(body={**DEPLOYED.body, **changes})


# --------------------------------------------------------------------------- what is sent


def test_a_deploy_makes_these_requests(runner: Runner, scripted: StartScripted) -> None:
    server = scripted()

    ended = run(
        runner, server, project_id="p-1", model_id="m-1", plan="small", python_version="3.9"
    )

    assert ended.code == 0
    assert server.routes() == [SIGN_IN, PLANS, OPENAPI, DETAILS, DEPLOY, DETAILS]
    assert server.requests[0].fields == {"refreshToken": "refresh-token"}
    (request,) = server.requests_to(DEPLOY)
    assert request.headers["token"] == ID_TOKEN
    assert request.fields == {
        "plan": "small",
        "name": "workspace",
        "modelId": "m-1",
        "projectId": "p-1",
        "generalDescription": "trader/models",
        "versionDescription": "First",
        "createNew": "false",
        "pythonVersion": "3.9",
        "type": "strategy",
    }
    with zipfile.ZipFile(io.BytesIO(request.file)) as bundle:
        assert json.loads(bundle.read("model/blankly.json"))["main_script"] == "./bot.py"
    assert ended.outputs["version-id"] == VERSION
    assert ended.outputs["url"] == "https://app.example/p-1/model-1/overview"
    assert ended.outputs["project-id"] == "p-1"


def test_descriptions_keep_every_character(runner: Runner, scripted: StartScripted) -> None:
    server = scripted()
    text = "Größer: 中文 🚀 & = % +\n\n- zweite Zeile\tTab"

    ended = run(
        runner,
        server,
        model_id="m-1",
        model_name="トレンド 🚀",
        general_description=text,
        version_description=text,
    )

    fields = server.requests_to(DEPLOY)[0].fields
    assert ended.code == 0
    assert fields["name"] == "トレンド 🚀"
    assert fields["generalDescription"] == fields["versionDescription"] == text
    assert ended.outputs["description"] == text


def test_a_backtest_makes_these_requests(runner: Runner, scripted: StartScripted) -> None:
    server = scripted({BACKTEST: accepted(backtestId="b-1")})

    ended = run(
        runner,
        server,
        mode="backtest",
        project_id="p-1",
        model_id="m-1",
        backtest_description="Try",
        backtest_args="{to: 2y, name: Zoë}",
    )

    assert ended.code == 0
    assert server.routes() == [SIGN_IN, PLANS, DETAILS, BACKTEST]
    fields = server.requests[-1].fields
    assert fields["backtestDescription"] == "Try"
    assert json.loads(fields["backtestArgs"]) == {"to": "2y", "name": "Zoë"}
    assert fields["backtestingArgs"] == fields["backtestArgs"]
    assert "versionDescription" not in fields
    assert ended.outputs["status"] == "backtested"
    assert ended.outputs["backtest-id"] == "b-1"
    assert ended.outputs["url"] == "https://app.example/p-1/model-1/backtests"


# --------------------------------------------------------------------------- the project


@pytest.mark.parametrize("claims", [None, {"user_id": "user-1"}, {"sub": "user-1"}])
def test_without_a_project_the_personal_one_is_used(
    runner: Runner, scripted: StartScripted, claims: object
) -> None:
    """Its id is the user's, from the answer to the sign-in or from the token in it."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    answer = Reply(body={"idToken": f"e30.{part}.sig"})
    server = scripted({SIGN_IN: answer} if claims else None)
    ended = run(runner, server, model_id="m-1")
    assert server.requests_to(DEPLOY)[0].fields["projectId"] == "user-1"
    assert ended.outputs["project-id"] == "user-1"


def test_an_unknown_user_has_no_project(runner: Runner, scripted: StartScripted) -> None:
    server = scripted({SIGN_IN: Reply(body={"idToken": "opaque"})})
    assert "does not say who the user is" in error_of(run(runner, server, model_id="m-1"))
    assert server.routes() == [SIGN_IN]


def test_an_input_overrides_the_manifest(runner: Runner, scripted: StartScripted) -> None:
    write_model(runner.workspace, project_id="p-file", model_id="m-file")
    server = scripted()
    run(runner, server)
    run(runner, server, project_id="p-input", model_id="m-input")
    sent = [one.fields for one in server.requests_to(DEPLOY)]
    assert [(one["projectId"], one["modelId"]) for one in sent] == [
        ("p-file", "m-file"),
        ("p-input", "m-input"),
    ]


def test_a_project_is_found_by_name(runner: Runner, scripted: StartScripted) -> None:
    projects = [{"projectId": "p-1", "name": "Fund"}, {"projectId": "p-2", "name": "Fund two"}]
    server = scripted({PROJECTS: Reply(body=projects)})
    ended = run(runner, server, project_name="Fund", model_id="m-1")
    assert ended.code == 0
    assert ended.outputs["project-id"] == "p-1"
    assert server.requests_to(PROJECTS)[0].headers["token"] == ID_TOKEN
    assert CREATE_PROJECT not in server.routes()


def test_a_team_is_found_by_name(runner: Runner, scripted: StartScripted) -> None:
    """The original server lists it apart, and takes models only there."""
    teams = Reply(body=[{"id": "team-1", "name": "Fund"}, {"id": "team-2", "name": "Other"}])
    server = scripted({PROJECTS: Reply(body=[]), TEAMS: teams})
    ended = run(runner, server, project_name="Fund", model_id="m-1", create_new="true")
    assert ended.code == 0
    assert ended.outputs["project-id"] == "team-1"
    assert CREATE_PROJECT not in server.routes()


def test_a_new_project_that_takes_no_models_is_explained(
    runner: Runner, scripted: StartScripted
) -> None:
    """As on the original server, which takes them only in the personal project and in teams."""
    refused = Reply(400, {"error": "Invalid permission."})
    server = scripted(
        {PROJECTS: Reply(body=[]), CREATE_PROJECT: MADE_PROJECT, CREATE_MODEL: refused}
    )
    error = error_of(run(runner, server, project_name="Fund", create_new="true"))
    assert f"{server.url} made the project `Fund`, and takes no models in it" in error
    assert "personal project or a team" in error
    assert "Remove `project-name`" in error


def test_two_projects_of_one_name_are_an_error(runner: Runner, scripted: StartScripted) -> None:
    projects = [{"projectId": f"p-{number}", "name": "Fund"} for number in (1, 2)]
    server = scripted({PROJECTS: Reply(body=projects)})
    error = error_of(run(runner, server, project_name="Fund", model_id="m-1", create_new="true"))
    assert "2 projects are named `Fund`: `p-1`, `p-2`." in error
    assert "`project-id`" in error
    assert DEPLOY not in server.routes()


@pytest.mark.parametrize(("projects", "known"), [([], "none"), (["A", "B"], "`A`, `B`")])
def test_an_absent_project_needs_permission(
    runner: Runner, scripted: StartScripted, projects: list[str], known: str
) -> None:
    listed = [{"projectId": name, "name": name} for name in projects]
    server = scripted({PROJECTS: Reply(body=listed)})
    error = error_of(run(runner, server, project_name="Fund", model_id="m-1"))
    assert f"There is no project named `Fund`. The projects of this user: {known}." in error
    assert "`create-new: true`" in error
    assert server.routes() == [SIGN_IN, PROJECTS, TEAMS]


@pytest.mark.parametrize("description", ["", "All we trade"])
def test_an_absent_project_is_created_when_allowed(
    runner: Runner, scripted: StartScripted, description: str
) -> None:
    server = scripted(
        {PROJECTS: Reply(body=[]), CREATE_PROJECT: MADE_PROJECT, CREATE_MODEL: MADE_MODEL}
    )

    ended = run(
        runner, server, project_name="Fund", project_description=description, create_new="true"
    )

    assert ended.code == 0
    made = [CREATE_PROJECT, CREATE_MODEL, DETAILS, DEPLOY]
    assert server.routes() == [SIGN_IN, PROJECTS, TEAMS, PLANS, OPENAPI, *made, DETAILS]
    fields = server.requests_to(CREATE_PROJECT)[0].fields
    assert fields == {"name": "Fund", "description": description or "Fund"}
    assert server.requests_to(CREATE_MODEL)[0].fields["projectId"] == "project-9"
    assert server.requests_to(DEPLOY)[0].fields["projectId"] == "project-9"
    assert ended.outputs["project-id"] == "project-9"
    assert "Set `project-id: project-9`" in notices(ended)[0]


# --------------------------------------------------------------------------- the model


def test_a_model_is_created_before_the_upload_if_the_server_can(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted({MODELS: Reply(body=[]), CREATE_MODEL: MADE_MODEL})
    ended = run(runner, server, project_id="p-1", create_new="true", general_description="Ours")
    assert ended.code == 0
    assert server.requests_to(MODELS)[0].fields == {"projectId": "p-1"}
    assert server.requests_to(CREATE_MODEL)[0].fields == {
        "projectId": "p-1",
        "type": "strategy",
        "name": "workspace",
        "description": "Ours",
    }
    fields = server.requests_to(DEPLOY)[0].fields
    assert (fields["modelId"], fields["createNew"]) == ("model-9", "false")
    assert "Set `model-id: model-9`" in notices(ended)[0]


PAGE = Reply(200, "<!DOCTYPE html><title>Back soon</title>")
DESCRIBED = Reply(body={"openapi": "3.1.0", "paths": {}})


@pytest.mark.parametrize(
    ("models", "create_model"),
    [
        (NOT_FOUND, NOT_FOUND),
        (Reply(405), Reply(405)),
        (Reply(404), Reply(404)),
        (Reply(404), PAGE),
        (Reply(body=[]), PAGE),
        (PAGE, PAGE),
        (PAGE, MADE_MODEL),  # not asked for: it could make a second one beside one that trades
    ],
)
def test_otherwise_the_upload_creates_the_model(
    runner: Runner, scripted: StartScripted, models: Reply, create_model: Reply
) -> None:
    """As documented: `createNew=true` and no id."""
    server = scripted({MODELS: models, CREATE_MODEL: create_model})
    ended = run(runner, server, project_id="p-1", create_new="true")
    assert ended.code == 0
    assert (CREATE_MODEL in server.routes()) == (models is not PAGE)
    fields = server.requests_to(DEPLOY)[0].fields
    assert fields["createNew"] == "true"
    assert "modelId" not in fields
    assert ended.outputs["model-id"] == "model-1"
    assert "Set `model-id: model-1`" in notices(ended)[0]


@pytest.mark.parametrize("models", [NOT_FOUND, PAGE])
def test_a_lost_upload_that_may_have_created_the_model_leaves_doubt(
    runner: Runner, scripted: StartScripted, models: Reply
) -> None:
    server = scripted({MODELS: models, CREATE_MODEL: NOT_FOUND, DEPLOY: CutAfterBody()})
    ended = run(runner, server, project_id="p-1", create_new="true")
    assert ended.code == 1
    assert len(server.requests_to(DEPLOY)) == 1
    assert ended.summary.startswith("## ❌ Perhaps deployed: `workspace`")


@pytest.mark.parametrize(
    "entry",
    [{"modelId": "m-9"}, {"modelId": "m-9", "modelName": "workspace"}, {"id": "m-9", "name": 7}],
)
def test_a_list_without_names_creates_no_model(
    runner: Runner, scripted: StartScripted, entry: dict[str, object]
) -> None:
    """The model may be in it, and trade."""
    server = scripted({MODELS: Reply(body=[entry]), CREATE_MODEL: MADE_MODEL})
    error = error_of(run(runner, server, project_id="p-1", create_new="true"))
    assert "no entry of its list has a name" in error
    assert not {CREATE_MODEL, DEPLOY} & set(server.routes())


def test_a_team_may_have_a_blank_name(runner: Runner, scripted: StartScripted) -> None:
    teams = Reply(body=[{"id": "t-1", "name": ""}])
    server = scripted({TEAMS: teams, PROJECTS: Reply(body=[{"projectId": "p-1", "name": "Fund"}])})
    assert run(runner, server, project_name="Fund", model_id="m-1").code == 0


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_a_page_instead_of_the_models_creates_none(
    runner: Runner, scripted: StartScripted, dry_run: str
) -> None:
    """A page about maintenance must not lead to a second model beside the one that trades."""
    server = scripted({MODELS: PAGE, CREATE_MODEL: MADE_MODEL, OPENAPI: DESCRIBED})
    error = error_of(run(runner, server, project_id="p-1", create_new="true", dry_run=dry_run))
    assert "answers `POST /model/list` with a web page" in error
    assert "not known whether there is a model `workspace` already" in error
    assert "set `model-id`" in error
    assert server.routes() == [SIGN_IN, PLANS, OPENAPI, MODELS]


def test_a_page_after_a_page_leaves_open_whether_the_model_was_made(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted({MODELS: [Reply(body=[]), PAGE], CREATE_MODEL: PAGE})
    error = error_of(run(runner, server, project_id="p-1", create_new="true"))
    assert "not known whether the model `workspace` was made" in error
    assert DEPLOY not in server.routes()


def test_a_page_instead_of_the_teams_creates_no_project(
    runner: Runner, scripted: StartScripted
) -> None:
    """The name may be that of a team."""
    lists = {TEAMS: PAGE, PROJECTS: Reply(body=[])}
    server = scripted({**lists, CREATE_PROJECT: MADE_PROJECT, OPENAPI: DESCRIBED})
    error = error_of(run(runner, server, project_name="Fund", create_new="true"))
    assert "not known whether there is a team `Fund` already" in error
    assert "set `project-id`" in error
    assert server.routes() == [SIGN_IN, PROJECTS, TEAMS, OPENAPI]


def test_a_project_that_is_listed_needs_no_teams(runner: Runner, scripted: StartScripted) -> None:
    listed = [{"projectId": "p-1", "name": "Fund"}]
    server = scripted({TEAMS: PAGE, PROJECTS: Reply(body=listed)})
    assert run(runner, server, project_name="Fund", model_id="m-1").code == 0
    assert server.requests_to(DEPLOY)[0].fields["projectId"] == "p-1"


@pytest.mark.parametrize("body", ["", '{"paths": {', "Welcome"])
def test_a_broken_description_stops_a_deploy(
    runner: Runner, scripted: StartScripted, body: str
) -> None:
    """Without the field for its commit, an older one could replace what runs."""
    server = scripted({OPENAPI: Reply(200, body)})
    error = error_of(run(runner, server, model_id="m-1"))
    assert "to `GET /openapi.json` cannot be used: it is not JSON" in error
    assert DEPLOY not in server.routes()


def test_a_missing_model_id_is_not_guessed(runner: Runner, scripted: StartScripted) -> None:
    server = scripted({DEPLOY: Reply(body={"status": "success"})})
    ended = run(runner, server, project_id="p-1", create_new="true")
    assert ended.code == 0
    assert "model-id" not in ended.outputs
    assert "url" not in ended.outputs
    assert notices(ended) == []


@pytest.mark.parametrize("kind", ["strategy", ""])
def test_a_model_of_the_same_name_is_used_again(
    runner: Runner, scripted: StartScripted, kind: str
) -> None:
    """An earlier run made it. A second one would leave the first one trading."""
    listed = [{"id": "m-1", "name": "workspace", "type": kind}, {"id": "m-2", "name": "other"}]
    server = scripted({MODELS: Reply(body=listed), CREATE_MODEL: MADE_MODEL})
    ended = run(runner, server, project_id="p-1", create_new="true")
    assert ended.code == 0
    assert CREATE_MODEL not in server.routes()
    fields = server.requests_to(DEPLOY)[0].fields
    assert (fields["modelId"], fields["createNew"]) == ("m-1", "false")
    (notice,) = notices(ended)
    assert "model-id: m-1" in notice


@pytest.mark.parametrize(
    ("described", "inputs", "code"),
    [
        ("trader/models", {}, 0),
        ("", {}, 0),
        ("trader/others", {}, 1),
        ("trader/models", {"general_description": "Mine"}, 1),
        ("Mine", {"general_description": "Mine"}, 0),
    ],
)
def test_a_model_of_the_same_name_from_another_repository_is_left_alone(
    runner: Runner, scripted: StartScripted, described: str, inputs: dict[str, str], code: int
) -> None:
    """A deploy would replace what another repository runs there."""
    listed = [{"id": "m-1", "name": "workspace", "type": "strategy", "description": described}]
    server = scripted({MODELS: Reply(body=listed), CREATE_MODEL: MADE_MODEL})
    ended = run(runner, server, project_id="p-1", create_new="true", **inputs)
    assert ended.code == code
    assert CREATE_MODEL not in server.routes()
    assert len(server.requests_to(DEPLOY)) == 1 - code
    assert ("model-id: m-1" in ended.summary) or code == 0


def test_models_of_two_directories_are_two(runner: Runner, scripted: StartScripted) -> None:
    server = scripted({MODELS: Reply(body=[]), CREATE_MODEL: MADE_MODEL})
    for path in ("a/bot", "b/bot"):
        write_model(runner.workspace / path)
        run(runner, server, project_id="p-1", create_new="true", model_path=path)
    made = [request.fields for request in server.requests_to(CREATE_MODEL)]
    assert [one["name"] for one in made] == ["bot", "bot"]
    assert [one["description"] for one in made] == ["trader/models/a/bot", "trader/models/b/bot"]


def test_a_model_of_the_other_type_is_refused(runner: Runner, scripted: StartScripted) -> None:
    listed = [{"id": "m-1", "name": "workspace", "type": "screener"}]
    server = scripted({MODELS: Reply(body=listed), CREATE_MODEL: MADE_MODEL})
    error = error_of(run(runner, server, project_id="p-1", create_new="true"))
    assert "`workspace` is a screener on the server, and `blankly.json` says strategy" in error
    assert server.routes() == [SIGN_IN, PLANS, OPENAPI, MODELS]


def test_of_two_models_with_one_name_the_one_of_the_same_type_is_used(
    runner: Runner, scripted: StartScripted
) -> None:
    listed = [
        {"id": "m-1", "name": "workspace", "type": "screener"},
        {"id": "m-2", "name": "workspace", "type": "strategy"},
    ]
    server = scripted({MODELS: Reply(body=listed)})
    assert run(runner, server, project_id="p-1", create_new="true").outputs["project-id"] == "p-1"
    assert server.requests_to(DEPLOY)[0].fields["modelId"] == "m-2"


def test_two_models_of_one_name_are_an_error(runner: Runner, scripted: StartScripted) -> None:
    listed = [{"id": f"m-{number}", "name": "workspace"} for number in (1, 2)]
    server = scripted({MODELS: Reply(body=listed)})
    error = error_of(run(runner, server, project_id="p-1", create_new="true"))
    assert "2 models are named `workspace`: `m-1`, `m-2`." in error
    assert "`model-id`" in error
    assert DEPLOY not in server.routes()


# --------------------------------------------------------------------------- the plan


def test_an_unknown_plan_is_refused_before_anything_is_made(
    runner: Runner, scripted: StartScripted
) -> None:
    """The original server would never answer the upload."""
    server = scripted(
        {
            PLANS: Reply(body={"small": {}, "nano": {}}),
            PROJECTS: Reply(body=[]),
            CREATE_PROJECT: MADE_PROJECT,
            CREATE_MODEL: MADE_MODEL,
        }
    )

    ended = run(runner, server, project_name="Fund", create_new="true", plan="huge")

    assert "The server has no plan `huge`. Its plans: `nano`, `small`." in error_of(ended)
    assert "`huge`" in ended.summary
    assert "`small`" in ended.summary
    assert server.requests_to(PLANS)[0].fields == {"type": "live"}
    assert server.routes() == [SIGN_IN, PROJECTS, TEAMS, PLANS]
    assert run(runner, server, model_id="m-1", plan="huge").code == 1
    assert server.requests_to(DEPLOY) == []


@pytest.mark.parametrize("plans", [NOT_FOUND, Reply(body={}), Reply(body={"huge": {}})])
def test_a_plan_that_cannot_be_checked_is_sent(
    runner: Runner, scripted: StartScripted, plans: Reply
) -> None:
    server = scripted({PLANS: plans})
    assert run(runner, server, model_id="m-1", plan="huge").code == 0
    assert server.requests_to(DEPLOY)[0].fields["plan"] == "huge"


# --------------------------------------------------------------------------- a dry run


READ_ONLY: Mapping[str, Reply] = {
    PROJECTS: Reply(body=[]),
    PLANS: Reply(body={"nano": {}}),
    MODELS: Reply(body=[]),
    CREATE_PROJECT: MADE_PROJECT,
    CREATE_MODEL: MADE_MODEL,
}


@pytest.mark.parametrize(
    ("inputs", "steps"),
    [
        (
            {"project_name": "Fund", "create_new": "true"},
            [
                'create the project "Fund"',
                'create the model "workspace"',
                "deploy a new version of model workspace",
            ],
        ),
        ({"project_id": "p-1", "create_new": "true"}, ['create the model "workspace"']),
        ({"model_id": "m-1"}, ["deploy a new version of model m-1"]),
        ({"model_id": "m-1", "mode": "backtest"}, ["backtest model m-1"]),
    ],
)
def test_a_dry_run_only_reads_and_says_what_it_would_do(
    runner: Runner, scripted: StartScripted, inputs: dict[str, str], steps: list[str]
) -> None:
    server = scripted(READ_ONLY)
    ended = run(runner, server, dry_run="true", **inputs)
    assert ended.code == 0
    assert ended.outputs["status"] == "dry-run"
    assert set(server.routes()) <= {SIGN_IN, PROJECTS, TEAMS, PLANS, OPENAPI, MODELS, DETAILS}
    assert (MODELS in server.routes()) == ("project_id" in inputs)
    assert [step for step in steps if f"Would {step}" not in ended.log] == []
    assert [step for step in steps if step not in ended.summary] == []


@pytest.mark.parametrize(
    ("inputs", "place"),
    [({"create_new": "true"}, 'the model named "workspace"'), ({"model_id": "m-1"}, "model m-1")],
)
def test_a_dry_run_without_a_token_asks_nobody(
    runner: Runner, scripted: StartScripted, inputs: dict[str, str], place: str
) -> None:
    server = scripted()
    ended = runner.run(api_url=server.url, dry_run="true", version_description="x", **inputs)
    assert ended.code == 0
    assert server.requests == []
    assert f"Would deploy a new version of {place}: 5 files" in ended.log
