"""Finds what is wrong with a sweep for this model, before it costs hundreds of backtests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.period.asked import PERIOD, merge_arguments
from deploy_action.backtest.period.checks import check_meaning
from deploy_action.backtest.sweep.grid import Axis, Sweep, label_of, shown
from deploy_action.errors import Problem, Severity
from deploy_action.model.manifest_checks import check_backtest_args, is_argument
from deploy_action.records import replace
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from deploy_action.bundle.selection import Selection
    from deploy_action.text.located_json import JsonValue

_MOST_CHECKED: Final = 1_000
_MOST_BYTES: Final = 1 << 20
# Of pydantic-settings: there a variable has another name than the field.
_RENAMES: Final = b"env_prefix"


def check_arguments(
    sweep: Sweep, own: Mapping[str, JsonValue], now: float, redact: Callable[[str], str]
) -> Iterator[Problem]:
    """Yield what is wrong with the arguments that a sweep gives; `own` are those of the model.

    Values of the period are checked in all their combinations, others one by one, and at most a
    thousand of each: a backtest of a wrong one fails, and says why.
    """
    arguments = []
    for axis in sweep.axes:
        if axis.variable is None and not is_argument(axis.name):
            yield _no_argument(axis, redact)
        elif axis.variable is None:
            arguments.append(axis)
    period = [axis for axis in arguments if axis.name in PERIOD]
    told = {one.message for one in _problems(own, now, redact)}
    for given in _given(arguments, period):
        merged = merge_arguments(own, given)
        name = ", ".join(f"{key}={shown(value, redact)}" for key, value in given.items())
        for problem in _problems(merged, now, redact):
            if problem.message not in told:
                told.add(problem.message)
                yield replace(problem, message=f"Input `sweep`, `{name}`: {problem.message}")


def _no_argument(axis: Axis, redact: Callable[[str], str]) -> Problem:
    name = excerpt(redact(axis.name))
    return Problem(
        message=f"Input `sweep`: `{name}` is no argument of `Strategy.backtest()`, so its values "
        "would change nothing.",
        hint=f"Write `env.{name}` if it is a variable that the model reads.",
    )


def _given(arguments: list[Axis], period: list[Axis]) -> Iterator[dict[str, JsonValue]]:
    for axis in arguments:
        if axis not in period:
            yield from ({axis.name: value} for value in axis.values[:_MOST_CHECKED])
    if period:
        for values in islice(product(*(axis.values for axis in period)), _MOST_CHECKED):
            yield {axis.name: value for axis, value in zip(period, values, strict=True)}


def _problems(
    arguments: Mapping[str, JsonValue], now: float, redact: Callable[[str], str]
) -> Iterator[Problem]:
    yield from check_backtest_args(arguments, redact=redact)
    shown_arguments = {
        name: redact(value) if isinstance(value, str) else value
        for name, value in arguments.items()
    }
    for one in check_meaning(shown_arguments, now):
        yield Problem(message=one.message, hint=one.hint, severity=one.severity)


def check_secrets(sweep: Sweep, redact: Callable[[str], str]) -> Iterator[Problem]:
    """Yield an error for each parameter of which two values look the same once secrets are hidden.

    In no report they could be told apart, so it could not be read again, nor parts be merged.
    """
    for axis in sweep.axes:
        if len({redact(json.dumps(value)) for value in axis.values}) < len(axis.values):
            yield Problem(
                message=f"Input `sweep` has several values of `{label_of(axis)}` that are secrets: "
                "they are hidden, so nothing could tell which of them did what.",
                hint="Try values that are no secrets. Those in `model-env` and such that look like "
                "keys are hidden everywhere.",
            )


def check_variables(sweep: Sweep, selection: Selection) -> Iterator[Problem]:
    """Yield a warning for each variable that no script of the model names.

    Then its values change nothing, and the sweep looks like a plateau.
    """
    missing = {axis.variable for axis in sweep.axes if axis.variable is not None}
    for entry in selection.entries:
        if not missing:
            return
        if entry.name.endswith((".py", ".json", ".toml", ".yaml", ".yml", ".cfg", ".ini")):
            try:
                data = selection.files.read(entry.name, _MOST_BYTES).lower()
            except OSError:
                continue
            if _RENAMES in data:
                return
            missing = {name for name in missing if name.lower().encode() not in data}
    for name in sorted(missing):
        yield Problem(
            message=f"Input `sweep` gives the variable `{name}`, and no script of the model names "
            "it: its values would change nothing.",
            hint=f'Let the script read it, as by `int(os.environ.get("{name}", "10"))`, or '
            "correct the name.",
            severity=Severity.WARNING,
        )
