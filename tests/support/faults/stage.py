"""Runs of the action through faults, to the real platform, and what the platform has afterwards."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import secrets
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import pytest

from deploy_action.commands.deployed import DeployedModel
from deploy_action.commands.logs import show_log
from deploy_action.commands.status import show_status
from deploy_action.deployment_api import logs, settling, transport
from deploy_action.errors import DeployActionError, Problem
from deploy_action.github import forge as forge_client
from deploy_action.http import exchange as http_exchange
from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.live.host import Listener, Prepared
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.server import PlatformServer
from deploy_action.run import exit_code_of
from deploy_action.stages.live import following
from tests.conftest import Ended, Runner
from tests.support.backtests import raw_result
from tests.support.faults.relay import FaultRelay, Plan
from tests.support.faults.rules import CHANGES
from tests.support.forge import PERSON, ForgeServer
from tests.support.platform_client import Clock, Platform, make_bundle
from tests.support.scripted_host import ScriptedHost, ScriptedInstance
from tests.support.scripted_runner import ScriptedRunner
from tests.support.waiting import wait_for
from tests.support.wire_server import WireServer

ROOT: Final = Path(__file__).parents[3]
READ_TIMEOUT: Final = 1.5
# A run ends by its deadline. Then it reports, and has some seconds to comment.
GRACE: Final = 12.0
DOUBT: Final = "may or may not exist"


class EagerHost(ScriptedHost):
    """A host on which every strategy starts at once."""

    def start(self, prepared: Prepared, listener: Listener) -> ScriptedInstance:
        instance = super().start(prepared, listener)
        instance.report("starting")
        instance.report("started")
        return instance


def make_impatient(patch: pytest.MonkeyPatch) -> None:
    """Shorten all pauses and time-outs of runs in this process."""
    patch.setattr(http_exchange, "_FIRST_PAUSE", 0.01)
    for name in ("_SOON", "_LATER"):
        patch.setattr(settling, name, (0.0, 0.01, 0.02, 0.05))
    for name in ("READ_TIMEOUT", "UPLOAD_ANSWER_TIMEOUT", "_GLANCE_TIMEOUT"):
        patch.setattr(transport, name, READ_TIMEOUT)
    patch.setattr(forge_client, "READ_TIMEOUT", READ_TIMEOUT)
    patch.setattr(logs, "_PAUSES", (0.01, 0.02, 0.05))
    patch.setattr(following, "_PAUSES", (0.01,) * 20)
    patch.setattr(following, "_LAST_PAUSE", 0.05)
    patch.setattr(following, "_WATCHED_SECONDS", 0.0)


@dataclass(frozen=True, slots=True)
class Told:
    """What a run said, and what the server has of its model afterwards."""

    ended: Ended
    seconds: float
    relay: FaultRelay
    projects: Sequence[str]
    models: Sequence[str]
    versions: Sequence[str]
    backtests: Sequence[str]
    comments: Sequence[str]
    live: Mapping[str, object] | None

    @property
    def errors(self) -> list[str]:
        return [one for one in self.ended.annotations if one.startswith("::error")]

    @property
    def error(self) -> str:
        return self.errors[0] if self.errors else ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of `status` or `logs`; `text` is all that a terminal shows."""

    code: int
    text: str
    problems: tuple[Problem, ...]
    seconds: float
    relay: FaultRelay


