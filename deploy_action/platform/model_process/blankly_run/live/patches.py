"""Patches the `blankly` package to observe a live model, and to stop it.

In blankly 1.18.25b0, whatever a callback raises is printed with `traceback.print_exc`; a thread
that ends, a feed that is cut off and a stop-loss that is not placed are not told at all.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import traceback
from typing import Any

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..faults import make_problem, without_own_frames  # noqa: TID252  # as above
from .errors import CallbackErrors, Faults
from .reports import Reports
from .running import Running

_ORDERS = (
    ("market_order", "MarketOrder", "live/spot-market"),
    ("limit_order", "LimitOrder", "live/spot-limit"),
    ("stop_loss", "StopLossOrder", "live/spot-stop"),
    ("take_profit", "TakeProfitOrder", "live/spot-stop"),
    ("stop_limit", "StopLimit", "live/spot-stop"),
)
_NOT_PLACED = (
    "{}() placed no order: live, the interface of a blankly strategy ignores it and returns None. "
    "A backtest does place it."
)
_NOT_PLACED_HINT = "Call it on the exchange's own interface: exchange.interface.{}(…)."
_FORKED = "A strategy was started in a process of its own, which a stop ends without its teardown."
_FORKED_HINT = "Start strategies in the script's own process; each has threads of its own."
_UNCALLED = "blankly never calls the init and the teardown of a tick event."
_UNCALLED_HINT = "Give them to a price event or a scheduled event, and keep the teardown short."


def watch_package(
    events: Events, running: Running, reports: Reports, errors: CallbackErrors, faults: Faults
) -> None:
    """Report what the package does, and let it be stopped.

    Raises:
        ImportError: the package lacks a module that is patched.
        AttributeError: it lacks a class or method that is patched.
    """
    strategies: Any = importlib.import_module("blankly.frameworks.strategy.strategy")
    structure = strategies.StrategyStructure
    _watch_strategies(strategies, events, running)
    _watch_starts(structure, events, running, faults, reports)
    _watch_callbacks(structure, running)
    _watch_teardown(structure, running)
    _watch_swallowed(errors)
    _watch_orders(reports)
    _announce_orders(events)
    _watch_feeds(running, faults)


def _watch_strategies(strategies: Any, events: Events, running: Running) -> None:
    strategy, structure = strategies.Strategy, strategies.StrategyStructure
    models: Any = importlib.import_module("blankly.frameworks.model.model")
    init, run = strategy.__init__, models.Model.run

    @functools.wraps(init)
    def patched_init(self: Any, *positional: Any, **named: Any) -> None:
        init(self, *positional, **named)
        if running.is_our_process:
            running.add_strategy(self.model)
            events.send("strategy")

    @functools.wraps(run)
    def patched_run(self: Any, *positional: Any, **named: Any) -> Any:
        if running.is_our_process:
            running.add_started(self)
            events.send("starting")
            if not isinstance(self, structure):
                _watch_own_teardown(self, running)
                events.send("started")
        else:
            events.send("warning", problem=make_problem("warning", _FORKED, _FORKED_HINT))
        return run(self, *positional, **named)

    strategy.__init__, models.Model.run = patched_init, patched_run


def _watch_starts(
    structure: Any, events: Events, running: Running, faults: Faults, reports: Reports
) -> None:
    """Report when a strategy's `init`s are done and its schedulers run, on a thread of its own."""
    original = structure.run_live

    @functools.wraps(original)
    def run_live(self: Any) -> Any:
        _guard_inits(self, running)
        if any(tick[2] is not None or tick[4] is not None for tick in self.ticker_websockets):
            reports.warn(_UNCALLED, _UNCALLED_HINT)
        try:
            original(self)
        except Exception as error:
            faults.add_start(error)
            raise
        if running.is_our_process and not running.is_stopping:
            events.send("started")

    structure.run_live = run_live


def _guard_inits(model: Any, running: Running) -> None:
    for event in [scheduler.get_kwargs() for scheduler in model.schedulers]:
        if callable(event["init"]):
            event["init"] = running.guard(event["init"], counts=False)
    for book in model.orderbook_websockets:
        if callable(book[2]):
            book[2] = running.guard(book[2], counts=False)


def _watch_own_teardown(model: Any, running: Running) -> None:
    """Note the teardown of a `blankly.Model`, whose class is the model's own."""
    original = model.teardown
    model.teardown = functools.partial(running.watch_teardown, model, original)


def _watch_teardown(structure: Any, running: Running) -> None:
    original = structure.teardown

    @functools.wraps(original)
    def teardown(self: Any) -> Any:
        return running.watch_teardown(self, lambda: original(self))

    structure.teardown = teardown


