"""The period that the arguments of `Strategy.backtest()` ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from deploy_action.lazy.patterns import lazy_regex

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

PERIOD: Final = ("to", "start_date", "end_date")
"""The arguments that say it: `to` excludes the other two."""
_LENGTH: Final = lazy_regex(r"([0-9]{1,9})(mo|[smhdwMyDcl])")
_DAY: Final = 86_400
# As in the package (blankly 1.18, utils/time_builder.py).
_SECONDS: Final = {
    "s": 1,
    "m": 60,
    "h": 3_600,
    "d": _DAY,
    "w": 7 * _DAY,
    "M": 30 * _DAY,
    "mo": 30 * _DAY,
    "y": 365 * _DAY,
    "D": 3_650 * _DAY,
    "c": 36_500 * _DAY,
    "l": 365_000 * _DAY,
}


def period_of(arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the arguments that say which period is asked for."""
    return {name: arguments[name] for name in PERIOD if arguments.get(name) is not None}


def merge_arguments(
    own: Mapping[str, JsonValue], given: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Return arguments with those that are given over them, key by key; a null removes one.

    `to` excludes `start_date` with `end_date`: to give one of them removes the other side.
    """
    removed = {name for name, value in given.items() if value is None}
    if given.get("to") is not None:
        removed |= {"start_date", "end_date"} - set(period_of(given))
    elif period_of(given):
        removed.add("to")
    return {name: value for name, value in {**own, **given}.items() if name not in removed}


def without_period(arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the arguments that say nothing of the period."""
    return {name: value for name, value in arguments.items() if name not in PERIOD}


def seconds_back(to: JsonValue) -> float | None:
    """Return the length that `to` stands for; None if the package cannot read it."""
    if isinstance(to, int | float) and not isinstance(to, bool):
        return float(to)
    match = _LENGTH.fullmatch(to) if isinstance(to, str) else None
    return float(match[1]) * _SECONDS[match[2]] if match else None
