"""What a run prints about the backtests on the embedded platform while they run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy_action.console import Console
    from deploy_action.platform.runs.model_run import BacktestRequest


class Spectator:
    """Prints what the embedded platform does for the candidate of a run, then for its base.

    Both run side by side, and their lines would mix: those of the base are held back until the
    candidate is done. Windows begin later, with the same two bundles, and print nothing.
    """

    def __init__(self, console: Console, candidate_sha256: str) -> None:
        self._console = console
        self._candidate_sha256 = candidate_sha256
        self._held: list[Callable[[], None]] = []
        self._is_holding = True
        self._bars: dict[bool, Callable[[float, str], None]] = {}
        self._whole: dict[str, str] = {}  # the backtest of the whole period, by bundle
        self._lock = threading.Lock()

    def began(self, backtest: BacktestRequest) -> None:
        """Take the first backtest of each bundle as that of the whole period."""
        with self._lock:
            self._whole.setdefault(backtest.bundle_sha256, backtest.backtest_id)

    def is_candidate(self, backtest: BacktestRequest) -> bool:
        """Whether it is the candidate's backtest of the whole period."""
        return not self._is_base(backtest) and not self._is_window(backtest)

    def section(self, backtest: BacktestRequest, title: str) -> None:
        """Begin a group of lines."""
        shown = f"Base: {title}" if self._is_base(backtest) else title
        self._show(backtest, lambda: self._console.section(shown))

    def line(self, backtest: BacktestRequest, text: str) -> None:
        """Print a line that an installer or a model wrote."""
        self._show(backtest, lambda: self._console.info(text))

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        """Print how much of the period is done, from 0 to 1."""
        is_base = self._is_base(backtest)
        if self._is_window(backtest) or (is_base and self._is_holding):
            return
        if is_base not in self._bars:
            title = "Backtesting the base" if is_base else "Backtesting"
            self._bars[is_base] = self._console.share_progress(title)
        self._bars[is_base](share, "")

    def go_on_to_base(self) -> None:
        """Print what was held back, and from now on the lines of the base as they come."""
        with self._lock:
            self._is_holding = False
            for show in self._held:
                show()
            self._held.clear()

    def _is_base(self, backtest: BacktestRequest) -> bool:
        return backtest.bundle_sha256 != self._candidate_sha256

    def _is_window(self, backtest: BacktestRequest) -> bool:
        return self._whole.get(backtest.bundle_sha256) != backtest.backtest_id

    def _show(self, backtest: BacktestRequest, show: Callable[[], None]) -> None:
        if self._is_window(backtest):
            return
        with self._lock:
            if self._is_holding and self._is_base(backtest):
                self._held.append(show)
            else:
                show()
