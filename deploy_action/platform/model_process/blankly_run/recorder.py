"""Records the backtests in the model's process, and the exceptions that the package swallows."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Mapping

from .arguments import (
    listed,
    merge,
    period,
    replaced,
    replacing,
    with_default_period,
    without_useless_default,
)
from .events import Events
from .faults import Fault, ModelFiles, Problem, make_problem
from .market import Market, RefusedRunError
from .prices.calls import Calls
from .strict_json import describe, plain_arguments, write_json

_MOST_WARNINGS = 10
_MOST_PLACES = 1_000
_PROGRESS_SECONDS = 0.1


class Run:
    """One call of the package's `BackTestController.run`."""

    def __init__(self, model: Any, market: Market, *, is_strategy: bool) -> None:
        self.model = model
        self.market = market
        self.is_strategy = is_strategy
        self.calls = 0  # of the strategy's callbacks
        self.raised = 0
        self.spacing = Calls()
        self.broke_off: Fault | None = None
        self.result_file: str | None = None
        self.write_error: str | None = None
        self._faults: dict[tuple[type, str | None, int | None], tuple[Fault, list[int]]] = {}

    def add_fault(self, error: BaseException, files: ModelFiles) -> int:
        """Count an exception of a callback; return how many of its type came from its place."""
        self.raised += 1
        key = (type(error), *files.place(error))
        if key not in self._faults:
            if len(self._faults) >= _MOST_PLACES:
                return self.raised
            self._faults[key] = (files.fault(error), [0])
        counter = self._faults[key][1]
        counter[0] += 1
        return counter[0]

    @property
    def never_succeeded(self) -> bool:
        """Whether every call of a callback raised."""
        return 0 < self.calls <= self.raised

    @property
    def is_complete(self) -> bool:
        """Whether it has a result that covers the whole period, whatever happened after it."""
        is_whole = self.broke_off is None and not self.never_succeeded
        return is_whole and self.result_file is not None

    def fault_problems(self, severity: str) -> list[Problem]:
        """Return the exceptions of callbacks by type and place, the most frequent first."""
        counted = sorted(self._faults.values(), key=lambda entry: -entry[1][0])
        return [
            make_problem(
                severity,
                f"{fault.words.rstrip('.')}: raised by {self._share(count)} of the strategy's "
                "callbacks. blankly prints such an exception and carries on.",
                fault.hint,
                fault.path,
                fault.line,
            )
            for fault, (count,) in counted[:_MOST_WARNINGS]
        ]

    def _share(self, count: int) -> str:
        return (
            f"all {count:,} calls" if count == self.calls else f"{count:,} of {self.calls:,} calls"
        )


