"""Sends what a live model does: its orders, variables, results and messages."""

from __future__ import annotations

import functools
import json
import sys
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Mapping

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..faults import ModelFiles, make_problem  # noqa: TID252  # as above
from ..strict_json import describe, make_strict  # noqa: TID252  # as above
from .accounts import is_for_tests

# Characters of JSON: as much as the platform keeps of the largest report, a screener's result. It
# ignores lines of more than 520 KiB.
_LARGEST = 512 << 10
_LONGEST_MESSAGE = 10_000  # characters
_MOST_ORDERS = 10_000
_MOST_WARNINGS = 50
_GONE = {"coinbase_pro": "Coinbase Pro", "ftx": "FTX", "ftx_futures": "FTX"}
_KEYLESS = "A KeylessExchange cannot trade: live, it has no current prices and refuses every order."
_KEYLESS_HINT = (
    'Use it only where os.environ.get("BACKTESTING") == "1", and an exchange with keys otherwise, '
    "such as blankly.Alpaca()."
)
_GONE_HINT = "Use an exchange that still exists: Alpaca, Binance, KuCoin, OANDA or OKX."
_PAPER_TRADE = "PaperTradeInterface"
_SIMULATED = " (simulated)"
_PAPER = "PaperTrade simulates: no real orders are placed."
_PAPER_HINT = "To trade with real money, pass the exchange itself to blankly.Strategy."


def _harmless(report: Any) -> Any:
    """Let no exception out: what cannot be reported must not break what was just traded."""

    @functools.wraps(report)
    def call(*positional: Any, **named: Any) -> None:
        with suppress(Exception):
            report(*positional, **named)

    return call


def _is_of_backtest(interface: Any) -> bool:
    is_replay = getattr(interface, "initial_time", None) is not None
    return is_replay or getattr(interface, "backtesting", False) is True


def _is_paper_trade(interface: Any) -> bool:
    return any(one.__name__ == _PAPER_TRADE for one in type(interface).__mro__)


class Reports:
    """What the reporter in `hooks/blankly_external.py` calls in a live model."""

    def __init__(self, events: Events, files: ModelFiles) -> None:
        self._events = events
        self._files = files
        # By exchange and id, the exchange as it was reported: what is reported by its object, the
        # logger does not report again.
        self._orders: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._variables: dict[str, str] = {}
        self._warned: set[tuple[str, str | None, int | None]] = set()

    # ------------------------------------------------------------------ models and exchanges

    @_harmless
    def screener(self) -> None:
        """Report that a screener was made."""
        self._events.send("screener")

    @_harmless
    def screener_result(self, formatted: Any, status: Any) -> None:
        """Report the formatted result of a screener, and its times."""
        result = {"screener": formatted, "status": status}
        self._report("live/screener-result", {"result": result})

    @_harmless
    def exchange(self, name: str) -> None:
        """Report an exchange, with a warning if it cannot trade."""
        self._report("model/used-exchange", {"exchange": name})
        if name == "keyless":
            self.warn(_KEYLESS, _KEYLESS_HINT)
        elif name in _GONE:
            message = f"{_GONE[name]} is gone: this exchange takes no orders any more."
            self.warn(message, _GONE_HINT)

    @_harmless
    def symbol(self, symbol: str) -> None:
        """Report a symbol that has an event."""
        self._report("model/used-symbol", {"symbol": symbol})

    @_harmless
    def paper_trade(self, frame: Any) -> None:
        """Warn of a PaperTrade that the model makes; the package makes one for each strategy."""
        if self._files.relative(frame.f_code.co_filename) is not None:
            self.warn(_PAPER, _PAPER_HINT)

    # ------------------------------------------------------------------ orders

    @_harmless
    def order(self, kind: str, fields: Mapping[str, Any], note: str = "") -> None:
        """Report an order, once; the `note` is added to the name of its exchange."""
        key = (describe(fields.get("exchange")), describe(fields.get("id")))
        if key in self._orders:
            return
        self._orders[key] = exchange = f"{key[0]}{note}"
        if len(self._orders) > _MOST_ORDERS:
            self._orders.popitem(last=False)
        self._report(kind, {**fields, "id": key[1], "exchange": exchange})

    @_harmless
    def order_object(self, kind: str, order: Any, interface: Any) -> None:
        """Report an order by the object that every exchange of the package returns for it.

        So orders are reported, too, that the model places on the exchange's own interface, past
        the strategy's. What a backtest inside a live model does is no order.
        """
        if _is_of_backtest(interface):
            return
        fields: dict[str, Any] = {"exchange": interface.get_exchange_type()}
        for name in ("symbol", "id", "side", "size", "price"):
            with suppress(Exception):  # not every exchange answers with every field
                fields[name] = getattr(order, f"get_{name}")()
        for name, key in (("price", "stop_price"), ("status", "status")):
            with suppress(Exception):
                fields.setdefault(name, order.get_response()[key])
        if fields.get("size") is not None and fields.get("id") is not None:
            if _is_paper_trade(interface):  # it has the name of the exchange whose prices it uses
                self.order(kind, fields, _SIMULATED)
                return
            with suppress(Exception):  # then it is not known
                fields["test_account"] = is_for_tests(interface)
            self.order(kind, fields)
        # Else the strategy's logger reports it, if there is one.

    @_harmless
    def order_status(self, order: Any, told: Mapping[str, Any]) -> None:
        """Report the status of an order, which its exchange has told its object."""
        if not _is_of_backtest(order.interface):
            fields = {"id": order.get_id(), "status": told["status"]}
            self.order_update({"exchange": order.exchange, **fields})

    @_harmless
    def order_update(self, fields: Mapping[str, Any]) -> None:
        """Report the state of an order."""
        key = (describe(fields.get("exchange")), describe(fields.get("id")))
        exchange = self._orders.get(key, key[0])
        self._report("live/update-trade", {**fields, "id": key[1], "exchange": exchange})

    @_harmless
    def annotation(self, order_id: Any, annotation: Any) -> None:
        """Report what the model's author says about an order."""
        fields = {"id": describe(order_id), "annotation": describe(annotation)}
        self._report("live/update-annotation", fields)

    # ------------------------------------------------------------------ others

    @_harmless
    def variable(self, name: Any, value: Any, description: Any) -> None:
        """Report a variable, unless it has the value that was reported last."""
        fields = {"name": describe(name), "value": make_strict(value)}
        if description is not None:
            fields["description"] = describe(description)
        written = json.dumps(fields)
        if self._variables.get(fields["name"]) != written:
            self._variables[fields["name"]] = written
            self._report("live/variable", fields)

    @_harmless
    def message(self, kind: str, text: Any) -> None:
        """Send a message to people."""
        words = describe(text)
        if len(words) > _LONGEST_MESSAGE:
            words = words[: _LONGEST_MESSAGE - 1] + "…"
        self._events.send("message", kind=kind, text=words)

    @_harmless
    def warn(self, message: str, hint: str = "") -> None:
        """Send a warning at the model's line that called us, each once."""
        path, line = self._files.caller(sys._getframe(1))  # noqa: SLF001  # the documented way in
        key = (message, path, line)
        if key not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(key)
            problem = make_problem("warning", message, hint, path, line)
            self._events.send("warning", problem=problem)

    def _report(self, kind: str, fields: Mapping[str, Any]) -> None:
        plain = make_strict(dict(fields))
        size = len(json.dumps(plain))
        if size > _LARGEST:
            self.warn(f"A report ({kind}) of {size:,} characters was left out.", "Report less.")
            return
        self._events.send("report", kind=kind, fields=plain)
