"""Knows which models were started, whose callbacks are being called, and calls their teardowns."""

from __future__ import annotations

import functools
import os
import threading
import time
from contextlib import suppress
from typing import Any, Callable, NamedTuple

from ..script import print_traceback  # noqa: TID252  # `blankly_run` is not a package that is installed

_POLL_SECONDS = 0.01


class _Teardown:
    """One teardown of a model, by us or by the model's own code."""

    def __init__(self, *, is_ours: bool) -> None:
        self.is_ours = is_ours
        self.thread = threading.get_ident()
        self.is_over = threading.Event()
        self.errors: list[BaseException] = []


class Started(NamedTuple):
    """A model that was started, and how many of its functions a teardown would call."""

    model: Any
    teardowns: int


class Running:
    """The models of this process. In processes that the model forks it changes nothing."""

    def __init__(self) -> None:
        self.is_stopping = False
        # Called with each model that is started.
        self.on_start: Callable[[Any], None] = lambda _model: None
        # Called with the exceptions of callbacks, and with what ends a callback's thread.
        self.on_error: Callable[[BaseException], None] = lambda _error: None
        self.on_success: Callable[[], None] = lambda: None
        self.on_exit: Callable[[SystemExit], None] = lambda _error: None
        self._process = os.getpid()
        self._strategies: list[Any] = []  # their models, started or not
        self._started: list[Any] = []
        self._teardowns: dict[int, _Teardown] = {}
        self._claims = threading.Lock()
        # By a key of its own for each call: the thread that is in it. No lock: a handler of a
        # signal may interrupt its own thread anywhere, and a dictionary's steps are atomic.
        self._calls: dict[object, int] = {}

    @property
    def is_our_process(self) -> bool:
        """Whether this is the original process, not one that the model forked."""
        return os.getpid() == self._process

    def add_strategy(self, model: Any) -> None:
        """Note the model of a strategy that was made."""
        self._strategies.append(model)

    def add_started(self, model: Any) -> None:
        """Note a model that is being started, perhaps anew after a teardown."""
        if not any(one is model for one in self._started):
            self._started.append(model)
        self._teardowns.pop(id(model), None)
        self.on_start(model)

    def has_unstarted_strategy(self) -> bool:
        """Whether a strategy was made and not started."""
        return any(not any(one is other for other in self._started) for one in self._strategies)

    # ------------------------------------------------------------------ callbacks

    def guard(self, function: Any, *, counts: bool = True) -> Any:
        """Return a function that is not called any more once the model is being stopped.

        Its exceptions go on to the package; if it `counts`, they are reported where they arise, and
        so is that it works again.
        """

        @functools.wraps(function)
        def guarded(*positional: Any, **named: Any) -> Any:
            if not self.is_our_process:
                return function(*positional, **named)
            key = object()
            self._calls[key] = threading.get_ident()
            try:
                if self.is_stopping:
                    return None
                result = function(*positional, **named)
            except SystemExit as error:
                self.on_exit(error)
                raise
            except Exception as error:
                if counts:
                    self.on_error(error)
                raise
            else:
                if counts:
                    self.on_success()
                return result
            finally:
                del self._calls[key]

        return guarded

    def wait_until_idle(self, most_seconds: float) -> None:
        """Wait until the callbacks that have begun are over, but no longer than this."""
        end = time.monotonic() + most_seconds
        while self._calls and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)

    def needs_main_thread(self) -> bool:
        """Whether the main thread is in a callback, or may hold a lock that a teardown needs."""
        if threading.main_thread().ident in list(self._calls.values()):
            return True
        return any(map(self._is_locked, list(self._started)))

    def _is_locked(self, model: Any) -> bool:
        """Whether code other than our own call of its teardown holds the model's lock."""
        noted = self._teardowns.get(id(model))
        lock = getattr(model, "lock", None)
        return lock is not None and lock.locked() and not (noted is not None and noted.is_ours)

    # ------------------------------------------------------------------ teardown

    def started(self) -> list[Started]:
        """Return the models that were started and have something to call when they are stopped."""
        counted = [Started(model, _count_teardowns(model)) for model in self._started]
        return [one for one in counted if one.teardowns or id(one.model) in self._teardowns]

    def watch_teardown(self, model: Any, teardown: Callable[[], Any]) -> Any:
        """Call a teardown, and note that it was called; it is the model's own call, or ours."""
        if not self.is_our_process:
            return teardown()
        with self._claims:
            noted = self._teardowns.get(id(model))
            if noted is None:
                noted = self._teardowns[id(model)] = _Teardown(is_ours=False)
        if noted.thread != threading.get_ident() or noted.is_over.is_set():
            return teardown()  # a second call by the model itself
        try:
            return teardown()
        except BaseException as error:
            if not noted.is_ours and not _is_ordinary(error):
                noted.errors.append(error)
            raise
        finally:
            noted.is_over.set()

    def tear_down(self, model: Any) -> list[BaseException]:
        """Call a model's teardown, unless its own code did, and return what it raised.

        A teardown often sells everything, so it is not repeated: if one is under way, this waits
        for its end. If the function of one symbol raises, those of the others are still called; the
        package would leave them out.
        """
        with self._claims:
            noted = self._teardowns.get(id(model))
            is_ours = noted is None
            if noted is None:
                noted = self._teardowns[id(model)] = _Teardown(is_ours=True)
        if not is_ours:
            noted.is_over.wait()
            return noted.errors
        _stop_schedulers(model)
        _keep_going(model, noted.errors)
        try:
            model.teardown()
        except BaseException as error:  # noqa: BLE001  # a teardown may call sys.exit()
            if not _is_ordinary(error) and not any(one is error for one in noted.errors):
                print_traceback(error)
                noted.errors.append(error)
        return noted.errors


