"""Runs with a secret in every input that takes one, among others who know them all and talk."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import quote

from deploy_action.run import Run
from tests.conftest import Ended, Runner, write_model
from tests.support.backtests import an_order, raw_result
from tests.support.forge import WORKFLOW, ForgeServer, Pull
from tests.support.live_server import (
    DETAILS,
    KILL,
    LOGS,
    MODELS,
    NEW,
    OLD,
    OPENAPI,
    OPTIONS,
    RUN,
    ScriptedLife,
    details,
    live,
    version,
)
from tests.support.scripted_server import (
    Cut,
    CutAfterBody,
    Hang,
    Reply,
    Script,
    ScriptedServer,
    Step,
)
from tests.support.secret_hunter import (
    BEARERS,
    LINES,
    TEXTS,
    WAYS,
    SecretHunter,
    a_secret,
    files_below,
    without_masks,
)

SIGN_IN: Final = "POST /auth/token"
BACKTEST: Final = "POST /model/backtest"
PLANS: Final = "POST /project/plans"
PROJECTS: Final = "GET /project/list"
TEAMS: Final = "GET /project/teams"
COMMIT: Final = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"
_BRANCH: Final = "faster"
BOUGHT: Final = ("idToken", "access_token", "refresh_token")
# Where each line stands alone, half a secret is not known again.
_IN_ONE_LINE: Final = sorted(set(WAYS) - {"in lines", "base64 in lines"})
_LINE_BY_LINE: Final = frozenset({"ignore", "include"})
_NO_OUTPUTS: Final = ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE")


@dataclass
class Stage:
    """A runner, a server and a forge, and a run whose secrets all of them know.

    `inputs` are those with secrets; `script` is what the server answers, before `fault`.
    """

    runner: Runner
    chance: Random
    forge: ForgeServer
    hunter: SecretHunter = field(default_factory=SecretHunter)
    script: dict[str, Script] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    is_signed_in: bool = False  # before what is being written now is shown

    def __post_init__(self) -> None:
        add, chance = self.hunter.add, self.chance
        token = add("token", a_secret(chance))
        own = {name: add(name, a_secret(chance, BEARERS)) for name in BOUGHT}
        keys = {
            "alpaca": {"main": {"API_KEY": add("a key", a_secret(chance))}},
            "coinbase": [add("a key's passphrase", a_secret(chance, LINES))],
            "text": {"of lines": add("a text in the keys", a_secret(chance, TEXTS))},
        }
        variables = {name: add(f"variable {name}", a_secret(chance, LINES)) for name in "AB"}
        forge_token = add("github-token", a_secret(chance))
        self.forge.accounts[forge_token] = WORKFLOW
        self.forge.pulls = [Pull(7, _BRANCH, COMMIT)]
        self.inputs = {
            "token": token,
            "keys_json": json.dumps(keys, indent=chance.choice((None, 2)), ensure_ascii=False),
            "model_env": "\n".join(f"{name}={value}" for name, value in variables.items()),
            "github_token": forge_token,
            "timeout_minutes": "0.05",
        }
        data = {"user_id": "user-1", **own}
        signed_in = {"idToken": own["idToken"], "status": "success", "data": data}
        self.script = {SIGN_IN: Reply(body=signed_in), OPENAPI: _describing(*OPTIONS)}
        self.runner.environ |= {"GITHUB_API_URL": self.forge.url, "GITHUB_RUN_ID": "9000"}
        for name in _NO_OUTPUTS:
            path = self.runner.root / name
            path.touch()
            self.runner.environ[name] = str(path)
        if chance.random() < 1 / 3:
            self.runner.environ |= {"RUNNER_DEBUG": "1", "ACTIONS_STEP_DEBUG": "true"}

    def run(self, **inputs: str) -> Ended:
        """Run as an action or on a terminal, against a server with the script."""
        with ScriptedServer(self.script) as server:
            known = {"api_url": server.url, "model_id": "m-1", "project_id": "p"}
            given = {**known, **self.inputs, **inputs}
            if self.chance.random() < 2 / 3:
                return self.runner.run(**given)
            stream = io.StringIO()
            environ = {"HOME": str(self.runner.root / "home"), **self._debugging()}
            place = {"GITHUB_WORKSPACE": str(self.runner.workspace)}
            given["platform_data"] = str(self.runner.root / "home" / "platform")
            named = {name.replace("_", "-"): value for name, value in given.items() if value}
            run = Run(
                environ={**environ, **place},
                stream=stream,
                for_runner=False,
                inputs=named,
                pause=lambda _: None,
            )
            return Ended(code=run.main(), log=stream.getvalue(), outputs={}, summary="")

    def leaks(self, ended: Ended) -> list[str]:
        """Return which secrets are where they may not be."""
        places: dict[str, str | bytes] = {
            "log": without_masks(ended.log),
            "summary": ended.summary,
            "outputs": "\n".join(f"{name}={value}" for name, value in ended.outputs.items()),
            **{f"comment {one.number}": one.body for one in self.forge.comments},
            **{name: (self.runner.root / name).read_bytes() for name in _NO_OUTPUTS},
            **files_below(self.runner.root / "temp"),
            **files_below(self.runner.root / "home"),
        }
        return self.hunter.find_all(places)

    def asking_for_a_comment(self) -> dict[str, str]:
        """Return inputs that ask for one, perhaps; the forge may then refuse it in many words."""
        self.is_signed_in = False
        if self.chance.random() < 1 / 3:
            return {}
        method = self.chance.choice(("GET", "POST", "PATCH"))
        way = WAYS[self.chance.choice(sorted(WAYS))]  # of other tokens a forge does not know
        said = f"I know: {way(self.inputs['github_token'])}"
        faults = (
            Reply(422, {"message": said, "errors": [said]}),
            Reply(403, {"message": said}),
            Reply(500, said),
            Reply(200, said),
        )
        if self.chance.random() < 1 / 2:
            self.forge.faults[method] = [self.chance.choice(faults)] * 9
        return {"comment": self.chance.choice(("true", "on-problem"))}

    def _debugging(self) -> dict[str, str]:
        names = ("RUNNER_DEBUG", "ACTIONS_STEP_DEBUG")
        return {name: self.runner.environ[name] for name in names if name in self.runner.environ}

    @property
    def _known(self) -> Mapping[str, str]:
        """What others know: of what a sign-in gives, a run can hide nothing before it."""
        return {
            name: secret
            for name, secret in self.hunter.secrets.items()
            if self.is_signed_in or name not in BOUGHT
        }

    def say(self, *ways: str) -> str:
        """Return words of somebody who knows all secrets, in one of these ways each."""
        known = list(self._known.values())
        self.chance.shuffle(known)
        told = [WAYS[self.chance.choice(ways or sorted(WAYS))](secret) for secret in known]
        return self.chance.choice((" ", "\n", ", ", " / ", " = ")).join(["I know:", *told])

    def say_in_header(self) -> str:
        """Return such words for a header: ASCII, in one line."""
        return self.say("URL", "URL, small letters", "base64", "form", "all of it in a URL")

    def say_one(self, *ways: str) -> str:
        """Return one secret in one of these ways."""
        secret = self.chance.choice(list(self._known.values()))
        return WAYS[self.chance.choice(ways or sorted(WAYS))](secret)


def _describing(*options: str) -> Reply:
    """Describe a server whose routes take these fields."""
    schema = {"properties": {name: {"type": "string"} for name in options}}
    content = {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}
    paths = {f"/model/{name}": {"post": content} for name in ("deploy", "run", "backtest")}
    return Reply(body={"openapi": "3.1.0", "paths": paths})


# --------------------------------------------------------------------------- what goes wrong


def refusals(stage: Stage, route: str) -> Step:
    """Return an answer that refuses, fails, leads away or never comes, and tells what it knows."""
    stage.is_signed_in = route not in {SIGN_IN, OPENAPI}
    said = stage.say()
    pages = (said, f"<!DOCTYPE html><title>{said}</title><pre>{said}", f"<h1>{said}</h1>" * 3)
    answer: Step = stage.chance.choice(
        (
            Reply(stage.chance.choice((400, 401, 403, 404, 409, 413, 422, 429)), {"error": said}),
            Reply(stage.chance.choice((400, 401, 500, 502, 503)), stage.chance.choice(pages)),
            Reply(400, {"error": {"message": said}}),
            Reply(200, {"error": said}),
            Reply(200, said),
            Reply(200, [said, {"error": said}]),
            Reply(200, {said: said}),
            Reply(500, f"{'<b></b>' * stage.chance.randint(0, 12_000)}{said}"),
            Reply(503, {"error": said}, {"Retry-After": "0"}),
            Reply(302, said, {"Location": f"https://other.example/{stage.say_in_header()}"}),
            Reply(407, said, {"Proxy-Authenticate": f"Basic realm={stage.say_in_header()}"}),
            Cut(),
            CutAfterBody(),
            Hang(),
        )
    )
    if isinstance(answer, Hang):
        stage.inputs["timeout_minutes"] = "0.02"
    return answer


def results(stage: Stage) -> Step:
    """Return the result of a backtest with secrets in its texts, or in the place of others."""
    stage.is_signed_in = True
    said, one = stage.say(), stage.say_one()
    order = an_order(
        "buy",
        1.0,
        32.0,
        id=one,
        symbol=stage.say_one(),
        type=stage.say_one(),
        exchange_specific={stage.say_one(): stage.say_one()},
    )
    changes: dict[str, Any] = stage.chance.choice(
        (
            {"exchange": said, "symbols": [said, one], "quote_asset": one},
            {"trades": [order]},
            {"symbols": said},
            {"exchange": [said]},
            {"backtest_id": one},
            {"indicators": {said: [{"time": 1.0, "value": 1.0}]}, "user_callbacks": {one: said}},
            {"account_values": said},
            {said: said},
        )
    )
    raw = raw_result(**changes)
    if stage.chance.random() < 1 / 2:
        raw["metrics"][one] = {"value": f"failed: {said}", "display_name": said, "type": said}
        raw["metrics"]["sharpe"]["value"] = f"failed: {stage.say()}"
    severity = stage.chance.choice(("error", "warning", "notice"))
    problem = {"severity": severity, "message": f"{'x' * stage.chance.randint(0, 4_000)} {said}"}
    place = {"path": stage.chance.choice(("bot.py", one)), "line": 1, "hint": stage.say()}
    facts = {"blankly": said, "python": one, "constraints": [said], "problems": [problem | place]}
    body = {"modelId": "m", "backtestId": "b", "status": "success", "result": raw, "run": facts}
    if stage.chance.random() < 1 / 3:
        body |= {"error": said}
    return Reply(body=body)


def lives(stage: Stage) -> dict[str, Script]:
    """Return what a server answers that runs models, and tells all it knows of one."""
    stage.is_signed_in = True
    said, one = stage.say(), stage.say_one()
    state = stage.chance.choice(("running", "failed", "stopped", "finished", "preparing"))
    if state == "preparing":  # for ever
        stage.inputs["timeout_minutes"] = "0.02"
    living = live(state, problem=said, restarts=2, previousVersionId=OLD, callbackErrors=1)
    told = {"problem": said, "description": stage.say(), "schedule": one, "plan": one}
    after = details(
        living, version(NEW, "failed" if state == "failed" else "ran", **told), version(OLD, "ran")
    )
    document: Any = after.body
    event = {"time": 1.0, "source": "model", "type": one, "text": said}
    order = {"time": 1.0, "symbol": one, "side": said, "type": one, "size": 1.0, "status": said}
    account = {"exchange": said, "portfolio": one, "quote": one, "problem": said, "missing": [one]}
    more = {"name": said, "events": [event], "orders": [order], "account": [account]}
    lines = stage.say(*_IN_ONE_LINE).splitlines()
    log = [f"2026-11-28T23:48:4{n}.001Z out {line}" for n, line in enumerate(lines)]
    life = ScriptedLife(
        after=[Reply(body={**document, **more})],
        before=details(
            live("stopped" if state == "running" else "running", OLD), version(OLD, "ran")
        ),
        log=log,
    )
    script = life.script()
    script.pop(OPENAPI)
    if stage.chance.random() < 1 / 4:
        route = stage.chance.choice((DETAILS, LOGS, RUN, KILL, MODELS))
        script[route] = refusals(stage, route)
    return script


def damage(stage: Stage) -> None:
    """Let the model, the commit and the workflow have secrets where none belong."""
    said, one, workspace = stage.say(), stage.say_one(), stage.runner.workspace
    named = one if "/" not in one and len(one.encode()) < 80 else "x"
    title = {"title": said, "number": 7, "head": {"sha": COMMIT}}
    events: tuple[tuple[str, object], ...] = (
        ("push", {"ref": "refs/heads/main", "head_commit": {"message": said}}),
        ("pull_request", {"pull_request": title}),
        ("release", {"release": {"name": said, "tag_name": one}}),
        ("workflow_dispatch", {"inputs": {"a": said}}),
    )
    stage.runner.on(*stage.chance.choice(events))
    changes: tuple[dict[str, object], ...] = (
        {},
        {"main_script": one},
        {"main_script": [said]},
        {"plan": said},
        {said: said},
        {"backtest_args": {one: said, "start_date": said}},
        {"backtest_args": {"initial_values": {one: said}, "to": said}},
        {"requirements": one},
        {"ignore_files": [one, said]},
        {"type": said},
        {"type": "screener", "screener": {"schedule": said}},
        {"python_version": one},
        {"model_name": said, "project_id": one, "model_id": said},
        {"working_directory": one},
    )
    write_model(workspace, **stage.chance.choice(changes))
    files = (
        ("bot.py", f"import blankly\n{said}\n"),
        ("bot.py", f"import blankly\nTOKEN = {one!r}\n# {said!r}\nopen({one!r})\n"),
        ("bot.py", f"import blankly, os\nprint(os.environ[{one!r}])\n"),
        ("requirements.txt", f"blankly\n{said}\n"),
        ("requirements.txt", f"blankly\n--index-url https://me:{quote(one, safe='')}@127.0.0.1/\n"),
        ("settings.json", f'{{"settings": {{"a": {json.dumps(said)}}}'),
        ("backtest.json", said),
        ("keys.json", json.dumps({"alpaca": {"main": {"API_KEY": said}}})),
        (".env", f"TOKEN={one}\n"),
        ("blankly.json", f'{{"main_script": {json.dumps(said)}'),
        (named, said),
        (f"{named}.pem", said),
    )
    if stage.chance.random() < 2 / 3:
        name, text = stage.chance.choice(files)
        (workspace / name).write_text(text)


def misplaced(stage: Stage) -> dict[str, str]:
    """Return inputs of which one has a secret that belongs into another."""
    name = stage.chance.choice(
        (
            *(
                "mode",
                "model_path",
                "project_id",
                "project_name",
                "project_description",
                "model_id",
            ),
            *("model_name", "general_description", "version_description", "backtest_description"),
            *("plan", "python_version", "backtest_args", "windows", "sweep", "shard", "include"),
            *("ignore", "gates", "compare_with", "changed_since", "comment", "comment_key"),
            *("report_path", "version_id", "unchanged", "timeout_minutes", "dry_run", "app_url"),
            "fail_on_warning",
        )
    )
    ways = _IN_ONE_LINE if name in _LINE_BY_LINE else ()
    said, one = stage.say(*ways), stage.say_one(*ways)
    text = stage.chance.choice(
        (said, one, f"https://me:{quote(one, safe='')}@host/", f"{one}: [1]")
    )
    return {name: text}
