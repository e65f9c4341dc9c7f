"""Sweeps and shards on a scripted server: what is sent, what is kept, and what failures decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.backtests import an_order, raw_result, with_metrics
from tests.support.scripted_server import Reply, Request, ScriptedServer, Serve, Step, described

BACKTEST = "POST /model/backtest"
OPENAPI = "GET /openapi.json"
PERIOD = {"start_date": "2023-01-01", "end_date": "2024-01-01"}
SWEEP = "env.FAST: [5, 10]\nuse_price: [open, close]"
SCRIPT = "import os\n\nimport blankly\n\nFAST = int(os.environ.get('FAST', '10'))\n"
FAILED = Reply(body={"error": "No prices", "run": {"problems": []}, "modelId": "model-1"})


def result(
    request: Request, run: Mapping[str, object] | None = None, **metrics: float | str | None
) -> Reply:
    raw = with_metrics(raw_result(trades=[an_order("buy", 1.0, 10.0)]), **metrics)
    answer = {"status": "success", "modelId": "model-1", "versionId": "v", "backtestId": "b"}
    arguments = json.loads(request.fields["backtestArgs"])
    return Reply(body={**answer, "result": raw, "run": {"arguments": arguments, **(run or {})}})


@pytest.fixture
def workspace(runner: Runner) -> Runner:
    """Return a runner with a model that takes a parameter from its environment."""
    write_model(runner.workspace, backtest_args=PERIOD)
    (runner.workspace / "bot.py").write_text(SCRIPT)
    return runner


def backtest(runner: Runner, server: ScriptedServer, **inputs: str) -> Ended:
    given = {"mode": "backtest", "api_url": server.url, "token": "refresh", "model_id": "model-1"}
    return runner.run(**given | {"sweep": SWEEP} | inputs)


def setting(request: Request) -> str:
    """Return what a backtest was asked for: `5 open`, `- -` for the model's own setting."""
    arguments = json.loads(request.fields["backtestArgs"])
    environment = json.loads(request.fields.get("environment", "{}"))
    window = "" if arguments["start_date"] == PERIOD["start_date"] else " second"
    window = " first" if arguments["end_date"] == "2023-07-01" else window
    return f"{environment.get('FAST', '-')} {arguments.get('use_price', '-')}{window}"


def sent(server: ScriptedServer) -> list[str]:
    return [setting(one) for one in server.requests_to(BACKTEST)]


def report(ended: Ended, runner: Runner) -> dict[str, Any]:
    path = Path(runner.environ["RUNNER_TEMP"]) / ended.outputs["report"]
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def test_every_combination_is_a_backtest_of_the_same_bundle(
    workspace: Runner, serve: Serve
) -> None:
    server = serve(result)
    ended = backtest(workspace, server)
    assert ended.code == 0, ended.log
    assert sent(server)[0] == "- -"
    assert sorted(sent(server)[1:]) == ["10 close", "10 open", "5 close", "5 open"]
    assert len({one.file for one in server.requests_to(BACKTEST)}) == 1


def test_a_server_that_has_the_version_gets_the_bundle_once(workspace: Runner) -> None:
    openapi = described("environment", "versionId", "ephemeral")
    with ScriptedServer({BACKTEST: result, OPENAPI: openapi}) as server:
        ended = backtest(workspace, server)
    assert ended.code == 0, ended.log
    first, *others = server.requests_to(BACKTEST)
    assert first.file
    assert "versionId" not in first.fields
    assert len(others) == 4
    assert not any(one.file for one in others)
    assert {(one.fields["versionId"], one.fields["ephemeral"]) for one in others} == {("v", "true")}


def test_other_bytes_than_those_of_the_bundle_are_no_result(workspace: Runner) -> None:
    openapi = described("environment", "versionId", "ephemeral")

    def answer(request: Request) -> Step:
        other = {"bundleSha256": "0" * 64} if "versionId" in request.fields else {}
        return result(request, other)

    with ScriptedServer({BACKTEST: answer, OPENAPI: openapi}) as server:
        ended = backtest(workspace, server, gates="worst trades > 0")
    assert ended.code == 1
    assert "the server backtested other bytes" in ended.log


