"""Tells the `blankly` package that it runs on a platform.

When imported, the package tries `from blankly_external import Reporter`. If that succeeds,
`blankly.is_deployed` is True and `blankly.reporter` is that object: an instance, not a class. This
directory is on the model's PYTHONPATH, so it contains nothing else. Child processes of the model
import this module, too; there it only stores what is reported.
"""

from __future__ import annotations

from typing import Any, Callable


class _Reporter:
    """Stores what the package reports; the package defines the methods' names."""

    def __init__(self) -> None:
        self.strategy: Any = None
        self.strategy_count = 0
        self.screener: Any = None
        self.exchanges: list[str] = []
        self.symbols: list[str] = []
        self.on_backtest_result: Callable[[Any], None] | None = None
        self._live_variables: dict[int, Any] = {}

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

    def export_screener_result(self, screener: Any) -> None:
        """Ignore it: screeners are not backtested."""

    def export_backtest_result(self, platform_result: Any) -> None:
        """Pass the result on at once: the script gets the same lists and may change them."""
        if self.on_backtest_result is not None:
            self.on_backtest_result(platform_result)

    def export_used_exchange(self, exchange_name: Any) -> None:
        if str(exchange_name) not in self.exchanges:
            self.exchanges.append(str(exchange_name))

    def export_used_symbol(self, symbol: Any) -> None:
        if str(symbol) not in self.symbols:
            self.symbols.append(str(symbol))

    def log_market_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Ignore a live order: the result of a backtest has its trades."""

    def log_limit_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Ignore a live order."""

    def update_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Ignore a change of a live order."""

    def annotate_order(self, order_id: Any, annotation: Any) -> None:
        """Ignore an annotation: the result has no field for it."""

    def export_live_var(self, var: Any, name: str, description: Any = None) -> None:
        """Store the variable; it does not change during a backtest."""
        self._live_variables[id(var)] = var

    def update_live_var(self, var: Any) -> Any:
        """Return the variable as it was exported.

        Raises:
            KeyError: it was not exported; the package's own reporter raises the same.
        """
        return self._live_variables[id(var)]

    def text(self, text: Any = "", *_: Any, **__: Any) -> None:
        """Print what a live model would send."""
        _say("text", text)

    def email(self, email: Any = "", *_: Any, email_str: Any = "", **__: Any) -> None:
        """Print what a live model would send; `blankly.utils.Email` passes `email_str`."""
        _say("email", email or email_str)

    def chat(self, message: Any = "", *_: Any, **__: Any) -> None:
        """Print what a live model would send."""
        _say("chat message", message)


def _say(kind: str, message: Any) -> None:
    print(f"Not sent, this is a backtest: {kind}: {str(message)!r}")  # noqa: T201  # to the log


Reporter = _Reporter()
