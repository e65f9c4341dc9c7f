"""Parts of a run that are put together: what one runner would have reported, or an error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.windows import Window, WindowBacktest
from deploy_action.backtest.sweep.combinations import Combination, Swept, index_of
from deploy_action.backtest.sweep.grid import sweep_of
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.json_report import build_report
from deploy_action.stages.reports.files import MOST_ENTRIES
from deploy_action.stages.reports.merging import merge_reports
from tests.support.backtests import a_market, raw_result
from tests.support.decisions import compared
from tests.support.outcomes import a_backtest, orders, prices, wave, with_parts
from tests.support.parts import cells_in, concluded, shared_out, whole, without_run, write_parts
from tests.support.sweeps import figures, swept

RESULT = raw_result(wave(60), orders(4), market=a_market({"OAK-USD": prices(60)}))
CANDIDATE = a_backtest(RESULT)
ITS_BASE = compared(CANDIDATE, raw_result(wave(60, swing=0.1), orders(6)))
SAME_BASE = compared(CANDIDATE, RESULT, is_same_bundle=True)
GATES = "worst sharpe > -100\nmedian cum_returns > 3\nbest max_drawdown < 50%\ncum_returns > 0"
WINDOWS = (Window("bull", 0.0, 86_400.0), Window("bear", 86_400.0, 172_800.0))
AXES = {"env.FAST": [5, 10], "env.SLOW": [40, 80, 120]}


def a_run(**found: object) -> RunOutcome:
    """Return a run of 20 cells, of which one combination is the model's own setting."""
    sweep = swept(AXES, lambda fast, slow: slow / fast, windows=WINDOWS)
    own = replace(sweep, own=(1, 0))
    return with_parts(
        CANDIDATE, backtests={"windows": sweep.combinations[0].windows, "sweep": own, **found}
    )


def merged(directory: Path, gates: str = "") -> str:
    """Return the report of all parts in a directory, put together."""
    run = merge_reports(directory, "parts", lambda _line: None, str)
    run = with_parts(run, backtests={"verdicts": ()})
    return "".join(build_report(concluded(run, gates)))


# --------------------------------------------------------------------------- the same bytes


VALUES = st.one_of(
    st.integers(-3, 3),
    st.booleans(),
    st.none(),
    st.floats(-2, 2, width=16),
    st.text('ab é"\\*`', max_size=3),
    st.dictionaries(st.sampled_from("xy"), st.integers(0, 2), max_size=2),
)
NAMES = ("resolution", "initial_values", "use_price", "env.FAST", "env.SLOW")
TEXTS = ("a", "b 1", "é", '"\\', ": `|` <b>", "漢" * 3)


@st.composite
def axes(draw: st.DrawFn) -> dict[str, list[Any]]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    by_json: Callable[[Any], str] = lambda value: json.dumps(value, sort_keys=True)  # noqa: E731
    variables = st.text("ab 1", min_size=1, max_size=3)
    return {
        name: draw(
            st.lists(
                variables if name.startswith("env.") else VALUES,
                min_size=1,
                max_size=3,
                unique_by=by_json,
            )
        )
        for name in names
    }


def a_cell(chance: Random) -> dict[str, Any]:
    """Return what a backtest found: often figures, which may be those of the candidate."""
    warning = Problem(message=chance.choice(TEXTS), severity=Severity.WARNING)
    known = {
        "problems": (warning,) * chance.choice([0, 0, 1]),
        "seconds": chance.choice([None, chance.uniform(0, 1e6)]),
    }
    kind = chance.choice("ffffsx")
    if kind == "x":
        return {**known, "reason": chance.choice(TEXTS)}
    result = CANDIDATE.backtests.result
    assert result is not None
    if kind == "s":
        return {**known, "figures": KeptFigures.of(result)}
    one = figures(chance.choice([None, chance.uniform(-99, 1e6)]), chance.uniform(-99, 99))
    changed = replace(
        one,
        moments=chance.choice([one.moments, None]),
        is_exact=chance.random() < 0.8,
        covered=chance.choice([1.0, chance.random()]),
    )
    return {**known, "figures": changed}


def windows_of(windows: Sequence[Window], chance: Random) -> tuple[WindowBacktest, ...]:
    return tuple(
        WindowBacktest(name=one.name, start=one.start, end=one.end, **a_cell(chance))
        for one in windows
    )