def test_more_shards_than_backtests_leave_some_without_any(workspace: Runner, serve: Serve) -> None:
    server = serve(result)
    ended = backtest(workspace, server, shard="9/9")
    assert ended.code == 0, ended.log
    assert sent(server) == ["- -"]
    assert "failed" not in "".join(ended.annotations)


def test_gates_reach_over_combinations(workspace: Runner, serve: Serve) -> None:
    sharpes = {"- -": 9.0, "5 open": 1.0, "5 close": 2.0, "10 open": 3.0, "10 close": 4.0}
    server = serve(lambda request: result(request, sharpe=sharpes[setting(request)]))
    ended = backtest(workspace, server, gates="worst sharpe == 1\nmedian sharpe == 2.5")
    assert ended.code == 0, ended.log
    ended = backtest(workspace, server, gates="worst sharpe > 1")
    assert ended.code == 1


def test_with_windows_each_combination_is_backtested_in_each(
    workspace: Runner, serve: Serve
) -> None:
    server = serve(result)
    windows = "first: 2023-01-01..2023-07-01\nsecond: 2023-07-01..2024-01-01"
    ended = backtest(workspace, server, windows=windows, sweep="env.FAST: [5, 10]")
    assert ended.code == 0, ended.log
    own = ["- -", "- - first", "- - second"]
    expected = own + [
        f"{fast} -{window}" for fast in (5, 10) for window in ("", " first", " second")
    ]
    assert sorted(sent(server)) == sorted(expected)


def test_the_own_setting_is_not_backtested_twice(workspace: Runner, serve: Serve) -> None:
    server = serve(result)
    ended = backtest(
        workspace, server, model_env="FAST=10", backtest_args="use_price: close", gates=""
    )
    assert ended.code == 0, ended.log
    assert sorted(sent(server)) == ["10 close", "10 open", "5 close", "5 open"]


def test_a_combination_that_fails_is_named_and_the_others_hold(
    workspace: Runner, serve: Serve
) -> None:
    server = serve(
        lambda request: FAILED if setting(request) == "5 close" else result(request, sharpe=1.0)
    )
    ended = backtest(workspace, server)
    assert ended.code == 0, ended.log
    assert any("`FAST=5, use_price=close` failed" in one for one in ended.annotations)
    ended = backtest(workspace, server, gates="median sharpe > 0")
    assert ended.code == 1
    assert "combination `FAST=5, use_price=close` failed" in ended.log


def test_a_long_secret_among_the_values_is_hidden_before_it_is_cut(
    workspace: Runner, serve: Serve
) -> None:
    secret = "kXq9" + "Zr7Tb2Lw" * 10
    warning = {"severity": "warning", "message": "It is slow."}

    def answer(request: Request) -> Step:
        if setting(request) == f"{secret} close":
            return FAILED
        return result(request, {"problems": [warning]} if secret in setting(request) else {})

    ended = backtest(
        workspace,
        serve(answer),
        sweep=f"env.FAST: [{secret}, b]\nuse_price: [open, close]",
        model_env=f"OTHER={secret}",
        gates="median sharpe > 0",
    )
    assert "Combination `FAST=***, use_price=close` failed" in ended.log
    assert "Combination `FAST=***, use_price=open`: It is slow." in ended.log
    shown = [one for one in ended.log.splitlines() if not one.startswith("::add-mask::")]
    texts = [
        "\n".join(shown),
        *ended.annotations,
        ended.summary,
        json.dumps(report(ended, workspace)),
    ]
    assert not any(secret[:20] in one for one in texts)


