"""Tells the `blankly` package that it runs on a platform.

When imported, the package tries `from blankly_external import Reporter`. If that succeeds,
`blankly.is_deployed` is True and `blankly.reporter` is that object: an instance, not a class. This
directory is on the model's PYTHONPATH, so it contains nothing else. It serves backtests and live
models. Processes that a model starts anew import this module, too; there it only stores what is
reported, because they have no connection to the platform.
"""

from __future__ import annotations

import os
from typing import Any, Callable


class _Reporter:
    """Stores what the package reports; the package defines the methods' names.

    `live` is set while a model trades, to what sends its reports: `blankly_run/live/reports.py`.
    """

    def __init__(self) -> None:
        self.strategy: Any = None
        self.strategy_count = 0
        self.screener: Any = None
        self.exchanges: list[str] = []
        self.symbols: list[str] = []
        self.on_backtest_result: Callable[[Any], None] | None = None
        self.live: Any = None
        self._live_variables: dict[int, tuple[Any, str, Any]] = {}

    def export_strategy(self, strategy: Any) -> None:
        """Store the first strategy and count all of them.

        The package reports a strategy before its constructor ends. If the constructor failed, the
        strategy has no `schedulers`, and the next one replaces it.
        """
        if self.strategy is None or not hasattr(self.strategy, "schedulers"):
            self.strategy, self.strategy_count = strategy, 1
        else:
            self.strategy_count += 1

    def export_screener(self, screener: Any) -> None:
        self.screener = screener
        if self.live is not None:
            self.live.screener()

    def export_screener_result(self, screener: Any) -> None:
        """Send it if the model is live: screeners are not backtested."""
        if self.live is not None:
            self.live.screener_result(screener.formatted_results, screener.status)

    def export_backtest_result(self, platform_result: Any) -> None:
        """Pass the result on at once: the script gets the same lists and may change them."""
        if self.on_backtest_result is not None:
            self.on_backtest_result(platform_result)

    def export_used_exchange(self, exchange_name: Any) -> None:
        if str(exchange_name) not in self.exchanges:
            self.exchanges.append(str(exchange_name))
            if self.live is not None:
                self.live.exchange(str(exchange_name))

    def export_used_symbol(self, symbol: Any) -> None:
        if str(symbol) not in self.symbols:
            self.symbols.append(str(symbol))
            if self.live is not None:
                self.live.symbol(str(symbol))

    def log_market_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Send a live order; a backtest's result has its trades."""
        if self.live is not None:
            self.live.order("live/spot-market", {"exchange": exchange_type, **exchange_out})

    def log_limit_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Send a live order."""
        if self.live is not None:
            self.live.order("live/spot-limit", {"exchange": exchange_type, **exchange_out})

    def update_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Send the state of a live order."""
        if self.live is not None:
            self.live.order_update({"exchange": exchange_type, **exchange_out})

    def annotate_order(self, order_id: Any, annotation: Any) -> None:
        """Send an annotation of a live order; a backtest's result has no field for it."""
        if self.live is not None:
            self.live.annotation(order_id, annotation)

    def export_live_var(self, var: Any, name: str, description: Any = None) -> None:
        """Store the variable, and send its value if the model is live."""
        self._live_variables[id(var)] = var, name, description
        if self.live is not None:
            self.live.variable(name, var, description)

    def update_live_var(self, var: Any) -> Any:
        """Return the variable as it was exported, which nobody else can change.

        Its value is sent again: a list or an object may have changed by itself.

        Raises:
            KeyError: it was not exported; the package's own reporter raises the same.
        """
        stored, name, description = self._live_variables[id(var)]
        if self.live is not None:
            self.live.variable(name, stored, description)
        return stored

    def text(self, text: Any = "", *_: Any, **__: Any) -> None:
        """Send it, or print what a live model would send."""
        self._tell("text", text)

    def email(self, email: Any = "", *_: Any, email_str: Any = "", **__: Any) -> None:
        """Send it, or print it; `blankly.utils.Email` passes `email_str`, and a password."""
        self._tell("email", email or email_str)

    def chat(self, message: Any = "", *_: Any, **__: Any) -> None:
        """Send it, or print what a live model would send."""
        self._tell("chat", message)

    def _tell(self, kind: str, message: Any) -> None:
        if self.live is not None:
            self.live.message(kind, message)
            return
        is_backtest = os.environ.get("BACKTESTING") == "1"
        why = "this is a backtest" if is_backtest else "a process of its own has no connection"
        name = "chat message" if kind == "chat" else kind
        print(f"Not sent, {why}: {name}: {str(message)!r}")  # noqa: T201  # to the log


Reporter = _Reporter()