def any_run(chance: Random, names: Sequence[str], axes: Mapping[str, list[Any]]) -> RunOutcome:
    """Return a run of which every cell is known, not judged yet."""
    windows = [Window(name, 86_400.0 * at, 86_400.0 * (at + 1)) for at, name in enumerate(names)]
    ours, sweep = windows_of(windows, chance), None
    if axes:
        found = sweep_of(axes)
        known = [chance.randrange(len(axis.values)) for axis in found.axes]
        some = [chance.choice([None, index]) for index in known]
        own = chance.choice([None, tuple(known), tuple(some)])
        combinations = [
            Combination(values=values, windows=windows_of(windows, chance), **a_cell(chance))
            for values in found.combinations()
        ]
        if (current := index_of(found, own)) is not None:
            combinations[current] = Combination(values=combinations[current].values)
        sweep = Swept(sweep=found, own=own, combinations=tuple(combinations))
    outcome = chance.choice([CANDIDATE, ITS_BASE, SAME_BASE])
    comparison = outcome.backtests.comparison
    if comparison is not None:
        theirs = ours if comparison.base.is_same_bundle else windows_of(windows, chance)
        comparison = replace(comparison, base=replace(comparison.base, windows=theirs))
    warning = Problem(message="The model ran as root.", severity=Severity.WARNING)
    return with_parts(
        outcome,
        backtests={
            "windows": ours,
            "sweep": sweep,
            "comparison": comparison,
            "problems": (warning,) * chance.choice([0, 1]),
        },
    )


# The repr of a run is too long for an argument, and its cells are too many to be drawn.
@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from(TEXTS), max_size=3, unique=True),
    axes=axes(),
    of=st.integers(1, 7),
    seed=st.integers(0, 1 << 32),
)
def test_parts_give_the_bytes_of_one_runner(
    names: list[str], axes: dict[str, list[Any]], of: int, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311  # no secret
    run = any_run(chance, names, axes)
    weights = {cell: chance.choice([0.5, 1.0, 9.0]) for cell in cells_in(run)}
    parts = [*shared_out(run, of, weights)]
    chance.shuffle(parts)
    with TemporaryDirectory() as directory:
        write_parts(Path(directory), parts)
        report = merged(Path(directory), GATES)
    alone = "".join(build_report(whole(run, GATES)))
    assert without_run(report) == without_run(alone)
    of_merged, of_alone = (
        json.loads(one)["run"]["seconds"]["backtests"] for one in (report, alone)
    )
    assert of_merged == of_alone


def test_a_single_part_is_the_whole(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, [*shared_out(a_run(), 1)])
    run = merge_reports(paths[0], "parts", lambda _line: None, str)
    assert (run.backtests.parts, run.backtests.part) == (1, None)
    assert run.backtests.sweep is not None
    assert run.backtests.sweep.current == 3


def test_a_part_lists_only_the_combinations_that_it_has(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, [*shared_out(a_run(), 20)])
    listed = [json.loads(one.read_bytes())["sweep"]["combinations"] for one in paths]
    assert max(map(len, listed)) == 1
    assert {tuple(one["values"]) for found in listed for one in found} == {
        (fast, slow) for fast in ("5", "10") for slow in ("40", "80", "120")
    } - {("10", "40")}
    assert without_run(merged(tmp_path)) == without_run("".join(build_report(whole(a_run()))))


def test_each_part_is_told_in_one_line(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, [*shared_out(a_run(), 2)])
    paths[0].rename(tmp_path / "a\nb.json")
    lines: list[str] = []
    merge_reports(tmp_path, "parts", lines.append, str)
    assert lines == ["`a ⏎ b.json` (part 1 of 2)", "`part-2/bt_881.json` (part 2 of 2)"]


def test_more_parts_than_backtests_leave_some_empty(tmp_path: Path) -> None:
    write_parts(tmp_path, [*shared_out(a_run(), 25)])
    assert without_run(merged(tmp_path)) == without_run("".join(build_report(whole(a_run()))))


def test_what_differs_from_run_to_run_is_that_of_the_first_part(tmp_path: Path) -> None:
    parts = [
        with_parts(
            one, target={"project_id": f"p{number}"}, backtests={"backtest_id": f"b{number}"}
        )
        for number, one in enumerate(shared_out(a_run(), 3), 1)
    ]
    write_parts(tmp_path, parts[::-1])
    run = json.loads(merged(tmp_path))["run"]
    assert (run["ids"]["project"], run["ids"]["backtest"], run["parts"]) == ("p1", "b1", 3)


# --------------------------------------------------------------------------- what is refused


def problems_of(directory: Path) -> list[str]:
    """Return the messages with which the parts in a directory are refused."""
    with pytest.raises(InvalidInputError) as caught:
        merge_reports(directory, "parts", lambda _line: None, str)
    return [one.message for one in caught.value.problems]


def a_part(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the report at a path."""
    report = json.loads(path.read_bytes())
    change(report)
    path.write_text(json.dumps(report))


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return write_parts(tmp_path, [*shared_out(a_run(), 4)])


def put(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Return what sets a key of a report: `bundle.sha256`."""
    *steps, last = path.split(".")

    def change(report: dict[str, Any]) -> None:
        place: Any = report
        for step in steps:
            place = place[int(step) if isinstance(place, list) else step]
        place[last] = value

    return change


SECOND = "`part-2/bt_881.json` (part 2 of 4)"
FOREIGN = f"{SECOND} does not belong to the other parts: it has another "
OTHER = "c" * 64


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("bundle.sha256", OTHER, f'bundle, `"{OTHER[:50]}'),
        ("commit", "0" * 40, 'commit, `"0000'),
        ("is_committed", False, "state of the checkout, `false`"),
        ("model.path", "bots/other", "model, "),
        ("server", "https://other.example", 'server, `"https://other.example"` and not `"local"`'),
        ("environment.python", "3.12.1", "environment, "),
        ("environment.blankly", "1.18.26", "environment, "),
        ("pinned.randomSeed", 1, "pins, "),
        ("arguments.initial_values.USD", 1, "backtest arguments, "),
        ("calls.arguments", {"to": "3y"}, "backtest arguments, "),
        ("sweep.own", [0, 0], "sweep, "),
        ("part.windows.1.end", 200_000, "list of windows, "),
        ("part.balanced_by", "b" * 64, "earlier durations by which the work was shared out, "),
        ("part.of", 5, "number of parts, `5` and not `4`"),
        ("comparison", None, "base, `null` and not "),
        ("comparison.base.commit", "0" * 40, "base, "),
        ("comparison.base.bundle_sha256", OTHER, "base, "),
    ],
)
def test_foreign_parts_are_refused(tmp_path: Path, key: str, value: object, words: str) -> None:
    run = a_run(comparison=ITS_BASE.backtests.comparison)
    paths = write_parts(tmp_path, [*shared_out(run, 4)])
    a_part(paths[1], put(key, value))
    (message,) = problems_of(tmp_path)
    assert message.startswith(FOREIGN.replace("of 4", "of 5") if key == "part.of" else FOREIGN)
    assert words in message


