"""Gates: conditions on the metrics of a backtest, and their verdicts.

Arithmetic is decimal, as numbers are written: 3 times a base of 1.1 is 3.3, and not the
3.3000000000000003 of floats.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from deploy_action.backtest.metrics import (
    EXACTLY,
    METRICS,
    Over,
    Unit,
    in_decimals,
    known,
    nearest_float,
    over_several,
)
from deploy_action.records import dataclass, field, replace

NO_REF: Final = "`compare-with` is not set"
NO_SEVERAL: Final = "neither `windows` nor `sweep` is set"
NOT_REPORTED: Final = "not reported"
_NO_VALUE_IN_BASE: Final = "the base's backtest did not compute it"
_NO_VALUE_IN_HOLDING: Final = "it cannot be computed for holding"

Metrics: TypeAlias = Mapping[str, float | None]


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
    NO_HOLDING = "no holding"
    INCOMPLETE = "incomplete"


class Reference(StrEnum):
    """What a bound is measured from."""

    ZERO = ""
    """The bound is a number."""
    BASE = "base"
    """The metric of the base that `compare-with` names."""
    HOLD = "hold"
    """The same metric of holding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a metric is compared with, as written.

    `number` is signed. With a reference other than zero, it is an offset from that value: `base -
    10%` has `number` -10 and `is_per_cent`; `base` alone has 0.
    """

    number: Decimal
    is_per_cent: bool
    reference: Reference = Reference.ZERO

    def above(self, value: float) -> Decimal:
        """Return the offset from the reference's value; `10%` is a tenth of that value."""
        if not self.is_per_cent:
            return self.number
        return EXACTLY.multiply(in_decimals(value), self.number).scaleb(-2, EXACTLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition on a metric; `line` counts from 1, `text` has no comment and single spaces."""

    metric: str
    operator: Operator
    bound: Bound
    line: int
    text: str
    over: Over = Over.WHOLE

    @property
    def needs_base(self) -> bool:
        """Whether it cannot pass without a base."""
        return self.bound.reference is Reference.BASE

    @property
    def needs_several(self) -> bool:
        """Whether it cannot pass without windows or a sweep."""
        return self.over is not Over.WHOLE

    def limit(self, reference: float | None) -> Decimal | None:
        """Return the bound in the metric's unit; None if it needs a reference without a value."""
        bound = self.bound
        if bound.reference is Reference.ZERO:
            is_hundredth = bound.is_per_cent and METRICS[self.metric].unit is not Unit.PER_CENT
            return bound.number.scaleb(-2, EXACTLY) if is_hundredth else bound.number
        if reference is None:
            return None
        return EXACTLY.add(in_decimals(reference), bound.above(reference))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdenticalGate:
    """The condition that the trades are those of the base."""

    line: int
    text: str = "identical"
    metric: str = "identical"
    needs_base: bool = True
    needs_several: bool = False


AnyGate: TypeAlias = Gate | IdenticalGate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What gates are judged on: metrics by id in their units, None if there is no value.

    `reasons` say why a metric of the candidate has no value. `base` and `holding` are None if there
    is none, and `no_base` and `no_holding` say why. `is_identical` is None without a result of the
    base. `several` are the metrics of the windows and combinations, with names that can begin a
    sentence; where they cannot be judged, `no_several` says why. `base_several` are those of the
    base's windows.
    """

    metrics: Metrics
    reasons: Mapping[str, str] = field(default_factory=dict)
    base: Metrics | None = None
    no_base: str = ""
    is_identical: bool | None = None
    holding: Metrics | None = None
    no_holding: str = ""
    several: Sequence[Metrics] = ()
    several_names: Sequence[str] = ()
    no_several: str = ""
    base_several: Sequence[Metrics] = ()
    no_base_several: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on a gate.

    `value`, `reference` and `bound` are in the metric's unit, None if unknown; `reference` is the
    base's value, or that of holding. `where` names the window or the combination that has the worst
    or the best value, and can begin a sentence. `reason` says why there is no value or no bound.
    Both are blank otherwise.
    """

    gate: AnyGate
    state: State
    value: float | None = None
    reference: float | None = None
    bound: float | None = None
    reason: str = ""
    where: str = ""

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


class _NoValueError(Exception):
    """There is no value to judge, or none to compare with."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


def judge(gates: Iterable[AnyGate], evidence: Evidence) -> tuple[Verdict, ...]:
    """Return the verdict on each gate, in order."""
    return tuple(
        _judge(gate, evidence) if isinstance(gate, Gate) else _judge_trades(gate, evidence)
        for gate in gates
    )


def _judge_trades(gate: IdenticalGate, evidence: Evidence) -> Verdict:
    if evidence.is_identical is None:
        reason = evidence.no_base or NO_REF
        return Verdict(gate=gate, state=State.NO_BASE, reason=reason)
    return Verdict(gate=gate, state=State.PASSED if evidence.is_identical else State.FAILED)


def _judge(gate: Gate, evidence: Evidence) -> Verdict:
    value = reference = None
    where, limit = "", gate.limit(None)
    try:
        value, where = _value(gate, evidence)
        reference = _reference(gate, evidence)
        limit = gate.limit(reference)
        if limit is None:
            raise AssertionError(f"the bound of `{gate.text}` has a reference")
    except _NoValueError as missing:
        return Verdict(
            gate=gate,
            state=missing.state,
            value=value,
            bound=None if limit is None else nearest_float(limit),
            reason=missing.reason,
            where=where,
        )
    is_passed = _COMPARE[gate.operator](in_decimals(value), limit)
    return Verdict(
        gate=gate,
        state=State.PASSED if is_passed else State.FAILED,
        value=value,
        reference=reference,
        bound=nearest_float(limit),
        where=where,
    )


def _value(gate: Gate, evidence: Evidence) -> tuple[float, str]:
    """Return the candidate's value, and which window or combination has it.

    Raises:
        _NoValueError: there is none.
    """
    if gate.over is not Over.WHOLE:
        if evidence.no_several or not evidence.several:
            raise _NoValueError(State.INCOMPLETE, evidence.no_several or NO_SEVERAL)
        over = _over_several(gate, evidence.several, evidence.several_names)
        return over, _where(gate, over, evidence)
    value = known(evidence.metrics.get(gate.metric))
    if value is None:
        reason = evidence.reasons.get(gate.metric) or NOT_REPORTED
        raise _NoValueError(State.NOT_COMPUTED, reason)
    return value, ""


def _where(gate: Gate, value: float, evidence: Evidence) -> str:
    """Return the name of the first window or combination that has the worst or the best value."""
    if gate.over is Over.MEDIAN:
        return ""
    pairs = zip(evidence.several_names, evidence.several, strict=False)
    return next((name for name, metrics in pairs if metrics.get(gate.metric) == value), "")


def _reference(gate: Gate, evidence: Evidence) -> float | None:
    """Return what the bound is measured from; None if it is a number.

    Raises:
        _NoValueError: it has no value.
    """
    match gate.bound.reference:
        case Reference.ZERO:
            return None
        case Reference.HOLD:
            if evidence.holding is None:
                raise _NoValueError(State.NO_HOLDING, evidence.no_holding or NOT_REPORTED)
            held = known(evidence.holding.get(gate.metric))
            if held is None:
                raise _NoValueError(State.NO_HOLDING, _NO_VALUE_IN_HOLDING)
            return held
        case Reference.BASE:
            return _of_base(gate, evidence)


def _of_base(gate: Gate, evidence: Evidence) -> float:
    if evidence.base is None:
        raise _NoValueError(State.NO_BASE, evidence.no_base or NO_REF)
    if gate.over is not Over.WHOLE:
        if evidence.no_base_several or not evidence.base_several:
            raise _NoValueError(State.NO_BASE, evidence.no_base_several or NOT_REPORTED)
        try:
            return _over_several(gate, evidence.base_several)
        except _NoValueError as missing:
            raise _NoValueError(State.NO_BASE, missing.reason) from None
    value = known(evidence.base.get(gate.metric))
    if value is None:
        raise _NoValueError(State.NO_BASE, _NO_VALUE_IN_BASE)
    return value


def _over_several(gate: Gate, several: Sequence[Metrics], names: Sequence[str] = ()) -> float:
    values = [known(metrics.get(gate.metric)) for metrics in several]
    found = [value for value in values if value is not None]
    if missing := len(values) - len(found):
        pairs = zip(names, values, strict=False)
        name = next((name for name, value in pairs if value is None), "")
        without = f", such as {inside(name)}" if name else ""
        reason = f"{missing:,} of {len(values):,} backtests did not compute it{without}"
        raise _NoValueError(State.NOT_COMPUTED, reason)
    return over_several(gate.metric, gate.over, found)


def inside(name: str) -> str:
    """Return a name that can begin a sentence as it stands within one: `window X`."""
    return f"{name[:1].lower()}{name[1:]}"


def not_judged(verdicts: Iterable[Verdict], reason: str) -> tuple[Verdict, ...]:
    """Return verdicts with their values, none of which passes, for a reason outside the gates."""
    return tuple(replace(one, state=State.NOT_JUDGED, reason=reason) for one in verdicts)


def are_passed(verdicts: Iterable[Verdict]) -> bool:
    """Whether every gate passed."""
    return all(verdict.is_passed for verdict in verdicts)