class Attempt:
    """The only backtest of a strategy, started by the script or by us."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.is_over = threading.Event()
        self.was_asked_again = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.run: Run | None = None
        self.arguments: dict[str, Any] = {}  # as JSON
        self.sources: dict[str, str] = {}  # of each argument: `given` or `script`


class Recorder:
    """Records what decides how the backtest ended; forked processes do not count."""

    def __init__(
        self,
        *,
        events: Events,
        files: ModelFiles,
        reporter: Any,
        arguments: Mapping[str, Any],
        result_path: str,
        now: float,
    ) -> None:
        """`arguments` come from the platform, and so does `now`, from which `to` counts back.

        The result is to be written to `result_path`.
        """
        self.files = files
        self.reporter = reporter
        self.arguments = dict(arguments)
        self._now = now
        self.problems: list[Problem] = []
        # By identity: strategies may be equal or unhashable. Keeping them keeps the ids valid.
        self._attempts: dict[int, tuple[Any, Attempt]] = {}
        self.model_runs: list[Run] = []  # of models that are not strategies
        # Called once the only backtest of the first strategy is over.
        self.on_over: Callable[[Run], None] = lambda _run: None
        self._process = os.getpid()
        self._events = events
        self._result_path = result_path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._next_progress = 0.0
        self._written: set[str] = set()

    @property
    def is_our_process(self) -> bool:
        """Whether this is the original process, not one that the model forked."""
        return os.getpid() == self._process

    def attempt_of_first(self) -> Attempt | None:
        """Return the backtest of the first strategy; None if there is none."""
        strategy = self.reporter.strategy
        return None if strategy is None else self._attempt_of(strategy)

    def state_of_first(self) -> tuple[bool, bool]:
        """Return whether the backtest of the first strategy has begun, and whether it is over."""
        attempt = self.attempt_of_first()
        return attempt is not None, attempt is not None and attempt.is_over.is_set()

    def _attempt_of(self, strategy: Any) -> Attempt | None:
        return self._attempts.get(id(strategy), (None, None))[1]

    @property
    def run(self) -> Run | None:
        """The run in progress on this thread."""
        return getattr(self._local, "run", None)

    def warn(self, message: str, hint: str = "", severity: str = "warning") -> None:
        """Add a problem that does not fail the backtest, at the model's line that called us."""
        path, line = self.files.caller(sys._getframe(1))  # noqa: SLF001  # the documented way in
        self.problems.append(make_problem(severity, message, hint, path, line))

    def carry_out(
        self,
        strategy: Any,
        backtest: Callable[..., Any],
        passed: Mapping[str, Any],
    ) -> Any:
        """Backtest a strategy with the platform's arguments, or return its earlier result.

        `passed` are the arguments of the script's call.
        """
        with self._lock:
            attempt = self._attempt_of(strategy)
            is_first = attempt is None
            if attempt is None:
                attempt = Attempt()
                self._attempts[id(strategy)] = strategy, attempt
        if not is_first:
            return self._again(attempt)
        self._local.last_run = None
        given = without_useless_default(strategy, passed, self.arguments, self._now)
        if given != self.arguments:
            self._tell_useless_default(passed)
        arguments, attempt.sources = with_default_period(*merge(passed, given))
        self._tell_replaced(replaced(passed, arguments), given)
        attempt.arguments = plain_arguments(arguments)  # now: the package may change them
        try:
            attempt.result = backtest(strategy, **arguments)
        except BaseException as error:
            attempt.error = error
            raise
        finally:
            attempt.run = self._local.last_run
            attempt.is_over.set()
            if attempt is self.attempt_of_first() and attempt.run is not None:
                self.on_over(attempt.run)
        return attempt.result

    def control(self, run: Run, controller_run: Callable[[], Any]) -> Any:
        """Call the package's controller, recorded as a run."""
        outer, self._local.run, self._local.last_run = self.run, run, run
        if not run.is_strategy:
            self.model_runs.append(run)
        run.market.watch_start()
        try:
            return controller_run()
        except RefusedRunError:
            raise
        except Exception as error:
            problem = run.market.missing_prices(error)
            if problem is not None:
                raise RefusedRunError(problem) from error
            raise
        finally:
            self._local.run = outer
            self.problems.extend(run.market.problems)
            run.model = None  # it may hold a lot of prices

    def note_result(self, result: Any) -> None:
        """Write a result that may be reported, before the script can change it."""
        run = self.run
        if run is None or not self.is_our_process or not self._may_be_reported(run):
            return
        path = f"{self._result_path}.{'strategy' if run.is_strategy else 'model'}"
        try:
            if not isinstance(result, dict):
                raise TypeError(f"blankly reported a {type(result).__name__}")  # noqa: TRY301  # handled below, like any other failure
            write_json(path, {**result, "market": run.market.describe(result["symbols"])})
        except Exception as error:  # noqa: BLE001  # the model's values; the script carries on
            run.write_error = f"{type(error).__name__}: {describe(error)}"
        else:
            run.result_file = path
            self._written.add(path)

    def report_progress(self, controller: Any) -> None:
        """Send the share of the period that is done, a few times a second."""
        now = time.monotonic()
        if now < self._next_progress:
            return
        self._next_progress = now + _PROGRESS_SECONDS
        run = self.run
        if run is None or not self._may_be_reported(run):
            return
        try:
            period = float(controller.user_stop - controller.user_start)
            share = float(controller.time - controller.user_start) / period
        except (TypeError, ValueError, ZeroDivisionError):
            return  # a model that is not a strategy may have no period
        if 0 <= share <= 1:
            self._events.send("progress", share=round(share, 4))

    def keep(self, run: Run) -> None:
        """Move the result of a run to where the parent expects it."""
        if run.result_file is not None and self.is_our_process:
            os.replace(run.result_file, self._result_path)
            self._written.discard(run.result_file)

    def throw_away(self) -> None:
        """Remove the results that are not reported."""
        if not self.is_our_process:
            return
        for path in self._written:
            with suppress(OSError):
                os.unlink(path)
        self._written.clear()

    def _may_be_reported(self, run: Run) -> bool:
        """Whether it is a run of the first strategy, or the first run without a strategy."""
        if run.is_strategy:
            return run.model is getattr(self.reporter.strategy, "model", None)
        return self.model_runs[0] is run

    def _again(self, attempt: Attempt) -> Any:
        """Wait for the strategy's only backtest and return its result, or raise its error."""
        if attempt.thread == threading.get_ident() and not attempt.is_over.is_set():
            raise RuntimeError("a strategy cannot be backtested within its own backtest")
        if not attempt.was_asked_again:
            attempt.was_asked_again = True
            self.warn(
                "The strategy was already backtested: this call returned the first result again.",
                "On a platform a strategy is backtested once. Several strategies, or `to` with a "
                "longer period, show more.",
            )
        attempt.is_over.wait()
        if attempt.error is not None:
            raise attempt.error
        return attempt.result

    def _tell_useless_default(self, passed: Mapping[str, Any]) -> None:
        self.warn(
            "None of the script's prices is of the last year, so to='1y', which `blankly init` "
            f"writes into blankly.json, was not used, but the script's {listed(period(passed))}.",
            "Remove `to` from backtest_args in blankly.json.",
            severity="notice",
        )

    def _tell_replaced(self, lost: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Add a notice if the platform's arguments replace some of the script's."""
        if lost:
            self.warn(
                f"The script calls backtest({listed(lost)}), and the platform's arguments replace "
                f"that: {listed(replacing(lost, given))}.",
                "Change backtest_args in blankly.json, or the input `backtest-args`.",
                severity="notice",
            )
