"""What a run notes of the backtests on the embedded platform."""

from __future__ import annotations

import io
from pathlib import Path

from deploy_action.console import Console
from deploy_action.platform.runs.model_run import BacktestRequest
from deploy_action.servers import BacktestProgress
from deploy_action.spectator import Spectator


def a_backtest(backtest_id: str, bundle_sha256: str) -> BacktestRequest:
    return BacktestRequest(
        backtest_id=backtest_id,
        bundle=Path("bundle.zip"),
        bundle_sha256=bundle_sha256,
        python_version="3.11",
        args={},
        now=0.0,
        version_id=f"version of {backtest_id}",
    )


def progress_of(candidate: BacktestRequest) -> BacktestProgress:
    spectator = Spectator(Console(io.StringIO(), for_runner=True), candidate.bundle_sha256)
    return BacktestProgress(spectator, on_stopped=lambda _place: None)


def test_what_waits_for_a_model_at_work_is_called_once_at_its_first_progress() -> None:
    backtest = a_backtest("1", "ab" * 32)
    progress = progress_of(backtest)
    calls: list[str] = []
    progress.call_at_work(lambda: calls.append("at work"))
    progress.began(backtest)
    progress.section(backtest, "Output of bot.py")
    assert calls == []
    for share in (0.0, 0.5, 1.0):
        progress.progress(backtest, share)
    assert calls == ["at work"]


def test_what_waits_for_the_candidate_at_work_is_called_once_with_its_ids() -> None:
    """Neither the base nor a window of the candidate will do."""
    candidate, base = a_backtest("1", "ab" * 32), a_backtest("2", "cd" * 32)
    window = a_backtest("3", "ab" * 32)
    progress = progress_of(candidate)
    calls: list[tuple[str, str]] = []
    progress.call_when_at_work(lambda *ids: calls.append(ids))
    for one in (candidate, base, window):
        progress.began(one)
    progress.progress(base, 0.1)
    progress.progress(window, 0.1)
    assert calls == []
    progress.progress(candidate, 0.0)
    progress.progress(candidate, 0.5)
    assert calls == [("version of 1", "1")]
