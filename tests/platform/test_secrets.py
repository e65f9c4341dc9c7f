"""A server shows no secret in an answer, a page, a log or a message, and keeps it where it says."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from stat import S_IMODE
from typing import Any, Final
from urllib.parse import quote

import pytest

from deploy_action.platform.assembly import BacktestSettings, LiveSettings
from deploy_action.platform.server import PlatformServer
from tests.conftest import let_all_pass
from tests.support import live_serving
from tests.support.inbox import Inbox, open_inbox
from tests.support.platform_client import Clock, Platform, make_bundle
from tests.support.process_watch import ProcessWatch
from tests.support.scripted_runner import ScriptedRunner
from tests.support.secret_hunter import (
    BEARERS,
    LINES,
    TEXTS,
    SecretHunter,
    a_secret,
    files_below,
    letters,
)
from tests.support.torture import Rounds
from tests.support.visitor import Visitor
from tests.support.waiting import wait_for

_MOST_PAGES: Final = 60
# Prints what it was given in many ways, reports it, and ends as the test wants.
BOT: Final = """
import base64, html, json, os, sys, time
from urllib.parse import quote
given = {**{name: os.environ[name] for name in NAMES}}
ways = [str, repr, ascii, json.dumps, html.escape, lambda text: quote(text, safe=""),
        lambda text: base64.b64encode(("me:" + text).encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
        lambda text: "".join("&#x%x;" % ord(char) for char in text)]
for name, value in given.items():
    for way in ways:
        print("I know", way(value), flush=True)
        print("I know", way(value), file=sys.stderr, flush=True)
print(os.environ, flush=True)
report("starting")
report("started")
report("callback-failed", error=str(given), problem={"severity": "error", "message": str(given)})
time.sleep(SLEEP)
raise RuntimeError(str(given))
"""


@dataclass
class Stage:
    """A server with secrets, one model that has some, too, and a hunter for all."""

    data: Path
    chance: Random
    hunter: SecretHunter = field(default_factory=SecretHunter)
    log: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    token: str = ""
    seconds: int = 0  # how long the model runs, before it crashes

    def __post_init__(self) -> None:
        add, chance = self.hunter.add, self.chance
        self.token = add("refresh token", a_secret(chance, BEARERS))
        self.variables = {
            "KEY": add("KEY", a_secret(chance, LINES)),
            "PEM": add("PEM", a_secret(chance, TEXTS)),
        }
        password = add("password of the proxy", a_secret(chance))
        self.proxy = f"http://me:{quote(password, safe='')}@127.0.0.1:9"

    def notify_url(self, inbox: str) -> str:
        """Return the inbox's address with a password, and a token in a header."""
        password = self.hunter.add("password of messages", letters(self.chance, 12))
        token = self.hunter.add("token of messages", letters(self.chance, 16))
        return f"{inbox.replace('://', f'://me:{password}@')}/?+X-Token={token}"

    def bundle(self) -> bytes:
        names = [*self.variables, "HTTP_PROXY"]
        code = BOT.replace("NAMES", repr(names)).replace("SLEEP", str(self.seconds))
        return make_bundle(**{"bot.py": code, "requirements.txt": "blankly\n"})


def crawl(visitor: Visitor, begin: str = "/") -> Iterator[tuple[str, str]]:
    """Yield the pages that links lead to, with their text."""
    seen, pending = {begin}, [begin]
    while pending and len(seen) < _MOST_PAGES:
        path = pending.pop(0)
        answer = visitor.get(path)
        yield path, f"{answer.headers}{answer.text}"
        links = re.findall(r'(?:href|src|action)="(/[^"#]*)', answer.text)
        new = dict.fromkeys(one.replace("&amp;", "&") for one in links)
        pending += [one for one in new if one not in seen and "/static/" not in one]
        seen |= new.keys()


def answers(platform: Platform, model: str, version: str) -> dict[str, str]:
    """Return what the API says about everything."""
    of = {"projectId": platform.user_id, "modelId": model}
    asked: dict[str, dict[str, Any]] = {
        "/model/details": of,
        "/model/list": {"projectId": platform.user_id},
        "/project/plans": {"type": "live"},
        "/model/logs": {**of, "lines": "1000"},
        "/model/run": {**of, "versionId": "no such version", "plan": "nano", "type": "strategy"},
        "/model/kill": {"projectId": "no such project", "modelId": model},
        "/model/deploy": {**of, "environment": '{"KEY": 7}'},
    }
    found = {path: platform.post(path, **fields).text for path, fields in asked.items()}
    found |= {
        path: platform.get(path).text for path in ("/project/list", "/openapi.json", "/healthz")
    }
    found["version's log"] = platform.post("/model/logs", **of, versionId=version).text
    return found


@pytest.mark.torture(quick=1)
def test_a_server_leaves_no_secret_anywhere(
    tmp_path: Path, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for number, chance in enumerate(rounds):
        root = let_all_pass(tmp_path) / "round"
        root.mkdir()
        stage = Stage(root / "data", chance, seconds=(0, 60)[number % 2])
        monkeypatch.setenv("HTTP_PROXY", stage.proxy)
        with ExitStack() as stack:
            inbox = stack.enter_context(open_inbox())
            inbox.failures = chance.choice((0, 1, 1_000))
            watch = stack.enter_context(ProcessWatch(os.getpid()))
            found = run_server(stage, inbox)
            found |= {f"message {n}": str(one) for n, one in enumerate(inbox.messages)}
        found["log of the server"] = "\n".join(stage.log)
        found["command lines"] = "\n".join(watch.commands)
        assert stage.hunter.find_all(found) == []
        assert_kept(stage)
        theirs = "\n".join(watch.environments_of("script_program.py"))
        given = {*stage.variables, "password of the proxy"}
        known = {one.partition(" in ")[0] for one in stage.hunter.find(theirs)}
        assert given == known or not stage.seconds  # one that crashes at once may not be seen
        assert stage.hunter.find(theirs, spared=given) == []
        rounds.count("servers")
        rounds.count("texts searched", len(found))
        shutil.rmtree(root)


def run_server(stage: Stage, inbox: Inbox) -> dict[str, str]:
    """Deploy a model that tells all it knows until it is given up; return what is shown of it."""
    server = PlatformServer(
        stage.data,
        refresh_token=stage.token,
        strict=True,
        on_error=stage.log.append,
        running=BacktestSettings(runner=ScriptedRunner(), environ=dict(os.environ)),
        live=LiveSettings(
            stop_seconds=2,
            restarts=0,
            make_host=live_serving.make_machine,
            has_pages=True,
            name="server",
            notify=[stage.notify_url(inbox.url)],
        ),
    )
    with server:
        platform = Platform(server, stage.data, stage.token, Clock())
        platform.sign_in()
        stage.hunter.add("idToken", platform.id_token)
        model = platform.create_model()
        given = {"environment": json.dumps(stage.variables)}
        deployed = [platform.deploy(model, stage.bundle(), **given) for _ in range(2)]
        version = deployed[-1].json()["versionId"]
        of = {"projectId": platform.user_id, "modelId": model}
        last = "environ({" if stage.seconds else "RuntimeError"
        wait_for(lambda: last in platform.post("/model/logs", **of, lines="1000").text)
        platform.backtest(model, environment=given["environment"])
        visitor = Visitor(server.url)
        wrong = visitor.sign_in(stage.hunter.add("a wrong token", a_secret(stage.chance, BEARERS)))
        visitor.sign_in(stage.token)
        found = {"the sign-in page": wrong.text, **dict(crawl(visitor))}
        found |= {f"answer {n}": one.text for n, one in enumerate(deployed)}
        found |= answers(platform, model, version)
        cookies = {cookie.name: cookie.value or "" for cookie in visitor.session.cookies}
        assert cookies
        assert not [one for one in cookies.values() if one in str(found)]
        metrics = visitor.get("/metrics")
        assert metrics.status_code == 200
        found["metrics"] = metrics.text
        wait_for(lambda: inbox.requests or stage.seconds)
        platform.post("/model/kill", **of)
    return found


def assert_kept(stage: Stage) -> None:
    """Check that variables are in the database only, which its owner alone may read."""
    for name, data in files_below(stage.data).items():
        held = {one.partition(" in ")[0] for one in stage.hunter.find(data)}
        if not held:
            continue
        assert held <= stage.variables.keys(), (name, held)
        assert name.startswith("platform.sqlite"), name
        assert S_IMODE((stage.data / name).stat().st_mode) == 0o600
