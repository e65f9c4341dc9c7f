"""Counts the calls of a strategy at which no bar begins, and those with a bar that it had before.

In blankly 1.18.25b0, a strategy is called at the start of the period and then once in each
resolution, whatever the prices are. `get_price` and market orders get the price of the first bar
that begins at the time of the call or later, and a bar event gets the last bar before it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable, Iterator, Mapping

from ..faults import Problem, make_problem  # noqa: TID252  # as in `keeping`
from ..strict_json import describe  # noqa: TID252  # as in `keeping`
from .checks import moment

_MOST_NAMED = 3
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SEEN_HINT = (
    "Look at the bar's `time` in the model, and do nothing where it is that of the call before."
)


class Calls:
    """The calls of one run, by where they fall between the bars of a symbol."""

    def __init__(self) -> None:
        self._count = 0  # between the first bar and the last
        self._waiting = 0  # of these, no bar begins
        self._apart = 0  # of those, at times at which bars never begin
        self._longest = 0.0  # seconds to the next bar
        self._first = (0.0, 0.0)  # of those apart: a call, and its next bar
        self._symbols: dict[str, None] = {}
        self._last_bars: dict[int, Any] = {}
        self._repeated = 0
        self._left_out = 0
        self._is_within = False

    def watch(
        self, controller: Any, event: Mapping[str, Any], resolution_of: Callable[[str], float]
    ) -> Any:
        """Note a call, and return the callback to make it with."""
        self._is_within = False
        with suppress(Exception):  # another version of the package
            waits = list(_waits(controller, event["symbol"]))
            if waits:
                self._is_within = True
                self._note(float(controller.time), waits, resolution_of)
        return self._watched(event)

    def leave_out(self) -> None:
        """Note that the package did not make the call, because it found no bar."""
        self._left_out += self._is_within

    def _note(
        self, time: float, waits: list[tuple[str, float]], resolution_of: Callable[[str], float]
    ) -> None:
        self._count += 1
        symbol, wait = max(waits, key=lambda one: one[1])
        if wait <= 0:
            return
        self._waiting += 1
        self._longest = max(self._longest, wait)
        self._symbols[symbol] = None
        if wait % (resolution_of(symbol) or wait):
            self._first = self._first if self._apart else (time, time + wait)
            self._apart += 1

    def _watched(self, event: Mapping[str, Any]) -> Any:
        callback, key = event["callback"], id(event["state"])
        if getattr(event["type"], "value", event["type"]) != "bar_event":
            return callback

        def call(bar: Any, *others: Any) -> Any:
            with suppress(Exception):  # whatever the bar is
                time = float(bar["time"])
                self._repeated += self._is_within and self._last_bars.get(key) == time
                self._last_bars[key] = time
            return callback(bar, *others)

        return call

    def problems(self) -> Iterator[Problem]:
        """Yield what a trader has to know of these calls; nothing where a bar begins at each."""
        if not self._waiting:
            return
        named = ", ".join(map(describe, list(self._symbols)[:_MOST_NAMED]))
        more = ", …" if len(self._symbols) > _MOST_NAMED else ""
        message = (
            f"At {self._waiting:,} of {self._count:,} calls no bar of {named}{more} begins: "
            "`get_price`, price events and market orders get the price of the next bar, up to "
            f"{_length(self._longest)} later."
        )
        if self._repeated:
            message += f" {_calls(self._repeated)} had the same bar as the call before."
        if self._left_out:
            message += f" {_calls(self._left_out)} were left out: blankly found no bar for them."
        if self._apart * 2 > self._count:
            call, bar = map(moment, self._first)
            yield make_problem(
                "warning",
                f"{message} Nobody knows that price at the time of the call.",
                f"The call of {call} is between bars, and the next one begins at {bar} (UTC). Let "
                "`start_date` be a time at which a bar begins, and events have the resolution of "
                "the prices.",
            )
        else:
            yield make_problem("notice", message, _SEEN_HINT if self._repeated else "")


def _waits(controller: Any, symbols: Any) -> Iterator[tuple[str, float]]:
    """Yield for each symbol of an event the seconds until its next bar begins.

    Before the first bar and after the last there are none. An event without a symbol may trade all.
    """
    named = [symbols] if isinstance(symbols, str) else symbols or controller.prices
    for symbol in named:
        index = controller.price_indexes[symbol]
        wait = float(controller.prices[symbol][index]["time"]) - float(controller.time)
        if wait == 0 or (wait > 0 and index > 0):
            yield symbol, wait


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _length(seconds: float) -> str:
    """Return a length in the largest unit of which it has more than one, rounded."""
    for unit, noun in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= 2 * unit or (seconds >= unit and seconds % unit == 0):
            count = round(seconds / unit)
            return f"{count:,} {noun}{'' if count == 1 else 's'}"
    return f"{round(seconds):,} seconds"