@pytest.mark.parametrize(
    ("key", "value"),
    [("server", "https://{}"), ("part.windows.1.name", "{}")],
)
def test_what_parts_say_is_redacted_before_it_is_cut(tmp_path: Path, key: str, value: str) -> None:
    """Half a secret would not be recognised where others are hidden."""
    secret = "d1fe" * 5
    for length in range(20, 120, 10):
        paths = write_parts(tmp_path / str(length), [*shared_out(a_run(), 4)])
        a_part(paths[1], put(key, value.format("x" * length + secret)))
        with pytest.raises(InvalidInputError) as caught:
            merge_reports(
                tmp_path / str(length),
                "parts",
                lambda _line: None,
                lambda text: text.replace(secret, "***"),
            )
        assert "d1fe" not in " ".join(one.message for one in caught.value.problems)


def test_the_parts_that_differ_from_most_are_the_foreign_ones(parts: list[Path]) -> None:
    a_part(parts[0], put("commit", "0" * 40))
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith("`part-1/bt_881.json` (part 1 of 4) does not belong")


@pytest.mark.parametrize(
    ("key", "value"), [("trades_sha256", OTHER), ("metrics.hold_return", 64.9), ("metrics", {})]
)
def test_parts_that_saw_other_prices_are_refused(
    parts: list[Path], key: str, value: object
) -> None:
    a_part(parts[1], put(key, value))
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith(f"{SECOND} has other results of the model's own setting than ")
    assert "the two saw other prices" in message


def compared_parts(directory: Path) -> list[Path]:
    comparison = ITS_BASE.backtests.comparison
    assert comparison is not None
    bundle = CANDIDATE.bundle and replace(CANDIDATE.bundle, sha256=OTHER)
    of_base = replace(comparison.base, bundle=bundle, windows=a_run().backtests.windows)
    run = a_run(comparison=replace(comparison, base=of_base))
    return write_parts(directory, [*shared_out(run, 4)])


@pytest.mark.parametrize(
    ("key", "value"), [("trades_sha256", OTHER), ("metrics.sharpe", 64.9), ("metrics", None)]
)
def test_parts_whose_base_did_something_else_are_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    a_part(compared_parts(tmp_path)[1], put(f"comparison.base.{key}", value))
    (message,) = problems_of(tmp_path)
    assert message.startswith(f"{SECOND} has other results of the base than ")


