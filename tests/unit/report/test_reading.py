"""Reports that are read again: what they show is what the run showed, and nothing else gets in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy_action.bundle.including import Include
from deploy_action.errors import Problem
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import to_markdown
from deploy_action.report.json_report import build_report
from deploy_action.report.reading import WrongReportError, read_report
from deploy_action.report.summary import build_comment
from tests.support.backtests import raw_result
from tests.support.decisions import compared, decisions
from tests.support.outcomes import backtests, with_parts, with_runs_on

RUNS = {**backtests(), **decisions()}
RUNS["windows of a base"] = compared(
    RUNS["windows"], raw_result(), windows=RUNS["windows"].backtests.windows
)
REPORT = "".join(build_report(RUNS["stopped"])).encode()


WINDOW = {"name": "", "start": 0, "end": 1, "reason": "", "metrics": {}, "trades_sha256": ""}


def known(outcome: RunOutcome) -> RunOutcome:
    """Return what a report tells of a run: no links, nothing of the plan, no list of files."""
    bundle = outcome.bundle and replace(outcome.bundle, largest=())
    told = replace(outcome, bundle=bundle, excerpts=())
    run = outcome.backtests.run
    told = with_runs_on(told, plan="", python_version="" if run is None else run.wanted_python)
    comparison = outcome.backtests.comparison
    if comparison is not None:
        comparison = replace(comparison, base=replace(comparison.base, commit_url=None))
    return with_parts(
        told,
        model={"commit_url": None, "problems": ()},
        target={"url": "", "project_url": "", "created": (), "problems": ()},
        backtests={"comparison": comparison, "problems": ()},
        ending={"problems": outcome.problems},
    )


def markdown_of(outcome: RunOutcome) -> str:
    return to_markdown(build_comment(outcome, "https://forge.example/runs/1"))


@pytest.mark.parametrize("name", RUNS)
def test_a_report_shows_what_the_run_showed(name: str) -> None:
    read = read_report("".join(build_report(RUNS[name])).encode())
    assert markdown_of(read) == markdown_of(known(RUNS[name]))


def test_a_report_that_is_read_has_the_same_report() -> None:
    """So that several can be put together and written again."""
    again = json.loads("".join(build_report(read_report(REPORT))))
    first = json.loads(REPORT)
    assert {key for key in first if first[key] != again[key]} == set()


def test_places_in_included_files_are_those_of_the_repository() -> None:
    include = Include("libs/common", "shared")
    outcome = with_parts(
        RUNS["stopped"],
        model={"path": "bots/a", "included": (include,)},
        ending={"problems": (Problem(message="Wrong.", path="shared/util.py", line=3),)},
    )
    read = read_report("".join(build_report(outcome)).encode())
    assert read.model.included == (include,)
    assert "libs/common/util.py:3" in markdown_of(read)


def changed(path: str, value: object) -> bytes:
    report = json.loads(REPORT)
    *steps, last = path.split(".")
    place = report
    for step in steps:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(report).encode()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("format", "other", "is no report of a backtest"),
        ("version", 1, "is a report of version 1, and this release reads version 2: let all jobs"),
        ("version", "1", "Expected `int`"),
        ("run.status", "great", "Invalid enum value 'great'"),
        ("model.name", 7, "Expected `str`, got `int` - at `$.model.name`"),
        ("bundle.sha256", "x" * 64, "has a digest that is none"),
        ("result.trades", {}, "has a wrong result: `trades` is"),
        ("base_result", None, "has a base without its result"),
        ("gates.0.text", "sharpe is fine", "has a gate that is none"),
        ("gates.0.text", "sharpe > 1\ncagr > 1", "has a gate that is none"),
        ("gates.0.state", "✅", "Invalid enum value"),
        ("comparison.base.state", "failed", "or a result without its base"),
        ("run.seconds.total", 1e300, "Expected `float` <= "),
        ("windows", [{"name": "a", "start": 1e18}], "Expected `float` <= "),
        ("windows", [WINDOW] * 101, "Expected `array` of length <= 100"),
    ],
)
def test_what_is_wrong_in_a_report_is_said(path: str, value: object, words: str) -> None:
    with pytest.raises(WrongReportError) as caught:
        read_report(changed(path, value))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"null", b"\xff", b"{" * 10_000, b'{"format": "\\ud800"}', REPORT[:-9],
     b"PK\x03\x04", REPORT.replace(b'"seconds"', b'"second"')],
)  # fmt: skip
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(WrongReportError):
        read_report(data)


def test_later_keys_are_ignored() -> None:
    report = json.loads(REPORT) | {"later": [1, {"a": None}]}
    assert markdown_of(read_report(json.dumps(report).encode())) == markdown_of(read_report(REPORT))


def test_figures_are_computed_and_not_believed() -> None:
    """Only the account's values, trades and prices count."""
    report = json.loads(REPORT)
    for name in ("metrics", "package_metrics", "holding", "drawdowns", "months", "round_trips"):
        report[name] = {"sharpe": 99.9, "cum_returns": 9_999.0}
    report["comparison"]["metrics"] = []
    report["comparison"]["identical"] = True
    assert markdown_of(read_report(json.dumps(report).encode())) == markdown_of(read_report(REPORT))