@pytest.mark.parametrize("shard", ["", "1/2"])
def test_values_that_look_the_same_when_hidden_send_nothing(
    workspace: Runner, serve: Serve, shard: str
) -> None:
    secrets = ["kXq9Zr7Tb2Lw", "another-Secret9Value"]
    server = serve(result)
    ended = backtest(
        workspace,
        server,
        sweep=f"env.FAST: {json.dumps(secrets)}",
        model_env=f"A={secrets[0]}\nB={secrets[1]}",
        shard=shard,
    )
    assert ended.code == 2, ended.log
    assert not sent(server)
    (told,) = (one for one in ended.annotations if "::error" in one or one.startswith("error"))
    assert "several values of `FAST` that are secrets" in told
    assert not any(one in told for one in secrets)


def test_windows_of_a_setting_that_is_only_guessed_are_judged_too(
    workspace: Runner, serve: Serve
) -> None:
    """Its values are not known, so that its windows were run once more, and one failed."""

    def answer(request: Request) -> Step:
        name = setting(request)
        if name == "10 - second":
            return FAILED
        return result(request, sharpe=1.0 if name.startswith(("-", "10")) else 2.0)

    windows = "first: 2023-01-01..2023-07-01\nsecond: 2023-07-01..2024-01-01"
    ended = backtest(
        workspace,
        serve(answer),
        windows=windows,
        sweep="env.FAST: [5, 10]",
        gates="worst sharpe > -9",
    )
    assert ended.code == 1, ended.log
    assert "combination `FAST=10` in window `second` failed" in ended.log


def test_a_model_that_ignores_an_argument_has_no_result_for_it(
    workspace: Runner, serve: Serve
) -> None:
    server = serve(lambda request: result(request, {"arguments": {**PERIOD, "use_price": "open"}}))
    ended = backtest(workspace, server, sweep="use_price: [open, close]")
    assert any(
        "`use_price=close` failed: the model's script calls `backtest()` with a `use_price` of its "
        "own" in one
        for one in ended.annotations
    )


def test_shards_share_the_combinations_and_judge_nothing(workspace: Runner, serve: Serve) -> None:
    server = serve(result)
    for number in (1, 2, 3):
        ended = backtest(workspace, server, shard=f"{number}/3", gates="worst sharpe > 1e9")
        assert ended.code == 0, ended.log
        assert "gates" not in ended.outputs
    seen = sent(server)
    assert seen.count("- -") == 3  # in every part: it says whether all saw the same prices
    assert sorted(one for one in seen if one != "- -") == [
        "10 close",
        "10 open",
        "5 close",
        "5 open",
    ]


def test_all_parts_of_a_day_count_back_from_its_midnight(workspace: Runner, serve: Serve) -> None:
    server = serve(result)
    backtest(workspace, server, shard="1/2")
    times = {one.headers["Backtest-Now"] for one in server.requests_to(BACKTEST)}
    assert len(times) == 1
    assert times <= {f"{datetime.now(UTC):%Y-%m-%d}T00:00:00Z"}


def test_a_shard_of_a_server_without_results_is_an_error(workspace: Runner, serve: Serve) -> None:
    answer = {"status": "success", "modelId": "model-1", "versionId": "v", "backtestId": "b"}
    server = serve(lambda _request: Reply(body=answer))
    ended = backtest(workspace, server, shard="1/2")
    assert ended.code == 1
    assert "the server gives no result" in ended.annotations[0]


