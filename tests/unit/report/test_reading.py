"""Reports that are read again: what they show is what the run showed, and nothing else gets in."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import pytest

from deploy_action.backtest.period.windows import Window
from deploy_action.backtest.sweep.shards import Part, Shard
from deploy_action.bundle.including import Include
from deploy_action.errors import Problem, Severity
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import to_markdown
from deploy_action.report.json_report import build_report
from deploy_action.report.reading import WrongReportError, read_report
from deploy_action.report.summary import build_comment
from tests.support.backtests import raw_result
from tests.support.decisions import compared, decisions
from tests.support.outcomes import backtests, with_parts, with_runs_on
from tests.support.sweeps import swept

RUNS = {**backtests(), **decisions()}
RUNS["windows of a base"] = compared(
    RUNS["windows"], raw_result(), windows=RUNS["windows"].backtests.windows
)
REPORT = "".join(build_report(RUNS["stopped"])).encode()
QUARTERS = (Window("one", 0.0, 86_400.0), Window("two", 86_400.0, 172_800.0))
SWEPT = replace(
    swept(
        {"env.FAST": [5, 10], "use_price": ["close", "open", None]},
        lambda fast, price: None if (fast, price) == (5, "open") else fast * len(price or ""),
        current=2,
        windows=QUARTERS,
    ),
    own=(0, None),
)
PART = Part(shard=Shard(2, 3), windows=QUARTERS, balanced_by="ab12")
OF_SWEEP = with_parts(
    RUNS["stopped"],
    backtests={"windows": SWEPT.combinations[0].windows, "sweep": SWEPT, "part": PART},
)


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


def test_a_sweep_is_read_as_it_was() -> None:
    seconds = (replace(one, seconds=1.5 + index) for index, one in enumerate(SWEPT.combinations))
    warned = replace(next(seconds), problems=(Problem(message="Odd.", severity=Severity.WARNING),))
    timed = replace(SWEPT, combinations=(warned, *seconds))
    outcome = with_parts(OF_SWEEP, backtests={"sweep": timed})
    read = read_report("".join(build_report(outcome)).encode())
    assert (read.backtests.sweep, read.backtests.part) == (timed, PART)
    assert read.backtests.windows == outcome.backtests.windows


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


def changed(path: str, value: object, of: RunOutcome = RUNS["stopped"]) -> bytes:
    report = json.loads("".join(build_report(of)))
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
    ("path", "value"),
    [
        ("gates.0.text", "{}"),
        ("bundle.sha256", "{}"),
        ("run.status", "{}"),
    ],
)
def test_what_a_report_says_is_redacted_before_it_is_cut(path: str, value: str) -> None:
    """Half a secret would not be recognised where others are hidden."""
    secret = "d1fe" * 5
    for length in range(40, 130, 10):
        with pytest.raises(WrongReportError) as caught:
            read_report(changed(path, value.format("x" * length + secret)))
        told = caught.value.in_words(lambda text: text.replace(secret, "***"))
        assert "d1fe" not in told


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("part.number", 0, "Expected `int` >= 1"),
        ("part.number", 4, "is part 4 of 3, which there cannot be"),
        ("part.of", 10**30, "cannot be read"),
        ("part.windows", [{"name": "", "start": 0, "end": 1e300}], "Expected `float` <= "),
        ("sweep.axes", [], "Expected `array` of length >= 1"),
        ("sweep.axes.0.values", [], "Expected `array` of length >= 1"),
        ("sweep.axes.0.values", ["5", "5"], "`env.FAST` has the value 5 twice"),
        ("sweep.axes.0.name", "env.PYTHONPATH", "not yours to set"),
        ("sweep.axes.0.name", "use_price", "has a sweep with the same parameter twice"),
        ("sweep.axes.0.values", ["5"], "combinations that are not those of its parameters"),
        ("sweep.axes.0.values", ["5", "11"], "combinations that are not those of its parameters"),
        ("sweep.combinations.0.values", [5, "close"], "combinations that are not those of its"),
        (
            "sweep.combinations.0.metrics",
            {"sharpe": "high"},
            "Expected `int | float | null`, got `str`",
        ),
        ("sweep.combinations.0.trades_sha256", "x", "has a digest that is none: `x`"),
        ("sweep.combinations.0.moments.count", -1, "Expected `int` >= 2"),
        ("sweep.combinations.0.moments.sharpe", 1e155, "Expected `float` <= "),
        ("sweep.combinations.0.moments.kurtosis", -1e155, "Expected `float` >= "),
        ("sweep.combinations.0.windows.0.name", "three", "other windows than the model's own"),
        ("sweep.own", [0], "has a setting of the model with other parameters"),
        ("sweep.own", [2, None], "has an index of 2 among 2"),
        ("sweep.current", 6, "has an index of 6 among 6"),
        ("sweep.current", -1, "Expected `int` >= 0"),
        ("run.seconds.backtests", [[None, None, -1]], "Expected `float` >= 0"),
    ],
)
def test_what_is_wrong_in_a_sweep_is_said(path: str, value: object, words: str) -> None:
    with pytest.raises(WrongReportError) as caught:
        read_report(changed(path, value, OF_SWEEP))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"null", b"\xff", b"{" * 10_000, b'{"format": "\\ud800"}', REPORT[:-9],
     b"PK\x03\x04", REPORT.replace(b'"seconds"', b'"second"')],
)  # fmt: skip
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(WrongReportError):
        read_report(data)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("sweep.axes.0.values", ["5"], "has 6 combinations where its parameters have 3"),
        ("sweep.axes.0.values", ["5", "11"], "combinations that are not those of its parameters"),
        ("sweep.combinations", [], "has 0 combinations where its parameters have 6"),
    ],
)
def test_a_whole_run_has_all_combinations(path: str, value: object, words: str) -> None:
    whole = with_parts(OF_SWEEP, backtests={"part": None})
    with pytest.raises(WrongReportError, match=words):
        read_report(changed(path, value, whole))


def test_a_report_that_would_fill_the_memory_is_refused() -> None:
    """Of 8 MB of empty lists, 300 MB would be made."""
    text = REPORT.replace(b'"problems": [', b'"problems": [' + b"[]," * 2_000_001, 1)
    assert text != REPORT
    tracemalloc.start()
    try:
        with pytest.raises(WrongReportError, match="more than 4,000,000 values beside its results"):
            read_report(text)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()


def test_a_long_result_is_not_counted() -> None:
    outcome = read_report(REPORT)
    report = json.loads(REPORT)
    report["result"]["later"] = report["round_trips"]["closed"] = [[]] * 1_500_000
    assert read_report(json.dumps(report).encode()).problems == outcome.problems


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
