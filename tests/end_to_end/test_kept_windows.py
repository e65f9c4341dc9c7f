"""Runs with `windows` against a server with pages, which keeps the windows with their backtest."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy_action.errors import Problem
from deploy_action.platform.runs.model_run import BacktestRequest, Outcome
from tests.conftest import Ended, Runner, write_model
from tests.support.backtests import DAY, an_order, raw_result
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_live_server import LivePlatform, ServerParts
from tests.support.scripted_runner import ScriptedRunner
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

PERIOD = {"start_date": "2023-01-01", "end_date": "2024-01-01"}
WINDOWS = "first: 2023-01-01..2023-07-01\nsecond: 2023-07-01..2024-01-01"
BROKEN = "2023-07-01"  # the start of a window that fails in the candidate


class ByPeriod(ScriptedRunner):
    """Backtests the period that is asked for; what is made differs by its start."""

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        """Return a result within the period."""
        super().run(request, stop)
        start = datetime.fromisoformat(str(request.args["start_date"])).replace(tzinfo=UTC)
        first = start.timestamp()
        values = [10_000.0, 10_000.0 + 100 * start.month]
        times = [first, first + DAY]
        result = raw_result(values, [an_order("buy", 1.0, 10.0, time=first)]) | {
            "start_time": first,
            "stop_time": first + 2 * DAY,
            "account_values": [
                {"time": time, "value": value} for time, value in zip(times, values, strict=True)
            ],
        }
        facts = {"arguments": dict(request.args)}
        return Outcome(result=json.dumps(result).encode(), problems=(), facts=facts)


class FailsLate(ByPeriod):
    """Fails in one window."""

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        """Fail in the window that starts then."""
        if request.args["start_date"] == BROKEN:
            return Outcome(result=None, problems=(Problem(message="No prices"),), facts={})
        return super().run(request, stop)


class Trial:
    """A model whose bundle differs from the one at `HEAD^`, and a server to backtest it on."""

    def __init__(self, runner: Runner, live: LivePlatform) -> None:
        self.runner, self.live = runner, live
        self.model_id = live.create_model()
        make_repository(runner.workspace)
        write_model(runner.workspace, backtest_args=PERIOD)
        commit_all(runner.workspace, "The model")
        (runner.workspace / "bot.py").write_text("import blankly\n\nprint('faster')\n")
        commit_all(runner.workspace, "Faster")
        self.visitor = Visitor(live.parts.url)
        self.visitor.sign_in(live.refresh_token)

    def run(self, **inputs: str) -> Ended:
        where = {"api_url": self.live.parts.url, "token": self.live.refresh_token}
        given = {"mode": "backtest", "model_id": self.model_id, "windows": WINDOWS}
        ended = self.runner.run(**where | given | inputs)
        self.wait_for_figures()
        return ended

    def wait_for_figures(self) -> None:
        def none_lack() -> bool:
            with self.live.parts.store.snapshot() as snapshot:
                return not snapshot.figures.lacking(1)

        wait_for(none_lack)

    @property
    def listed(self) -> list[dict[str, Any]]:
        return self.live.with_windows(self.model_id)

    def page_of(self, backtest_id: str) -> str:
        path = f"/{self.live.user_id}/{self.model_id}/backtests/{backtest_id}"
        return text_of(self.visitor.get(path).text)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerParts]:
    with ServerParts(tmp_path / "data", secrets.token_hex(16), runner=ByPeriod()) as server:
        yield server
        assert server.errors == []


@pytest.fixture
def trial(runner: Runner, server: ServerParts) -> Trial:
    return Trial(runner, LivePlatform.of(server))


def test_the_server_shows_the_windows_as_the_report_does(trial: Trial) -> None:
    ended = trial.run()

    assert ended.code == 0, ended.log
    whole, *windows = trial.listed
    assert [(one["window"], one["windowNumber"]) for one in windows] == [
        ("first", 1),
        ("second", 2),
    ]
    assert {one["windowOf"] for one in windows} == {whole["backtestId"]}
    assert {one["versionId"] for one in windows} == {whole["versionId"]}
    assert (whole["windows"], whole["combinations"]) == (2, 0)
    assert ended.outputs["backtest-id"] == whole["backtestId"]
    shown = trial.page_of(whole["backtestId"])
    assert "2 windows : 2 gained" in shown
    assert "1. first 2023-01-01 to 2023-07-01 🟩 +1.00%" in shown
    assert "2. second 2023-07-01 to 2024-01-01 🟩 +7.00%" in shown
    for cell in ("+1.00%", "+7.00%", "+4.00%"):
        assert cell in ended.summary
    bundles = list(trial.live.data.glob("bundles/*"))
    assert len(bundles) == 1


def test_the_windows_of_the_base_belong_to_the_backtest_of_the_base(trial: Trial) -> None:
    ended = trial.run(compare_with="HEAD^")

    assert ended.code == 0, ended.log
    wholes = {one["backtestId"]: one for one in trial.listed if not one["windowOf"]}
    windows = [one for one in trial.listed if one["windowOf"]]
    assert len(wholes) == 2
    assert len(windows) == 4
    for one in windows:
        whole = wholes[one["windowOf"]]
        assert one["bundle"] == whole["bundle"]
        assert one["description"].startswith("Base") == whole["description"].startswith("Base")


def test_each_run_has_windows_of_its_own(trial: Trial) -> None:
    for _ in range(2):
        assert trial.run().code == 0
    wholes = [one["backtestId"] for one in trial.listed if not one["windowOf"]]
    owners = [one["windowOf"] for one in trial.listed if one["windowOf"]]
    assert sorted(owners) == sorted(wholes * 2)
    assert len(wholes) == 2


def test_a_sweep_leaves_only_the_windows_of_the_models_own_setting(trial: Trial) -> None:
    ended = trial.run(sweep="use_price: [open, close]", gates="worst trades > 0")

    assert ended.code == 0, ended.log
    assert len(trial.live.parts.runner.requests) == 1 + 2 + 2 * 3
    whole, *windows = trial.listed
    assert [one["window"] for one in windows] == ["first", "second"]
    assert not any("use_price" in one["args"] for one in windows)
    assert len(list(trial.live.data.glob("results/*"))) == 3
    shown = trial.page_of(whole["backtestId"])
    assert "The run wanted 2 combinations of values ( sweep ) tested as well." in shown
    assert "this server keeps none" in shown


def test_a_share_of_the_windows_says_that_the_others_are_missing(trial: Trial) -> None:
    assert trial.run(shard="1/2").code == 0
    whole, window = trial.listed
    shown = trial.page_of(whole["backtestId"])
    assert "So far 1 of 2 windows : 1 gained" in shown
    assert "The run wants 2 windows." in shown
    assert "one after the other: 1 so far." in shown
    assert f"{window['windowNumber']}. {window['window']}" in shown


def test_a_window_that_fails_is_shown_as_failed(runner: Runner, tmp_path: Path) -> None:
    with ServerParts(tmp_path / "data", secrets.token_hex(16), runner=FailsLate()) as server:
        trial = Trial(runner, LivePlatform.of(server))
        ended = trial.run()
        assert ended.code == 0, ended.log
        shown = trial.page_of(trial.listed[0]["backtestId"])
    assert "1 gained; 1 window without a result" in shown
    assert "failed ❌ no result: No prices" in shown
