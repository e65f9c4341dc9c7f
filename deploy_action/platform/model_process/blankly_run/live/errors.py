"""Reports the exceptions of a live model: of callbacks, which go on, and of threads, which end."""

from __future__ import annotations

import atexit
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..faults import Fault, ModelFiles, Problem, make_problem, problem_of  # noqa: TID252  # as above
from ..strict_json import describe  # noqa: TID252  # as above

_PAUSE_SECONDS = 1.0  # between two events
_MOST_FAULTS = 20
_MOST_PLACES = 100
_OF_CALLBACK = "raised by a callback. blankly prints such an exception and carries on."
_OF_PACKAGE = (
    "raised in the package, not by code of the model. blankly prints it and carries on; a callback "
    "may not have been called."
)
_STRATEGY = "blankly.frameworks.strategy.strategy"
_MARK = "_is_counted_by_the_platform"


class CallbackErrors:
    """Counts the exceptions that the package swallows, and sends one of them, once a second.

    That is the first one of a place that was not sent yet, so that none hides behind a flood of
    another; else the latest.
    """

    def __init__(self, events: Events, files: ModelFiles) -> None:
        self._events = events
        self._files = files
        self._lock = threading.Lock()
        self._count = 0
        self._latest: Fault | None = None
        self._unsent: dict[tuple[object, ...], Fault] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._timer: threading.Timer | None = None
        self._next = 0.0
        self._fails = False  # no callback has succeeded since the latest exception
        atexit.register(self._send)

    def add(self, error: BaseException) -> None:
        """Count an exception, unless it is counted already."""
        if not self._events.is_our_process or getattr(error, _MARK, False):
            return
        with suppress(Exception):  # its class is the model's own
            setattr(error, _MARK, True)
        fault = self._files.fault(error)
        with self._lock:
            self._fails = True
            self._count += 1
            self._latest = fault
            place = (type(error), fault.path, fault.line)
            if place not in self._seen and len(self._seen) < _MOST_PLACES:
                self._seen.add(place)
                self._unsent[place] = fault
            if self._timer is not None:
                return
            pause = self._next - time.monotonic()
            if pause > 0 and self._send_later(pause):
                return
        self._send()

    def note_success(self) -> None:
        """Note that a callback has succeeded; tell of it after one that failed."""
        if not self._fails:
            return
        with self._lock:
            self._fails, is_told_later = False, self._timer is not None
        if not is_told_later:
            self._events.send("callbacks_work")

    def _send_later(self, seconds: float) -> bool:
        """Send what there is after a while; return False if no thread can be started."""
        timer = threading.Timer(seconds, self._send)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # the limit of threads, or of memory
            return False
        self._timer = timer
        return True

    def _send(self) -> None:
        with self._lock:
            fault, count, self._latest, self._timer = self._latest, self._count, None, None
            if self._unsent:
                fault = self._unsent.pop(next(iter(self._unsent)))
            fails = self._fails
            self._next = time.monotonic() + _PAUSE_SECONDS
            if self._unsent:
                self._send_later(_PAUSE_SECONDS)
        if fault is not None:
            problem = problem_of(fault, _OF_CALLBACK if fault.path else _OF_PACKAGE)
            self._events.send("callback_error", problem=problem, count=count, fails=fails)


class Faults:
    """Reports what ended a thread, each place once."""

    def __init__(self, events: Events, files: ModelFiles, errors: CallbackErrors) -> None:
        self._events = events
        self._files = files
        self._errors = errors
        self._seen: set[tuple[object, ...]] = set()

    def watch_threads(self) -> None:
        """Report exceptions that end a thread: Python only prints them."""
        original = threading.excepthook

        def hook(args: Any) -> None:
            error = args.exc_value
            original(args)
            if error is None or isinstance(error, SystemExit):
                return
            if _is_of_arbitrage(error):
                self._errors.add(error)
            else:
                self._add(error, "raised in a thread of the model, which it ended.")

        threading.excepthook = hook

    def add_start(self, error: BaseException) -> None:
        """Report what kept a strategy from being started, such as an exception of an `init`."""
        self._add(error, "raised while the strategy was being started: it does not trade.")

    def add_exit(self, error: SystemExit) -> None:
        """Report a callback that ended its thread, of which Python says nothing."""
        told = "called in a callback: its event has ended, and the others go on."
        self._add(error, told, f"sys.exit({describe(error.code)})")

    def add_feed(self, symbol: object, stream: object) -> None:
        """Report a web socket that has ended, of which the package says nothing."""
        message = (
            f"The feed of {describe(symbol)} ({describe(stream)}) has ended. blankly does not open "
            "it again: its callbacks are not called any more."
        )
        hint = "Start the model again, and read its log for what the exchange said."
        self._events.send("fault", problem=make_problem("error", message, hint))

    def _add(self, error: BaseException, told: str, words: str | None = None) -> None:
        if not self._events.is_our_process or getattr(error, _MARK, False):
            return
        with suppress(Exception):  # its class is the model's own
            setattr(error, _MARK, True)
        fault = self._files.fault(error)
        if words is not None:
            fault = fault._replace(words=words)
        place = (type(error), fault.path, fault.line)
        if place not in self._seen and len(self._seen) < _MOST_FAULTS:
            self._seen.add(place)
            self._events.send("fault", problem=problem_of(fault, told))


def _is_of_arbitrage(error: BaseException) -> bool:
    """Whether it ended a thread in which the package asks for one price, anew for each event."""
    frames = traceback.walk_tb(error.__traceback__)
    codes = [frame.f_code for frame, _ in frames if frame.f_globals.get("__name__") == _STRATEGY]
    return any(code.co_name == "grab_price" for code in codes)


def script_problem(error: BaseException, files: ModelFiles, name: str) -> Problem:
    """Describe what ended the script called `name`."""
    fault = files.fault(error)
    if isinstance(error, SystemExit):
        fault = fault._replace(words=f"{name} ended itself with sys.exit({describe(error.code)}).")
    elif isinstance(error, KeyboardInterrupt):
        fault = fault._replace(words=f"{name} was interrupted (KeyboardInterrupt).")
    return problem_of(fault)
