"""A server's answers to a backtest: results, failures, nonsense."""

from __future__ import annotations

import json
import secrets
import tracemalloc

import pytest

from tests.conftest import Ended, Runner
from tests.support.backtests import raw_result
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_server import Reply, StartScripted

BACKTEST = "POST /model/backtest"
RAW = raw_result()
TAKEN = {
    "modelId": "model-1",
    "versionId": "version-1",
    "backtestId": "backtest-1",
    "status": "success",
}
WARNING = {"severity": "warning", "message": "Another Python.", "hint": "Name this one."}
CRASH = {"severity": "error", "message": "KeyError: 'BTC'", "path": "bot.py", "line": 12}


def run(runner: Runner, scripted: StartScripted, answer: object, **inputs: str) -> Ended:
    server = scripted({BACKTEST: Reply(body=answer)})
    given = {"api_url": server.url, "token": "refresh", "model_id": "m", "mode": "backtest"}
    return runner.run(**given | inputs)


def test_any_server_may_send_a_result(runner: Runner, scripted: StartScripted) -> None:
    ended = run(runner, scripted, {**TAKEN, "result": RAW, "run": {"problems": [WARNING]}})
    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "backtested"
    assert len(json.loads(ended.outputs["metrics"])) == 20
    assert len(ended.outputs["trades-sha256"]) == 64
    report = runner.root / "temp" / ended.outputs["report"]
    assert json.loads(report.read_bytes())["run"]["ids"]["backtest"] == "backtest-1"
    assert [line for line in ended.annotations if "Another Python. Name this one." in line]
    assert "xychart-beta" in ended.summary


def test_the_id_of_a_backtest_never_becomes_a_path(runner: Runner, scripted: StartScripted) -> None:
    ended = run(runner, scripted, {**TAKEN, "backtestId": "../../../oops", "result": RAW})
    assert ended.code == 0, ended.log
    assert ".." not in ended.outputs["report"]
    assert (runner.root / "temp" / ended.outputs["report"]).is_file()


def test_a_server_may_send_no_result(runner: Runner, scripted: StartScripted) -> None:
    """The original server did not."""
    ended = run(runner, scripted, {key: TAKEN[key] for key in TAKEN if key != "backtestId"})
    assert ended.code == 0
    assert {"metrics", "trades-sha256", "report"} & set(ended.outputs) == set()
    assert "Handed to" in ended.summary


def test_a_failed_backtest_has_its_place(runner: Runner, scripted: StartScripted) -> None:
    answer = {**TAKEN, "status": "failed", "error": "x", "run": {"problems": [CRASH, WARNING]}}
    ended = run(runner, scripted, answer)
    assert ended.code == 1
    assert ended.outputs["backtest-id"] == "backtest-1"
    assert ended.outputs["version-id"] == "version-1"
    assert any(line.startswith("::error file=bot.py,line=12,") for line in ended.annotations)
    assert any(line.startswith("::warning") for line in ended.annotations)
    assert "not known" not in ended.summary


def test_a_failed_backtest_may_have_a_result(runner: Runner, scripted: StartScripted) -> None:
    """It is shown, the run fails, and no gate passes."""
    answer = {
        **TAKEN, "status": "failed", "error": "x", "run": {"problems": [CRASH]}, "result": RAW,
    }  # fmt: skip
    ended = run(runner, scripted, answer, gates="sharpe >= -100")
    assert ended.code == 1
    assert ended.outputs["status"] == "failed"
    assert ended.outputs["gates"] == "failed"
    assert json.loads(ended.outputs["metrics"])["sharpe"] is not None
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert error.startswith("::error file=bot.py,line=12,")
    assert ended.summary.startswith("## ❌ Backtest failed: ")
    assert "✅" not in ended.summary
    assert "not judged" in ended.summary
    assert "Sharpe" in ended.summary


def test_a_failed_backtest_with_a_wrong_result_keeps_its_reason(
    runner: Runner, scripted: StartScripted
) -> None:
    ended = run(
        runner, scripted, {**TAKEN, "error": "x", "run": {"problems": [CRASH]}, "result": 7}
    )
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert error.startswith("::error file=bot.py,line=12,")


