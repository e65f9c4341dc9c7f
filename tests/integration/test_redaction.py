"""Secrets are hidden before a text is cut: half a secret is not recognised."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Ended, Runner
from tests.support.backtests import raw_result, with_metrics
from tests.support.scripted_server import Reply, StartScripted

BACKTEST = "POST /model/backtest"
MODELS = "POST /model/list"
TAKEN = {"modelId": "m", "backtestId": "b", "status": "success"}
Script = Mapping[str, Reply]


def result(raw: dict[str, Any]) -> Script:
    return {BACKTEST: Reply(body={**TAKEN, "result": raw})}


def misnamed(text: str) -> Script:
    raw = raw_result()
    raw["metrics"][text] = {"value": "x", "display_name": 1, "type": 1}
    raw["metrics"][text]["value"] = [text]
    return result(raw)


def found(text: str) -> Script:
    problem = {"severity": "error", "message": f"{'x' * 3900} {text}", "hint": text}
    return {BACKTEST: Reply(body={**TAKEN, "error": text, "run": {"problems": [problem]}})}


# Where a server may repeat a secret, the inputs with which its words are shown, and how much of
# them.
PLACES: dict[str, tuple[Callable[[str], Script], dict[str, str], int]] = {
    "a value of a wrong type": (lambda text: result(raw_result(exchange=[text])), {}, 80),
    "a value of a wrong type at the top": (lambda text: result(raw_result(symbols=text)), {}, 80),
    "the name of a metric": (misnamed, {}, 80),
    "the reason of a metric": (
        lambda text: result(with_metrics(raw_result(), sharpe=f"failed: {text}")),
        {"gates": "sharpe > 1"},
        200,
    ),
    "a problem": (found, {}, 100),
    "the description of a model": (
        lambda text: {
            MODELS: Reply(
                body=[{"id": "1", "name": "workspace", "type": "strategy", "description": text}]
            )
        },
        {"model_id": "", "create_new": "true"},
        80,
    ),
    "the type of a model": (
        lambda text: {MODELS: Reply(body=[{"id": "1", "name": "workspace", "type": text}])},
        {"model_id": "", "create_new": "true"},
        80,
    ),
    "the name of a project": (
        lambda text: {"GET /project/list": Reply(body=[{"projectId": "1", "name": text}])},
        {"project_id": "", "project_name": "Fund"},
        80,
    ),
    "the name of a plan": (
        lambda text: {"POST /project/plans": Reply(body={text: {}})},
        {"mode": "deploy"},
        80,
    ),
    "an error": (lambda text: {BACKTEST: Reply(400, {"error": text})}, {}, 300),
    "a page": (lambda text: {BACKTEST: Reply(500, f"<h1>{text}</h1>".encode())}, {}, 300),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_half_of_a_secret_is_shown(runner: Runner, scripted: StartScripted, place: str) -> None:
    token = secrets.token_hex(24)
    script, inputs, longest = PLACES[place]
    for width in range(longest - 48, longest + 8, 8):
        server = scripted(script("x" * width + token))
        given = {"mode": "backtest", "model_id": "m", "project_id": "p", **inputs}
        ended = runner.run(api_url=server.url, token=token, **given)
        assert ended.code == 1, ended.log
        assert "Traceback" not in ended.log
        assert token[:8] not in everything(runner, ended, token)


@pytest.mark.parametrize(
    "write",
    [
        lambda token: f"<b>{token[:30]}</b><i>{token[30:]}</i>",
        lambda token: f"{token[:30]}\r\n{token[30:]}",
        lambda token: quote(token, safe="").replace("%2F", "%2f"),
        lambda token: repr({"token": token}),
        lambda token: "".join(f"\\u{ord(char):04X}" for char in token),
        lambda token: "".join(f"&#{ord(char)};" for char in token),
        lambda token: base64.b64encode(f"user:{token}".encode()).decode(),
        lambda token: base64.urlsafe_b64encode(f"me:{token}".encode()).decode().rstrip("="),
        lambda token: base64.encodebytes(f"{token * 2}".encode()).decode(),
    ],
)
def test_a_secret_is_hidden_however_a_server_repeats_it(
    runner: Runner, scripted: StartScripted, write: Callable[[str], str]
) -> None:
    token = f"{secrets.token_hex(12)}/'+{secrets.token_hex(12)}"
    written = write(token)
    answers = [Reply(500, f"<p>{written}</p>".encode()), Reply(400, {"error": written})]
    for answer in answers:
        server = scripted({BACKTEST: answer})
        ended = runner.run(api_url=server.url, token=token, mode="backtest", model_id="m")
        shown = everything(runner, ended, token)
        assert "***" in shown
        pieces = [written[at : at + 12] for at in range(8, len(written) - 20)]
        assert not [piece for piece in pieces if piece in shown]


def test_a_title_is_redacted_before_it_is_cut(runner: Runner, scripted: StartScripted) -> None:
    token = secrets.token_hex(24)
    for width in (1_960, 1_980, 1_999):
        message = "x" * width + token
        runner.on("push", {"ref": "refs/heads/main", "head_commit": {"message": message}})
        for inputs in ({}, {"version_description": message}):
            server = scripted()
            ended = runner.run(api_url=server.url, token=token, model_id="m", **inputs)
            assert ended.code == 0
            assert token[:8] not in everything(runner, ended, token)
            (request,) = server.requests_to("POST /model/deploy")
            assert token[:8] not in request.fields["versionDescription"]


def everything(runner: Runner, ended: Ended, token: str) -> str:
    """Return all that a run left behind, without the command that masks the token."""
    log = ended.log.replace(f"::add-mask::{token}\n", "")
    reports = (runner.root / "temp").rglob("*.json")
    return "\n".join(
        [log, ended.summary, *ended.outputs.values(), *(one.read_text() for one in reports)]
    )
