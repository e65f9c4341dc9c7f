"""Stopping, starting and rolling back a deployed model: the kill switch, on any commit."""

from __future__ import annotations

import errno
import shutil
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy_action.deployment_api import settling
from deploy_action.deployment_api.live import LiveApi
from deploy_action.http import exchange as http_exchange
from deploy_action.stages.live import following
from tests.conftest import Ended, Runner
from tests.support.live_server import (
    DETAILS,
    KILL,
    MODELS,
    NEW,
    OLD,
    OLDER,
    OPENAPI,
    RUN,
    ScriptedLife,
    described,
    details,
    live,
    version,
)
from tests.support.scripted_server import (
    NOT_FOUND,
    CutAfterBody,
    Hang,
    Reply,
    Script,
    ScriptedServer,
    StartScripted,
    Step,
)

RUNNING = details(
    live("running", previousVersionId=OLD), version(OLD, "ran"), version(NEW, "ran", plan="large")
)
REPLACEABLE = details(
    live("running", NEW, previousVersionId=OLD, startVersionId=OLD), version(NEW, "ran")
)
STOPPING = details(live("stopping"), version(NEW, "ran"))
PERHAPS = {"start": "Perhaps started", "rollback": "Perhaps rolled back"}
STOPPED = details(live("stopped"), version(NEW, "ran"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSES", ())
    monkeypatch.setattr(following, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(http_exchange, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(settling, "_SOON", (0.0, 0.001))


def control(runner: Runner, server: ScriptedServer, mode: str, **inputs: str) -> Ended:
    given = {"api_url": server.url, "token": "refresh-token", "model_id": "m-1", "project_id": "p"}
    return runner.run(**{**given, "mode": mode, **inputs})


def title(ended: Ended) -> str:
    return ended.summary.splitlines()[0]


def taking_without_an_answer(platform: ScriptedLife) -> dict[str, Script]:
    """Return the script of a server that takes each order to run, and hangs up."""
    order = platform.script()[RUN]
    assert callable(order)
    return platform.script(**{RUN: lambda request: (order(request), CutAfterBody())[1]})


def assert_left_open(ended: Ended, words: str) -> None:
    """Check that a run tells nothing of what runs after an order."""
    assert ended.code == 1
    assert title(ended) == f"## ❌ {words}: `workspace`"
    assert "as before" not in ended.summary
    assert "state" not in ended.outputs


# --------------------------------------------------------------------------- stop


def test_a_stop_is_done_when_nothing_runs_any_more(runner: Runner, scripted: StartScripted) -> None:
    platform = ScriptedLife(before=RUNNING, after=[STOPPING, STOPPING, STOPPED])
    server = scripted(platform.script())
    ended = control(runner, server, "stop")

    assert ended.code == 0
    assert platform.looks == 3
    assert title(ended) == "## ✅ Stopped: `workspace`"
    assert "**Nothing of the model runs since 2026-11-28 23:48 UTC**" in ended.summary
    assert "until `mode: start` runs it" in ended.summary
    assert ended.outputs["status"] == "stopped"
    assert ended.outputs["state"] == "stopped"
    assert ended.outputs["version-id"] == NEW
    assert server.requests_to(KILL)[0].fields == {"projectId": "p", "modelId": "m-1"}


def test_the_order_to_stop_goes_out_before_anything_is_asked(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted(ScriptedLife(after=[STOPPED]).script())
    assert control(runner, server, "stop").code == 0
    assert server.routes()[:2] == ["POST /auth/token", KILL]


def test_a_server_that_fails_after_the_order_is_not_believed_to_have_stopped(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it does not describe itself now does not say that it never tells what its models do."""
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)
    away = Reply(502, "bad gateway")
    server = scripted(ScriptedLife(after=[away]).script(**{OPENAPI: away}))
    ended = control(runner, server, "stop")
    assert ended.code == 1
    assert "What the model does is not known" in ended.summary
    assert ended.outputs["status"] == "failed"


@pytest.mark.parametrize("has_checkout", [True, False])
def test_a_kill_switch_works_on_a_broken_commit(
    runner: Runner,
    scripted: StartScripted,
    has_checkout: bool,  # noqa: FBT001  # of pytest
) -> None:
    if has_checkout:
        (runner.workspace / "blankly.json").write_text("{ this is no JSON")
    else:
        shutil.rmtree(runner.workspace)
    server = scripted(ScriptedLife(after=[STOPPED]).script())
    ended = control(runner, server, "stop", plan="nonsense", model_path="models/none")
    assert ended.code == 0
    assert ended.outputs["status"] == "stopped"


def test_the_server_names_the_model(runner: Runner, scripted: StartScripted) -> None:
    """An id may be that of a model that was made from another directory."""
    body = STOPPED.body
    assert isinstance(body, dict)
    named = Reply(body={**body, "name": "Golden cross"})
    ended = control(runner, scripted(ScriptedLife(after=[named]).script()), "stop")
    assert title(ended) == "## ✅ Stopped: `Golden cross`"
    shutil.rmtree(runner.workspace)
    ended = control(runner, scripted(ScriptedLife(after=[named]).script()), "stop")
    assert title(ended) == "## ✅ Stopped: `Golden cross`"
    ended = control(runner, scripted(ScriptedLife(after=[STOPPED]).script()), "stop")
    assert title(ended) == "## ✅ Stopped: `m-1`"


def test_a_broken_commit_is_found_by_the_name_of_its_directory(
    runner: Runner, scripted: StartScripted
) -> None:
    (runner.workspace / "blankly.json").write_text("{")
    listed = [{"id": "other", "name": "other"}, {"id": "m-7", "name": "workspace"}]
    server = scripted(ScriptedLife(after=[STOPPED]).script(**{MODELS: Reply(body=listed)}))
    assert control(runner, server, "stop", model_id="").code == 0
    assert server.requests_to(KILL)[0].fields["modelId"] == "m-7"


def test_of_two_models_of_one_name_ours_is_stopped(runner: Runner, scripted: StartScripted) -> None:
    theirs = {"id": "m-1", "name": "workspace", "description": "somebody's"}
    ours = {"id": "m-2", "name": "workspace", "description": "trader/models"}
    server = scripted(ScriptedLife(after=[STOPPED]).script(**{MODELS: Reply(body=[theirs, ours])}))
    assert control(runner, server, "stop", model_id="").code == 0
    assert server.requests_to(KILL)[0].fields["modelId"] == "m-2"

    server.script[MODELS] = Reply(body=[theirs, {**theirs, "id": "m-3"}])
    ended = control(runner, server, "stop", model_id="")
    assert ended.code == 1
    assert "2 models are named `workspace`: `m-1`, `m-3`" in ended.summary
    assert len(server.requests_to(KILL)) == 1


def test_nothing_is_created(runner: Runner, scripted: StartScripted) -> None:
    server = scripted({MODELS: Reply(body=[]), "GET /project/list": Reply(body=[])})
    ended = control(runner, server, "stop", model_id="", create_new="true")
    assert ended.code == 1
    assert "no model named `workspace`" in ended.summary
    assert "**The model may still run.**" in ended.summary
    given = {"project_id": "", "model_id": "", "project_name": "Fund", "create_new": "true"}
    asked = len(server.requests_to(MODELS))
    ended = control(runner, server, "stop", **given)
    assert ended.code == 1
    assert len(server.requests_to(MODELS)) == asked
    assert "no project named `Fund`" in ended.summary
    assert "create-new" not in ended.summary
    assert not {"POST /project/create", "POST /model/create-model", KILL} & set(server.routes())


def test_without_anything_that_names_the_model_it_is_asked_for(
    runner: Runner, scripted: StartScripted
) -> None:
    shutil.rmtree(runner.workspace)
    server = scripted()
    ended = control(runner, server, "stop", model_id="")
    assert ended.code == 2
    assert "not known which model to stop" in ended.summary
    assert "`model-id`" in ended.summary
    assert server.requests == []


def test_an_order_to_stop_is_repeated_until_it_is_answered(
    runner: Runner, scripted: StartScripted
) -> None:
    lost: list[Step] = [CutAfterBody(), Reply(502, "bad gateway"), Reply(body="")]
    platform = ScriptedLife(after=[STOPPED])
    platform.ordered = True
    server = scripted(platform.script(**{KILL: lost}))
    assert control(runner, server, "stop").code == 0
    assert len(server.requests_to(KILL)) == 3


def test_a_stop_that_is_refused_says_that_the_model_may_run(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted({KILL: Reply(400, {"error": "Invalid permission."})})
    ended = control(runner, server, "stop")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not stopped: `workspace`"
    assert "**The model may still run.**" in ended.summary
    assert ended.outputs["status"] == "failed"


def test_a_stop_that_takes_too_long_is_no_stop(runner: Runner, scripted: StartScripted) -> None:
    ended = control(
        runner,
        scripted(ScriptedLife(after=[STOPPING]).script()),
        "stop",
        timeout_minutes="0.02",
    )
    assert ended.code == 1
    assert title(ended) == "## ⏳ Not stopped yet: `workspace`"
    assert "may still trade" in ended.summary
    assert ended.outputs["state"] == "stopping"


def test_a_stop_whose_teardown_failed_gets_no_tick(runner: Runner, scripted: StartScripted) -> None:
    problem = "Its teardown failed: KeyError: 'BTC'"
    stopped = details(live("stopped", problem=problem), version(NEW, "ran"))
    for fails in ("false", "true"):
        server = scripted(ScriptedLife(after=[STOPPING, stopped]).script())
        ended = control(runner, server, "stop", fail_on_warning=fails)
        assert ended.code == (1 if fails == "true" else 0)
        assert title(ended) == "## ⚠️ Stopped, but something went wrong: `workspace`"
        assert f"The model is stopped, but: {problem}." in ended.annotations[0]
        assert "Positions and orders may be open" in ended.summary
        assert "may still run" not in ended.summary
        assert ended.outputs["state"] == "stopped"


def test_a_model_that_somebody_starts_meanwhile_is_not_stopped(
    runner: Runner, scripted: StartScripted
) -> None:
    ended = control(runner, scripted(ScriptedLife(after=[STOPPING, RUNNING]).script()), "stop")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not stopped: `workspace`"
    assert "run again while it was being stopped" in ended.summary
    assert ended.outputs["state"] == "running"


@pytest.mark.parametrize(
    ("state", "changes"),
    [("stopped", {"wanted": "running"}), ("stopping", {"next": {"versionId": OLD}})],
)
def test_a_model_that_is_to_run_again_is_not_stopped(
    runner: Runner, scripted: StartScripted, state: str, changes: dict[str, object]
) -> None:
    again = details({**live(state), "wanted": "running", **changes}, version(NEW, "ran"))
    ended = control(runner, scripted(ScriptedLife(after=[STOPPING, again]).script()), "stop")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not stopped: `workspace`"
    assert "**The model may still run.**" in ended.summary


@pytest.mark.parametrize("body", [{}, {"live": []}, {"live": "x"}, {"live": None}, {"live": 0}])
def test_a_server_that_tells_nothing_any_more_is_not_believed_to_have_stopped(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch, body: object
) -> None:
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)
    platform = ScriptedLife(after=[STOPPING, Reply(body=body)])
    ended = control(runner, scripted(platform.script()), "stop")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not stopped: `workspace`"
    assert "it does not tell what runs any more" in ended.summary
    assert "state" not in ended.outputs


def test_a_model_that_was_never_deployed_is_stopped(
    runner: Runner, scripted: StartScripted
) -> None:
    ended = control(runner, scripted(ScriptedLife(after=[details(None)]).script()), "stop")
    assert ended.code == 0
    assert "Nothing of the model runs" in ended.summary


def test_the_original_server_takes_the_order_and_does_not_tell(
    runner: Runner, scripted: StartScripted
) -> None:
    original = Reply(body={"id": "m-1", "exists": True, "deployedVersion": NEW})
    server = scripted({KILL: Reply(body=""), DETAILS: original})
    ended = control(runner, server, "stop")
    assert ended.code == 0
    assert title(ended) == "## Asked to stop: `workspace`"
    assert "Whether anything still runs is not known" in ended.summary
    assert "✅" not in ended.summary


# --------------------------------------------------------------------------- start


def test_a_start_runs_the_version_that_the_server_names(
    runner: Runner, scripted: StartScripted
) -> None:
    stopped = details(
        live("stopped", OLD, startVersionId=NEW), version(OLD, "ran"), version(NEW, "stored")
    )
    coming = details(live("preparing"), version(NEW, "preparing"))
    log = ["2026-11-28T23:48:44.002Z out Started"]
    earlier = ["2026-11-25T10:00:00.000Z out Started", "2026-11-25T10:00:01.000Z out Bought 1"]
    platform = ScriptedLife(before=stopped, after=[coming, RUNNING], log=log, earlier=earlier)
    server = scripted(platform.script())
    ended = control(runner, server, "start")

    assert ended.code == 0
    assert title(ended) == "## ✅ Started and running: `workspace`"
    assert server.requests_to(RUN)[0].fields == {
        "projectId": "p",
        "modelId": "m-1",
        "versionId": NEW,
        "plan": "small",
        "type": "strategy",
    }
    assert ended.outputs["status"] == "started"
    assert ended.outputs["state"] == "running"
    assert ended.outputs["version-id"] == NEW
    assert "Commit of 11111" in ended.summary
    shown = ended.summary.partition("**The first lines of its log** (2026-11-28 UTC)")[2]
    assert shown.startswith("\n\n```text\n23:48:44 out      Started\n```")
    assert "Bought" not in ended.summary


def test_a_model_that_runs_is_not_started_again(runner: Runner, scripted: StartScripted) -> None:
    server = scripted(ScriptedLife(before=RUNNING, after=[]).script())
    ended = control(runner, server, "start")
    assert ended.code == 0
    assert title(ended) == "## ✅ Runs already: `workspace`"
    assert ended.outputs["status"] == "started"
    assert RUN not in server.routes()


def test_a_model_that_runs_gets_new_variables(runner: Runner, scripted: StartScripted) -> None:
    server = scripted(ScriptedLife(before=RUNNING, after=[RUNNING]).script())
    assert control(runner, server, "start", model_env="MODE=paper").code == 0
    assert server.requests_to(RUN)[0].fields["environment"] == '{"MODE": "paper"}'

    # A comment alone takes away the ones that the version had.
    assert control(runner, server, "start", model_env="# none").code == 0
    assert server.requests_to(RUN)[1].fields["environment"] == "{}"

    server.script[OPENAPI] = described()
    ended = control(runner, server, "start", model_env="MODE=paper")
    assert ended.code == 1
    assert "`model-env` is set" in ended.summary
    assert len(server.requests_to(RUN)) == 2


@pytest.mark.parametrize("problem", [None, "ValueError of this run"])
def test_a_screener_between_its_runs_runs_now_and_is_awaited(
    runner: Runner, scripted: StartScripted, problem: str | None
) -> None:
    def looks(state: str, second: int, **changes: object) -> Reply:
        since = f"2026-11-28T23:48:{second}.500+00:00"
        of = version(NEW, "ran", schedule="0 6 * * *")
        return details({**live(state), "since": since, **changes}, of)

    before = looks("scheduled", 43, problem="ValueError of the run before", exitCode=1)
    steps = [before, looks("running", 44), looks("scheduled", 45, problem=problem)]
    lines = [f"2026-11-28T23:48:4{second}.000Z out Screened {second}" for second in range(3)]
    platform = ScriptedLife(before=before, after=steps, log=lines[1:], earlier=lines[:1])
    server = scripted(platform.script())
    ended = control(runner, server, "start")
    assert server.requests_to(RUN)[0].fields["schedule"] == "0 6 * * *"
    assert platform.looks == 3
    assert "Screened 2" in ended.summary
    assert "Screened 0" not in ended.summary
    assert "of the run before" not in ended.summary
    if problem is None:
        assert ended.code == 0
        assert title(ended) == "## ✅ Ran, and scheduled: `workspace`"
        assert "ran once, and is scheduled" in ended.summary
    else:
        assert ended.code == 1
        assert title(ended) == "## ❌ Ran, and failed: `workspace`"
        assert f"failed: {problem}." in ended.summary


@pytest.mark.parametrize("wanted", ["false", "true"])
def test_variables_that_are_lost_are_named(
    runner: Runner, scripted: StartScripted, wanted: str
) -> None:
    of = version(NEW, "ran", environment=["ALPACA_KEY", "MODE"])
    stopped = details(live("stopped"), of)
    platform = ScriptedLife(before=stopped, after=[details(live("running"), of)])
    server = scripted(platform.script())
    ended = control(runner, server, "start", model_env="MOOD=paper", fail_on_warning=wanted)
    told = "replaced by 1 (new: `MOOD`; gone: `ALPACA_KEY` and `MODE`)"
    assert told in ended.summary
    if wanted == "true":
        assert ended.code == 1
        assert RUN not in server.routes()
        return
    assert ended.code == 0
    assert "::warning" in ended.log
    assert "paper" not in ended.summary


def test_a_model_that_is_about_to_run_is_waited_for(
    runner: Runner, scripted: StartScripted
) -> None:
    coming = details(live("preparing"), version(NEW, "preparing"))
    platform = ScriptedLife(before=coming, after=[RUNNING])
    platform.ordered = True
    platform.after = [coming, coming, RUNNING]
    server = scripted(platform.script())
    assert control(runner, server, "start").code == 0
    assert RUN not in server.routes()


def test_a_model_that_was_never_deployed_cannot_be_started(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted(ScriptedLife(before=details(None), after=[]).script())
    ended = control(runner, server, "start")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not started: `workspace`"
    assert "never deployed" in ended.summary
    assert RUN not in server.routes()


def test_a_start_that_fails_says_why(runner: Runner, scripted: StartScripted) -> None:
    failed = details(live("failed", exitCode=1), version(NEW, "failed", problem="no keys"))
    platform = ScriptedLife(before=STOPPED, after=[failed], log=["no time at all"])
    ended = control(runner, scripted(platform.script()), "start")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not running: `workspace`"
    assert "no keys." in ended.summary
    assert "no time at all" in ended.summary


@pytest.mark.parametrize("mode", ["start", "rollback"])
def test_a_lost_answer_is_settled_by_looking(
    runner: Runner, scripted: StartScripted, mode: str
) -> None:
    stopped = details(
        live("stopped", NEW, previousVersionId=NEW, startVersionId=NEW), version(NEW, "ran")
    )
    server = scripted(taking_without_an_answer(ScriptedLife(before=stopped, after=[RUNNING])))
    ended = control(runner, server, mode)
    assert ended.code == 0
    assert len(server.requests_to(RUN)) == 1
    assert ended.outputs["state"] == "running"


def test_an_order_to_run_that_was_not_taken_is_sent_again(
    runner: Runner, scripted: StartScripted
) -> None:
    platform = ScriptedLife(before=STOPPED, after=[RUNNING])
    order = platform.script()[RUN]
    assert callable(order)
    steps = [CutAfterBody()]
    script = platform.script(**{RUN: lambda request: steps.pop() if steps else order(request)})
    server = scripted(script)
    assert control(runner, server, "start").code == 0
    assert len(server.requests_to(RUN)) == 2


@pytest.mark.parametrize("mode", ["start", "rollback"])
def test_a_server_that_told_what_runs_is_not_believed_when_it_fails_after_the_order(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)
    elsewhere = Reply(302, headers={"Location": "/elsewhere"})
    platform = ScriptedLife(before=REPLACEABLE, after=[elsewhere])
    page = Reply(body="<html>Welcome!</html>", headers={"Content-Type": "text/html"})
    server = scripted(platform.script(**{OPENAPI: page}))
    ended = control(runner, server, mode)
    assert len(server.requests_to(RUN)) == 1
    assert "**What the server made of it is not known.**" in ended.summary
    assert "the server has the order, and may go on with it" in ended.summary
    assert_left_open(ended, PERHAPS[mode])


@pytest.mark.parametrize("mode", ["start", "rollback"])
def test_after_a_lost_order_nothing_is_told_of_what_ran_before_it(
    runner: Runner, scripted: StartScripted, mode: str
) -> None:
    server = scripted(taking_without_an_answer(ScriptedLife(before=REPLACEABLE, after=[NOT_FOUND])))
    ended = control(runner, server, mode)
    assert f"It is not known whether version `{OLD}` will run." in ended.summary
    assert_left_open(ended, PERHAPS[mode])


def test_a_bug_after_an_order_leaves_open_what_runs(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, looks = LiveApi.describe, list[str]()

    def fail(self: LiveApi, version_id: str = "", **more: Any) -> Any:
        looks.append(version_id)
        if len(looks) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return describe(self, version_id, **more)

    monkeypatch.setattr(LiveApi, "describe", fail)
    lost = {RUN: CutAfterBody()}
    ended = control(
        runner, scripted(ScriptedLife(before=RUNNING, after=[]).script(**lost)), "rollback"
    )
    assert len(looks) == 2
    assert_left_open(ended, "Perhaps rolled back")


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_a_lost_order_is_not_taken_for_the_one_of_before(
    runner: Runner, scripted: StartScripted, state: str
) -> None:
    """The version was wanted then, too."""
    before = details(live(state, problem="it crashed in May"), version(NEW, "ran"))
    server = scripted(ScriptedLife(before=before, after=[before]).script(**{RUN: CutAfterBody()}))
    ended = control(runner, server, "start")
    assert len(server.requests_to(RUN)) == 3
    assert_left_open(ended, "Perhaps started")
    assert "May" not in ended.summary


def test_a_lost_order_to_a_screener_is_not_sent_again(
    runner: Runner, scripted: StartScripted
) -> None:
    """It may run twice then."""
    before = details(live("scheduled"), version(NEW, "ran", schedule="0 6 * * *"))
    server = scripted(ScriptedLife(before=before, after=[before]).script(**{RUN: CutAfterBody()}))
    ended = control(runner, server, "start")
    assert len(server.requests_to(RUN)) == 1
    assert_left_open(ended, "Perhaps started")


@pytest.mark.parametrize("state", ["running", "preparing"])
def test_what_was_seen_before_a_server_was_lost_is_not_told(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 60.0)
    seen = details(live(state, since=datetime.now(UTC).isoformat()), version(NEW, ""))
    away = Reply(502, "bad gateway")
    server = scripted(ScriptedLife(before=STOPPED, after=[seen, away]).script())
    ended = control(runner, server, "start")
    assert_left_open(ended, "Perhaps started")


def test_a_version_that_runs_and_was_not_watched_long_enough_is_started(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 60.0)
    running = details(live("running", since=datetime.now(UTC).isoformat()), version(NEW, "ran"))
    server = scripted(ScriptedLife(before=STOPPED, after=[running]).script())
    ended = control(runner, server, "start", timeout_minutes="0.02")
    assert ended.code == 1
    assert title(ended) == "## ⚠️ Started and running, with a problem: `workspace`"
    assert "deadline" in ended.summary


@pytest.mark.parametrize("state", ["running", "preparing"])
def test_what_was_seen_before_a_server_fell_silent_is_not_told(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Neither when the deadline passes, which is sooner than the server is given up."""
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 60.0)
    seen = details(live(state, since=datetime.now(UTC).isoformat()), version(NEW, ""))
    away = Reply(502, "bad gateway")
    server = scripted(ScriptedLife(before=STOPPED, after=[seen, away]).script())
    ended = control(runner, server, "start", timeout_minutes="0.03")
    assert "deadline" in ended.summary
    assert_left_open(ended, "Perhaps started")


def test_a_server_that_hangs_after_a_look_leaves_open_what_runs(
    runner: Runner, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_FRESH_SECONDS", 0.5)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 60.0)
    seen = details(live("running", since=datetime.now(UTC).isoformat()), version(NEW, "ran"))
    platform = ScriptedLife(before=STOPPED, after=[seen])
    script = platform.script()
    describe = script[DETAILS]
    assert callable(describe)
    script[DETAILS] = lambda request: Hang() if platform.looks else describe(request)
    ended = control(runner, scripted(script), "start", timeout_minutes="0.03")
    assert_left_open(ended, "Perhaps started")


def test_a_screener_that_was_not_seen_to_run_is_not_started_yet(
    runner: Runner, scripted: StartScripted
) -> None:
    before = details(live("scheduled"), version(NEW, "ran", schedule="0 6 * * *"))
    server = scripted(ScriptedLife(before=before, after=[before]).script())
    ended = control(runner, server, "start", timeout_minutes="0.02")
    assert ended.code == 1
    assert title(ended) == "## ⏳ Not running yet: `workspace`"


def test_what_somebody_deployed_meanwhile_does_not_run_as_before(
    runner: Runner, scripted: StartScripted
) -> None:
    other = details(live("running", OLDER), version(NEW, "superseded"), version(OLDER, "ran"))
    server = scripted(ScriptedLife(before=STOPPED, after=[other]).script())
    ended = control(runner, server, "start")
    assert ended.code == 1
    assert "took its place meanwhile" in ended.summary
    assert f"Version `{OLDER[:8]}` runs since" in ended.summary
    assert "as before" not in ended.summary


@pytest.mark.parametrize("is_replacing", [True, False])
def test_of_a_version_that_is_coming_nothing_older_is_told(
    runner: Runner,
    scripted: StartScripted,
    monkeypatch: pytest.MonkeyPatch,
    is_replacing: bool,  # noqa: FBT001  # of pytest
) -> None:
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)
    coming = live("preparing", NEW)
    if is_replacing:
        coming = live("running", OLD, next={"versionId": NEW}, startVersionId=NEW)
    before = details(coming, version(NEW, ""))
    looks = [before]
    away = Reply(502, "bad gateway")
    script = ScriptedLife(before=before, after=[]).script()
    server = scripted({**script, DETAILS: lambda _request: looks.pop() if looks else away})
    ended = control(runner, server, "start")
    assert RUN not in server.routes()
    assert_left_open(ended, "Perhaps started")
    assert "Nothing of the model runs" not in ended.summary


def test_after_a_refused_order_what_runs_is_told(runner: Runner, scripted: StartScripted) -> None:
    platform = ScriptedLife(before=RUNNING, after=[])
    server = scripted(platform.script(**{RUN: Reply(409, body={"error": "No."})}))
    ended = control(runner, server, "rollback")
    assert ended.code == 1
    assert "runs since 2026-11-28 23:48 UTC, as before." in ended.summary
    assert ended.outputs["state"] == "running"


# --------------------------------------------------------------------------- rollback


def test_a_rollback_runs_the_version_that_ran_before(
    runner: Runner, scripted: StartScripted
) -> None:
    replacing = details(
        live("running", NEW, next={"versionId": OLD, "state": "preparing"}),
        version(OLD, "preparing"),
        version(NEW, "ran"),
    )
    back = details(live("running", OLD), version(OLD, "ran"), version(NEW, "ran"))
    server = scripted(ScriptedLife(before=RUNNING, after=[replacing, back]).script())
    ended = control(runner, server, "rollback")

    assert ended.code == 0
    assert title(ended) == "## ✅ Rolled back and running: `workspace`"
    assert server.requests_to(RUN)[0].fields["versionId"] == OLD
    assert ended.outputs["version-id"] == OLD
    assert ended.outputs["state"] == "running"


def test_a_rollback_may_name_its_version(runner: Runner, scripted: StartScripted) -> None:
    three = details(live("running"), *(version(each, "ran") for each in (OLDER, OLD, NEW)))
    back = details(live("running", OLDER), version(OLDER, "ran"))
    server = scripted(ScriptedLife(before=three, after=[back]).script())
    assert control(runner, server, "rollback", version_id=OLDER).code == 0
    assert server.requests_to(RUN)[0].fields["versionId"] == OLDER


def test_an_unknown_version_is_refused_with_those_there_are(
    runner: Runner, scripted: StartScripted
) -> None:
    server = scripted(ScriptedLife(before=RUNNING, after=[]).script())
    ended = control(runner, server, "rollback", version_id="v-9")
    assert ended.code == 1
    assert "no version `v-9`" in ended.summary
    assert ended.summary.index(NEW) < ended.summary.index(OLD)
    assert RUN not in server.routes()


def test_without_an_earlier_version_there_is_no_way_back(
    runner: Runner, scripted: StartScripted
) -> None:
    only = details(live("running"), version(NEW, "ran"))
    server = scripted(ScriptedLife(before=only, after=[]).script())
    ended = control(runner, server, "rollback")
    assert ended.code == 1
    assert title(ended) == "## ❌ Not rolled back: `workspace`"
    assert "No earlier version" in ended.summary
    assert RUN not in server.routes()


def test_the_original_server_rolls_back_to_a_named_version(
    runner: Runner, scripted: StartScripted
) -> None:
    original = Reply(body={"id": "m-1", "exists": True, "type": "strategy", "deployedVersion": NEW})
    server = scripted({RUN: Reply(), DETAILS: original})
    ended = control(runner, server, "rollback", version_id=OLD)
    assert ended.code == 0
    assert title(ended) == "## Asked to run: `workspace`"
    assert "Whether it runs is not known" in ended.summary
    assert server.requests_to(RUN)[0].fields["plan"] == "nano"

    ended = control(runner, server, "rollback")
    assert ended.code == 1
    assert "does not tell which version ran before" in ended.summary


# --------------------------------------------------------------------------- a dry run


@pytest.mark.parametrize(
    ("mode", "step"),
    [
        ("stop", "stop the model m-1, which is running"),
        ("start", f"run version {NEW} of the model m-1, which is running"),
        ("rollback", f"run version {OLD} of the model m-1, which is running"),
    ],
)
def test_a_dry_run_changes_nothing(
    runner: Runner, scripted: StartScripted, mode: str, step: str
) -> None:
    server = scripted(ScriptedLife(before=RUNNING, after=[]).script())
    ended = control(runner, server, mode, dry_run="true")
    assert ended.code == 0
    assert f"Would {step}" in ended.log
    assert step in ended.summary.replace("`", "")
    assert "would go" not in ended.summary
    assert ended.outputs["status"] == "dry-run"
    assert not {RUN, KILL} & set(server.routes())


def test_a_dry_run_without_a_token_asks_nobody(runner: Runner, scripted: StartScripted) -> None:
    server = scripted({DETAILS: NOT_FOUND})
    ended = control(runner, server, "stop", dry_run="true", token="")
    assert ended.code == 0
    assert "Would stop the model m-1" in ended.log
    assert server.requests == []