def test_a_crash_shows_its_line_in_the_commit(runner: Runner, scripted: StartScripted) -> None:
    key = secrets.token_hex(16)
    script = runner.workspace / "bot.py"
    script.write_text(f"import blankly\n\nkey = '{key}'\nprices['BTC']\n")
    commit = commit_all(make_repository(runner.workspace))
    answer = {**TAKEN, "error": "x", "run": {"problems": [{**CRASH, "line": 4}]}}
    ended = run(runner, scripted, answer, keys_json=json.dumps({"alpaca": {"a": {"KEY": key}}}))
    page = f"https://forge.example/trader/models/blob/{commit}/bot.py#L4"
    assert f"]({page})" in ended.summary
    assert "  3  key = '***'\n> 4  prices['BTC']\n" in ended.summary


@pytest.mark.parametrize(
    "problems",
    [[], "none", [7, None, {"severity": "fatal", "message": "x"}, {"severity": "error"}]],
)
def test_a_failure_without_problems_has_the_servers_message(
    runner: Runner, scripted: StartScripted, problems: object
) -> None:
    answer = {**TAKEN, "error": "No prices", "run": {"problems": problems}}
    ended = run(runner, scripted, answer)
    assert ended.code == 1
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert "The backtest failed: No prices" in error


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/bot.py", "a/../../b.py"])
def test_a_place_outside_the_model_is_not_shown(
    runner: Runner, scripted: StartScripted, path: str
) -> None:
    ended = run(
        runner, scripted, {**TAKEN, "error": "x", "run": {"problems": [{**CRASH, "path": path}]}}
    )
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert "file=" not in error


@pytest.mark.parametrize(
    "result", [[], "text", {"metrics": 7}, {**RAW, "trades": 7}, {**RAW, "account_values": [1]}]
)
def test_a_wrong_result_is_refused(runner: Runner, scripted: StartScripted, result: object) -> None:
    ended = run(runner, scripted, {**TAKEN, "result": result})
    assert ended.code == 1
    assert "cannot be used" in ended.log
    assert "metrics" not in ended.outputs


def test_warnings_of_a_backtest_may_fail_the_run(runner: Runner, scripted: StartScripted) -> None:
    answer = {**TAKEN, "result": RAW, "run": {"problems": [WARNING]}}
    ended = run(runner, scripted, answer, fail_on_warning="true")
    assert ended.code == 1
    assert ended.outputs["status"] == "failed"
    assert "metrics" in ended.outputs
    assert any("`fail-on-warning` is set" in line for line in ended.annotations)


@pytest.mark.parametrize("values", [0, 100_000])
def test_a_run_takes_a_small_multiple_of_the_memory_of_its_result(
    runner: Runner, scripted: StartScripted, values: int
) -> None:
    """As values, the lists would take twenty-five times the memory of their text."""
    lists: list[list[int]] = [] if values else [[]] * 3_000_000
    result = raw_result([10_000.0 + number for number in range(values)] or [1.0], indicators=lists)
    body = json.dumps({**TAKEN, "result": result}).encode()
    del result, lists
    tracemalloc.start()
    try:
        ended = run(runner, scripted, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ended.code == 0, ended.log
    assert peak < 5 * len(body) + (16 << 20)


def test_an_answer_that_is_large_without_its_result_is_not_read(
    runner: Runner, scripted: StartScripted
) -> None:
    ended = run(runner, scripted, json.dumps({**TAKEN, "more": [[]] * 5_000_000}).encode())
    assert ended.code == 1
    assert "without the backtest's result it is larger than 16 MiB" in ended.log
    assert len(ended.log) < 5_000


def test_a_failure_may_not_be_as_large_as_a_result(runner: Runner, scripted: StartScripted) -> None:
    answer = Reply(500, json.dumps({"error": [[]] * 5_000_000}).encode())
    server = scripted({BACKTEST: answer})
    ended = runner.run(api_url=server.url, token="refresh", model_id="m", mode="backtest")
    assert ended.code == 1
    assert "the answer is larger than 16 MiB" in ended.log
