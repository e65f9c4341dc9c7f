"""Windows on a scripted server: what is sent, in which order, and what failures decide."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.backtests import an_order, raw_result, with_metrics
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_server import Hang, Reply, Request, ScriptedServer, Serve, Step

BACKTEST = "POST /model/backtest"
WINDOWS = "first: 2023-01-01..2023-07-01\nsecond: 2023-07-01..2024-01-01"
PERIOD = {"start_date": "2023-01-01", "end_date": "2024-01-01"}
FAILED = Reply(body={"error": "No prices", "run": {"problems": []}, "modelId": "model-1"})


def result(**metrics: float | str | None) -> Reply:
    raw = with_metrics(raw_result(trades=[an_order("buy", 1.0, 10.0)]), **metrics)
    answer = {"status": "success", "modelId": "model-1", "versionId": "v", "backtestId": "b"}
    run = {"arguments": {**PERIOD, "initial_values": {"USD": 10}}}
    return Reply(body={**answer, "result": raw, "run": run})


@pytest.fixture
def workspace(runner: Runner) -> Runner:
    """Return a runner whose model differs from the one at `HEAD^`."""
    make_repository(runner.workspace)
    write_model(runner.workspace, backtest_args=PERIOD)
    commit_all(runner.workspace, "The model")
    (runner.workspace / "bot.py").write_text("import blankly\n\nprint('faster')\n")
    commit_all(runner.workspace, "Faster")
    return runner


def backtest(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"mode": "backtest", "api_url": server.url, "token": "refresh", "model_id": "model-1"}
    return runner.run(**given | {"windows": WINDOWS} | inputs)


def name_of(request: Request) -> str:
    """Return which backtest it is: `Window first of: …` and `Base HEAD^ of: Window …`."""
    words = request.fields["backtestDescription"].split()
    base = "base " if words[0] == "Base" else ""
    return base + (words[words.index("Window") + 1] if "Window" in words else "whole")


def sent(server: ScriptedServer) -> dict[str, Any]:
    return {
        name_of(one): json.loads(one.fields["backtestArgs"]) for one in server.requests_to(BACKTEST)
    }


def test_a_system_that_gives_processes_no_processors_of_their_own_backtests_windows(
    workspace: Runner, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as macOS: the server does not say how many backtests run at once, nor can that."""
    monkeypatch.delattr(os, "sched_getaffinity")
    server = serve(lambda _: result(sharpe=1.0))
    ended = backtest(workspace, server)
    assert ended.code == 0, ended.log
    assert len(sent(server)) == 3


def test_each_window_is_a_backtest_of_the_same_bundle(workspace: Runner, serve: Serve) -> None:
    sharpes = {"whole": 1.0, "first": 2.0, "second": -3.0}
    server = serve(lambda request: result(sharpe=sharpes[name_of(request)]))
    ended = backtest(workspace, server, gates="worst sharpe >= -3\nmedian sharpe <= -0.5")
    assert ended.code == 0, ended.log
    assert sent(server) == {
        "whole": PERIOD,
        "first": {
            "start_date": "2023-01-01",
            "end_date": "2023-07-01",
            "initial_values": {"USD": 10},
        },
        "second": {
            "start_date": "2023-07-01",
            "end_date": "2024-01-01",
            "initial_values": {"USD": 10},
        },
    }
    assert name_of(server.requests_to(BACKTEST)[0]) == "whole"
    assert len({one.file for one in server.requests_to(BACKTEST)}) == 1
    windows = json.loads(ended.outputs["windows"])
    assert [list(one) for one in windows] == [
        ["name", "start", "end", "metrics", "trades-sha256"]
    ] * 2
    assert [(one["name"], one["start"], one["end"]) for one in windows] == [
        ("first", "2023-01-01", "2023-07-01"),
        ("second", "2023-07-01", "2024-01-01"),
    ]
    assert [one["metrics"]["sharpe"] for one in windows] == [2.0, -3.0]
    assert windows[0]["trades-sha256"] == ended.outputs["trades-sha256"]
    assert "second" in ended.summary


def test_a_number_cuts_the_period_that_was_backtested(workspace: Runner, serve: Serve) -> None:
    server = serve(lambda _request: result())
    ended = backtest(workspace, server, windows="3")
    assert ended.code == 0, ended.log
    names = [one["name"] for one in json.loads(ended.outputs["windows"])]
    # The result covers four days.
    assert names[0].startswith("2023-03-01")
    assert names[-1].endswith("2023-03-05")
    assert len(names) == 3


