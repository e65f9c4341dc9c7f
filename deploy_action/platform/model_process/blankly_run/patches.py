"""Patches the `blankly` package to observe it; no patch changes what a backtest computes.

In blankly 1.18.25b0, `frameworks/strategy/strategy.py` prints exceptions of callbacks and carries
on. `exchanges/interfaces/paper_trade/backtest_controller.py` prints any other exception of a model
and reports the results so far as if the backtest had ended normally.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import traceback
import warnings
import webbrowser
from typing import Any

from .faults import without_own_frames
from .market import Market
from .prices.keeping import KeptPrices, keep_prices
from .recorder import Recorder, Run

_MOST_PRINTED = 3  # of one kind, at one place
# The plots in a browser and the progress bar; neither changes what is computed.
_FORCED = {"GUI_output": False, "show_progress_during_backtest": False}


class UnknownPackageError(Exception):
    """The package lacks what we patch: its version is too old or too new."""


def watch_package(recorder: Recorder, kept: KeptPrices | None) -> None:
    """Report to the recorder what the package does, and answer its downloads with kept prices.

    Raises:
        UnknownPackageError: the package lacks a class or method to patch.
    """
    try:
        strategies: Any = importlib.import_module("blankly.frameworks.strategy.strategy")
        controllers: Any = importlib.import_module(
            "blankly.exchanges.interfaces.paper_trade.backtest_controller"
        )
        strategy, structure = strategies.Strategy, strategies.StrategyStructure
        controller = controllers.BackTestController
        _watch_backtests(strategy, recorder)
        _watch_runs(controller, structure, recorder)
        _watch_callbacks(structure, recorder)
        keep_prices(controllers, kept)
    except (ImportError, AttributeError) as error:
        raise UnknownPackageError(str(error)) from error
    strategies.warnings = _StrategyWarnings(recorder)
    _watch_swallowed(recorder)


def open_nothing() -> None:
    """Open no pages in a browser: a library may wait for the browser forever.

    `webbrowser.get` fails as it does on a machine without a browser, which is how plotly finds
    out that it has nowhere to show a figure; a controller it would serve the page to, and wait.
    """

    def open_page(url: object, *_: object, **__: object) -> bool:
        print(f"Not opened, there is no browser here: {url}")  # noqa: T201  # to the log
        return False

    def get(*_: object, **__: object) -> Any:
        raise webbrowser.Error("there is no browser here")

    patched: Any = webbrowser
    patched.open = patched.open_new = patched.open_new_tab = open_page
    patched.get = get


def _watch_backtests(strategy: Any, recorder: Recorder) -> None:
    original = strategy.backtest
    signature = inspect.signature(original)

    @functools.wraps(original)
    def backtest(self: Any, *positional: Any, **named: Any) -> Any:
        if not recorder.is_our_process:
            return original(self, *positional, **named)
        bound = signature.bind(self, *positional, **named).arguments
        passed = {name: value for name, value in bound.items() if value is not None}
        del passed["self"]
        passed.update(passed.pop("kwargs", {}))
        return recorder.carry_out(self, original, passed)

    strategy.backtest = backtest


def _watch_runs(controller: Any, structure: Any, recorder: Recorder) -> None:
    original, original_sleep = controller.run, controller.sleep
    signature = inspect.signature(original)

    @functools.wraps(original)
    def run(self: Any, *positional: Any, **named: Any) -> Any:
        named.update(_FORCED)
        if not recorder.is_our_process:
            return original(self, *positional, **named)
        values = signature.bind(self, *positional, **named).arguments
        market = Market(self, values["exchange"], values["initial_account_values"])
        started = Run(self.model, market, is_strategy=isinstance(self.model, structure))
        return recorder.control(started, lambda: original(self, *positional, **named))

    @functools.wraps(original_sleep)
    def sleep(self: Any, seconds: Any) -> Any:
        # The package itself reports progress only every 300 steps, and divides by the period.
        recorder.report_progress(self)
        return original_sleep(self, seconds)

    controller.run, controller.sleep = run, sleep


def _watch_callbacks(structure: Any, recorder: Recorder) -> None:
    original = structure.rest_event

    @functools.wraps(original)
    def rest_event(self: Any, **event: Any) -> Any:
        run = recorder.run
        if run is not None:
            run.calls += 1
            event["callback"] = run.spacing.watch(self.backtester, event, run.market.resolution)
        return original(self, **event)

    structure.rest_event = rest_event


class _StrategyWarnings:
    """Replaces the module `warnings` in the package's strategy module."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def warn(self, message: Any, *positional: Any, **named: Any) -> None:
        text = str(message)
        if text.startswith("Aborted attempt to start a live strategy"):
            return  # start() has no effect in a backtest
        if text.startswith("No bar found") and self._recorder.run is not None:
            self._recorder.run.calls -= 1  # the callback is not called
            self._recorder.run.spacing.leave_out()
        named.setdefault("stacklevel", 2)
        warnings.warn(message, *positional, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


def _watch_swallowed(recorder: Recorder) -> None:
    """Record the exceptions that the package prints, and print only the first few of each."""
    original = traceback.print_exc

    @functools.wraps(original)
    def print_exc(*positional: Any, **named: Any) -> None:
        caller = sys._getframe(1)  # noqa: SLF001  # the documented way to the caller
        module = caller.f_globals.get("__name__", "")
        error = sys.exc_info()[1]
        run = recorder.run
        if error is None or run is None or module.partition(".")[0] != "blankly":
            original(*positional, **named)
            return
        without_own_frames(error)
        if caller.f_code.co_name == "run":
            run.broke_off = recorder.files.fault(error)
        elif caller.f_code.co_name == "rest_event":
            count = run.add_fault(error, recorder.files)
            if count > _MOST_PRINTED:
                if count == _MOST_PRINTED + 1:
                    rest = (
                        f"Further {type(error).__name__} exceptions here are counted, not printed."
                    )
                    print(rest, file=sys.stderr)  # noqa: T201  # to the log
                return
        original(*positional, **named)

    traceback.print_exc = print_exc
