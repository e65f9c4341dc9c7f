"""Merges the platform's arguments of `Strategy.backtest()` over those of the script."""

from __future__ import annotations

import ast
from contextlib import suppress
from typing import Any, Dict, Mapping

from .market import own_prices
from .strict_json import describe

Arguments = Dict[str, Any]

# The parameters of `Strategy.backtest()` that have a place, in their order.
_POSITIONAL = ("to", "initial_values", "start_date", "end_date", "settings_path")
_PARAMETERS = {
    *_POSITIONAL,
    "use_price",
    "smooth_prices",
    "GUI_output",
    "show_tickers_with_zero_delta",
    "save_initial_account_value",
    "show_progress_during_backtest",
    "cache_location",
    "continuous_caching",
    "resample_account_value_for_metrics",
    "quote_account_value_in",
    "ignore_user_exceptions",
    "risk_free_return_rate",
    "benchmark_symbol",
}
PERIOD = ("to", "start_date", "end_date")
# What `blankly init` writes into every blankly.json: nobody chose it.
_DEFAULT_PERIOD = {"to": "1y"}
_YEAR = 365 * 86_400  # as the package reads 1y
_LONGEST_ARGUMENT = 80


def written(source: bytes) -> Arguments:
    """Return the literal arguments of the only call of `backtest()` that a script contains.

    For scripts that make that call by hand only, in the `else` of `if blankly.is_deployed`, as the
    templates of `blankly init` do. Empty if there are several calls, or none, or if it is a call of
    something else.
    """
    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "backtest"
    ]
    if len(calls) != 1:
        return {}
    named = [*zip(_POSITIONAL, calls[0].args)]
    named += [(one.arg, one.value) for one in calls[0].keywords if one.arg is not None]
    if not {name for name, _ in named} <= _PARAMETERS or len(calls[0].args) > len(_POSITIONAL):
        return {}
    found = {}
    for name, value in named:
        with suppress(ValueError, TypeError, RecursionError, MemoryError):  # a variable, say
            found[name] = ast.literal_eval(value)
    is_length = isinstance(found.get("to", "1y"), str)
    has_values = isinstance(found.get("initial_values", {}), dict)
    if not (is_length and has_values):
        return {}
    return {name: value for name, value in found.items() if value is not None}


def merge(passed: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Arguments, dict[str, str]]:
    """Return the arguments to backtest with, and for each whether it was given or the script's.

    Each key of `given`, the platform's, wins on its own; those of the period win together, because
    `to` excludes `start_date` with `end_date`.
    """
    gives_period = bool(period(given))
    kept = {
        name: value
        for name, value in passed.items()
        if name not in given and not (gives_period and name in PERIOD)
    }
    sources = {**dict.fromkeys(kept, "script"), **dict.fromkeys(given, "given")}
    return {**kept, **given}, sources


def period(arguments: Mapping[str, Any]) -> Arguments:
    """Return the arguments that say which period is asked for."""
    return {name: arguments[name] for name in PERIOD if arguments.get(name) is not None}


def with_default_period(
    arguments: Arguments, sources: dict[str, str]
) -> tuple[Arguments, dict[str, str]]:
    """Add the package's default period if neither platform nor script asks for one."""
    if period(arguments):
        return arguments, sources
    default = dict.fromkeys(_DEFAULT_PERIOD, "default")
    return {**arguments, **_DEFAULT_PERIOD}, {**sources, **default}


def without_useless_default(
    strategy: Any, passed: Mapping[str, Any], given: Mapping[str, Any], now: float
) -> Arguments:
    """Return the given arguments; without the default period if it cannot be meant.

    That is where the script has its own prices, none of them of the last year, and says itself
    which period to take, as the keyless template of `blankly init` does. `now` is in seconds.
    """
    if period(given) == _DEFAULT_PERIOD and period(passed):
        latest = _last_own_price(strategy)
        if latest is not None and latest < now - _YEAR:
            return {name: value for name, value in given.items() if name not in PERIOD}
    return dict(given)


def _last_own_price(strategy: Any) -> float | None:
    """Return the time of the last price that the script itself gave to a keyless exchange."""
    prices = own_prices(strategy.interface)
    frames = [frame for by_resolution in prices.values() for frame in by_resolution.values()]
    try:
        return max(float(frame["time"].max()) for frame in frames)
    except Exception:  # noqa: BLE001  # no prices, or odd ones
        return None


def replaced(passed: Mapping[str, Any], used: Mapping[str, Any]) -> Arguments:
    """Return the arguments of the script that are not used."""
    return {
        name: value
        for name, value in passed.items()
        if name not in used or not _are_same(value, used[name])
    }


def replacing(lost: Mapping[str, Any], given: Mapping[str, Any]) -> Arguments:
    """Return the given arguments that took the place of these."""
    names = set(lost)
    if names.intersection(PERIOD):
        names.update(PERIOD)
    return {name: value for name, value in given.items() if name in names}


def _are_same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  # for example arrays cannot be compared like this
        return False


def listed(arguments: Mapping[str, Any]) -> str:
    """Return arguments as in a call, each cut to a readable length."""
    shown = []
    for name, value in arguments.items():
        try:
            text = repr(value)
        except Exception:  # noqa: BLE001  # the model's own __repr__ may do anything
            text = type(value).__name__
        if len(text) > _LONGEST_ARGUMENT:
            text = text[: _LONGEST_ARGUMENT - 1] + "…"
        shown.append(f"{name}={text}")
    return describe(", ".join(shown))
