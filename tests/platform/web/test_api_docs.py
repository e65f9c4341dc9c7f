"""The reference of the API: every route with its fields, and examples that work."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import TIMEOUT, Visitor, text_of


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    return visitor


def _section(page: str, operation: str) -> str:
    return page.partition(f'<section id="{operation}"')[2].partition("</section>")[0]


def _example(page: str, operation: str) -> str:
    found = re.search(r"(?s)<pre>(.*?)</pre>", _section(page, operation))
    assert found
    return html.unescape(found[1])


def test_every_route_and_field_of_the_document_is_on_the_page(visitor: Visitor) -> None:
    document = visitor.get("/openapi.json").json()
    page = visitor.get("/api").text

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            marked = re.sub("</?code>", "`", _section(page, operation["operationId"]))
            section = html.unescape(text_of(marked))
            assert f"{method.upper()} {path}" in section
            assert operation["summary"] in section
            content = operation.get("requestBody", {}).get("content", {})
            schema: dict[str, Any] = next((each["schema"] for each in content.values()), {})
            for name, field in schema.get("properties", {}).items():
                assert f"`{name}`" in section
                assert field.get("description", "") in section
            for status in list(operation["responses"])[1:]:
                assert status in section
    for name in document["components"]["schemas"]:
        assert f'<section id="{name}"' in page
    targets = set(re.findall(r'href="#([^"]+)"', page)) - {"content"}
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_it_says_when_a_field_is_needed(visitor: Visitor) -> None:
    page = visitor.get("/api").text
    deploy = text_of(_section(page, "deploy_deploy"))

    assert "versionDescription needed · text" in deploy
    assert "modelId needed unless createNew is true · text" in deploy
    assert "allowOlder optional · text" in deploy
    assert "model needed · file The model, as a zip." in deploy
    backtest = text_of(_section(page, "backtest_backtest"))
    assert "backtestArgs needed is one of backtestArgs, backtestingArgs" in backtest
    assert "Anybody may ask." in text_of(_section(page, "exchange_token_token"))


def _run(example: str, **variables: str) -> dict[str, object]:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["sh", "-c", f"{example} --silent"],
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_the_examples_work_as_they_are(live: LivePlatform, visitor: Visitor) -> None:
    page = visitor.get("/api").text
    model = live.create_model()

    token = _run(_example(page, "exchange_token_token"), BLANKLY_TOKEN=live.refresh_token)
    known = {"ID_TOKEN": str(token["idToken"]), "PROJECT_ID": live.user_id, "MODEL_ID": model}
    assert _run(_example(page, "describe_model_details"), **known)["id"] == model
    assert _run(_example(page, "report_health_healthz")) == {"status": "ok"}


def test_the_page_is_for_who_is_signed_in_and_in_the_navigation(visitor: Visitor) -> None:
    assert Visitor(visitor.url).get("/api").status_code == 303
    navigation = (
        visitor.get("/").text.partition('<nav aria-label="Site">')[2].partition("</nav>")[0]
    )
    assert 'href="/api"' in navigation
    assert 'href="/monitoring"' in navigation
