"""A run in which all that others write is hostile: files, history, event, answers, reports."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from deploy_action.report.json_report import build_report
from tests.conftest import MANIFEST, Ended, Runner, write_model
from tests.support.backtests import a_market, an_order, raw_result
from tests.support.decisions import decisions
from tests.support.forge import WORKFLOW, ForgeServer, Pull
from tests.support.hostile import (
    changed,
    hostile_name,
    hostile_text,
    spoiled,
    with_hostile_texts,
)
from tests.support.hostile_life import LIVE_MODES, hostile_life
from tests.support.judges import judge_log, judge_markdown, judge_outputs, judge_page
from tests.support.outcomes import backtests
from tests.support.parts import shared_out
from tests.support.repositories import commit, git, make_repository
from tests.support.scripted_server import DEPLOYED, Reply, Request, ScriptedServer, described

COMMIT: Final = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"
LINKS: Final = ("https://forge.example/", "https://github.com/blankly-community/")
BACKTEST: Final = "POST /model/backtest"
_PERIOD: Final = {"start_date": "2023-01-01", "end_date": "2024-01-01"}
_SCRIPT: Final = "import os\n\nimport blankly\n\nFAST = int(os.environ.get('FAST', '10'))\n"
_RUN: Final = {
    "problems": [
        {"severity": "warning", "message": "Odd.", "hint": "Even it.", "path": "bot.py", "line": 3}
    ],
    "python": "3.11.7",
    "wantedPython": "3.10",
    "blankly": "1.18.25b0",
    "constraints": ["numpy<2"],
    "schedule": [{"kind": "bar_event", "symbol": "OAK-USD", "resolution": 86400.0}],
    "exchanges": ["keyless"],
    "symbols": ["OAK-USD"],
    "argumentSources": {"to": "script"},
    "pinned": {"hashSeed": 0},
}
OTHER_ANSWERS: Final[dict[str, Any]] = {
    "POST /project/plans": {"nano": {}},
    "POST /model/list": [{"id": "m", "name": "workspace", "type": "strategy", "description": ""}],
    "POST /model/details": {
        "versions": [{"versionId": "v", "bundle": {"sha256": "0"}}],
        "backtests": [{"backtestId": "b", "bundle": {"sha256": "0"}}],
        "deployedVersion": "v",
        "deployedAt": 1,
    },
    "POST /model/deploy": DEPLOYED.body,
}
# What decides about the form of a report; another value of it is no report.
_KEPT: Final = (
    "format",
    "text",
    "state",
    "status",
    "sha256",
    "trades_sha256",
    "severity",
    "axes",
    "values",
)
_RUNS: Final = {**backtests(), **decisions()}
_REPORTED: Final = (
    "gain",
    "windows",
    "stopped",
    "sweep with failures",
    "identical",
    "not computed",
    "base failed",
)


@dataclass
class HostileWorld:
    """A runner, a server and a forge. `run` plays one run of a mode by chance, and judges it."""

    root: Path
    forge: ForgeServer
    server: ScriptedServer
    token: str = field(default_factory=secrets.token_hex)
    runs: int = 0

    def run(self, mode: str, chance: Random) -> Ended:
        """Run a mode once where everything is as hostile as chance has it."""
        self.runs += 1
        folder = self.root / f"run-{self.runs}"
        folder.mkdir()
        runner = Runner(folder)
        try:
            _PREPARED[mode](self, runner, chance)
            self._answer(mode, chance)
            self._set_off(runner, chance, is_finished=mode == "comment")
            inputs = _INPUTS[mode](chance) | {"mode": mode}
            # A model that never starts or stops is watched until the deadline.
            minutes = "0.03" if mode in LIVE_MODES else "0.5"
            inputs |= {"timeout_minutes": minutes, "github_token": self.token}
            if mode not in {"validate", "discover", "merge", "comment"}:
                inputs |= {"api_url": self.server.url, "token": "refresh", "model_id": "m"}
            self.server.requests.clear()
            self.forge.comments.clear()
            ended = runner.run(**inputs)
            self._judge(runner, ended)
        finally:
            shutil.rmtree(folder)
        return ended

    def _judge(self, runner: Runner, ended: Ended) -> None:
        assert ended.code in {0, 1, 2}, ended.log
        assert "bug in the action" not in ended.log, ended.log
        assert (ended.code == 0) == (ended.outputs["status"] != "failed"), ended.log
        if ended.code == 2:
            assert not self.server.requests, ended.log
        judge_log(ended.log)
        judge_outputs(Path(runner.environ["GITHUB_OUTPUT"]))
        links = (*LINKS, self.forge.origin)
        judge_markdown(ended.summary, links)
        for one in self.forge.comments:
            judge_markdown(one.body, links)
        if page := ended.outputs.get("report-html"):
            judge_page((runner.root / "temp" / page).read_text(encoding="utf-8"), links)
        if report := ended.outputs.get("report"):
            json.loads((runner.root / "temp" / report).read_bytes())

    # ------------------------------------------------------------------ what others decide

    def model(self, runner: Runner, chance: Random) -> None:
        """Let a checkout have a model of which much is hostile, and two commits."""
        workspace = runner.workspace
        texts = {"model_name": sound_text(chance), "api_key": sound_text(chance)}
        if chance.random() < 0.1:
            texts["plan"] = sound_text(chance)
        arguments = {**_PERIOD, sound_text(chance): sound_text(chance)}
        write_model(workspace, backtest_args=chance.choice((_PERIOD, arguments)), **texts)
        (workspace / "bot.py").write_text(_SCRIPT)
        make_repository(workspace)
        commit_of(workspace, chance)
        if chance.random() < 0.15:
            manifest = changed(chance, {**MANIFEST, **texts})
            (workspace / "blankly.json").write_text(json.dumps(manifest))
        for name in ("bot.py", "requirements.txt", "settings.json", "keys.json", ".env", "a.ipynb"):
            path = workspace / name
            if chance.random() < 0.08:
                path.write_bytes(
                    spoiled(chance, path.read_bytes() if path.exists() else b"A = 'b'")
                )
        for _ in range(chance.randint(0, 3)):
            strange_file(workspace, chance)
        commit_of(workspace, chance)

    def models(self, runner: Runner, chance: Random) -> None:
        """Let a checkout have several models in directories with hostile names."""
        self.model(runner, chance)
        for _ in range(chance.randint(1, 3)):
            name = hostile_name(chance).decode("utf-8", "surrogateescape")
            write_model(runner.workspace / "bots" / name, model_name=hostile_text(chance))
        commit_of(runner.workspace, chance)

    def reports(self, runner: Runner, chance: Random) -> None:
        """Let jobs of a fork have left reports."""
        for _ in range(chance.randint(0, 3)):
            outcome = _RUNS[chance.choice(_REPORTED)]
            document = json.loads("".join(build_report(outcome)))
            self._leave(runner, chance, document)

    def parts(self, runner: Runner, chance: Random) -> None:
        """Let jobs have left the parts of a run, with the same texts in all of them."""
        shared = [*shared_out(_RUNS["sweep with failures"], 2)]
        hostile = chance.random()
        seed = chance.getrandbits(32)
        for number, part in enumerate(shared):
            document = json.loads("".join(build_report(part)))
            same = Random(seed)  # noqa: S311  # no secret
            document = with_hostile_texts(
                same, document, hostile, kept=(*_KEPT, "name", "reason", "run")
            )
            path = runner.workspace / "reports" / f"part-{number}" / "b.json"
            path.parent.mkdir(parents=True)
            data = json.dumps(document).encode()
            path.write_bytes(spoiled(chance, data) if chance.random() < 0.1 else data)
        if chance.random() < 0.2:
            self.reports(runner, chance)

    def _leave(self, runner: Runner, chance: Random, document: Any) -> None:
        document = with_hostile_texts(chance, document, chance.random() ** 2, kept=_KEPT)
        if chance.random() < 0.3:
            document = changed(chance, document)
        data = json.dumps(document).encode()
        folder = runner.workspace / "reports"
        folder.mkdir(exist_ok=True)
        name = hostile_name(chance)[:240].decode("utf-8", "surrogateescape") + ".json"
        (folder / name).write_bytes(spoiled(chance, data) if chance.random() < 0.1 else data)

    def _set_off(self, runner: Runner, chance: Random, *, is_finished: bool) -> None:
        """Let an event have started the run, on a branch with a hostile name."""
        run: dict[str, Any] = {
            "id": 400 + self.runs,
            "run_attempt": 1,
            "name": hostile_text(chance),
            "event": "pull_request",
            "conclusion": chance.choice(("success", "failure", hostile_text(chance))),
            "head_branch": hostile_text(chance),
            "head_sha": COMMIT,
            "head_repository": {"id": 77, "full_name": f"mallory/{hostile_text(chance)}"},
            "pull_requests": [],
        }
        payload = {
            "pull_request": {"title": hostile_text(chance), "number": 7, "head": {"sha": COMMIT}},
            "head_commit": {"message": hostile_text(chance)},
            "workflow_run": run,
            "repository": {"id": 1, "full_name": "trader/models", "default_branch": "main"},
        }
        self.forge.pulls = [Pull(7, run["head_branch"], COMMIT)]
        name = "workflow_run" if is_finished else chance.choice(("push", "pull_request"))
        runner.on(name, payload if chance.random() < 0.8 else changed(chance, payload))
        runner.environ |= {
            "GITHUB_API_URL": self.forge.url,
            "GITHUB_RUN_ID": "9000",
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_WORKFLOW": hostile_text(chance).replace("\0", ""),
            "GITHUB_ACTOR": hostile_text(chance).replace("\0", ""),
            "GITHUB_JOB": hostile_text(chance).replace("\0", ""),
        }

    def _answer(self, mode: str, chance: Random) -> None:
        """Let the server answer as it does, with other texts, or refuse with some."""
        if mode in LIVE_MODES:
            self.server.script |= hostile_life(mode, chance)
            return
        seed = chance.getrandbits(64)

        def backtest(request: Request) -> Reply:
            # A server answers several requests at once, in no order.
            own = Random(f"{seed} {sorted(request.fields.items())}")  # noqa: S311  # no secret
            orders = [an_order("buy", 3.0, 32.0), an_order("sell", 3.0, 30.0)]
            market = a_market({"OAK-USD": [32.0, 33.0, 30.0, 31.0]})
            answer = {
                "status": "success",
                "modelId": "m",
                "versionId": "v",
                "backtestId": "b",
                "result": raw_result(trades=orders, market=market),
                "run": _RUN,
            }
            return _reply(own, answer)

        others = {
            route: _reply(chance, answer)
            for route, answer in OTHER_ANSWERS.items()
            if chance.random() < 0.8
        }
        openapi = described("environment") if chance.random() < 0.8 else Reply(404, {})
        self.server.script |= {BACKTEST: backtest, **others, "GET /openapi.json": openapi}


def _reply(chance: Random, answer: Any) -> Reply:
    """Return an answer of which only texts are changed, or anything, or a refusal with a reason."""
    kept = ("status", "severity", "side")
    match chance.randrange(8):
        case 0:
            return Reply(body=changed(chance, answer))
        case 1:
            said = {"error": hostile_text(chance), "run": with_hostile_texts(chance, _RUN)}
            return Reply(chance.choice((200, 400, 403, 409)), said)
        case 2:
            return Reply(chance.choice((200, 400)), hostile_text(chance).encode("utf-8", "replace"))
        case _:
            return Reply(body=with_hostile_texts(chance, answer, chance.random(), kept=kept))


def sound_text(chance: Random) -> str:
    """Return a hostile text that UTF-8 and JSON can hold."""
    return hostile_text(chance).encode("utf-8", "ignore").decode()


def strange_file(folder: Path, chance: Random) -> None:
    """Add a file, a directory or a link with a hostile name; most of them can be packed."""
    name = hostile_name(chance).decode("utf-8", "surrogateescape")
    if chance.random() < 0.9:
        name = re.sub("[\\x00-\\x1f\\x7f-\\x9f\\\\\\ud800-\\udfff]", "", name) or "x"
    place = folder / name
    if place.exists() or place.is_symlink():
        return
    match chance.randrange(8):
        case 0 | 2:
            place.mkdir()
            (place / "a.csv").write_bytes(b"x")
        case 1:
            place.symlink_to(hostile_name(chance).decode("utf-8", "surrogateescape"))
        case _:
            place.write_bytes(b"x")


def commit_of(folder: Path, chance: Random) -> None:
    """Commit everything, with a hostile message in one of several encodings."""
    git(folder, "add", "--all", "--force")
    message = hostile_text(chance).replace("\0", "").encode("utf-8", "surrogatepass")
    commit(
        folder,
        message + b"\n.",
        "-c",
        f"i18n.commitEncoding={chance.choice(('utf-8', 'latin-1', 'x'))}",
    )


def _nothing(_chance: Random) -> dict[str, str]:
    return {}


def _backtest(chance: Random) -> dict[str, str]:
    given = {"comment": "true", "compare_with": "HEAD^"}
    several = {"windows": f"{hostile_line(chance)}: 2023-01-01..2023-06-01\n2023-06-01..2024-01-01"}
    swept = {"sweep": json.dumps({"env.FAST": [5, hostile_text(chance).replace("\0", "")]})}
    gates = {"gates": "sharpe >= 0.5\nmax_drawdown <= base + 10%\nidentical"}
    for one in (several, swept, gates):
        given |= one if chance.random() < 0.5 else {}
    return given


def hostile_line(chance: Random) -> str:
    """Return hostile text as the name of a window."""
    return "".join(hostile_text(chance, 3).split("#")[0].splitlines()).strip()[:50] or "x"


def _discover(chance: Random) -> dict[str, str]:
    return {"changed_since": "HEAD^"} if chance.random() < 0.7 else {}


_INPUTS: Final[dict[str, Callable[[Random], dict[str, str]]]] = {
    "validate": _nothing,
    "deploy": lambda _: {"comment": "true"},
    "backtest": _backtest,
    "discover": _discover,
    "merge": lambda _: {"report_path": "reports", "comment": "true"},
    "comment": lambda _: {"report_path": "reports"},
    **dict.fromkeys(LIVE_MODES, lambda _: {"comment": "true"}),
}
_PREPARED: Final[dict[str, Callable[[HostileWorld, Runner, Random], None]]] = {
    "validate": HostileWorld.model,
    "deploy": HostileWorld.model,
    "backtest": HostileWorld.model,
    "discover": HostileWorld.models,
    "merge": HostileWorld.parts,
    "comment": HostileWorld.reports,
    **dict.fromkeys(LIVE_MODES, HostileWorld.model),
}
MODES: Final = (*_INPUTS,)


def open_world(root: Path, forge: ForgeServer, server: ScriptedServer) -> HostileWorld:
    """Return a world whose forge knows the token of its workflow."""
    world = HostileWorld(root, forge, server)
    forge.accounts[world.token] = WORKFLOW
    return world