def _watch_callbacks(structure: Any, running: Running) -> None:
    base: Any = importlib.import_module("blankly.frameworks.strategy.strategy_base").StrategyBase
    scheduler: Any = importlib.import_module("blankly.utils.scheduler").Scheduler
    rest_event, tick = structure.rest_event, base._StrategyBase__websocket_callback  # noqa: SLF001  # there is no other way
    init = scheduler.__init__

    @functools.wraps(rest_event)
    def patched_rest_event(self: Any, **event: Any) -> Any:
        if not self.is_backtesting:
            if running.is_our_process and running.is_stopping:
                return None
            # It may wait long for its bar: what it calls then is looked at then.
            event["callback"] = running.guard(event["callback"])
        return rest_event(self, **event)

    @functools.wraps(tick)
    def patched_tick(message: Any, **named: Any) -> Any:
        named["user_callback"] = running.guard(named["user_callback"])
        return tick(message, **named)

    @functools.wraps(init)
    def patched_init(self: Any, function: Any, *positional: Any, **named: Any) -> None:
        is_strategys = isinstance(getattr(function, "__self__", None), structure)
        init(self, function if is_strategys else running.guard(function), *positional, **named)

    structure.rest_event = patched_rest_event
    base._StrategyBase__websocket_callback = staticmethod(patched_tick)  # noqa: SLF001  # as above
    scheduler.__init__ = patched_init


def _watch_swallowed(errors: CallbackErrors) -> None:
    """Count the exceptions that the package prints, wherever it does."""
    original = traceback.print_exc

    @functools.wraps(original)
    def print_exc(*positional: Any, **named: Any) -> None:
        caller = sys._getframe(1)  # noqa: SLF001  # the documented way to the caller
        module = str(caller.f_globals.get("__name__", ""))
        error = sys.exc_info()[1]
        if error is not None and module.partition(".")[0] == "blankly":
            without_own_frames(error)
            if not getattr(caller.f_locals.get("self"), "is_backtesting", False):
                errors.add(error)
        original(*positional, **named)

    traceback.print_exc = print_exc


def _watch_orders(reports: Reports) -> None:
    for name, kind, report in _ORDERS:
        _watch_order(
            getattr(importlib.import_module(f"blankly.exchanges.orders.{name}"), kind),
            report,
            reports,
        )
    _watch_statuses(importlib.import_module("blankly.exchanges.orders.order").Order, reports)
    logger: Any = importlib.import_module("blankly.exchanges.strategy_logger").StrategyLogger
    for name in ("stop_loss_order", "take_profit_order"):
        _watch_unplaced(logger, name, reports)
    paper: Any = importlib.import_module(
        "blankly.exchanges.interfaces.paper_trade.paper_trade"
    ).PaperTrade
    init = paper.__init__

    @functools.wraps(init)
    def patched_init(self: Any, *positional: Any, **named: Any) -> None:
        reports.paper_trade(sys._getframe(1))  # noqa: SLF001  # the documented way to the caller
        init(self, *positional, **named)

    paper.__init__ = patched_init


def _announce_orders(events: Events) -> None:
    """Tell the platform before the first order leaves this process, by whatever object it is sent.

    Every exchange of the package is reached through `requests`, as are those of many others, and
    each calls the path of its orders so. Who has ordered must not be run again by itself.
    """
    session: Any = importlib.import_module("requests.sessions").Session
    original = session.send
    is_told = threading.Event()

    @functools.wraps(original)
    def send(self: Any, request: Any, **named: Any) -> Any:
        if not is_told.is_set() and _is_order(request):
            is_told.set()
            events.send("order")
        return original(self, request, **named)

    session.send = send


def _is_order(request: Any) -> bool:
    return request.method == "POST" and "order" in (request.url or "").lower()


def _watch_order(kind: Any, report: str, reports: Reports) -> None:
    init = kind.__init__

    @functools.wraps(init)
    def patched_init(self: Any, order: Any, response: Any, interface: Any) -> None:
        init(self, order, response, interface)
        reports.order_object(report, self, interface)

    kind.__init__ = patched_init


def _watch_statuses(kind: Any, reports: Reports) -> None:
    """Report what an order's object is told of its status, past the strategy's interface."""
    original = kind.get_status

    @functools.wraps(original)
    def get_status(self: Any, *positional: Any, **named: Any) -> Any:
        told = original(self, *positional, **named)
        reports.order_status(self, told)
        return told

    kind.get_status = get_status


def _watch_unplaced(logger: Any, name: str, reports: Reports) -> None:
    original = getattr(logger, name)

    @functools.wraps(original)
    def place(self: Any, *positional: Any, **named: Any) -> Any:
        placed = original(self, *positional, **named)
        if placed is None:
            reports.warn(_NOT_PLACED.format(name), _NOT_PLACED_HINT.format(name))
        return placed

    setattr(logger, name, place)


def _watch_feeds(running: Running, faults: Faults) -> None:
    """Report web sockets that end by themselves: the package does not open them again."""
    feed: Any = importlib.import_module("blankly.exchanges.interfaces.websocket").Websocket
    start, close = feed.start_websocket, feed.close_websocket

    @functools.wraps(start)
    def patched_start(
        self: Any, opened: Any, message: Any, error: Any, closed: Any, target: Any
    ) -> Any:
        self.is_meant_to_end = False

        @functools.wraps(target)
        def run() -> None:
            target()
            is_meant = self.is_meant_to_end or running.is_stopping
            if running.is_our_process and not is_meant:
                faults.add_feed(self.symbol, self.stream)

        is_watched = getattr(target, "__wrapped__", None) is not None  # it calls itself
        return start(self, opened, message, error, closed, target if is_watched else run)

    @functools.wraps(close)
    def patched_close(self: Any) -> Any:
        self.is_meant_to_end = True
        return close(self)

    feed.start_websocket, feed.close_websocket = patched_start, patched_close
