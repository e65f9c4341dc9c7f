"""The values that a sweep tries: for each parameter a list, and every combination of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Final

from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt
from deploy_action.text.variables import NAME_RULE, RESERVED, is_name, is_reserved, is_text
from deploy_action.text.yaml_mapping import NotAMappingError, parse_mapping

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

MOST_BACKTESTS: Final = 10_000
"""Of one run: combinations times periods."""

VARIABLE: Final = "env."
"""What the name of an axis begins with that is a variable of the model's process."""

_LONGEST_SHOWN: Final = 60


class WrongSweepError(ValueError):
    """A sweep that cannot be meant; the argument has a sentence for each fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__(" ".join(faults))


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter, and the values to try, in the order in which they were given.

    Values of a variable are texts.
    """

    name: str
    values: tuple[JsonValue, ...]

    @property
    def variable(self) -> str | None:
        """The variable of the model's process; None for an argument of `Strategy.backtest()`."""
        return self.name.removeprefix(VARIABLE) if self.name.startswith(VARIABLE) else None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The parameters of a sweep."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def combinations(self) -> Iterator[tuple[JsonValue, ...]]:
        """Yield every combination, a value for each axis; the last axis changes fastest."""
        return product(*(axis.values for axis in self.axes))

    def arguments(self, values: tuple[JsonValue, ...]) -> dict[str, JsonValue]:
        """Return the arguments of `Strategy.backtest()` in a combination; None removes one."""
        return {
            axis.name: value
            for axis, value in zip(self.axes, values, strict=True)
            if axis.variable is None
        }

    def variables(self, values: tuple[JsonValue, ...]) -> dict[str, str]:
        """Return the variables of the model's process in a combination."""
        pairs = zip(self.axes, values, strict=True)
        return {axis.variable: str(value) for axis, value in pairs if axis.variable is not None}

    def name(self, values: tuple[JsonValue, ...], redact: Callable[[str], str] = str) -> str:
        """Return a combination for people: `resolution=1d, FAST=10`; `redact` as in `shown`."""
        pairs = zip(self.axes, values, strict=True)
        return ", ".join(f"{label_of(axis)}={shown(value, redact)}" for axis, value in pairs)


def label_of(axis: Axis) -> str:
    """Return the name of a parameter for people: of a variable without `env.`."""
    return axis.variable or axis.name


def written(value: JsonValue) -> str:
    """Return the whole of a value: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shown(value: JsonValue, redact: Callable[[str], str] = str) -> str:
    """Return a value for people, cut short.

    `redact` hides secrets in what was not redacted yet: one that was cut is not found any more.
    """
    return excerpt(redact(written(value)), _LONGEST_SHOWN)


def is_same_value(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values are the same in JSON: 1, 1.0 and true are three."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def parse_sweep(text: str) -> Sweep:
    """Return the sweep of a YAML or JSON mapping of lists.

    Raises:
        WrongSweepError: it is no such mapping, a list is empty or has a value twice, a variable has
            a wrong name or a value that is no text, or there are too many combinations.
    """
    try:
        mapping = parse_mapping(text)
    except NotAMappingError as wrong:
        raise WrongSweepError(str(wrong)) from wrong
    return sweep_of(mapping)


def sweep_of(mapping: Mapping[str, JsonValue]) -> Sweep:
    """Return the sweep of a mapping; raises what `parse_sweep` does."""
    axes, faults = [], [] if mapping else ["it names no parameter."]
    for name, values in mapping.items():
        try:
            axes.append(_axis(name, values))
        except WrongSweepError as wrong:
            faults.append(str(wrong))
    if faults:
        raise WrongSweepError(*faults)
    number = math.prod(len(axis.values) for axis in axes)
    if number > MOST_BACKTESTS:
        many = f"{number:,}" if number < 10**12 else "over 10^12"
        raise WrongSweepError(f"it has {many} combinations; at most {MOST_BACKTESTS:,} are run.")
    return Sweep(tuple(axes))


def _axis(name: str, values: JsonValue) -> Axis:
    label = f"`{excerpt(name, _LONGEST_SHOWN)}`"
    if not isinstance(values, list):
        raise WrongSweepError(f"{label} has no list of values, such as `[10, 20, 30]`.")
    if not values:
        raise WrongSweepError(f"the list of {label} is empty.")
    axis = Axis(name, tuple(values))
    if (variable := axis.variable) is not None:
        _check_variable(label, variable)
        axis = Axis(name, tuple(_text(label, value) for value in values))
    if len(axis.values) > MOST_BACKTESTS:
        raise WrongSweepError(f"{label} has {len(axis.values):,} values.")
    seen: set[str] = set()
    for value in axis.values:
        key = json.dumps(value, sort_keys=True)
        if key in seen:
            raise WrongSweepError(f"{label} has the value {shown(value)} twice.")
        seen.add(key)
    return axis


def _check_variable(label: str, variable: str) -> None:
    if not is_name(variable):
        raise WrongSweepError(f"{label} is no variable: {NAME_RULE}.")
    if is_reserved(variable):
        raise WrongSweepError(f"{label} is not yours to set: {RESERVED} are taken.")


def _text(label: str, value: JsonValue) -> str:
    """Return the value of a variable, which is a text: a number as it is written in JSON."""
    if isinstance(value, str) and is_text(value):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise WrongSweepError(f"{label} has the value {shown(value)}, which is no text and no number.")
