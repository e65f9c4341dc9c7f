"""Candidate and base on a scripted server: their order, and what a base must not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.backtests import a_market, an_order, raw_result, with_metrics
from tests.support.repositories import commit_all, git, make_repository
from tests.support.scripted_server import Hang, Reply, Request, ScriptedServer, Step, described

BACKTEST = "POST /model/backtest"
TRADED = [an_order("buy", 1.0, 10.0)]


@pytest.fixture
def repository(runner: Runner) -> Runner:
    """Return a runner whose model differs from the one at `HEAD^`."""
    make_repository(runner.workspace)
    commit_all(runner.workspace, "The model")
    (runner.workspace / "bot.py").write_text("import blankly\n\nprint('faster')\n")
    commit_all(runner.workspace, "Faster")
    return runner


def result(run: dict[str, Any] | None = None, **metrics: float | str | None) -> Reply:
    return answer(with_metrics(raw_result(trades=TRADED), **metrics), run)


def answer(raw: dict[str, Any], run: dict[str, Any] | None = None) -> Reply:
    ids = {"status": "success", "modelId": "model-1", "versionId": "v", "backtestId": "b"}
    return Reply(body={**ids, "result": raw, "run": run or {}})


def is_base(request: Request) -> bool:
    return request.fields["backtestDescription"].startswith("Base HEAD^ of: ")


def sent(server: ScriptedServer) -> tuple[Request, Request]:
    """Return the requests of candidate and base: the server may read either first."""
    candidate, base = sorted(server.requests_to(BACKTEST), key=is_base)
    assert is_base(base)
    assert not is_base(candidate)
    return candidate, base


@pytest.fixture
def backtests() -> Iterator[Callable[..., ScriptedServer]]:
    """Start a server with one step for the candidate and one for the base."""
    started: list[ScriptedServer] = []

    def start(candidate: Step, base: Step, **script: Step) -> ScriptedServer:
        def backtested(request: Request) -> Step:
            return base if is_base(request) else candidate

        server = ScriptedServer({BACKTEST: backtested, **script})
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


def backtest(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"mode": "backtest", "api_url": server.url, "token": "refresh", "model_id": "model-1"}
    return runner.run(**given | {"compare_with": "HEAD^"} | inputs)


def test_each_backtest_says_of_which_commit_it_is(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    commits = [git(repository.workspace, "rev-parse", ref).strip() for ref in ("HEAD", "HEAD^")]
    listed = described("commit", "committedAt", "commitRepository")
    server = backtests(result(), result(), **{"GET /openapi.json": listed})
    silent = backtests(result(), result())

    assert backtest(repository, server).code == 0
    assert backtest(repository, silent).code == 0

    candidate, base = sent(server)
    assert [candidate.fields["commit"], base.fields["commit"]] == commits
    assert candidate.fields["commitRepository"] == base.fields["commitRepository"]
    assert "committedAt" in candidate.fields
    assert "committedAt" not in base.fields
    assert not sent(silent)[0].fields.keys() & {"commit", "committedAt"}


def test_candidate_and_base_are_sent_with_the_same_arguments(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    write_model(repository.workspace, python_version="3.9", backtest_args={"to": "2y"})
    commit_all(repository.workspace, "Longer")
    server = backtests(result(sharpe=2.0), result(sharpe=1.0))
    ended = backtest(repository, server, gates="sharpe >= base + 1")
    assert ended.code == 0, ended.log
    candidate, base = sent(server)
    assert candidate.fields["backtestArgs"] == base.fields["backtestArgs"] == '{"to":"2y"}'
    assert (candidate.fields["pythonVersion"], base.fields["pythonVersion"]) == ("3.9", "3.10")
    assert candidate.fields["modelId"] == base.fields["modelId"] == "model-1"
    midnight = f"{datetime.now(UTC):%Y-%m-%d}T00:00:00Z"
    assert candidate.headers["Backtest-Now"] == base.headers["Backtest-Now"] == midnight
    assert candidate.file != base.file
    assert "Argument to" in ended.summary


def test_a_base_that_hangs_does_not_stop_the_candidate(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    server = backtests(result(), Hang())
    ended = backtest(repository, server, gates="trades >= 1", timeout_minutes="0.02")
    assert ended.code == 0, ended.log
    assert ended.outputs["gates"] == "passed"
    (warning,) = ended.annotations
    assert "took too long" in warning


def test_a_base_that_fails_is_tried_once(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    """It has no arguments that could differ from the candidate's."""
    failed = {"error": "It broke", "run": {"problems": []}, "modelId": "model-1"}
    server = backtests(result({"arguments": {"to": "1y"}}), Reply(body=failed))
    ended = backtest(repository, server, gates="trades >= 1\nsharpe >= base")
    assert ended.code == 1
    assert len(server.requests_to(BACKTEST)) == 2
    (error,) = [one for one in ended.annotations if one.startswith("::error")]
    assert "sharpe >= base" in error
    assert "It broke" in error


