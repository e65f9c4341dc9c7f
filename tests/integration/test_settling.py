"""Uploads whose answer is lost, through the whole action: one version, whatever comes back."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from deploy_action.deployment_api import retry_rules, settling, transport
from deploy_action.http import exchange as http_exchange
from tests.conftest import Ended, Runner
from tests.support.scripted_server import (
    DEPLOYED,
    NOT_FOUND,
    CutAfterBody,
    Hang,
    Reply,
    Request,
    ScriptedServer,
    StartScripted,
    Step,
)

DEPLOY = "POST /model/deploy"
BACKTEST = "POST /model/backtest"
DETAILS = "POST /model/details"
MODELS = "POST /model/list"
PROJECTS = "GET /project/list"
CREATE_MODEL = "POST /model/create-model"
CREATE_PROJECT = "POST /project/create"

# Another try may end better after these, ...
CUTS: Mapping[str, Step] = {
    "500": Reply(500, "<html>Oops"),
    "502": Reply(502, "bad gateway"),
    "503": Reply(503, "no healthy upstream"),
    "cut": CutAfterBody(),
}
# ... but not after these, ...
ANSWERS: Mapping[str, Step] = {
    "301": Reply(301, headers={"Location": "/login"}),
    "302": Reply(302, headers={"Location": "/models/1"}),
    "303": Reply(303, headers={"Location": "/models/1"}),
    "307": Reply(307, headers={"Location": "https://elsewhere.example"}),
    "308": Reply(308),
    "no JSON": Reply(200, '{"status": "succ'),
    "no success": Reply(200, {"status": "pending"}),
    "queued": Reply(202, {"status": "queued"}),
    "nothing": Reply(202, ""),
    "page": Reply(200, "<!DOCTYPE html><html>Welcome"),
    "too large": Reply(200, b" " * (17 << 20)),
    "badly compressed": Reply(200, b"no gzip", headers={"Content-Encoding": "gzip"}),
}
# ... and after these the server may still be at work.
SILENCES: Mapping[str, Step] = {
    "408": Reply(408),
    "504": Reply(504),
    "524": Reply(524),
    "hang": Hang(),
}
LOSSES: Mapping[str, Step] = {**CUTS, **ANSWERS, **SILENCES}


@dataclass
class Server:
    """The state of a server that loses its answers: what it made, and what it is asked to do.

    It acts on the uploads whose numbers, from 1, are in `acts_on`, and answers `loss` to the first
    `losses` of them. What it made is shown after `late` further looks.
    """

    loss: Step
    losses: int = 1
    acts_on: tuple[int, ...] = (1,)
    late: int = 0
    digest: Callable[[str], str] = str
    status: str = ""
    uploads: int = 0
    looks: int = 0
    made: list[str] = field(default_factory=list)  # the SHA-256 of each bundle

    def take(self, request: Request) -> Step:
        self.uploads += 1
        if self.uploads in self.acts_on:
            self.made.append(hashlib.sha256(request.file).hexdigest())
        if self.uploads <= self.losses:
            return self.loss
        assert isinstance(DEPLOYED.body, dict)
        return Reply(body={**DEPLOYED.body, "versionId": f"v-{len(self.made)}"})

    def _visible(self) -> list[str]:
        if self.made:
            self.looks += 1
        return self.made if self.looks > self.late else []

    def listing(self, _request: Request) -> Step:
        """List all versions and backtests, as the embedded platform does."""
        made = enumerate(self._visible(), 1)
        listed = [("old", "0" * 64), *((f"v-{number}", digest) for number, digest in made)]
        entries = [
            {
                "versionId": one,
                "backtestId": one,
                "bundle": {"sha256": self.digest(digest)},
                "status": self.status,
            }
            for one, digest in listed
        ]
        return Reply(body={"id": "m", "versions": entries, "backtests": entries})

    def running(self, _request: Request) -> Step:
        """Show only what runs, as the original server does."""
        count = len(self._visible())
        running = f"v-{count}" if count else "old"
        return Reply(body={"id": "m", "deployedVersion": running, "deployedAt": 1_700_000 + count})

    def first(self, _request: Request) -> Step:
        """Show a model as the original server does that was never deployed before."""
        count = len(self._visible())
        at = f"2026-11-28T11:{count:02}:21+00:00"
        deployed = {"deployedVersion": f"v-{count}", "deployedAt": at} if count else {}
        return Reply(body={"id": "m", "exists": True, **deployed})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses and time-outs, keep the number of looks."""
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(transport, "UPLOAD_ANSWER_TIMEOUT", 0.4)
    for name in ("_SOON", "_LATER"):
        pauses = getattr(settling, name)
        monkeypatch.setattr(settling, name, (0.0, *(0.001 for _ in pauses[1:])))


