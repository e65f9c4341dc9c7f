"""Durations of earlier backtests, from whatever reports there are."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from deploy_action.backtest.period.windows import Window
from deploy_action.backtest.sweep.cells import key_of
from deploy_action.backtest.sweep.combinations import Swept
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.stages.reports.durations import read_durations
from tests.support.outcomes import backtests, with_parts
from tests.support.parts import shared_out, write_parts
from tests.support.sweeps import swept

FIRST = swept({"env.FAST": [5, 10], "use_price": ["open"]}, lambda *_values: 1.0)
WINDOW = Window("bull", 0.0, 86_400.0)


def timed(found: Swept, seconds: float) -> RunOutcome:
    """Return a run whose combinations took these seconds, and one more each."""
    combinations = (
        replace(
            one, seconds=seconds + at, windows=tuple(replace(w, seconds=0.5) for w in one.windows)
        )
        for at, one in enumerate(found.combinations)
    )
    sweep = replace(found, combinations=tuple(combinations))
    return with_parts(backtests()["gain"], backtests={"sweep": sweep})


def test_durations_are_those_of_all_parts(tmp_path: Path) -> None:
    found = swept({"env.FAST": [5, 10]}, lambda _fast: 1.0, windows=[WINDOW])
    run = timed(found, 2.0)
    windows = found.combinations[0].windows
    write_parts(tmp_path, [*shared_out(with_parts(run, backtests={"windows": windows}), 3)])
    assert read_durations(tmp_path) == {
        key_of(found.sweep, ("5",), None): 2.0,
        key_of(found.sweep, ("5",), "bull"): 0.5,
        key_of(found.sweep, ("10",), None): 3.0,
        key_of(found.sweep, ("10",), "bull"): 0.5,
    }


def test_the_longest_counts_and_the_order_of_parameters_does_not(tmp_path: Path) -> None:
    other = swept({"use_price": ["open"], "env.FAST": [10, 5]}, lambda *_values: 1.0)
    write_parts(tmp_path, [timed(FIRST, 2.0), timed(other, 2.5)])
    assert read_durations(tmp_path) == {
        key_of(FIRST.sweep, ("5", "open"), None): 3.5,
        key_of(FIRST.sweep, ("10", "open"), None): 3.0,
    }


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    assert read_durations(tmp_path / "none") == {}
    first, second = write_parts(tmp_path, [timed(FIRST, 2.0)] * 2)
    first.write_bytes(b"[" * 100)
    os.mkfifo(tmp_path / "pipe.json")
    report = json.loads(second.read_bytes())
    report["run"]["seconds"]["backtests"] = [[["5"], None, 1], [["5", "open"], None, 4]]
    second.write_text(json.dumps(report))
    assert read_durations(tmp_path) == {key_of(FIRST.sweep, ("5", "open"), None): 4.0}
    assert read_durations(second) == read_durations(tmp_path)
