"""Gates: conditions on the metrics of a backtest, one a line, parsed and judged."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Operator(StrEnum):
    """How the metric has to be to the bound."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"
    EQUAL = "=="
    UNEQUAL = "!="


class State(StrEnum):
    """What came of a gate: all but the first fail it."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_COMPUTED = "not computed"
    NO_BASE = "no base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a metric is compared with, as it was written.

    `number` is signed. Of the base's value it is an offset: `base - 10%` has `number` -10 and
    `is_per_cent`; `base` alone has 0.
    """

    number: Decimal
    is_per_cent: bool
    of_base: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition; `line` counts from 1, `text` is the line without its comment, one-spaced."""

    metric: str
    operator: Operator
    bound: Bound
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a gate.

    `value`, `base` and `bound` are in the metric's unit, as far as they are known; `reason` says,
    for the states that have no value or no bound, why not, and is blank otherwise.
    """

    gate: Gate
    state: State
    value: float | None
    base: float | None
    bound: float | None
    reason: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether the gate lets the model through."""
        return self.state is State.PASSED