@pytest.mark.parametrize("how", ["lost", "blank", "doubled"])
def test_a_window_has_that_of_the_base_beside_it(tmp_path: Path, how: str) -> None:
    paths = compared_parts(tmp_path)
    base = [json.loads(one.read_bytes())["comparison"]["base"]["windows"] for one in paths]
    at = next(at for at, windows in enumerate(base) if windows)
    blank = {**base[at][0], "metrics": None}
    changed = {"lost": base[at][1:], "blank": [blank, *base[at][1:]], "doubled": base[at] * 2}
    assert merged(tmp_path)
    a_part(paths[at], put("comparison.base.windows", changed[how]))
    (message,) = problems_of(tmp_path)
    assert message.startswith(
        f"`part-{at + 1}/bt_881.json` (part {at + 1} of 4) has not the same windows of the base"
    )


def test_the_last_bits_of_a_number_are_those_of_a_processor(parts: list[Path]) -> None:
    sharpe = json.loads(parts[1].read_bytes())["metrics"]["sharpe"]
    a_part(parts[1], put("metrics.sharpe", sharpe * (1 + 1e-15)))
    assert merged(parts[0].parents[1])


ABSOLUTE = {"start_date": "2024-01-01"}


@pytest.mark.parametrize(
    ("arguments", "name", "is_refused"),
    [({"to": "2y"}, "env.A", True), (ABSOLUTE, "to", True), (ABSOLUTE, "env.A", False)],
)
def test_periods_that_count_back_need_the_same_time(
    tmp_path: Path, arguments: dict[str, str], name: str, *, is_refused: bool
) -> None:
    sweep = replace(swept({name: ["1y", "2y"]}, lambda _value: 3.0), own=(None,))
    paths = write_parts(tmp_path, [*shared_out(a_run(windows=(), sweep=sweep), 3)])
    for path in paths:
        a_part(path, put("calls.arguments", arguments))
    a_part(paths[2], put("run.now", "2026-01-02T03:04:06Z"))
    if not is_refused:
        assert merged(tmp_path)
        return
    (message,) = problems_of(tmp_path)
    assert "`part-3/bt_881.json` (part 3 of 3) did not count from 2026-01-02T03:04:05Z" in message


def test_missing_parts_are_named(parts: list[Path]) -> None:
    parts[2].unlink()
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith("Part 3 of 4 is missing: its job failed")
    parts[0].unlink()
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith("Parts 1 and 3 of 4 are missing")


def test_doubled_parts_are_named(parts: list[Path]) -> None:
    (parts[0].parent / "again.json").write_bytes(parts[1].read_bytes())
    (message,) = problems_of(parts[0].parents[1])
    assert message == "Part 2 is there 2 times: `part-1/again.json` and `part-2/bt_881.json`."


def test_a_part_of_a_run_that_failed_is_refused(parts: list[Path]) -> None:
    a_part(parts[1], put("run.status", "failed"))
    a_part(parts[1], put("problems", [{"severity": "error", "message": "It ran out of time."}]))
    assert problems_of(parts[0].parents[1]) == [
        f"{SECOND} is of a run that failed: It ran out of time."
    ]


def test_cells_in_no_part_and_in_two_are_named(parts: list[Path]) -> None:
    first = json.loads(parts[0].read_bytes())["sweep"]["combinations"]
    at = next(index for index, one in enumerate(first) if one["metrics"])
    place = f"sweep.combinations.{at}"
    for key in ("metrics", "trades_sha256"):
        a_part(parts[1], put(f"{place}.{key}", first[at][key]))
    (doubled,) = problems_of(parts[0].parents[1])
    assert doubled.startswith("Several parts have combination `FAST=")
    assert "(`part-1/bt_881.json` (part 1 of 4) and `part-2/bt_881.json` (part 2 of 4))" in doubled
    for path in parts[:2]:
        a_part(path, put(f"{place}.metrics", None))
    (lost,) = problems_of(parts[0].parents[1])
    assert lost.startswith("No part has combination `FAST=")


def test_results_of_what_takes_those_of_the_models_setting_are_refused(parts: list[Path]) -> None:
    found = json.loads(parts[0].read_bytes())["sweep"]["combinations"]
    made_up = {**found[0], "values": ["10", "40"], "metrics": None, "reason": "made up"}
    made_up["windows"] = []
    in_order = [[str(fast), str(slow)] for fast in (5, 10) for slow in (40, 80, 120)]
    all_listed = sorted([*found, made_up], key=lambda one: in_order.index(one["values"]))
    a_part(parts[0], put("sweep.combinations", all_listed))
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith("A part has what no part is to backtest, combination `FAST=10, SLOW=")