def test_windows_that_cannot_be_cut_end_the_run_and_no_gate_passes(
    workspace: Runner, serve: Serve
) -> None:
    reply = result()
    assert isinstance(reply.body, dict)
    period = reply.body["result"]
    period["stop_time"] = period["start_time"] + 1
    server = serve(lambda _request: reply)
    ended = backtest(workspace, server, windows="3", gates="trades >= 1")
    assert (ended.code, ended.outputs["gates"]) == (1, "failed")
    assert "too short for 3 windows" in ended.log


def test_a_window_that_fails_is_named_and_fails_gates_over_windows_only(
    workspace: Runner, serve: Serve
) -> None:
    server = serve(lambda request: FAILED if name_of(request) == "second" else result())
    ended = backtest(workspace, server, gates="trades >= 1\nworst sharpe > -9")
    assert ended.code == 1
    (error,) = [one for one in ended.annotations if one.startswith("::error")]
    assert "`worst sharpe > -9` failed: not all backtests can be judged" in error
    assert "window `second` failed: The backtest failed: No prices" in error
    (warning,) = [one for one in ended.annotations if one.startswith("::warning")]
    assert "Window `second` failed: The backtest failed: No prices" in warning
    assert json.loads(ended.outputs["windows"])[1]["metrics"] is None

    fine = backtest(workspace, server, gates="trades >= 1")
    assert (fine.code, fine.outputs["gates"]) == (0, "passed")


def test_the_base_is_backtested_in_each_window_too(workspace: Runner, serve: Serve) -> None:
    def answer(request: Request) -> Step:
        return result(sharpe=0.5 if name_of(request).startswith("base") else 1.0)

    server = serve(answer)
    ended = backtest(
        workspace, server, compare_with="HEAD^", gates="worst sharpe >= base\nbest sharpe < base"
    )
    assert ended.code == 1
    (error,) = [one for one in ended.annotations if one.startswith("::error")]
    assert "`best sharpe < base` failed" in error
    assert set(sent(server)) == {
        *("whole", "first", "second"),
        *("base whole", "base first", "base second"),
    }
    files = {name_of(one): one.file for one in server.requests_to(BACKTEST)}
    assert files["first"] == files["whole"] != files["base first"] == files["base whole"]


def test_a_base_of_the_same_bundle_shares_the_windows(workspace: Runner, serve: Serve) -> None:
    server = serve(lambda _request: result())
    ended = backtest(workspace, server, compare_with="HEAD", gates="worst sharpe == base")
    assert ended.code == 0, ended.log
    assert len(server.requests_to(BACKTEST)) == 3


def test_a_model_that_only_an_upload_can_make_is_made_once(workspace: Runner, serve: Serve) -> None:
    server = serve(lambda _request: result())
    ended = backtest(workspace, server, model_id="", create_new="true")
    assert ended.code == 0, ended.log
    created = [one.fields["createNew"] for one in server.requests_to(BACKTEST)]
    assert created == ["true", "false", "false"]


def test_a_server_that_does_not_name_the_model_gets_no_second_upload(
    workspace: Runner, serve: Serve
) -> None:
    """Each would create another model."""
    reply = result()
    assert isinstance(reply.body, dict)
    nameless = Reply(body={name: one for name, one in reply.body.items() if name != "modelId"})
    server = serve(lambda _request: nameless)
    ended = backtest(workspace, server, model_id="", create_new="true", compare_with="HEAD^")
    assert len(server.requests_to(BACKTEST)) == 1
    assert "the server does not say which model the first upload created" in ended.summary


def test_a_candidate_that_fails_starts_no_window(workspace: Runner, serve: Serve) -> None:
    server = serve(lambda _request: FAILED)
    ended = backtest(workspace, server, gates="trades >= 1\nworst sharpe > 0")
    assert ended.code == 1
    assert len(server.requests_to(BACKTEST)) == 1
    assert ended.outputs["gates"] == "failed"


def test_windows_that_hang_leave_the_whole_period(workspace: Runner, serve: Serve) -> None:
    server = serve(lambda request: result() if name_of(request) == "whole" else Hang())
    ended = backtest(workspace, server, gates="trades >= 1", timeout_minutes="0.03")
    assert ended.code == 0, ended.log
    assert ended.outputs["gates"] == "passed"
    (warning,) = ended.annotations
    assert "Not all backtests ended before the deadline of the run: Window `first`" in warning
    assert "Raise `timeout-minutes`" in warning


@pytest.mark.parametrize("windows", ["1", "0", "2023-01-01", "a: 2023-01-02..2023-01-01"])
def test_windows_that_cannot_be_meant_send_nothing(
    workspace: Runner, serve: Serve, windows: str
) -> None:
    server = serve(lambda _request: result())
    ended = backtest(workspace, server, windows=windows)
    assert ended.code == 2
    assert "Input `windows`" in ended.annotations[0]
    assert server.requests == []
