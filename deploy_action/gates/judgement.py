"""Gates: conditions on the metrics of a backtest, and their verdicts.

Arithmetic is decimal, as numbers are written: 3 times a base of 1.1 is 3.3, and not the
3.3000000000000003 of floats.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from deploy_action.backtest.metrics import EXACTLY, METRICS, Unit, in_decimals, known, nearest_float

NO_REF: Final = "`compare-with` is not set"
_NO_VALUE_IN_BASE: Final = "the base's backtest did not compute it"
_NOT_REPORTED: Final = "not reported"


class Operator(StrEnum):
    """How the metric has to compare with the bound."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"
    EQUAL = "=="
    UNEQUAL = "!="


class State(StrEnum):
    """The outcome of a gate: all but the first fail it."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_COMPUTED = "not computed"
    NO_BASE = "no base"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a metric is compared with, as written.

    `number` is signed. With `of_base`, it is an offset from the base's value: `base - 10%` has
    `number` -10 and `is_per_cent`; `base` alone has 0.
    """

    number: Decimal
    is_per_cent: bool
    of_base: bool

    def above(self, base: float) -> Decimal:
        """Return the offset from the base's value; `10%` is a tenth of that value."""
        if not self.is_per_cent:
            return self.number
        return EXACTLY.multiply(in_decimals(base), self.number).scaleb(-2, EXACTLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition; `line` counts from 1, `text` has no comment and single spaces."""

    metric: str
    operator: Operator
    bound: Bound
    line: int
    text: str

    def limit(self, base: float | None) -> Decimal | None:
        """Return the bound in the metric's unit, or None if it needs a base that has no value."""
        bound = self.bound
        if not bound.of_base:
            is_hundredth = bound.is_per_cent and METRICS[self.metric].unit is not Unit.PER_CENT
            return bound.number.scaleb(-2, EXACTLY) if is_hundredth else bound.number
        return None if base is None else EXACTLY.add(in_decimals(base), bound.above(base))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on a gate.

    `value`, `base` and `bound` are in the metric's unit, None if unknown. `reason` says why there
    is no value or no bound, and is otherwise blank.
    """

    gate: Gate
    state: State
    value: float | None
    base: float | None
    bound: float | None
    reason: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether the model may pass."""
        return self.state is State.PASSED


_COMPARE: Final[Mapping[Operator, Callable[[Decimal, Decimal], bool]]] = {
    Operator.AT_LEAST: operators.ge,
    Operator.ABOVE: operators.gt,
    Operator.AT_MOST: operators.le,
    Operator.BELOW: operators.lt,
    Operator.EQUAL: operators.eq,
    Operator.UNEQUAL: operators.ne,
}


def judge(
    gates: Iterable[Gate],
    candidate: Mapping[str, float | None],
    base: Mapping[str, float | None] | None,
    *,
    reasons: Mapping[str, str] = MappingProxyType({}),
    no_base: str = "",
) -> tuple[Verdict, ...]:
    """Return the verdict on each gate, in order.

    `candidate` and `base` are metrics by id in their units, None if there is no value. `base` is
    None if there is no base, and `no_base` says why. `reasons` say, by metric, why the candidate
    has no value.
    """
    return tuple(_judge(gate, candidate, base, reasons, no_base or NO_REF) for gate in gates)


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


def not_judged(verdicts: Iterable[Verdict], reason: str) -> tuple[Verdict, ...]:
    """Return verdicts with their values, none of which passes, for a reason outside the gates."""
    return tuple(replace(one, state=State.NOT_JUDGED, reason=reason) for one in verdicts)


def are_passed(verdicts: Iterable[Verdict]) -> bool:
    """Whether every gate passed."""
    return all(verdict.is_passed for verdict in verdicts)
