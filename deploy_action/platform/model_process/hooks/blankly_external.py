"""What the `blankly` package looks for to find out that it runs on a platform.

At its import the package tries `from blankly_external import Reporter`; where that succeeds,
`blankly.is_deployed` is True and `blankly.reporter` is that object: an instance, not a class.
This directory holds nothing else, because it is on the model's PYTHONPATH. So processes that a
model starts find it too, and in those nobody listens: there it only remembers.
"""

from __future__ import annotations

from typing import Any, Callable


class _Reporter:
    """Remembers what the package reports, under the method names the package calls."""

    def __init__(self) -> None:
        self.strategy: Any = None
        self.strategy_count = 0
        self.screener: Any = None
        self.exchanges: list[str] = []
        self.symbols: list[str] = []
        self.on_backtest_result: Callable[[Any], None] | None = None
        self._live_variables: dict[int, Any] = {}

    def export_strategy(self, strategy: Any) -> None:
        """Keep the first strategy alive and count all of them.

        The package reports a strategy before it is complete: one whose constructor failed has no
        `schedulers` yet when the next one comes, and was none.
        """
        if self.strategy is None or not hasattr(self.strategy, "schedulers"):
            self.strategy, self.strategy_count = strategy, 1
        else:
            self.strategy_count += 1

    def export_screener(self, screener: Any) -> None:
        """Keep the screener."""
        self.screener = screener

    def export_screener_result(self, screener: Any) -> None:
        """Ignore what a screener found: screeners are not backtested."""

    def export_backtest_result(self, platform_result: Any) -> None:
        """Pass a result on while it is fresh: the package gives the script the same lists."""
        if self.on_backtest_result is not None:
            self.on_backtest_result(platform_result)

    def export_used_exchange(self, exchange_name: Any) -> None:
        """Note the name of an exchange, once."""
        if str(exchange_name) not in self.exchanges:
            self.exchanges.append(str(exchange_name))

    def export_used_symbol(self, symbol: Any) -> None:
        """Note a symbol, once."""
        if str(symbol) not in self.symbols:
            self.symbols.append(str(symbol))

    def log_market_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Ignore a live order: the result has a backtest's trades."""

    def log_limit_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Ignore a live order."""

    def update_order(self, exchange_out: Any, exchange_type: Any) -> None:
        """Ignore a change of a live order."""

    def annotate_order(self, order_id: Any, annotation: Any) -> None:
        """Ignore a remark: the result has no place for it."""

    def export_live_var(self, var: Any, name: str, description: Any = None) -> None:
        """Keep a variable; nobody changes it from outside during a backtest."""
        self._live_variables[id(var)] = var

    def update_live_var(self, var: Any) -> Any:
        """Return the variable as it was exported.

        Raises:
            KeyError: it never was, as in the package's own reporter.
        """
        return self._live_variables[id(var)]

    def text(self, text: Any = "", *_: Any, **__: Any) -> None:
        """Say what a live model would have sent."""
        _say("text", text)

    def email(self, email: Any = "", *_: Any, email_str: Any = "", **__: Any) -> None:
        """Say what a live model would have sent; `blankly.utils.Email` names it `email_str`."""
        _say("email", email or email_str)

    def chat(self, message: Any = "", *_: Any, **__: Any) -> None:
        """Say what a live model would have sent."""
        _say("chat message", message)


def _say(kind: str, message: Any) -> None:
    print(f"Not sent, this is a backtest: {kind}: {str(message)!r}")  # noqa: T201  # to the log


Reporter = _Reporter()
