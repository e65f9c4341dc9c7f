"""No run leaves a secret anywhere, whatever fails, and however others write it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from deploy_action.deployment_api import settling
from deploy_action.http import exchange as http_exchange
from deploy_action.report.json_report import build_report
from deploy_action.stages.live import following
from tests.conftest import Runner
from tests.support.decisions import decisions
from tests.support.forge import ForgeServer
from tests.support.live_server import DEPLOY, MODELS, OPENAPI
from tests.support.scripted_server import Reply
from tests.support.secret_runs import (
    BACKTEST,
    COMMIT,
    PLANS,
    PROJECTS,
    SIGN_IN,
    TEAMS,
    Stage,
    damage,
    lives,
    misplaced,
    refusals,
    results,
)
from tests.support.torture import AT_ANY_MOMENT, Rounds

DECISIONS: Final = decisions()
ROUTES: Final = (SIGN_IN, OPENAPI, PLANS, MODELS, PROJECTS, TEAMS, DEPLOY, BACKTEST)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSES", ())
    monkeypatch.setattr(following, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 0.0)
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(settling, "_SOON", (0.0, 0.001))


def validating(stage: Stage) -> dict[str, str]:
    damage(stage)
    return {"mode": "validate"}


def discovering(stage: Stage) -> dict[str, str]:
    damage(stage)
    since = {"changed_since": stage.say_one()} if stage.chance.random() < 1 / 2 else {}
    return {"mode": "discover", **since}


def refuse(stage: Stage) -> None:
    """Let the server have an answer of another kind at one of its routes."""
    route = stage.chance.choice(ROUTES)
    stage.script[route] = refusals(stage, route)


def deploying(stage: Stage) -> dict[str, str]:
    damage(stage)
    refuse(stage)
    named = {"model_id": "", "create_new": "true", "project_name": stage.chance.choice(("", "A"))}
    return {"mode": "deploy", **(named if stage.chance.random() < 1 / 2 else {})}


def deploying_to_a_server_that_talks(stage: Stage) -> dict[str, str]:
    """Its lists have the secrets in names and descriptions."""
    stage.is_signed_in = True
    said, one = stage.say(), stage.say_one()
    model = {"id": "1", "name": "workspace", "type": one, "description": said}
    stage.script |= {
        MODELS: Reply(body=[model, {**model, "id": one, "type": "strategy"}]),
        PROJECTS: Reply(body=[{"projectId": one, "name": said}]),
        TEAMS: Reply(body=[{"id": one, "name": said}]),
        PLANS: Reply(body={one: {}, said: {"cpu": said}}),
        DEPLOY: Reply(body={"modelId": one, "versionId": one, "projectId": one, "a": said}),
    }
    return {"mode": "deploy", "model_id": "", "project_id": "", "project_name": "Fund"}


def deploying_a_model_that_runs(stage: Stage) -> dict[str, str]:
    stage.script |= lives(stage)
    return {"mode": "deploy", "unchanged": stage.chance.choice(("deploy", "skip"))}


def controlling(stage: Stage) -> dict[str, str]:
    damage(stage)
    stage.script |= lives(stage)
    return {"mode": stage.chance.choice(("start", "stop", "rollback"))}


def trying(stage: Stage) -> dict[str, str]:
    damage(stage)
    mode = stage.chance.choice(("deploy", "backtest", "start", "stop", "rollback"))
    if stage.chance.random() < 1 / 2:
        refuse(stage)
    return {"mode": mode, "dry_run": "true"}


def backtesting(stage: Stage) -> dict[str, str]:
    stage.script[BACKTEST] = results(stage)
    gates = stage.chance.choice(("", "sharpe > 9", "sharpe > base", "identical"))
    several = stage.chance.choice(({}, {"windows": "2"}, {"sweep": "{env.FAST: [1, 2]}"}))
    return {"mode": "backtest", "gates": gates, **several}


def backtesting_in_vain(stage: Stage) -> dict[str, str]:
    damage(stage)
    stage.script[BACKTEST] = refusals(stage, BACKTEST)
    return {"mode": "backtest"}


def giving_wrong_inputs(stage: Stage) -> dict[str, str]:
    modes = ("validate", "deploy", "backtest", "discover", "merge", "start", "stop", "comment")
    return {"mode": stage.chance.choice(modes), **misplaced(stage)}


def leave_report(stage: Stage) -> None:
    """Let an earlier job have left a report that has all secrets in its texts."""
    outcome = DECISIONS[stage.chance.choice(sorted(DECISIONS))]
    text = "".join(build_report(outcome))
    for word in ("momentum", "OAK-USD", "Buy the dip later", "keyless", "sharpe"):
        if stage.chance.random() < 1 / 2 and len(stage.inputs["token"]) < 80:
            # The run that wrote it has hidden its own secrets: none are escaped or cut there.
            text = text.replace(word, json.dumps(stage.inputs["token"])[1:-1])
    if stage.chance.random() < 1 / 4:
        text = text[: stage.chance.randrange(len(text))]
    path = stage.runner.workspace / "report"
    path.mkdir(exist_ok=True)
    (path / "b1.json").write_text(text)


def merging(stage: Stage) -> dict[str, str]:
    leave_report(stage)
    return {"mode": "merge", "report_path": "report"}


def commenting(stage: Stage) -> dict[str, str]:
    leave_report(stage)
    run = {
        "id": 1,
        "run_attempt": 1,
        "name": stage.say_one(),
        "event": "pull_request",
        "conclusion": stage.chance.choice(("success", "failure", stage.say_one())),
        "head_branch": stage.chance.choice(("faster", stage.say_one())),
        "head_sha": COMMIT,
        "head_repository": {"id": 77, "full_name": f"mallory/{stage.say_one()}"},
        "pull_requests": [],
    }
    payload = {"workflow_run": run, "repository": {"id": 1, "full_name": "trader/models"}}
    stage.runner.on("workflow_run", payload)
    return {"mode": "comment", "report_path": "report"}


SCENARIOS: Final[tuple[Callable[[Stage], dict[str, str]], ...]] = (
    validating,
    discovering,
    deploying,
    deploying_to_a_server_that_talks,
    deploying_a_model_that_runs,
    controlling,
    trying,
    backtesting,
    backtesting_in_vain,
    giving_wrong_inputs,
    merging,
    commenting,
)


@AT_ANY_MOMENT
@pytest.mark.torture(quick=3 * len(SCENARIOS))
def test_no_run_leaves_a_secret_anywhere(tmp_path: Path, rounds: Rounds) -> None:
    for number, chance in enumerate(rounds):
        scenario = SCENARIOS[number % len(SCENARIOS)]
        root = tmp_path / "round"
        root.mkdir()
        with ForgeServer() as forge:
            stage = Stage(Runner(root), chance, forge)
            inputs = scenario(stage)
            ended = stage.run(**{**stage.asking_for_a_comment(), **inputs})
            assert stage.leaks(ended) == [], scenario.__name__
            assert "Traceback" not in ended.log, ended.log
        rounds.count("runs")
        rounds.count("secrets in each", len(stage.hunter.secrets) if number == 0 else 0)
        rounds.count(f"ended with {ended.code}")
        shutil.rmtree(root)
