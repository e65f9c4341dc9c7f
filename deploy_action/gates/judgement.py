"""Gates: conditions on the metrics of a backtest, and what comes of them.

Numbers are counted in decimals, as they are written: 3 times a base of 1.1 is 3.3 here, and
3.3000000000000003 in binary fractions.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from deploy_action.backtest.metrics import EXACTLY, METRICS, Unit, in_decimals, known, nearest_float

NO_REF: Final = "`compare-with` is not set"
_NO_VALUE_IN_BASE: Final = "the base's backtest did not compute it"
_NOT_REPORTED: Final = "not reported"


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

    def above(self, base: float) -> Decimal:
        """Return how far it lies above the base's value: of it, `10%` is a tenth."""
        if not self.is_per_cent:
            return self.number
        return EXACTLY.multiply(in_decimals(base), self.number).scaleb(-2, EXACTLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition; `line` counts from 1, `text` is the line without its comment, one-spaced."""

    metric: str
    operator: Operator
    bound: Bound
    line: int
    text: str

    def limit(self, base: float | None) -> Decimal | None:
        """Return the bound in the metric's unit, None where it is one of a base without a value."""
        bound = self.bound
        if not bound.of_base:
            is_hundredth = bound.is_per_cent and METRICS[self.metric].unit is not Unit.PER_CENT
            return bound.number.scaleb(-2, EXACTLY) if is_hundredth else bound.number
        return None if base is None else EXACTLY.add(in_decimals(base), bound.above(base))


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


_COMPARE: Final[Mapping[Operator, Callable[[Decimal, Decimal], bool]]] = MappingProxyType(
    {
        Operator.AT_LEAST: operators.ge,
        Operator.ABOVE: operators.gt,
        Operator.AT_MOST: operators.le,
        Operator.BELOW: operators.lt,
        Operator.EQUAL: operators.eq,
        Operator.UNEQUAL: operators.ne,
    }
)


def judge(
    gates: Iterable[Gate],
    candidate: Mapping[str, float | None],
    base: Mapping[str, float | None] | None,
    *,
    reasons: Mapping[str, str] = MappingProxyType({}),
    no_base: str = "",
) -> tuple[Verdict, ...]:
    """Return what comes of each gate, in their order.

    `candidate` and `base` are metrics by id in their units, None where there is no value; `base`
    is None where there is no base, and `no_base` says why not. `reasons` say why the candidate has
    no value, by metric.
    """
    missing = no_base or NO_REF
    return tuple(_judge(gate, candidate, base, reasons, missing) for gate in gates)


def _judge(
    gate: Gate,
    candidate: Mapping[str, float | None],
    base: Mapping[str, float | None] | None,
    reasons: Mapping[str, str],
    no_base: str,
) -> Verdict:
    value = known(candidate.get(gate.metric))
    base_value = None if base is None else known(base.get(gate.metric))
    bound = gate.limit(base_value)
    reason = ""
    if value is None:
        state, reason = State.NOT_COMPUTED, reasons.get(gate.metric) or _NOT_REPORTED
    elif bound is None:
        state, reason = State.NO_BASE, no_base if base is None else _NO_VALUE_IN_BASE
    else:
        is_passed = _COMPARE[gate.operator](in_decimals(value), bound)
        state = State.PASSED if is_passed else State.FAILED
    return Verdict(
        gate=gate,
        state=state,
        value=value,
        base=base_value,
        bound=None if bound is None else nearest_float(bound),
        reason=reason,
    )


def are_passed(verdicts: Iterable[Verdict]) -> bool:
    """Return whether no gate stops the model."""
    return all(verdict.is_passed for verdict in verdicts)
