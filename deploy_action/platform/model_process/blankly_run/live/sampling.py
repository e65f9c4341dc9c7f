"""Reports now and then what the accounts of a live model are worth.

Each account has a thread of its own, a daemon: neither a callback nor a stop waits for it, and an
exchange that hangs holds up nothing but its own samples. Nothing here may raise into the model.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..strict_json import describe  # noqa: TID252  # as above
from .accounts import (
    NotYetError,
    Session,
    UnknownError,
    Value,
    in_words,
    is_paper,
    name_of,
    reader_of,
)
from .running import Running

_MOST_ACCOUNTS = 10
_MOST_MISSING = 100
_LONGEST_ASSET = 30  # characters
_NOT_YET_SECONDS = 60.0
_NO_NUMBER = "What the exchange answered does not add up to a number."


class _StoppingError(Exception):
    """The model is being stopped: nothing is asked any more."""


class Sampler:
    """Samples the accounts of the models of this process that are started."""

    def __init__(self, events: Events, running: Running, seconds: float) -> None:
        """Take a sample of each account at its start, and one every so many seconds; 0: none."""
        self._events = events
        self._running = running
        self._seconds = seconds
        self._began = time.time()
        self._interfaces: list[Any] = []

    def watch(self, model: Any) -> None:
        """Sample the account of a model that is started, unless it is only backtested."""
        try:
            if self._seconds > 0 and not model.is_backtesting:
                self._watch(vars(model)["_Model__exchange"])
        except Exception:  # noqa: BLE001  # no account is worth a failed start
            return

    def _watch(self, exchange: Any) -> None:
        interface = exchange.get_interface()
        kind, portfolio = name_of(exchange)
        is_known = any(one is interface for one in self._interfaces)
        if is_known or kind == "keyless" or len(self._interfaces) >= _MOST_ACCOUNTS:
            return
        self._interfaces.append(interface)
        fields = {
            "exchange": kind,
            "portfolio": portfolio,
            "simulated": is_paper(exchange),
            "every": self._seconds,
            "began": self._began,
        }
        run = _Account(exchange, fields, self._events, self._running, self._seconds).run
        threading.Thread(target=run, name="account", daemon=True).start()


def _checked(value: Value) -> Value:
    if not math.isfinite(value.value):
        raise UnknownError(_NO_NUMBER)
    return value


def _has_slept(seconds: float) -> bool:
    """Sleep; return False if it was too short, because the model has replaced `time.sleep`.

    It does not wait for a lock: such waits never end under libfaketime.
    """
    begun = time.monotonic()
    time.sleep(seconds)
    return time.monotonic() - begun > seconds / 2


class _Account:
    """Samples one account; `fields` are those that all of its samples have."""

    def __init__(
        self, exchange: Any, fields: Any, events: Events, running: Running, seconds: float
    ) -> None:
        self._exchange = exchange
        self._fields = fields
        self._events = events
        self._running = running
        self._seconds = seconds

    def run(self) -> None:
        """Sample for as long as the process lives, and the model is not being stopped."""
        try:
            with Session(self._check) as session:
                read = reader_of(self._exchange, session)
                while _has_slept(self._sample(read)):
                    pass
        except UnknownError as error:
            self._send(value=None, problem=str(error))
        except BaseException:  # noqa: BLE001  # of this thread alone: it samples no more
            return

    def _check(self) -> None:
        if self._running.is_stopping or not self._running.is_our_process:
            raise _StoppingError

    def _sample(self, read: Any) -> float:
        """Take a sample; return after how many seconds the next one is due."""
        try:
            self._check()
            found = _checked(read())
        except NotYetError:
            return min(self._seconds, _NOT_YET_SECONDS)
        except _StoppingError:
            raise
        except Exception as error:  # noqa: BLE001  # the model must not notice
            self._send(value=None, problem=in_words(error))
        else:
            missing = [describe(name)[:_LONGEST_ASSET] for name in found.missing]
            self._send(
                value=found.value,
                quote=found.quote,
                simulated=found.simulated,
                missing=missing[:_MOST_MISSING],
            )
        return self._seconds

    def _send(self, **found: Any) -> None:
        if not self._running.is_stopping:
            self._events.send("report", kind="account", fields={**self._fields, **found})