Details = Callable[[Server], Callable[[Request], Step]]
LISTED: Details = lambda state: state.listing  # noqa: E731  # a name for a parameter
RUNNING: Details = lambda state: state.running  # noqa: E731
FIRST: Details = lambda state: state.first  # noqa: E731


def start(scripted: StartScripted, state: Server, details: Details = LISTED) -> ScriptedServer:
    return scripted({DEPLOY: state.take, BACKTEST: state.take, DETAILS: details(state)})


def run(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"api_url": server.url, "token": "refresh", "model_id": "m", "project_id": "p"}
    return runner.run(**{**given, **inputs})


def error_of(ended: Ended) -> str:
    assert ended.code == 1
    (error,) = [line for line in ended.annotations if line.startswith("::error")]
    return error


def notices_of(ended: Ended) -> str:
    return "\n".join(line for line in ended.annotations if line.startswith("::notice"))


@pytest.mark.parametrize(
    ("loss", "details"),
    # The real platform lists: `test_faults.py` has each loss of its answers.
    [("502", LISTED), *itertools.product(LOSSES, (RUNNING, FIRST))],
)
def test_a_version_whose_answer_is_lost_is_found(
    runner: Runner, scripted: StartScripted, loss: str, details: Details
) -> None:
    state = Server(LOSSES[loss], losses=9)
    ended = run(runner, start(scripted, state, details))
    assert ended.code == 0
    assert (state.uploads, len(state.made)) == (1, 1)
    assert ended.outputs["status"] == "deployed"
    assert ended.outputs["version-id"] == "v-1"
    words = "lists the new version v-1 with this bundle" if details is LISTED else "runs another"
    assert words in notices_of(ended)
    assert "may or may not" not in ended.summary


@pytest.mark.parametrize(("details", "late"), [(LISTED, 4), (RUNNING, 4), (RUNNING, 30)])
def test_a_version_that_appears_late_is_found(
    runner: Runner, scripted: StartScripted, details: Details, late: int
) -> None:
    """A server that knows only what runs may build for minutes before it runs."""
    state = Server(Reply(504), losses=9, late=late)
    ended = run(runner, start(scripted, state, details))
    assert ended.code == 0
    assert ended.outputs["version-id"] == "v-1"
    assert state.uploads == 1


def test_a_version_that_was_deployed_before_is_not_taken_for_ours(
    runner: Runner, scripted: StartScripted
) -> None:
    """A server whose stored answers are late may show an earlier one."""
    state = Server(Reply(500), losses=9)

    def late(_request: Request) -> Step:
        if state.uploads:
            return Reply(body={"deployedVersion": "older", "deployedAt": "2026-11-27T08:00:00Z"})
        return Reply(body={"deployedVersion": "old", "deployedAt": 1_795_864_881_000})

    ended = run(runner, scripted({DEPLOY: state.take, DETAILS: late}))
    assert "may or may not exist" in error_of(ended)