def test_a_server_that_takes_no_variables_gets_nothing(workspace: Runner) -> None:
    with ScriptedServer({BACKTEST: result, OPENAPI: Reply(404, "")}) as server:
        ended = backtest(workspace, server)
    assert ended.code == 1
    assert not sent(server)
    assert "`sweep` has `env.FAST`" in ended.annotations[0]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"sweep": "env.FAST: 5"}, "Input `sweep`"),
        ({"sweep": "FAST: [5, 10]"}, "Write `env.FAST` if it is a variable"),
        ({"sweep": "smooth_prices: [7]"}, "`smooth_prices=7`"),
        ({"sweep": "start_date: [2023-06-01, 2025-01-01]"}, "not after `start_date`"),
        ({"sweep": "to: [1y, 2y]", "windows": "2"}, "changes the period"),
        ({"sweep": "env.FAST: [1, 2]", "shard": "3/2"}, "Input `shard` is `3/2`"),
        ({"sweep": "", "shard": "1/2"}, "nothing to share out"),
        ({"mode": "deploy", "shard": "1/2", "gates": "trades > 0"}, "`mode: deploy` deploys only"),
        ({"gates": "worst sharpe > base", "compare_with": "HEAD"}, "cannot pass"),
        ({"sweep": f"env.FAST: {list(range(2000))}", "windows": "9"}, "20,009 backtests"),
    ],
)
def test_what_cannot_be_meant_sends_nothing(
    workspace: Runner, serve: Serve, inputs: dict[str, str], message: str
) -> None:
    server = serve(result)
    ended = backtest(workspace, server, **inputs)
    assert ended.code == 2, ended.log
    assert not sent(server)
    assert any(message in one for one in ended.annotations), ended.log


def test_a_variable_that_no_script_names_is_a_warning(workspace: Runner, serve: Serve) -> None:
    ended = backtest(workspace, serve(result), sweep="env.FSAT: [5, 10]")
    assert any("no script of the model names it" in one for one in ended.annotations)


def test_a_dry_run_says_how_many_there_would_be(workspace: Runner, serve: Serve) -> None:
    server = serve(result)
    ended = backtest(workspace, server, dry_run="true", shard="1/2")
    assert ended.code == 0, ended.log
    assert not sent(server)
    assert "Would backtest 4 combinations of values, too" in ended.log
    assert "Would run only part 1/2 of these" in ended.log


def test_earlier_reports_balance_the_shares(workspace: Runner, serve: Serve) -> None:
    def slow(request: Request) -> Step:
        return result(request, {"modelSeconds": 9.0 if setting(request) == "5 open" else 1.0})

    ended = backtest(workspace, serve(slow), shard="1/1")
    path = workspace.workspace.parent / "earlier.json"
    path.write_text(json.dumps(report(ended, workspace)))
    for number, expected in ((1, ["5 open"]), (2, ["10 close", "10 open", "5 close"])):
        server = serve(slow)
        ended = backtest(workspace, server, shard=f"{number}/2", report_path=str(path))
        assert ended.code == 0, ended.log
        assert sorted(sent(server)[1:]) == expected


def test_without_an_earlier_report_the_shares_are_even(workspace: Runner, serve: Serve) -> None:
    server = serve(result)
    ended = backtest(workspace, server, shard="1/2", report_path="not-there")
    assert ended.code == 0, ended.log
    assert len(sent(server)) == 3
    assert "not-there holds no earlier report of a sweep" in ended.log


def test_a_deploy_that_is_not_backtested_says_that_the_sweep_tests_nothing(
    workspace: Runner,
) -> None:
    given = {"mode": "deploy", "api_url": "local", "sweep": SWEEP, "dry_run": "true"}
    ended = workspace.run(**given)
    assert ended.code == 0, ended.log
    assert any("Input `sweep` tests nothing" in one for one in ended.annotations)
    assert "combinations of values" not in ended.log
    ended = workspace.run(**given, gates="worst trades >= 1")
    assert not any("tests nothing" in one for one in ended.annotations)
    assert "Would backtest 4 combinations of values, too" in ended.log


def test_a_sweep_without_any_result_is_not_green(workspace: Runner, serve: Serve) -> None:
    server = serve(lambda one: result(one) if setting(one) == "- -" else FAILED)
    ended = backtest(workspace, server)
    assert ended.code == 1
    assert any("No combination of the sweep has a result" in one for one in ended.annotations)
    assert ended.summary.startswith("## ❌")
