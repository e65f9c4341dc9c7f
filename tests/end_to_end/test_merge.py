"""Mode `merge`: the reports of several runners, put together and judged in a job of their own."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path

from deploy_action.backtest.period.windows import Window
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.json_report import build_report
from deploy_action.report.reading import read_report
from tests.conftest import Ended, Runner
from tests.support.backtests import a_market, raw_result
from tests.support.forge import WORKFLOW, ForgeServer
from tests.support.outcomes import a_backtest, orders, prices, with_parts
from tests.support.parts import shared_out, whole, without_run, write_parts
from tests.support.rendered import render
from tests.support.sweeps import swept

PASSING = "worst cum_returns > 1\ncum_returns > 0"
WINDOWS = (Window("bull", 0.0, 86_400.0), Window("bear", 86_400.0, 172_800.0))


def a_sweep() -> RunOutcome:
    """Return a run of 20 backtests beside the model's own setting."""
    market = a_market({"OAK-USD": prices(60, gain=0.01)})
    values = [10_000.0 + 50 * day for day in range(60)]
    found = swept(
        {"env.FAST": [5, 10], "env.SLOW": [40, 80, 120]},
        lambda fast, slow: slow / fast,
        windows=WINDOWS,
    )
    return with_parts(
        a_backtest(raw_result(values, orders(4), market=market)),
        backtests={"windows": found.combinations[0].windows, "sweep": replace(found, own=(1, 0))},
    )


def left(runner: Runner, of: int = 3) -> list[Path]:
    """Let as many jobs have left their parts, and this one have downloaded them."""
    return write_parts(runner.root / "temp" / "parts", [*shared_out(a_sweep(), of)])


def merge(runner: Runner, **inputs: str) -> Ended:
    return runner.run(mode="merge", report_path="parts", **inputs)


def test_parts_are_judged_as_one_run(runner: Runner) -> None:
    left(runner)
    ended = merge(runner, gates=PASSING)
    assert (ended.code, ended.outputs["status"], ended.outputs["gates"]) == (0, "merged", "passed")
    report = (runner.root / "temp" / ended.outputs["report"]).read_text()
    assert without_run(report) == without_run("".join(build_report(whole(a_sweep(), PASSING))))
    assert json.loads(report)["run"]["mode"] == "merge"
    title = render(ended.summary).all("h2")[0].text()
    assert title.startswith("✅ All 2 gates passed: momentum, +")
    assert "Put together from 3 parts." in ended.summary
    assert read_report(report.encode()).backtests.parts == 3
    page = (runner.root / "temp" / ended.outputs["report-html"]).read_text(encoding="utf-8")
    assert "<title>✅ All 2 gates passed: momentum, +" in page
    assert "All 6 combinations" in page


def test_a_gate_of_the_merging_job_fails_it(runner: Runner) -> None:
    left(runner)
    ended = merge(runner, gates="worst cum_returns > 5")
    assert (ended.code, ended.outputs["status"], ended.outputs["gates"]) == (1, "failed", "failed")
    (error,) = [line for line in ended.annotations if line.startswith("::error")]
    assert "worst cum_returns > 5" in error
    assert ended.outputs["report"]
    assert "❌" in ended.summary


def test_missing_parts_are_no_result(runner: Runner) -> None:
    left(runner)[1].unlink()
    ended = merge(runner, gates=PASSING)
    assert (ended.code, ended.outputs["status"]) == (2, "failed")
    assert not {"metrics", "gates", "report"} & set(ended.outputs)
    assert "Part 2 of 3 is missing" in ended.summary
    assert "❌ Not merged" in ended.summary
    assert "Nothing was put together." in ended.summary


def test_without_any_part_a_job_is_not_green(runner: Runner) -> None:
    for path in ("parts", "."):
        ended = runner.run(mode="merge", report_path=path)
        assert (ended.code, ended.outputs["status"]) == (2, "failed")
        assert "There is nothing to put together" in ended.summary
        assert "Traceback" not in ended.log


def test_unwanted_warnings_fail_a_merge(runner: Runner) -> None:
    run = a_sweep()
    assert run.backtests.sweep is not None
    first, *others = run.backtests.sweep.combinations
    failed = replace(first, figures=None, reason="the script failed")
    sweep = replace(run.backtests.sweep, combinations=(failed, *others))
    parts = shared_out(with_parts(run, backtests={"sweep": sweep}), 2)
    write_parts(runner.root / "temp" / "parts", [*parts])
    assert merge(runner).code == 0
    ended = merge(runner, fail_on_warning="true")
    assert (ended.code, ended.outputs["status"]) == (1, "failed")
    assert "Combination `FAST=5, SLOW=40` failed: the script failed" in ended.log


def test_a_merge_comments_on_the_pull_request(runner: Runner) -> None:
    left(runner)
    runner.on("pull_request", {"pull_request": {"title": "Faster", "number": 7}})
    token = secrets.token_hex()
    with ForgeServer() as forge:
        forge.accounts[token] = WORKFLOW
        runner.environ |= {"GITHUB_API_URL": forge.url, "GITHUB_RUN_ID": "100"}
        assert merge(runner, gates=PASSING, comment="true", github_token=token).code == 0
        (comment,) = forge.comments
    assert comment.issue == 7
    assert "All 2 gates passed" in comment.body
    assert "Put together from 3 parts." in comment.body