def wait_for_package() -> None:
    """Wait until no thread of the package is left that Python itself would wait for.

    For other threads Python waits when it ends, which some need to be told of: the workers of a
    pool are told to leave then, and others look whether the main thread lives.
    """
    while True:
        threads = [one for one in threading.enumerate() if _is_of_package(one)]
        if not threads:
            return
        for thread in threads:
            thread.join()


def _is_of_package(thread: threading.Thread) -> bool:
    """Whether it runs a function of the package, or `main` of a `blankly.Model` of the model's."""
    if thread.daemon or thread is threading.current_thread():
        return False
    target = getattr(thread, "_target", None)
    owner = getattr(target, "__self__", None)
    modules = [getattr(one, "__module__", None) for one in (target, *type(owner).__mro__)]
    return any(str(module).partition(".")[0] == "blankly" for module in modules)


def _is_ordinary(error: BaseException) -> bool:
    """Whether it is the ordinary end of a script, by `sys.exit()`."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _count_teardowns(model: Any) -> int:
    """Return how many functions of the model's author its teardown would call."""
    if not hasattr(model, "schedulers"):
        # A blankly.Model, with a teardown of its own or the package's, which does nothing.
        return int(not type(model).teardown.__module__.startswith("blankly."))
    if "teardown" in vars(model):
        return 1  # replaced on the object
    of_events = [one.get_kwargs().get("teardown") for one in model.schedulers or ()]
    of_books = [one[4] for one in model.orderbook_websockets or ()]
    return sum(map(callable, of_events + of_books))


def _stop_schedulers(model: Any) -> None:
    """Stop all schedulers first; the package stops each one only before its own teardown."""
    for scheduler in getattr(model, "schedulers", None) or ():
        scheduler.stop_scheduler()


def _keep_going(model: Any, errors: list[BaseException]) -> None:
    """Let the package's teardown go on after a function that raises."""

    def tolerant(function: Any, found: list[BaseException] | None) -> Any:
        @functools.wraps(function)
        def call(*positional: Any, **named: Any) -> Any:
            try:
                return function(*positional, **named)
            except BaseException as error:  # noqa: BLE001  # a teardown may call sys.exit()
                if found is not None and not _is_ordinary(error):
                    print_traceback(error)
                    found.append(error)
                return None

        return call

    for scheduler in getattr(model, "schedulers", None) or ():
        event = scheduler.get_kwargs()
        if callable(event.get("teardown")):
            event["teardown"] = tolerant(event["teardown"], errors)
    for one in getattr(model, "orderbook_websockets", None) or ():
        if callable(one[4]):
            one[4] = tolerant(one[4], errors)
    # The process ends anyway: a feed that cannot be closed is no reason to leave out a teardown.
    for manager in (getattr(model, name, None) for name in ("orderbook_manager", "ticker_manager")):
        with suppress(AttributeError):
            manager.close_websocket = tolerant(manager.close_websocket, None)  # type: ignore[union-attr]  # None has none, as the line above expects
