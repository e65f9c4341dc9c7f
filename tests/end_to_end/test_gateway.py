"""Deploys to the real platform through a gateway that loses answers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from deploy_action.deployment_api import settling
from deploy_action.http import exchange as http_exchange
from deploy_action.platform.server import PlatformServer
from tests.conftest import Ended, Runner
from tests.support.local_server import Listener, LocalHandler, LocalServer

DEPLOY = "/model/deploy"


class _Handler(LocalHandler):
    server: Listener[Gateway]

    def answer(self) -> None:
        gateway = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: self.headers[name] for name in self.headers if name != "Host"}

        def pass_on() -> requests.Response:
            url = f"{gateway.upstream}{self.path}"
            return requests.request(self.command, url, data=body, headers=headers, timeout=30)

        answer = gateway.deploy(pass_on) if self.path == DEPLOY else pass_on()
        if answer is None:
            self.send(503, b"upstream connect error", {})
        else:
            self.send(answer.status_code, answer.content, {})


PassOn = Callable[[], requests.Response]


class Gateway(LocalServer):
    """Passes everything on, and answers deploys as `deploy` does: a bare 503 where it has none."""

    handler = _Handler

    def __init__(self, upstream: str, deploy: Callable[[PassOn], requests.Response | None]) -> None:
        self.upstream = upstream
        self.deploy = deploy


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(settling, "_SOON", (0.0, 0.01, 0.01))


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Yield the URL and the token of a strict platform."""
    token = secrets.token_hex(16)
    with PlatformServer(
        tmp_path / "data", refresh_token=token, strict=True, on_error=pytest.fail
    ) as server:
        yield server.url, token


def run(
    runner: Runner,
    platform: tuple[str, str],
    deploy: Callable[[PassOn], requests.Response | None],
) -> Ended:
    url, token = platform
    with Gateway(url, deploy) as gateway:
        return runner.run(api_url=gateway.origin, token=token, create_new="true")


def versions(platform: tuple[str, str], ended: Ended) -> list[str]:
    url, token = platform
    signed_in = requests.post(f"{url}/auth/token", data={"refreshToken": token}, timeout=30).json()
    model = {"projectId": ended.outputs["project-id"], "modelId": ended.outputs["model-id"]}
    answer = requests.post(
        f"{url}/model/details", data=model, headers={"token": signed_in["idToken"]}, timeout=30
    )
    return [one["versionId"] for one in answer.json()["versions"]]


def test_an_answer_that_the_gateway_loses_is_one_version(
    runner: Runner, platform: tuple[str, str]
) -> None:
    def deploy(pass_on: PassOn) -> None:
        assert pass_on().status_code == 200

    ended = run(runner, platform, deploy)
    assert ended.code == 0
    assert versions(platform, ended) == [ended.outputs["version-id"]]


def test_an_upload_that_the_gateway_does_not_pass_on_is_sent_again(
    runner: Runner, platform: tuple[str, str]
) -> None:
    uploads = 0

    def deploy(pass_on: PassOn) -> requests.Response | None:
        nonlocal uploads
        uploads += 1
        return None if uploads == 1 else pass_on()

    ended = run(runner, platform, deploy)
    assert ended.code == 0
    assert uploads == 2
    assert versions(platform, ended) == [ended.outputs["version-id"]]


def test_an_upload_that_arrives_after_its_repetition_is_the_same_version(
    runner: Runner, platform: tuple[str, str]
) -> None:
    """The gateway gave up on the first upload too early, and the server was only slow."""
    waiting: list[PassOn] = []
    late: list[str] = []

    def deploy(pass_on: PassOn) -> requests.Response | None:
        waiting.append(pass_on)
        if len(waiting) == 1:
            return None
        threads = [
            threading.Thread(target=lambda one=one: late.append(one().json()["versionId"]))
            for one in waiting
        ]
        for thread in threads:
            thread.start()
        answer = pass_on()
        for thread in threads:
            thread.join()
        return answer

    ended = run(runner, platform, deploy)
    assert ended.code == 0
    assert versions(platform, ended) == [ended.outputs["version-id"]]
    assert set(late) == {ended.outputs["version-id"]}