@dataclass(slots=True)
class Stage:
    """The real platform, a forge, a trap for redirects, and a runner; a context manager."""

    runner: Runner
    data: Path
    token: str = field(default_factory=lambda: f"{secrets.token_hex(16)}/+{secrets.token_hex(8)}")
    forge_token: str = field(default_factory=lambda: secrets.token_hex(20))
    api_key: str = field(default_factory=lambda: secrets.token_hex(20))
    trap: WireServer = field(default_factory=lambda: WireServer({}))
    forge: ForgeServer = field(init=False)
    platform: Platform = field(init=False)
    errors: list[str] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    number: int = 0

    def __enter__(self) -> Self:
        host = EagerHost()
        host.may_prepare.set()
        result = json.dumps(raw_result()).encode()
        runner = ScriptedRunner(Outcome(result=result, problems=(), facts={}))
        server = PlatformServer(
            self.data,
            refresh_token=self.token,
            strict=True,
            on_error=self.errors.append,
            running=BacktestSettings(runner=runner),
            live=LiveSettings(make_host=lambda _store: host, has_pages=True),
        )
        self._stack.enter_context(server)
        self._stack.enter_context(self.trap)
        self.forge = self._stack.enter_context(ForgeServer(accounts={self.forge_token: PERSON}))
        self.platform = Platform(server, self.data, self.token, Clock())
        self.platform.sign_in()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def deploy_twice(self, name: str) -> str:
        """Return the id of a new model with two versions, the second of which runs."""
        platform = self.platform
        fields = {
            "type": "strategy",
            "name": name,
            "description": "",
            "projectId": platform.user_id,
        }
        model_id: str = platform.post("/model/create-model", **fields).json()["modelId"]
        for number in range(2):
            answer = platform.deploy(model_id, make_bundle(number=str(number)))
            version_id = answer.json()["versionId"]
            wait_for(lambda wanted=version_id: self._runs(model_id, wanted))  # type: ignore[misc]  # the default binds it
        return model_id

    def _runs(self, model_id: str, version_id: str) -> bool:
        live = self.platform.details(model_id)["live"]
        assert isinstance(live, dict)
        return (live["state"], live["versionId"]) == ("running", version_id)

    @contextmanager
    def relay(self, url: str, plan: Plan) -> Iterator[FaultRelay]:
        """Open a relay to one of the servers."""
        parts = urlsplit(url)
        with FaultRelay((parts.hostname or "", parts.port or 0), self.trap.url, plan) as opened:
            yield opened

    def run(
        self,
        plan: Plan,
        inputs: Mapping[str, str],
        *,
        forge_plan: Plan | None = None,
        as_process: bool = False,
        debug: bool = False,
    ) -> Told:
        """Run the action once, for a model that the platform does not have yet or the named one.

        With `forge_plan` it comments on a pull request, through these faults.
        """
        self.number += 1
        name = inputs.get("model_name", f"Trend {self.number}")
        self.forge.comments.clear()
        with ExitStack() as stack:
            relay = stack.enter_context(self.relay(self.platform.server.url, plan))
            given = {
                "api_url": relay.url,
                "token": self.token,
                "create_new": "true",
                "keys_json": json.dumps({"alpaca": {"main": {"API_SECRET": self.api_key}}}),
                "version_description": "a",
                "backtest_description": "b",
                "timeout_minutes": "0.5",
                "model_name": name,
                **inputs,
            }
            self.runner.environ["RUNNER_DEBUG"] = "1" if debug else "0"
            if forge_plan is not None:
                forge = stack.enter_context(self.relay(self.forge.url, forge_plan))
                self._open_pull_request(forge.url)
                given |= {"comment": "true", "github_token": self.forge_token}
            started = time.monotonic()
            ended = self._as_process(given) if as_process else self.runner.run(**given)
            seconds = time.monotonic() - started
        return self._counted(ended, seconds, relay, name, inputs.get("project_name", ""))

    def look(self, command: str, plan: Plan, model_id: str, minutes: float) -> Looked:
        """Run `status` or `logs` on a model through these faults, as on a terminal."""
        out, said = io.StringIO(), list[str]()
        with self.relay(self.platform.server.url, plan) as relay:
            inputs = {
                "api-url": relay.url,
                "token": self.token,
                "model-id": model_id,
                "timeout-minutes": str(minutes),
            }
            named = DeployedModel(
                command, inputs, {"GITHUB_WORKSPACE": str(self.runner.root)}, said.append
            )
            problems: tuple[Problem, ...] = ()
            started = time.monotonic()
            try:
                if command == "status":
                    code = show_status(named, out)
                else:
                    code = show_log(named, Namespace(lines=5, follow=False), out, {})
            except DeployActionError as error:
                code, problems = exit_code_of(error), error.problems
            seconds = time.monotonic() - started
        text = "\n".join([out.getvalue(), *said, *(one.text() for one in problems)])
        return Looked(code, named.redact(text), problems, seconds, relay)

    def _open_pull_request(self, forge_url: str) -> None:
        self.runner.on("pull_request", {"pull_request": {"number": 7, "title": "Try"}})
        self.runner.environ |= {
            "GITHUB_API_URL": forge_url,
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_RUN_ID": str(self.number),
        }

    def _as_process(self, inputs: Mapping[str, str]) -> Ended:
        for path in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            Path(self.runner.environ[path]).unlink(missing_ok=True)
        ended = subprocess.run(
            [sys.executable, str(ROOT / "entrypoint.py")],
            env={**os.environ, **self.runner.variables(inputs)},
            cwd=self.runner.workspace,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return self.runner.ended(ended.returncode, ended.stdout)

    def _counted(
        self, ended: Ended, seconds: float, relay: FaultRelay, name: str, project: str
    ) -> Told:
        """Ask the platform itself what it has."""
        platform, projects = self.platform, [self.platform.user_id]
        if project:
            listed = platform.get("/project/list").json()
            projects = [one["projectId"] for one in listed if one["name"] == project]
        places = [
            {"projectId": one, "modelId": model["id"]}
            for one in projects
            for model in platform.post("/model/list", projectId=one).json()
            if model["name"] == name
        ]
        details = [platform.post("/model/details", **place).json() for place in places]
        return Told(
            ended,
            seconds,
            relay,
            projects if project else (),
            [one["modelId"] for one in places],
            [one["versionId"] for each in details for one in each["versions"]],
            [one["backtestId"] for each in details for one in each["backtests"]],
            self.forge.bodies(),
            details[0]["live"] if details else None,
        )

    def secrets(self, told: Told) -> list[str]:
        """Return all that a run must not show."""
        return [self.token, self.forge_token, self.api_key, *told.relay.tokens]


def assert_sound(
    stage: Stage, told: Told, minutes: float = 0.5, *, deployed: int = 0, most: int = 1
) -> None:
    """Check what holds for every run, whatever went wrong.

    The model had `deployed` versions before. Otherwise it has `most` now: a backtest of windows is
    several, where the server does not say that it can backtest a version again.
    """
    ended, log = told.ended, told.ended.log
    assert ended.code in {0, 1}, log
    assert "Traceback" not in log, log
    assert "bug in the action" not in log, log
    assert len(told.errors) == (ended.code == 1), log
    assert (ended.outputs["status"] == "failed") == (
        ended.code == 1 and ended.outputs["status"] != "deployed"
    ), log
    assert told.seconds < minutes * 60 + GRACE, f"{told.seconds} s\n{log}"
    assert stage.trap.seen == [], log
    shown = "\n".join([without_masks(log), ended.summary, *ended.outputs.values(), *told.comments])
    assert leaks_in(shown, stage.secrets(told)) == [], log
    assert [one for one in stage.errors if not one.startswith("notice: ")] == []
    assert len(told.comments) <= 1, log
    if deployed:
        assert len(told.versions) == deployed, log
    else:
        _assert_counted(told, most)
    _assert_alive(told)


def _assert_alive(told: Told) -> None:
    """Check that the model does what a run says that it does."""
    outputs, log = told.ended.outputs, told.ended.log
    states = {"deployed": "running", "started": "running", "stopped": "stopped"}
    wanted, state = states.get(outputs["status"]), outputs.get("state")
    if state in states.values():  # the others pass by themselves
        assert told.live is not None, log
        assert told.live["state"] == state, log
    if wanted is not None and told.ended.code == 0 and state is not None:
        assert state == wanted, log
        if wanted == "running":
            assert told.live is not None, log
            assert told.live["versionId"] == outputs["version-id"], log


def assert_looked(stage: Stage, looked: Looked, minutes: float) -> None:
    """Check what holds for `status` and `logs`, whatever went wrong."""
    assert looked.code in {0, 1}, looked.text
    assert len(looked.problems) <= looked.code, looked.text
    assert looked.seconds < minutes * 60 + GRACE, looked.text
    assert stage.trap.seen == [], looked.text
    assert leaks_in(looked.text, [stage.token, *looked.relay.tokens]) == [], looked.text


def _assert_counted(told: Told, most: int) -> None:
    """Check that nothing was made twice, and that the run told what was made."""
    ended, log = told.ended, told.ended.log
    for made in (told.projects, told.models, told.versions, told.backtests):
        assert len(made) <= most, f"{made}\n{log}"
    if told.backtests:
        assert DOUBT in told.error or ended.outputs["backtest-id"] == told.backtests[0], log
        return
    version_id = ended.outputs.get("version-id")
    if ended.code == 0 and ended.outputs["status"] == "deployed":
        assert list(told.versions) == [version_id], log
    if told.versions and DOUBT not in told.error:
        assert version_id == told.versions[0], log
    if version_id:
        assert list(told.versions) == [version_id], log
    if told.versions:
        assert not ended.summary.startswith("## ❌ Not deployed"), log
    if DOUBT in told.error:
        assert CHANGES & {*told.relay.routes()}, f"a doubt about what was never sent\n{log}"


def without_masks(log: str) -> str:
    """Return a log without the commands that mask."""
    return "\n".join(line for line in log.splitlines() if not line.startswith("::add-mask::"))


def leaks_in(text: str, known: Sequence[str]) -> list[str]:
    """Return the secrets of which a text has the beginning or the end, however it is written."""
    squeezed = re.sub(r"\s|</?\w+>|%0A|%0D", "", text)
    read = {text, squeezed, unquote(squeezed), html.unescape(squeezed), _unescaped(squeezed)}
    return [
        one
        for one in known
        if any(piece in view for view in read for piece in (one[:12], one[-12:]))
        or any(piece in squeezed.replace("-", "+").replace("_", "/") for piece in _encoded(one))
    ]


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def _encoded(secret: str) -> Iterator[str]:
    """Yield what all base64 has in which a secret stands."""
    for before in range(3):
        coded = base64.b64encode(b"x" * before + secret.encode()).decode()
        yield coded[4:20]
