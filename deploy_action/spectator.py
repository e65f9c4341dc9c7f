"""What a run shows of the backtests on the embedded platform, while they go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.console import Console
    from deploy_action.platform.runs.model_run import BacktestRequest


class Spectator:
    """Shows what the embedded platform does for the candidate of a run, then for its base.

    They run side by side, and their lines would mix: the base's are held back until then.
    """

    def __init__(self, console: Console, candidate: Bundle) -> None:
        self._console = console
        self._candidate = candidate.sha256
        self._held: list[Callable[[], None]] = []
        self._is_holding = True
        self._bars: dict[bool, Callable[[float, str], None]] = {}
        self._when_candidate_runs: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def section(self, backtest: BacktestRequest, title: str) -> None:
        """Begin a group of lines, named after what they are of."""
        if self._when_candidate_runs is not None and not self._is_base(backtest):
            self._when_candidate_runs()
            self._when_candidate_runs = None
        shown = f"Base: {title}" if self._is_base(backtest) else title
        self._show(backtest, lambda: self._console.section(shown))

    def line(self, backtest: BacktestRequest, text: str) -> None:
        """Show a line that an installer or a model wrote."""
        self._show(backtest, lambda: self._console.info(text))

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        """Show how much of the period is done."""
        is_base = self._is_base(backtest)
        if is_base and self._is_holding:
            return
        if is_base not in self._bars:
            title = "Backtesting the base" if is_base else "Backtesting"
            self._bars[is_base] = self._console.share_progress(title)
        self._bars[is_base](share, "")

    def when_candidate_runs(self, do: Callable[[], None]) -> None:
        """Do something once when the candidate's backtest begins."""
        self._when_candidate_runs = do

    def go_on_to_base(self) -> None:
        """Show what was held back, and from now on the base's lines as they come."""
        with self._lock:
            self._is_holding = False
            for show in self._held:
                show()
            self._held.clear()

    def _is_base(self, backtest: BacktestRequest) -> bool:
        return backtest.bundle_sha256 != self._candidate

    def _show(self, backtest: BacktestRequest, show: Callable[[], None]) -> None:
        with self._lock:
            if self._is_holding and self._is_base(backtest):
                self._held.append(show)
            else:
                show()
