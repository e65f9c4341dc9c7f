"""Deploying to a server that runs models: the run ends when it is known what runs."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from deploy_action.http import exchange as http_exchange
from deploy_action.stages.live import following
from tests.conftest import Ended, Runner
from tests.support.live_server import (
    DEPLOY,
    DETAILS,
    LOGS,
    NEW,
    OLD,
    OPENAPI,
    ScriptedLife,
    described,
    details,
    live,
    version,
)
from tests.support.repositories import commit_all, git, make_repository
from tests.support.scripted_server import (
    DEPLOYED,
    NOT_FOUND,
    Reply,
    Request,
    ScriptedServer,
    StartScripted,
    Step,
)
from tests.support.secret_hunter import without_masks

LOG = [
    "2026-11-28T23:48:43.001Z platform Installing blankly",
    "2026-11-28T23:48:44.002Z out Bought 1 BTC-USD",
    "2026-11-28T23:48:45.003Z err ::set-output name=x::y",
]
COMING = details(live("preparing"), version(NEW, "preparing"))
REPLACING = details(
    live("running", OLD, next={"versionId": NEW, "state": "preparing"}),
    version(OLD, "ran"),
    version(NEW, "preparing"),
)
UP = details(live("running"), version(NEW, "ran"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSES", ())
    monkeypatch.setattr(following, "_LAST_PAUSE", 0.001)


def deploy(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"api_url": server.url, "token": "refresh-token", "model_id": "m-1"}
    return runner.run(**{**given, **inputs})


def title(ended: Ended) -> str:
    return ended.summary.splitlines()[0]


def test_a_deploy_ends_when_the_model_runs(runner: Runner, scripted: StartScripted) -> None:
    platform = ScriptedLife(after=[COMING, REPLACING, UP], log=LOG)
    ended = deploy(runner, scripted(platform.script()))

    assert ended.code == 0
    assert title(ended) == "## ✅ Deployed and running: `workspace`"
    assert "Version `11111111` runs since 2026-11-28 23:48 UTC on" in ended.summary
    assert ended.outputs["status"] == "deployed"
    assert ended.outputs["state"] == "running"
    assert ended.outputs["version-id"] == NEW
    assert platform.looks == 3
    log = ended.log.partition("See whether it runs")[2]
    assert log.index("preparing") < log.index("running, and version") < log.index("Bought 1")
    assert "**The first lines of its log** (2026-11-28 UTC)" in ended.summary
    assert "23:48:44 out      Bought 1 BTC-USD\n23:48:45 err      ::set-output" in ended.summary
    assert "Installing" not in ended.summary
    assert "\n::set-output" not in ended.log


def test_a_screener_is_done_when_it_is_scheduled(runner: Runner, scripted: StartScripted) -> None:
    waiting = live("scheduled", nextRunAt="2026-11-29T06:00:00Z")
    platform = ScriptedLife(after=[details(waiting, version(NEW, "ran"))])
    ended = deploy(runner, scripted(platform.script()))
    assert ended.code == 0
    assert title(ended) == "## ✅ Deployed and scheduled: `workspace`"
    assert "is scheduled, next at 2026-11-29 06:00 UTC" in ended.summary
    assert ended.outputs["state"] == "scheduled"


FAILURES = {
    "not prepared, the old one runs": (
        details(
            live("running", OLD),
            version(OLD, "ran"),
            version(NEW, "failed", problem="pip found no such version"),
        ),
        "❌ Not deployed: ",
        ["was not started: pip found no such version.", f"Version `{OLD[:8]}` still runs"],
        "running",
    ),
    "not prepared, nothing runs": (
        details(live("failed"), version(NEW, "failed", problem="no Python 3.12")),
        "❌ Not running: ",
        ["no Python 3.12.", "Nothing of the model runs now."],
        "failed",
    ),
    "ended at once": (
        details(
            live("failed", exitCode=1, previousVersionId=OLD),
            version(OLD, "ran"),
            version(NEW, "failed"),
        ),
        "❌ Not running: ",
        ["it ended with code 1.", f"`mode: rollback` runs version `{OLD[:8]}` again"],
        "failed",
    ),
    "ended well, but at once": (
        details(live("finished"), version(NEW, "failed", problem="it ended after 2 s")),
        "❌ Not running: ",
        ["it ended after 2 s."],
        "finished",
    ),
    "waits to be started again": (
        details(live("restarting", problem="KeyError: 'x'"), version(NEW, "ran")),
        "❌ Not running: ",
        ["KeyError: 'x'.", "The server will start it again."],
        "restarting",
    ),
    "superseded": (
        details(live("running", OLD), version(OLD, "ran"), version(NEW, "superseded")),
        "❌ Not deployed: ",
        [f"another version `{OLD[:8]}` took its place"],
        "running",
    ),
    "cancelled": (
        details(live("stopped", OLD), version(OLD, "ran"), version(NEW, "cancelled")),
        "❌ Not running: ",
        ["somebody stopped the model meanwhile", "`mode: start` runs it"],
        "stopped",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_there_is_no_tick_over_a_dead_bot(
    runner: Runner, scripted: StartScripted, name: str
) -> None:
    last, heading, said, state = FAILURES[name]
    platform = ScriptedLife(after=[COMING, last], log=LOG)
    ended = deploy(runner, scripted(platform.script()))

    assert ended.code == 1
    assert title(ended) == f"## {heading}`workspace`"
    assert "✅" not in ended.summary
    assert [text for text in said if text not in ended.summary] == []
    assert any(line.startswith("::error") for line in ended.annotations)
    assert "**The end of its log** (2026-11-28 UTC)" in ended.summary
    assert "23:48:43 platform Installing blankly\n23:48:44 out      Bought 1" in ended.summary
    assert "No new version was made" not in ended.summary
    assert ended.outputs["status"] == "failed"
    assert ended.outputs["state"] == state
    assert ended.outputs["version-id"] == NEW


def test_a_bot_that_dies_soon_after_its_start_gets_no_tick(
    runner: Runner, scripted: StartScripted
) -> None:
    now = datetime.now(UTC).isoformat()
    begun = details(live("running", since=now), version(NEW, "ran"))
    died = details(live("restarting", problem="It ended."), version(NEW, "ran"))
    ended = deploy(runner, scripted(ScriptedLife(after=[begun, begun, died]).script()))
    assert ended.code == 1
    assert "❌ Not running: " in title(ended)
    assert ended.outputs["state"] == "restarting"


@pytest.mark.parametrize("hours", [-1, 1])
def test_how_long_it_runs_is_told_by_the_clock_of_the_server(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """By that of this machine it may have started an hour ago, and need no more watching."""
    now = datetime.now(UTC)
    date = format_datetime(now, usegmt=True)
    begun = details(live("running", since=now.isoformat()), version(NEW, "ran"))
    begun = replace(begun, headers={"Date": date})
    died = details(live("restarting", problem="It ended."), version(NEW, "ran"))
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + hours * 3_600)
    ended = deploy(runner, scripted(ScriptedLife(after=[begun, begun, died]).script()))
    assert ended.code == 1
    assert ended.outputs["state"] == "restarting"


def test_a_deploy_to_a_stopped_model_is_stored(runner: Runner, scripted: StartScripted) -> None:
    stored = details(live("stopped", OLD), version(OLD, "ran"), version(NEW, "stored"))
    ended = deploy(runner, scripted(ScriptedLife(after=[stored], log=LOG).script()))

    assert ended.code == 0
    assert title(ended) == "## ⏸️ Stored, not running: `workspace`"
    assert "Stored, not running: stopped at 2026-11-28 23:48 UTC. `mode: start` runs it." in (
        ended.summary
    )
    assert ended.outputs["status"] == "deployed"
    assert ended.outputs["state"] == "stopped"
    assert "Bought" not in ended.summary


def test_a_script_that_ran_to_its_end_gets_no_tick(runner: Runner, scripted: StartScripted) -> None:
    done = details(live("finished"), version(NEW, "ran"))
    ended = deploy(runner, scripted(ScriptedLife(after=[done]).script()))
    assert ended.code == 0
    assert title(ended) == "## 🏁 Ran to its end: `workspace`"
    assert "**Nothing runs now.**" in ended.summary
    assert ended.outputs["state"] == "finished"


@pytest.mark.parametrize("coming", [COMING, REPLACING], ids=["alone", "replacing"])
def test_out_of_time_it_says_that_the_server_goes_on(
    runner: Runner, scripted: StartScripted, coming: Reply
) -> None:
    platform = ScriptedLife(after=[coming])
    ended = deploy(runner, scripted(platform.script()), timeout_minutes="0.02")

    assert ended.code == 1
    assert title(ended) == "## ⏳ Not running yet: `workspace`"
    assert "The server goes on" in ended.summary
    assert "longer than its deadline" in ended.summary
    assert ended.outputs["status"] == "failed"
    assert ended.outputs["state"] == "preparing"


def test_cancelled_it_says_that_the_server_goes_on(runner: Runner, scripted: StartScripted) -> None:
    platform = ScriptedLife(after=[COMING])

    def interrupt(request: Request) -> Step:
        script = platform.script()[DETAILS]
        assert callable(script)
        if platform.looks == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return script(request)

    ended = deploy(runner, scripted(platform.script(**{DETAILS: interrupt})))

    assert ended.code == 130
    assert title(ended) == "## ⏳ Not running yet: `workspace`"
    assert "The server goes on" in ended.summary
    assert ended.outputs["state"] == "preparing"


@pytest.mark.parametrize(
    "away",
    [Reply(502, "bad gateway"), Reply(503, "upgrading", {"Retry-After": "0"}), Reply(429)],
    ids=["502", "503", "429"],
)
def test_a_server_that_is_away_for_a_while_is_asked_again(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch, away: Reply
) -> None:
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    platform = ScriptedLife(after=[COMING, *[away] * 9, UP])
    ended = deploy(runner, scripted(platform.script()))
    assert ended.code == 0
    assert "may be restarting" in ended.log
    assert ended.outputs["state"] == "running"


def test_a_server_that_stays_away_leaves_it_open(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)
    platform = ScriptedLife(after=[COMING, Reply(502, "bad gateway")])
    ended = deploy(runner, scripted(platform.script()))
    assert ended.code == 1
    assert "What the model does is not known" in ended.summary
    assert "✅" not in ended.summary


@pytest.mark.parametrize(
    "answer",
    [NOT_FOUND, Reply(body={"id": "m-1", "exists": True}), Reply(400, {"error": "no"})],
    ids=["no route", "the original", "refused"],
)
def test_a_server_that_does_not_tell_is_believed_to_have_deployed(
    runner: Runner, scripted: StartScripted, answer: Reply
) -> None:
    ended = deploy(runner, scripted({DETAILS: answer}))
    assert ended.code == 0
    assert title(ended) == "## Deployed `workspace`"
    assert "Whether it runs is not known: the server does not tell." in ended.summary
    assert ended.outputs["status"] == "deployed"
    assert "state" not in ended.outputs


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "problem": ({"problem": "KeyError: 'x'"}, "and has a problem: KeyError: 'x'."),
    "callbacks": ({"callbackErrors": 3}, "with 3 errors in its callbacks so far."),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_model_that_runs_is_a_warning(
    runner: Runner, scripted: StartScripted, name: str
) -> None:
    changes, said = WRONG[name]
    ill = details({**live("running"), **changes}, version(NEW, "ran"))
    server = scripted(ScriptedLife(after=[ill]).script())
    for fails in ("false", "true"):
        ended = deploy(runner, server, fail_on_warning=fails)
        assert ended.code == (1 if fails == "true" else 0)
        assert title(ended) == "## ⚠️ Deployed and running, with a problem: `workspace`"
        assert said in ended.summary
        assert any("::warning" in line and said in line for line in ended.annotations)
        assert ended.outputs["status"] == "deployed"
        assert ended.outputs["state"] == "running"


def test_a_script_that_is_done_at_once_is_not_to_be_deployed_again_by_rote(
    runner: Runner, scripted: StartScripted
) -> None:
    done = details(live("failed", exitCode=0), version(NEW, "failed", problem="It ended."))
    ended = deploy(runner, scripted(ScriptedLife(after=[done]).script()))
    assert "It ended by itself" in ended.summary
    assert "Another deploy, or `mode: start`, runs it again" in ended.summary
    assert "and deploy again" not in ended.summary


def test_a_model_that_printed_nothing_yet_is_said_to(
    runner: Runner, scripted: StartScripted
) -> None:
    ended = deploy(runner, scripted(ScriptedLife(after=[UP], log=LOG[:1]).script()))
    assert "It has printed nothing yet." in ended.summary
    assert "Installing" not in ended.summary


def test_of_a_long_log_the_end_is_shown_as_that(runner: Runner, scripted: StartScripted) -> None:
    log = [f"2026-11-28T23:48:44Z out line {number}" for number in range(700)]
    ended = deploy(runner, scripted(ScriptedLife(after=[UP], log=log).script()))
    assert "**The end of its log**" in ended.summary
    assert "line 699" in ended.summary
    assert "line 200\n" not in ended.summary


def test_a_secret_that_a_server_has_in_two_lines_of_a_log_is_hidden(
    runner: Runner, scripted: StartScripted
) -> None:
    token = secrets.token_hex(20)
    log = Reply(body=f"I know {token[:15]}\n    {token[15:]}\n")
    server = scripted(ScriptedLife(after=[UP]).script(**{LOGS: log}))
    ended = deploy(runner, server, token=token)
    assert "I know ***\n" in ended.summary
    assert token[15:] not in ended.summary + without_masks(ended.log)


def test_a_log_that_cannot_be_had_changes_nothing(runner: Runner, scripted: StartScripted) -> None:
    for answer in (NOT_FOUND, Reply(500), Reply(body="<!DOCTYPE html>Welcome")):
        ended = deploy(runner, scripted(ScriptedLife(after=[UP]).script(**{LOGS: answer})))
        assert ended.code == 0
        assert "Welcome" not in ended.summary
        assert "printed nothing" not in ended.summary


def test_without_the_id_of_the_new_version_nothing_is_told_of_the_old_one(
    runner: Runner, scripted: StartScripted
) -> None:
    old = details(live("failed", OLD), version(OLD, "ran"))
    platform = ScriptedLife(before=old, after=[old], answer=Reply(body={"status": "success"}))
    ended = deploy(runner, scripted(platform.script()))
    assert ended.code == 0
    assert "Whether it runs is not known" in ended.summary
    assert "runs since" not in ended.summary
    assert "state" not in ended.outputs


def test_a_version_that_failed_before_anything_ran_is_not_deployed(
    runner: Runner, scripted: StartScripted
) -> None:
    failed = details(None, version(NEW, "failed", problem="no keys"))
    ended = deploy(runner, scripted(ScriptedLife(after=[failed]).script()))
    assert ended.code == 1
    assert title(ended) == "## ❌ Not deployed: `workspace`"
    assert "was not started: no keys." in ended.summary
    assert ended.outputs["status"] == "failed"


def test_a_run_that_never_got_to_a_model_names_none(
    runner: Runner, scripted: StartScripted
) -> None:
    ended = deploy(runner, scripted(), timeout_minutes="never", model_path=".", model_id="")
    assert ended.code == 2
    assert title(ended) == "## ❌ Not deployed"


def test_without_pages_there_are_no_links_to_them(runner: Runner, scripted: StartScripted) -> None:
    server = scripted(ScriptedLife(after=[UP]).script())
    ended = deploy(runner, server)
    assert "blankly.finance" not in ended.summary
    assert "url" not in ended.outputs


# --------------------------------------------------------------------------- what is sent with it

SAME = Reply(body={"status": "unchanged", "versionId": OLD, "modelId": "m-1", "state": "running"})


def test_unchanged_bytes_leave_the_model_alone(runner: Runner, scripted: StartScripted) -> None:
    running = details(live("running", OLD), version(OLD, "ran"))
    server = scripted(ScriptedLife(after=[running], answer=SAME).script())
    ended = deploy(runner, server, unchanged="skip")

    assert ended.code == 0
    assert server.requests_to(DEPLOY)[0].fields["unchanged"] == "skip"
    assert title(ended) == "## ✅ Unchanged, and it runs: `workspace`"
    assert ended.outputs["status"] == "unchanged"
    assert ended.outputs["version-id"] == OLD
    assert ended.outputs["state"] == "running"


def test_a_server_that_cannot_skip_is_an_error_before_anything_is_sent(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted({OPENAPI: described("commit")})
    ended = deploy(runner, server, unchanged="skip")
    assert ended.code == 1
    assert DEPLOY not in server.routes()
    assert "`unchanged` is `skip`" in ended.summary


def test_the_upload_says_of_which_commit_it_is(
    runner: Runner, scripted: StartScripted, commit: Callable[[], tuple[str, str]]
) -> None:
    sha, committed_at = commit()
    server = scripted(ScriptedLife(after=[UP]).script())
    assert deploy(runner, server).code == 0
    fields = server.requests_to(DEPLOY)[0].fields
    assert fields["commit"] == sha
    assert fields["committedAt"] == committed_at
    assert fields["commitRepository"] == "https://forge.example/trader/models"
    assert "allowOlder" not in fields


def test_the_upload_says_who_sends_it_and_by_which_run(
    runner: Runner, scripted: StartScripted
) -> None:
    """Who started a run again counts, not who started it first."""
    server = scripted(ScriptedLife(after=[UP]).script())
    runner.environ |= {"GITHUB_RUN_ID": "17", "GITHUB_ACTOR": "ada"}
    assert deploy(runner, server).code == 0
    runner.environ["GITHUB_TRIGGERING_ACTOR"] = "grace"
    assert deploy(runner, server).code == 0
    del runner.environ["GITHUB_RUN_ID"]
    assert deploy(runner, server).code == 0

    first, again, unknown = (one.fields for one in server.requests_to(DEPLOY))
    page = "https://forge.example/trader/models/actions/runs/17"
    assert (first["deployedBy"], first["runUrl"]) == ("ada", page)
    assert (again["deployedBy"], again["runUrl"]) == ("grace", page)
    assert not unknown.keys() & {"deployedBy", "runUrl"}


def test_an_address_that_the_server_would_refuse_stops_no_deploy(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted(ScriptedLife(after=[UP]).script())
    runner.environ |= {"GITHUB_RUN_ID": "1" * 500, "GITHUB_ACTOR": "a" * 200}
    assert deploy(runner, server).code == 0

    fields = server.requests_to(DEPLOY)[0].fields
    assert "runUrl" not in fields
    assert fields["deployedBy"] == "a" * 100


def test_a_server_gets_no_field_that_it_does_not_list(
    runner: Runner, scripted: StartScripted, commit: Callable[[], tuple[str, str]]
) -> None:
    commit()
    server = scripted()
    assert deploy(runner, server, allow_older="true").code == 0
    fields = server.requests_to(DEPLOY)[0].fields
    assert not fields.keys() & {
        *("commit", "committedAt", "commitRepository", "allowOlder", "deployedBy", "runUrl"),
    }


def test_an_older_commit_is_refused_with_the_way_back(
    runner: Runner, scripted: StartScripted
) -> None:
    older = Reply(400, {"error": "The commit is older than the one that runs.", "code": "older"})
    platform = ScriptedLife(after=[UP], answer=older)
    server = scripted(platform.script())
    ended = deploy(runner, server)
    assert ended.code == 1
    assert "older than the one that runs" in ended.summary
    assert "`mode: rollback`" in ended.summary
    assert "`allow-older: true`" in ended.summary
    assert "No new version was made." in ended.summary
    assert len(server.requests_to(DEPLOY)) == 1

    platform.answer = DEPLOYED
    assert deploy(runner, server, allow_older="true").code == 0
    assert server.requests_to(DEPLOY)[1].fields["allowOlder"] == "true"


@pytest.fixture
def commit(runner: Runner) -> Callable[[], tuple[str, str]]:
    """Return a function that commits the workspace, and returns the commit's id and time."""

    def make() -> tuple[str, str]:
        make_repository(runner.workspace)
        commit_all(runner.workspace)
        # Not when it was written: a rebase keeps that.
        amend = ("commit", "--quiet", "--amend", "--no-edit")
        git(runner.workspace, *amend, "--date=2001-01-01T00:00Z")
        sha, seconds = git(runner.workspace, "show", "-s", "--format=%H %ct").split()
        return sha, datetime.fromtimestamp(int(seconds), UTC).isoformat()

    return make
