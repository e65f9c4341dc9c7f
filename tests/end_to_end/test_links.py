"""Where the links of a run lead: to the pages of the server, if it has some."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy_action.platform.assembly import LiveSettings
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.server import PlatformServer
from tests.conftest import Runner
from tests.support.backtests import raw_result
from tests.support.live_server import DETAILS, KILL, OPENAPI, live
from tests.support.platform_client import Clock
from tests.support.scripted_host import ScriptedHost
from tests.support.scripted_live_server import ServerParts
from tests.support.scripted_runner import ScriptedRunner
from tests.support.scripted_server import Reply, ScriptedServer
from tests.support.visitor import Visitor, text_of

Scripted = Callable[..., ScriptedServer]
WITH_PAGES = Reply(body={"openapi": "3.1.0", "info": {"x-pages": True}, "paths": {}})


class _Now(Clock):
    def __call__(self) -> float:
        return time.time()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerParts]:
    result = json.dumps(raw_result()).encode()
    runner = ScriptedRunner(Outcome(result=result, problems=(), facts={}))
    token = secrets.token_hex(16)
    with ServerParts(tmp_path / "data", token, clock=_Now(), runner=runner) as parts:
        parts.host.starts_at_once = True
        yield parts
        assert parts.errors == []


def _inputs(server: ScriptedServer) -> dict[str, str]:
    return {"api_url": server.url, "token": "refresh", "model_id": "model-1", "project_id": "p"}


def test_a_deploy_links_to_the_model_on_the_server(runner: Runner, scripted: Scripted) -> None:
    server = scripted({OPENAPI: WITH_PAGES})

    ended = runner.run(**_inputs(server))

    assert ended.outputs["url"] == f"{server.url}/p/model-1/overview"
    assert f"({server.url}/p/model-1/overview)" in ended.summary
    assert f"({server.url}/p/model-1/versions/{ended.outputs['version-id']})" in ended.summary
    assert len(server.requests_to(OPENAPI)) == 1


@pytest.mark.parametrize(("project", "model"), [("ü", "a&b"), ("..", "."), ("%2e", "a;b")])
def test_links_lead_to_the_page_whatever_the_ids_are(
    project: str, model: str, runner: Runner, server: ServerParts
) -> None:
    with server.store.transaction() as transaction:
        transaction.add_project(project, name="p", description="")
        transaction.add_model(project, model, model_type="strategy", name="m", description="")

    ended = runner.run(
        api_url=server.url, token=server.refresh_token, project_id=project, model_id=model
    )

    assert ended.code == 0, ended.log
    assert "/overview" in ended.outputs["url"]
    version = f"/versions/{ended.outputs['version-id']}"
    visitor = Visitor(server.url)
    visitor.sign_in(server.refresh_token)
    for url in (ended.outputs["url"], ended.outputs["url"].replace("/overview", version)):
        assert f"({url})" in ended.summary
        assert visitor.get(url.removeprefix(server.url)).status_code == 200


@pytest.mark.parametrize(
    "described",
    [
        Reply(404, "<h1>Cannot GET /openapi.json</h1>"),
        Reply(body=[]),
        Reply(body={"info": []}),
        Reply(body={"info": {"x-pages": "yes"}}),
        Reply(body={"info": {"x-pages": False}}),
    ],
    ids=["missing", "list", "info", "text", "false"],
)
@pytest.mark.parametrize("mode", ["deploy", "backtest"])
def test_a_server_without_pages_has_no_links(
    runner: Runner, scripted: Scripted, described: Reply, mode: str
) -> None:
    server = scripted({OPENAPI: described})

    ended = runner.run(**_inputs(server), mode=mode)

    assert "url" not in ended.outputs
    assert f"]({server.url}" not in ended.summary


def test_app_url_is_stronger_than_what_the_server_says(runner: Runner, scripted: Scripted) -> None:
    server = scripted({OPENAPI: WITH_PAGES})

    ended = runner.run(**_inputs(server), app_url="https://app.example")

    assert ended.outputs["url"] == "https://app.example/p/model-1/overview"


def test_nothing_is_asked_for_links_before_a_stop(runner: Runner, scripted: Scripted) -> None:
    """Somebody waits for it."""
    stopped = Reply(body={"versions": [], "live": live("stopped")})
    server = scripted({OPENAPI: WITH_PAGES, DETAILS: stopped, KILL: Reply(200, "")})

    ended = runner.run(**_inputs(server), mode="stop")

    assert ended.outputs["status"] == "stopped"
    assert "url" not in ended.outputs
    assert OPENAPI not in server.routes()[: server.routes().index(KILL)]


def test_the_link_of_a_backtest_leads_to_its_page(runner: Runner, server: ServerParts) -> None:
    ended = runner.run(
        api_url=server.url, token=server.refresh_token, mode="backtest", create_new="true"
    )

    assert ended.code == 0, ended.log
    url = ended.outputs["url"]
    assert url.startswith(f"{server.url}/")
    assert url.endswith(f"/backtests/{ended.outputs['backtest-id']}")
    visitor = Visitor(server.url)
    visitor.sign_in(server.refresh_token)
    page = visitor.get(url.removeprefix(server.url))
    assert page.status_code == 200
    assert "backtest" in text_of(page.text).lower()
    for other in ("overview", "backtests", f"versions/{ended.outputs['version-id']}"):
        path = f"/{ended.outputs['project-id']}/{ended.outputs['model-id']}/{other}"
        assert visitor.get(path).status_code == 200


@pytest.mark.parametrize("has_pages", [True, False])
def test_a_server_says_whether_it_has_pages(tmp_path: Path, *, has_pages: bool) -> None:
    settings = LiveSettings(has_pages=has_pages, make_host=lambda _: ScriptedHost())
    with PlatformServer(
        tmp_path / "data", refresh_token=secrets.token_hex(16), strict=True, live=settings
    ) as server:
        info = Visitor(server.url).get("/openapi.json").json()["info"]
        is_page = Visitor(server.url).get("/login").status_code == 200

    assert info.get("x-pages", False) == is_page == has_pages