def test_a_base_that_ran_with_other_arguments_runs_again(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    write_model(repository.workspace, backtest_args={})
    commit_all(repository.workspace, "Arguments in the script")
    (repository.workspace / "bot.py").write_text("print('longer')\n")
    commit_all(repository.workspace, "Longer")
    server = backtests(
        result({"arguments": {"to": "2y"}}), result({"arguments": {"to": "1y"}}, sharpe=0.5)
    )
    ended = backtest(repository, server)
    assert ended.code == 0, ended.log
    arguments = [one.fields["backtestArgs"] for one in server.requests_to(BACKTEST)]
    assert arguments == ["{}", "{}", '{"to":"2y"}']
    assert '`"1y"` → `"2y"`' in ended.summary


def test_a_model_that_only_an_upload_can_make_is_made_once(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    """The base waits for the id that the candidate's upload gets."""
    server = backtests(result(), result())
    ended = backtest(repository, server, model_id="", create_new="true")
    assert ended.code == 0, ended.log
    candidate, base = sent(server)
    assert (candidate.fields["createNew"], base.fields["createNew"]) == ("true", "false")
    assert base.fields["modelId"] == "model-1"


def test_a_candidate_that_fails_waits_for_no_base(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    failed = {"error": "It broke", "run": {"problems": []}, "modelId": "model-1"}
    server = backtests(Reply(body=failed), Hang())
    ended = backtest(repository, server, gates="trades >= 1\nsharpe >= base")
    assert (ended.code, ended.outputs["gates"]) == (1, "failed")
    (error,) = ended.annotations
    assert "It broke" in error
    assert ended.summary.startswith("## ❌ Backtest failed: `workspace`\n")
    assert ended.summary.count("not computed") == 2


def test_a_backtest_that_is_refused_or_late_passes_no_gate(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    refused = backtests(Reply(400, {"error": "Too many backtests."}), Hang())
    ended = backtest(repository, refused, gates="trades >= 1")
    assert (ended.code, ended.outputs["gates"]) == (1, "failed")
    late = backtests(Hang(), Hang())
    ended = backtest(repository, late, gates="trades >= 1", timeout_minutes="0.01")
    assert (ended.code, ended.outputs["gates"]) == (1, "failed")
    assert "not computed" in ended.summary


def test_the_servers_refusal_of_a_base_is_a_warning(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    server = backtests(result(), Reply(400, {"error": "Too many backtests."}))
    ended = backtest(repository, server)
    assert ended.code == 0
    (warning,) = ended.annotations
    assert "Too many backtests." in warning


def test_a_base_under_other_conditions_is_warned_of(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    """With the base's own troubles, which are not this model's."""
    trouble = {
        "problems": [
            {"severity": "warning", "message": "ValueError: raised", "path": "bot.py", "line": 3},
            {"severity": "notice", "message": "Not said."},
        ]
    }
    market = a_market({"OAK-USD": [4.0, 5.0]})
    free = a_market({"OAK-USD": [4.0, 5.0]}, of_symbol={"maker_fee": 0.0, "taker_fee": 0.0})
    now = raw_result(trades=TRADED, market=free)
    base = raw_result(trades=TRADED, market=market)
    ended = backtest(
        repository,
        backtests(answer(now), answer(base, trouble)),
        gates="cum_returns >= base",
    )
    assert ended.code == 0, ended.log
    text = "\n".join(ended.annotations)
    assert "Base: bot.py:3: ValueError: raised" in text
    assert "The base pays 0.10%25 in fees for market orders, this model 0.00%25" in text
    assert "Not said." not in text


def test_a_model_that_stopped_trading_is_warned_of(
    repository: Runner, backtests: Callable[..., ScriptedServer]
) -> None:
    """It passes each gate on risk."""
    server = backtests(answer(raw_result()), answer(raw_result(trades=TRADED)))
    ended = backtest(repository, server, gates="max_drawdown <= 25%", fail_on_warning="true")
    assert ended.code == 1
    assert any("The model made no trades" in one for one in ended.annotations)
