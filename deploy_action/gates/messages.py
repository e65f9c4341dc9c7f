"""The messages for gates: the value, by how much it fails, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from deploy_action.backtest.metrics import EXACTLY, METRICS, Over, Unit, in_decimals, nearest_float
from deploy_action.errors import Problem, Severity
from deploy_action.gates.judgement import (
    NO_REF,
    NO_SEVERAL,
    Bound,
    Gate,
    IdenticalGate,
    Operator,
    Reference,
    State,
    Verdict,
    inside,
)
from deploy_action.gates.sense import write_number
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import exact, rounded

_LONGEST_REASON: Final = 200
_LONGEST_NAME: Final = 160
# Numbers are shown with the fewest of these decimals that tell the value from the bound, and show
# the difference with about two digits. From `_LARGEST_SHORT` on, decimals mean nothing.
_DECIMALS: Final = (2, 4, 6)
_LEAST_SHOWN: Final = 5
_LARGEST_SHORT: Final = Decimal("1e15")

_FAILED_HINT: Final = "Change the model, or the gate if it asks for too much."
_NO_REF_HINT: Final = (
    "Set `compare-with` to a git ref, such as `origin/main`, or write a number instead of `base`."
)
_NO_BASE_HINT: Final = (
    "Set `compare-with` to a git ref where the model can be backtested, or write a number "
    "instead of `base`."
)
_NO_REF_FOR_TRADES_HINT: Final = (
    "Set `compare-with` to a git ref where the model can be backtested, such as `origin/main`."
)
_NO_HOLDING_HINT: Final = "Write a number instead of `hold`."
_NO_SEVERAL_HINT: Final = (
    "Set `windows`, for example to `4`, or `sweep`, or judge the whole period: the metric's name "
    "alone."
)
_INCOMPLETE_HINT: Final = "Mend what failed, or leave it out of `windows` and `sweep`."
_NO_VALUE_IN_SOME_HINT: Final = (
    "Without trades there is no ratio, for example. Leave out of `windows` and `sweep` what has no "
    "value, or use a metric that all have, such as `cum_returns`."
)
_DIFFERENT_HINT: Final = (
    "The comparison names the first trade that differs. Remove the gate `identical` if the model "
    "is meant to trade differently."
)
_NOT_COMPUTED_HINT: Final = (
    "A metric without a value fails its gate. Let the backtest cover more time (`backtest-args`), "
    "if there is too little data to compute it, or use another metric."
)


def problem_of(verdict: Verdict) -> Problem | None:
    """Return the error for a gate that failed, or None."""
    if verdict.is_passed:
        return None
    what, hint = _what_and_hint(verdict)
    return Problem(message=f"Gate `{verdict.gate.text}` failed: {what}.", hint=hint)


def warning_of(verdict: Verdict) -> Problem | None:
    """Return the warning for a gate that passed but asks for less than it seems to, or None."""
    if isinstance(verdict.gate, IdenticalGate):
        return None
    base, number = verdict.reference, verdict.gate.bound.number
    is_higher = verdict.gate.operator in {Operator.AT_LEAST, Operator.ABOVE}
    is_lower = verdict.gate.operator in {Operator.AT_MOST, Operator.BELOW}
    is_meant_to_be_better = (is_higher and number > 0) or (is_lower and number < 0)
    if not verdict.is_passed or not is_meant_to_be_better or base is None or base >= 0:
        return None
    if not (hint := _sign_hint(verdict.gate, base)):
        return None
    whose = _OWNER[verdict.gate.bound.reference]
    message = f"Gate `{verdict.gate.text}` passed, but asks for less than {whose} has."
    return Problem(message=message, hint=hint, severity=Severity.WARNING)


def warning_of_best(verdict: Verdict, tried: int) -> Problem | None:
    """Return the warning for a gate that passed because one of many combinations is good."""
    gate = verdict.gate
    if isinstance(gate, IdenticalGate) or gate.over is not Over.BEST or not verdict.is_passed:
        return None
    others = (gate.text.replace(Over.BEST, over, 1) for over in (Over.MEDIAN, Over.WORST))
    return Problem(
        message=f"Gate `{gate.text}` passed by the best of {tried:,} combinations. Of so many, "
        "some are good by luck, and which one will be good next is not known.",
        hint=f"Write {' or '.join(f'`{one}`' for one in others)}.",
        severity=Severity.WARNING,
    )


def _what_and_hint(verdict: Verdict) -> tuple[str, str]:
    gate, reason = verdict.gate, _reason(verdict)
    match verdict.state:
        case State.NOT_COMPUTED:
            hint = _NO_VALUE_IN_SOME_HINT if gate.needs_several else _NOT_COMPUTED_HINT
            found = f"`{gate.metric}` was not computed: {reason}", hint
        case State.NO_BASE:
            hint = _NO_REF_HINT if verdict.reason == NO_REF else _NO_BASE_HINT
            if isinstance(gate, IdenticalGate):
                hint = _NO_REF_FOR_TRADES_HINT
            found = f"there is no base to compare with: {reason}", hint
        case State.NO_HOLDING:
            found = f"what holding made is not known: {reason}", _NO_HOLDING_HINT
        case State.INCOMPLETE:
            hint = _NO_SEVERAL_HINT if verdict.reason == NO_SEVERAL else _INCOMPLETE_HINT
            found = f"not all backtests can be judged: {reason}", hint
        case State.NOT_JUDGED:
            found = f"it was not judged: {reason}", ""
        case _:
            found = _other_trades_or_failure(verdict)
    return found


def _other_trades_or_failure(verdict: Verdict) -> tuple[str, str]:
    gate = verdict.gate
    if isinstance(gate, IdenticalGate):
        return "the trades are not those of the base", _DIFFERENT_HINT
    return _failure(verdict, gate), _sign_hint(gate, verdict.reference) or _FAILED_HINT


def _reason(verdict: Verdict) -> str:
    return excerpt(verdict.reason, _LONGEST_REASON).rstrip(".")


_OWNER: Final = {Reference.BASE: "the base", Reference.HOLD: "holding", Reference.ZERO: ""}


def _failure(verdict: Verdict, gate: Gate) -> str:
    """Say what the value is and by how much it misses the bound; both are known."""
    bound = gate.limit(verdict.reference)
    if verdict.value is None or bound is None:
        raise ValueError(f"a gate that failed has a value and a bound: {verdict}")
    value, base = in_decimals(verdict.value), in_decimals(verdict.reference or 0.0)
    difference = EXACTLY.subtract(value, bound)
    is_per_cent = METRICS[gate.metric].unit is Unit.PER_CENT
    sign, form = "%" if is_per_cent else "", _form(gate.bound, value, bound, difference)
    target = f"the bound of {form(bound)}{sign}"
    if owner := _OWNER[gate.bound.reference]:
        whose = "the base's" if gate.bound.reference is Reference.BASE else "holding's"
        target = f"{whose} {form(base)}{sign}"
        if gate.bound.number:
            target = f"the bound of {form(bound)}{sign} ({owner} has {form(base)}{sign})"
    over = f"the {gate.over} " if gate.over else ""
    where = f" ({inside(excerpt(verdict.where, _LONGEST_NAME))})" if verdict.where else ""
    start = f"{over}`{gate.metric}` is {form(value)}{sign}{where}, "
    if not difference:
        return f"{start}exactly {target}, and has to be {_WANTED[gate.operator]} it"
    apart = form(abs(difference))
    if is_per_cent:
        apart += " percentage point" if apart == "1" else " percentage points"
    side = "above" if difference > 0 else "below"
    end = ", and has to equal it" if gate.operator is Operator.EQUAL else ""
    return f"{start}{apart} {side} {target}{end}"


_WANTED: Final = {Operator.ABOVE: "above", Operator.BELOW: "below", Operator.UNEQUAL: "other than"}


def _form(
    bound: Bound, value: Decimal, limit: Decimal, difference: Decimal
) -> Callable[[Decimal], str]:
    """Return how to show numbers: as short as possible without hiding the difference."""
    # Larger numbers cannot be rounded: decimals have 28 digits.
    is_small = max(abs(value), abs(limit)) < _LARGEST_SHORT
    for decimals in _DECIMALS if is_small else ():
        is_short = abs(difference) * 10**decimals >= _LEAST_SHOWN
        if is_short and (bound.reference or limit == round(limit, decimals)):
            return lambda number: rounded(float(number), decimals)
    if not difference or exact(float(value)) != exact(nearest_float(limit)):
        return lambda number: exact(nearest_float(number))
    return write_number


def _sign_hint(gate: Gate, base: float | None) -> str:
    """Explain a percentage of a base that is 0 or negative; blank for any other gate."""
    if base is None or base > 0 or not (gate.bound.is_per_cent and gate.bound.reference):
        return ""
    name = f"`{gate.bound.reference}`"
    if not base:
        return f"{name} is 0, and so is any percentage of it. Write the margin without `%`."
    # The opposite of the written sign, because the base is negative.
    side, sign = ("above", "-") if gate.bound.number < 0 else ("below", "+")
    other = "below" if side == "above" else "above"
    margin = write_number(abs(gate.bound.above(base)))
    share = write_number(EXACTLY.add(gate.bound.number, Decimal(100)))
    return (
        f"{name} is negative, so {share}% of it is {side} it. For a bound {other} it, "
        f"write the margin as a number: `{gate.metric} {gate.operator} {gate.bound.reference} "
        f"{sign} {margin}`."
    )
