"""One backtest: import the package, run the script, backtest its strategy, send the last event."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Mapping, NoReturn, Sequence

from .arguments import written
from .events import Events
from .faults import ModelFiles, Problem, in_words, make_problem
from .market import RefusedRunError
from .pinning import pin_chance, pin_directories, pin_ids, pin_now
from .recorder import Attempt, Recorder, Run
from .script import (
    UnusablePackageError,
    exit_code,
    flush,
    leave,
    load_package,
    print_end,
    print_traceback,
    run_script,
    set_the_stage,
)
from .stopping import tell_when_stopped
from .strict_json import describe, make_strict

_MOST_THREAD_FAULTS = 10
_LIVE_HINT = (
    "Create a blankly.Strategy whenever the script runs; inside `if __name__ == "
    '"__main__":` is fine. A blankly.Model has to call its own backtest().'
)


class FailedError(Exception):
    """The backtest has no result; `problems` say why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


def main(argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Run the backtest, send its last event, and end the process with all its threads."""
    options = _parse(argv)
    process = os.getpid()
    events = Events(options.events_fd)
    session = Session(options, events, environ)
    try:
        name, fields = "finished", session.finish()
    except FailedError as failed:
        if os.getpid() != process:
            leave(exit_code(failed.__cause__))  # a process forked by a callback of the model
        name, fields = "failed", {"problems": [*failed.problems, *session.problems]}
    except BaseException as error:  # noqa: BLE001  # a bug of ours; a last event must be sent
        print_traceback(error)
        message = f"The result of the backtest cannot be determined: {in_words(error)}."
        name, fields = "failed", {"problems": [make_problem("error", message)]}
    flush()
    events.send_last(name, **make_strict(fields))
    os._exit(0)


class Session:
    """The backtest of this process."""

    def __init__(self, options: Any, events: Events, environ: Mapping[str, str]) -> None:
        self.script: str = options.script
        self.name = os.path.relpath(options.script, options.root).replace(os.sep, "/")
        self.problems: list[Problem] = []
        self._events = events
        self._environ = environ
        self._result_path: str = options.result
        self._prices: list[str] = options.prices
        self._now: float = time.time() if options.now is None else options.now
        self._files = ModelFiles(options.root)

    def finish(self) -> dict[str, Any]:
        """Run everything and return the fields of the event `finished`.

        Raises:
            FailedError: there is no result.
        """
        pin_directories()
        set_the_stage(self.script)
        recorder = self._load_package()
        self.problems = recorder.problems
        recorder.on_over = lambda run: self._announce(recorder, run)
        self._watch_threads(recorder)
        tell_when_stopped(self._events, self._files, recorder.state_of_first)
        try:
            crash = run_script(self.script)
            if not recorder.is_our_process:
                leave(exit_code(crash))  # forked by the model, and now at the script's end
            run = self._judge(recorder, crash)
            recorder.keep(run)
        finally:
            recorder.throw_away()
        return {"problems": self.problems, **self._facts(recorder, run)}

    def _facts(self, recorder: Recorder, run: Run) -> dict[str, Any]:
        """Return what the event says about a run that has a result."""
        strategy = recorder.reporter.strategy if run.is_strategy else None
        attempt = recorder.attempt_of_first() if run.is_strategy else None
        return {
            "schedule": _schedule(strategy),
            "exchanges": recorder.reporter.exchanges,
            "symbols": recorder.reporter.symbols,
            "callback_calls": run.calls,
            "arguments": None if attempt is None else attempt.arguments,
            "argument_sources": None if attempt is None else attempt.sources,
        }

    def _announce(self, recorder: Recorder, run: Run) -> None:
        """Tell the parent that there is a result, in case this process ends before the script.

        Its file has the name of the result's and `.strategy`.
        """
        if run.is_complete and recorder.is_our_process:
            with suppress(Exception):  # what it reads is the model's; the script carries on
                fields = {"problems": run.fault_problems("warning"), **self._facts(recorder, run)}
                self._events.send("result", **make_strict(fields))

    def _watch_threads(self, recorder: Recorder) -> None:
        """Report exceptions of the model that end a thread: Python only prints them."""
        original = threading.excepthook
        seen: set[tuple[object, ...]] = set()

        def hook(args: Any) -> None:
            error = args.exc_value
            original(args)
            if error is None or isinstance(error, SystemExit) or not recorder.is_our_process:
                return
            attempt = recorder.attempt_of_first()
            fault = self._files.fault(error)
            place = (type(error), fault.path, fault.line)
            is_told = attempt is not None and attempt.error is error
            if fault.path is None or is_told or place in seen or len(seen) >= _MOST_THREAD_FAULTS:
                return
            seen.add(place)
            message = f"{fault.words.rstrip('.')}: raised in a thread of the model, which it ended."
            self.problems.append(make_problem("error", message, fault.hint, fault.path, fault.line))

        threading.excepthook = hook

    def _load_package(self) -> Recorder:
        """Import the package, check that it uses our reporter, and patch it."""
        try:
            reporter, version = load_package(self._files)
        except UnusablePackageError as error:
            raise FailedError(error.problem) from error.__cause__
        self._events.send(
            "started", python=".".join(map(str, sys.version_info[:3])), blankly=version
        )
        recorder = Recorder(
            events=self._events,
            files=self._files,
            reporter=reporter,
            arguments=_read_arguments(self._environ.get("BACKTESTING_ARGS", "")),
            result_path=self._result_path,
            now=self._now,
        )
        self._watch(recorder, version)
        pin_now(self._now)
        pin_chance()
        pin_ids()
        reporter.on_backtest_result = recorder.note_result
        return recorder

    def _watch(self, recorder: Recorder, version: str) -> None:
        # Imported late: it imports modules that a model may shadow with its own.
        from .patches import UnknownPackageError, open_nothing, watch_package
        from .prices.keeping import KeptPrices

        def tell(message: str) -> None:
            recorder.problems.append(make_problem("notice", message))

        open_nothing()
        kept = KeptPrices(self._prices, self._events, tell) if self._prices else None
        try:
            watch_package(recorder, kept)
        except UnknownPackageError as error:
            message = f"blankly {version} cannot be backtested here: {error}."
            hint = "Require blankly 1.18, the version that is tested."
            raise FailedError(make_problem("error", message, hint)) from error

    def _judge(self, recorder: Recorder, crash: BaseException | None) -> Run:
        """Return the run whose result is reported.

        Raises:
            FailedError: there is none.
        """
        strategy, screener = recorder.reporter.strategy, recorder.reporter.screener
        is_strategy = hasattr(strategy, "schedulers")
        if screener is not None and not is_strategy:
            message = f"{self.name} creates a blankly.Screener, and screeners cannot be backtested."
            raise FailedError(make_problem("error", message, "Backtest a blankly.Strategy."))
        if crash is not None:
            run = self._judge_crash(recorder, crash, is_strategy=is_strategy)
        elif is_strategy:
            run = self._judge_strategy(recorder, strategy)
        else:
            run = self._judge_model(recorder)
        self._look_around(recorder, run)
        return run

    def _judge_strategy(self, recorder: Recorder, strategy: Any) -> Run:
        """Take the result of the first strategy; backtest it unless the script did."""
        crash = None
        if recorder.attempt_of_first() is None:
            crash = self._backtest(strategy)
        attempt = recorder.attempt_of_first()
        if attempt is None:  # the model overrides backtest() without calling blankly's
            if crash is not None:
                raise FailedError(self._error_problem(crash)) from crash
            message = f"The strategy of {self.name} did not start blankly's backtest."
            raise FailedError(make_problem("error", message))
        attempt.is_over.wait()
        return self._judge_attempt(attempt, crash)

    def _backtest(self, strategy: Any) -> BaseException | None:
        """Backtest the strategy after the script has ended, as the original platform does.

        Returns the exception that ended it, or None.
        """
        try:
            strategy.backtest(**self._written_arguments())
        except BaseException as error:  # noqa: BLE001  # a callback may call sys.exit()
            print_end(error)
            return error
        return None

    def _written_arguments(self) -> dict[str, Any]:
        """Return what the script passes to `backtest()` where it does not run on a platform."""
        try:
            with open(self.script, "rb") as file:
                return written(file.read())
        except Exception:  # noqa: BLE001  # the script ran, but the model may have changed its file
            return {}

    def _judge_attempt(self, attempt: Attempt, crash: BaseException | None) -> Run:
        """Return the run of a backtest that is over; `crash` came out of the call that began it."""
        run = attempt.run
        if run is not None and run.broke_off is not None:
            raise FailedError(_broke_off(run))
        if attempt.error is not None:
            crash = attempt.error
        if crash is not None:
            return self._complete(run, crash)
        if run is None:
            raise FailedError(make_problem("error", "blankly ran no backtest."))
        if run.never_succeeded:
            raise FailedError(*run.fault_problems("error"))
        return _with_result(run)

    def _judge_model(self, recorder: Recorder) -> Run:
        """Take the result of a `blankly.Model` that backtested itself."""
        if not recorder.model_runs:
            message = f"{self.name} ended without creating a blankly.Strategy."
            raise FailedError(make_problem("error", message, _LIVE_HINT, self.name))
        run = recorder.model_runs[0]
        if run.broke_off is not None:
            raise FailedError(_broke_off(run))
        return _with_result(run)

    def _look_around(self, recorder: Recorder, run: Run) -> None:
        """Add warnings about what the result does not show."""
        if not run.is_strategy:
            self._look_around_model(recorder)
            return
        self.problems.extend(run.fault_problems("warning"))
        self.problems.extend(run.spacing.problems())
        strategy = recorder.reporter.strategy
        count = recorder.reporter.strategy_count
        if count > 1:
            message = f"{self.name} creates {count} strategies; only the first one is reported."
            hint = "To see the result of each, deploy each as its own model."
            self.problems.append(make_problem("warning", message, hint))
        if run.calls == 0:
            message = "No callback of the strategy was called in this period."
            self.problems.append(make_problem("warning", message))
        if getattr(strategy, "ticker_websockets", None) or getattr(
            strategy, "orderbook_websockets", None
        ):
            message = "The strategy has tick or order book events, which blankly does not backtest."
            self.problems.append(make_problem("warning", message))

    def _look_around_model(self, recorder: Recorder) -> None:
        self.problems.append(
            make_problem(
                "warning",
                f"{self.name} backtests a blankly.Model, which is not a strategy: the platform's "
                "arguments do not apply.",
                "Set the period and the initial values in its own call.",
            )
        )
        if len(recorder.model_runs) > 1:
            count = len(recorder.model_runs)
            message = f"{self.name} ran {count} backtests; only the first one is reported."
            self.problems.append(make_problem("warning", message))

    def _judge_crash(self, recorder: Recorder, crash: BaseException, *, is_strategy: bool) -> Run:
        """Return the run that was complete when an exception ended the script.

        Raises:
            FailedError: there is none.
        """
        attempt = recorder.attempt_of_first() if is_strategy else None
        runs = recorder.model_runs[:1] if attempt is None else [attempt.run]
        run = runs[0] if runs else None
        if run is not None and run.broke_off is not None:
            # Before what ended the script, what aborted its backtest.
            is_same = attempt is not None and attempt.error is crash
            ends = [] if is_same else [self._error_problem(crash)]
            raise FailedError(_broke_off(run), *ends)
        is_over = not is_strategy or (attempt is not None and attempt.is_over.is_set())
        return self._complete(run if is_over else None, crash)

    def _complete(self, run: Run | None, crash: BaseException) -> Run:
        """Return a run whose result was complete before an exception.

        Raises:
            FailedError: it has no such result.
        """
        error = self._error_problem(crash)
        if run is None or not run.is_complete:
            others = run.fault_problems("error") if run and run.never_succeeded else []
            raise FailedError(*others, error) from crash
        message = f"{error['message'].rstrip('.')}: the script failed here, after its backtest."
        self.problems.insert(0, {**error, "message": message})
        return run

    def _error_problem(self, error: BaseException) -> Problem:
        if isinstance(error, RefusedRunError):
            return error.problem
        fault = self._files.fault(error)
        message = fault.words
        if isinstance(error, SystemExit):
            code = describe(error.code)
            message = f"{self.name} ended itself with sys.exit({code})."
            if error.code in (None, 0):
                message = f"{self.name} ended itself in the middle of its backtest (sys.exit)."
        elif isinstance(error, KeyboardInterrupt):
            message = f"{self.name} was interrupted (KeyboardInterrupt)."
        return make_problem("error", message, fault.hint, fault.path, fault.line)


def _broke_off(run: Run) -> Problem:
    fault = run.broke_off
    if fault is None:
        raise AssertionError("the run was not aborted")
    message = f"{fault.words.rstrip('.')}: the backtest was aborted here and has no result."
    return make_problem("error", message, fault.hint, fault.path, fault.line)


def _with_result(run: Run) -> Run:
    if run.result_file is None:
        reason = run.write_error or "blankly reported none"
        raise FailedError(make_problem("error", f"The backtest has no result: {reason}."))
    return run


def _schedule(strategy: Any) -> list[dict[str, Any]]:
    """Return the scheduled events of a strategy; several symbols are joined by commas."""
    schedule = []
    for scheduler in getattr(strategy, "schedulers", ()):
        event = scheduler.get_kwargs()
        symbol, kind = event.get("symbol"), event.get("type")
        if isinstance(symbol, (list, tuple)):
            symbol = ", ".join(map(describe, symbol))
        schedule.append(
            {
                "kind": describe(getattr(kind, "value", kind)),
                "symbol": symbol,
                "resolution": event.get("resolution"),
            }
        )
    return schedule


def _parse(argv: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--script", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--events-fd", required=True, type=int)
    parser.add_argument("--result", required=True)
    parser.add_argument("--prices", action="append", default=[])
    parser.add_argument("--now", type=float)
    return parser.parse_args(argv)


def _read_arguments(encoded: str) -> dict[str, Any]:
    """Decode the platform's arguments for `Strategy.backtest()`; blank means none."""
    if not encoded:
        return {}
    arguments = json.loads(base64.b64decode(encoded, validate=True))
    if not isinstance(arguments, dict):
        raise TypeError("BACKTESTING_ARGS is not an object")
    return arguments