@pytest.mark.parametrize("loss", CUTS)
def test_an_upload_that_made_nothing_is_sent_again(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    state = Server(CUTS[loss], losses=2, acts_on=(3,))
    ended = run(runner, start(scripted, state))
    assert ended.code == 0
    assert (state.uploads, len(state.made)) == (3, 1)
    assert ended.outputs["version-id"] == "v-1"
    assert "The server lists nothing new: sending it again." in ended.log


@pytest.mark.parametrize("loss", CUTS)
def test_after_three_uploads_that_made_nothing_the_run_fails_in_doubt(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    """The list may be late."""
    state = Server(CUTS[loss], losses=9, acts_on=())
    ended = run(runner, start(scripted, state))
    assert state.uploads == 3
    assert "may or may not exist" in error_of(ended)
    assert "No new version was made" not in ended.summary


@pytest.mark.parametrize("loss", [*ANSWERS, *SILENCES])
def test_after_an_answer_or_a_long_wait_nothing_is_sent_again(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    state = Server(LOSSES[loss], losses=9, acts_on=())
    ended = run(runner, start(scripted, state))
    assert state.uploads == 1
    assert "may or may not exist" in error_of(ended)
    assert "No new version was made" not in ended.summary
    assert ended.summary.startswith("## ❌ Perhaps deployed: ")


def test_a_gateway_that_waited_long_leaves_doubt(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server behind it may still be at work: some wait for 30 seconds before a 503."""
    monkeypatch.setattr(retry_rules, "_SOON", 0.0)
    state = Server(Reply(503), losses=9, acts_on=())
    assert "may or may not exist" in error_of(run(runner, start(scripted, state)))
    assert state.uploads == 1


@pytest.mark.parametrize("refusal", [Reply(409, {"error": "A deploy is in progress"}), Reply(404)])
def test_a_second_upload_that_is_refused_keeps_the_doubt_about_the_first(
    runner: Runner, scripted: StartScripted, refusal: Reply
) -> None:
    """It may be refused because the first one is still at work."""
    state = Server(Reply(502), losses=1, acts_on=(), late=99)

    def deploy(request: Request) -> Step:
        step = state.take(request)
        return step if state.uploads == 1 else refusal

    server = scripted({DEPLOY: deploy, DETAILS: state.listing})
    ended = run(runner, server)
    assert state.uploads == 2
    assert "may or may not exist" in error_of(ended)
    assert "No new version was made" not in ended.summary


def test_a_deadline_after_a_refused_second_upload_keeps_the_doubt_about_the_first(
    runner: Runner, scripted: StartScripted
) -> None:
    state = Server(Reply(502), losses=1, acts_on=(), late=99)

    def deploy(request: Request) -> Step:
        step = state.take(request)
        return step if state.uploads == 1 else Reply(409, {"error": "A deploy is in progress"})

    def details(request: Request) -> Step:
        return Hang() if state.uploads == 2 else state.listing(request)

    server = scripted({DEPLOY: deploy, DETAILS: details})
    error = error_of(run(runner, server, timeout_minutes="0.1"))
    assert state.uploads == 2
    assert "deadline of 0.1 minutes" in error
    assert "may or may not exist" in error


UNTOLD: Mapping[str, Callable[[Server], Reply]] = {
    "missing": lambda _: Reply(404, "not found"),
    "page": lambda _: Reply(200, "<!DOCTYPE html><html>Restarting"),
    "no list": lambda _: Reply(body={"id": "m"}),
    "unknown": lambda _: Reply(body={"id": "m", "exists": False}),
    "failing": lambda _: Reply(502),
    "shorter": lambda _: Reply(body={"versions": []}),
    "other ids": lambda state: Reply(body={"versions": [{"version": one} for one in state.made]}),
    "texts": lambda state: Reply(body={"versions": ["old", *state.made]}),
}


@pytest.mark.parametrize("untold", UNTOLD)
@pytest.mark.parametrize("mode", ["deploy", "backtest"])
def test_a_list_that_does_not_tell_afterwards_leaves_doubt(
    runner: Runner, scripted: StartScripted, untold: str, mode: str
) -> None:
    state = Server(Reply(502), losses=9)
    listing = state.listing

    def details(request: Request) -> Step:
        return UNTOLD[untold](state) if state.uploads else listing(request)

    ended = run(runner, start(scripted, state, lambda _: details), mode=mode)
    assert (state.uploads, len(state.made)) == (1, 1)
    assert "may or may not exist" in error_of(ended)


@pytest.mark.parametrize("digest", [str.upper, "sha256:{}".format])
def test_a_digest_is_recognised_however_it_is_written(
    runner: Runner, scripted: StartScripted, digest: Callable[[str], str]
) -> None:
    state = Server(Reply(502), losses=9, digest=digest)
    assert run(runner, start(scripted, state)).code == 0
    assert state.uploads == 1


def test_a_version_whose_bundle_is_not_told_is_taken_for_this_one_and_said_so(
    runner: Runner, scripted: StartScripted
) -> None:
    state = Server(Reply(502), losses=9, digest=lambda _: "")
    ended = run(runner, start(scripted, state))
    assert ended.code == 0
    assert "which is taken for this one: it does not tell the bundle" in notices_of(ended)


def test_a_version_that_is_listed_as_failed_fails_the_run(
    runner: Runner, scripted: StartScripted
) -> None:
    state = Server(Reply(500), losses=9, status="failed")
    ended = run(runner, start(scripted, state))
    assert "lists the new version v-1 as `failed`" in error_of(ended)
    assert "No new version was made" not in ended.summary
    assert ended.outputs["version-id"] == "v-1"
    assert ended.outputs["status"] == "failed"


@pytest.mark.parametrize("after", [None, "", "old"])
def test_a_version_that_stops_is_no_new_one(
    runner: Runner, scripted: StartScripted, after: str | None
) -> None:
    state = Server(Reply(504), losses=9, acts_on=())

    def details(_request: Request) -> Step:
        running = after if state.uploads else "old"
        return Reply(body={"deployedVersion": running, "deployedAt": state.uploads})

    ended = run(runner, start(scripted, state, lambda _: details))
    assert "may or may not exist" in error_of(ended)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_server_that_knows_only_what_runs_gets_nothing_twice(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    """That nothing new runs yet does not prove that nothing was made."""
    state = Server(LOSSES[loss], losses=9, acts_on=())
    ended = run(runner, start(scripted, state, RUNNING))
    assert state.uploads == 1
    assert "may or may not exist" in error_of(ended)


@pytest.mark.parametrize(
    "details", [NOT_FOUND, Reply(500), Reply(200, []), Reply(body={"id": "m"})]
)
def test_a_server_that_cannot_tell_leaves_doubt(
    runner: Runner, scripted: StartScripted, details: Step
) -> None:
    state = Server(Reply(503), losses=9)
    ended = run(runner, start(scripted, state, lambda _state: lambda _request: details))
    assert state.uploads == 1
    assert "may or may not exist" in error_of(ended)


def test_a_server_that_is_gone_afterwards_leaves_doubt(
    runner: Runner, scripted: StartScripted
) -> None:
    state = Server(Reply(502), losses=9)
    listing = state.listing
    ended = run(
        runner,
        start(
            scripted,
            state,
            lambda _: lambda request: Reply(502) if state.uploads else listing(request),
        ),
    )
    assert state.uploads == 1
    assert "may or may not exist" in error_of(ended)


def test_a_version_of_somebody_else_is_not_taken_for_this_one(
    runner: Runner, scripted: StartScripted
) -> None:
    """Another run deploys other bytes at the same time, or the server packs its bundles anew."""
    state = Server(Reply(502), losses=9, acts_on=())

    def deploy(request: Request) -> Step:
        state.made.append("f" * 64)
        return state.take(request)

    server = scripted({DEPLOY: deploy, DETAILS: state.listing})
    assert "may or may not exist" in error_of(run(runner, server))
    assert state.uploads == 1


@pytest.mark.parametrize("loss", ["502", "303", "cut"])
def test_a_signal_while_it_is_unknown_leaves_doubt(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    state = Server(LOSSES[loss], losses=9)
    listing = state.listing

    def interrupting(request: Request) -> Step:
        if state.uploads:
            os.kill(os.getpid(), signal.SIGINT)
            return Hang()
        return listing(request)

    ended = run(runner, start(scripted, state, lambda _: interrupting))
    assert ended.code == 130
    assert state.uploads == 1
    assert "is not known" in ended.summary


def test_an_answer_is_awaited_only_while_there_is_time_to_look(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "UPLOAD_ANSWER_TIMEOUT", 900)
    state = Server(Hang(), losses=9)
    ended = run(runner, start(scripted, state), timeout_minutes="0.2")
    assert ended.code == 0
    assert ended.outputs["version-id"] == "v-1"


@pytest.mark.parametrize("loss", ["503", "303", "cut"])
def test_a_model_whose_answer_is_lost_is_found(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    made: list[dict[str, str]] = []

    def create(request: Request) -> Step:
        made.append({"id": "model-7", **request.fields})
        return LOSSES[loss]

    server = scripted({CREATE_MODEL: create, MODELS: lambda _request: Reply(body=made)})
    ended = run(runner, server, model_id="", create_new="true")
    assert ended.code == 0
    assert len(made) == 1
    assert server.requests_to(DEPLOY)[0].fields["modelId"] == "model-7"


@pytest.mark.parametrize("loss", ["503", "303", "cut"])
def test_a_project_whose_answer_is_lost_is_found(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    made: list[dict[str, str]] = []

    def create(request: Request) -> Step:
        made.append({"projectId": "project-7", **request.fields})
        return LOSSES[loss]

    server = scripted({CREATE_PROJECT: create, PROJECTS: lambda _request: Reply(body=made)})
    ended = run(runner, server, model_id="", project_id="", project_name="Fund", create_new="true")
    assert ended.code == 0
    assert len(made) == 1
    assert ended.outputs["project-id"] == "project-7"


@pytest.mark.parametrize("route", [CREATE_MODEL, CREATE_PROJECT])
def test_a_creation_that_made_nothing_is_not_repeated(
    runner: Runner, scripted: StartScripted, route: str
) -> None:
    """It happens once in a model's life, so the doubt is left to a person."""
    empty = Reply(body=[])
    server = scripted({PROJECTS: empty, MODELS: empty, route: Reply(503)})
    where = {"project_id": "", "project_name": "Fund"} if route == CREATE_PROJECT else {}
    ended = run(runner, server, model_id="", create_new="true", **where)
    assert len(server.requests_to(route)) == 1
    assert "may or may not exist" in error_of(ended)
    assert ended.summary.startswith("## ❌ Not deployed: ")
    assert "What the server made of it is not known." in ended.summary


@pytest.mark.parametrize("loss", LOSSES)
def test_a_backtest_whose_answer_is_lost_is_named(
    runner: Runner, scripted: StartScripted, loss: str
) -> None:
    state = Server(LOSSES[loss], losses=9)
    ended = run(runner, start(scripted, state), mode="backtest")
    assert state.uploads == 1
    assert "The result of the backtest v-1 was lost with the server's answer." in error_of(ended)
    assert ended.outputs["backtest-id"] == "v-1"


def test_a_backtest_that_was_not_made_is_sent_again(
    runner: Runner, scripted: StartScripted
) -> None:
    state = Server(Reply(502), acts_on=(2,))
    ended = run(runner, start(scripted, state), mode="backtest")
    assert ended.code == 0
    assert (state.uploads, len(state.made)) == (2, 1)