def test_all_that_is_wrong_is_said_at_once(parts: list[Path]) -> None:
    parts[0].write_bytes(b"{")
    a_part(parts[1], put("commit", "0" * 40))
    (parts[2].parent / "copy.json").write_bytes(parts[2].read_bytes())
    parts[3].unlink()
    messages = problems_of(parts[0].parents[1])
    beginnings = ["`part-1/bt_881.json` cannot be read", FOREIGN[:40], "Part 3 is", "Parts 1 and 4"]
    assert [
        one[: len(start)] for one, start in zip(messages, beginnings, strict=True)
    ] == beginnings


def test_a_hundred_problems_are_cut_short(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.json").write_text("[]")
    messages = problems_of(tmp_path)
    assert (len(messages), messages[-1]) == (21, "There are 81 more problems.")


# --------------------------------------------------------------------------- hostile files


def test_without_parts_nothing_is_merged(tmp_path: Path) -> None:
    (message,) = problems_of(tmp_path)
    assert message.startswith(
        "There is nothing to put together: `parts` holds no report of a part that"
    )
    assert "failed or were skipped" in message
    (message,) = problems_of(tmp_path / "none")
    assert "`parts` does not exist" in message


def test_a_report_that_is_no_part_is_refused(parts: list[Path]) -> None:
    directory = parts[0].parents[1]
    with (directory / "whole.json").open("w") as file:
        file.writelines(build_report(whole(a_run())))
    (message,) = problems_of(directory)
    assert message == "`whole.json` is the report of a whole run, and no part of one."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read: it is not JSON"),
        (b"[" * 100_000, "cannot be read: it is nested too deep"),
        (b'{"format": "x"}', "is no report of a backtest"),
        (b"\xff\xfe{}", "cannot be read"),
        (b'{"format": "blankly-deploy/backtest-report", "version": 1}', "is a report of version 1"),
        (b'{"format": "blankly-deploy/backtest-report", "version": 3}', "is a report of version 3"),
        (b'{"format": "blankly-deploy/backtest-report", "version": 2}', "missing required field"),
        (b'{"a": ' + b"9" * 400 + b"}", "cannot be read: it has a number that is too large"),
        (b'{"a": 1e999}', "cannot be read: it has a number that is too large"),
    ],
)
def test_damaged_files_are_named(parts: list[Path], data: bytes, words: str) -> None:
    parts[1].write_bytes(data)
    first, second = problems_of(parts[0].parents[1])
    assert first.startswith("`part-2/bt_881.json` ")
    assert words in first
    assert second.startswith("Part 2 of 4 is missing")


def test_the_last_of_doubled_keys_counts_as_everywhere_in_json(parts: list[Path]) -> None:
    text = parts[1].read_text().rstrip().removesuffix("}").rstrip()
    parts[1].write_text(f'{text},\n"commit": "{"0" * 40}"\n}}\n')
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith(f"{FOREIGN}commit")


def test_links_pipes_and_directories_are_no_parts(parts: list[Path]) -> None:
    directory = parts[0].parents[1]
    parts[1].rename(directory.parent / "elsewhere")
    parts[1].symlink_to(directory.parent / "elsewhere")
    os.mkfifo(directory / "pipe.json")
    (directory / "folder.json").mkdir()
    (message,) = problems_of(directory)
    assert message.startswith("Part 2 of 4 is missing")


def test_a_result_that_is_wrong_is_an_error_of_the_first_part_only(parts: list[Path]) -> None:
    """The others' are not looked at: they are the first one's, or the part is refused."""
    for path in parts[1:]:
        a_part(path, put("result", {"trades": "none"}))
    assert merged(parts[0].parents[1])
    a_part(parts[0], put("result", {"trades": "none"}))
    (message,) = problems_of(parts[0].parents[1])
    assert message.startswith("`part-1/bt_881.json` has a wrong result: ")


def test_more_files_than_are_looked_at_are_an_error(
    parts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy_action.stages.reports.files.MOST_ENTRIES", 8)
    assert merged(parts[0].parents[1])
    (parts[0].parent / "more.txt").touch()
    message, *_ = problems_of(parts[0].parents[1])
    assert message.startswith(f"`parts` holds more than {MOST_ENTRIES:,} files and directories")
