"""Finds gates that cannot mean what they say: no value fails them, or none passes.

And gates whose number was probably meant in another unit, which are only warned about.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from deploy_action.backtest.metrics import EXACTLY, HOLDABLE, METRICS, Better, Over, Unit
from deploy_action.errors import Severity
from deploy_action.gates.judgement import Gate, Operator, Reference
from deploy_action.records import dataclass

# The values that a metric can have at all, where they have an end. A drawdown may exceed 100%: an
# account that sold short may end in debt.
_LOWEST: Final = {
    **dict.fromkeys(
        (
            "max_drawdown",
            "volatility",
            "variance",
            "trades",
            "round_trips",
            "win_rate",
            "profit_factor",
            "exposure",
            "longest_drawdown_days",
        ),
        Decimal(0),
    ),
    **dict.fromkeys(("cagr", "hold_return"), Decimal(-100)),
}
_HIGHEST: Final = dict.fromkeys(("win_rate", "exposure"), Decimal(100))
# Losses, as positive numbers. Other tools write them as negative ones.
_LOSSES: Final = frozenset({"max_drawdown", "value_at_risk", "cvar"})
_UPWARDS: Final = frozenset({Operator.AT_LEAST, Operator.ABOVE})
# A fraction of this or more is more likely meant as a percentage: 2 is 200%.
_LARGE_FRACTION: Final = 2
# With more digits, an exponent is easier to read and to write.
_LONGEST_PLAIN: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a gate, and how to write it."""

    message: str
    hint: str
    severity: Severity = Severity.ERROR


def find_nonsense(gate: Gate) -> tuple[Finding, ...]:
    """Return what is wrong with a gate; at most one finding of each kind."""
    errors = (*_odd_references(gate), *_impossible(gate))
    return errors or (*_odd_units(gate), *_odd_direction(gate))


def _odd_references(gate: Gate) -> Iterator[Finding]:
    """Refuse `hold` where holding has no such metric, or none that would be compared with it."""
    if gate.bound.reference is not Reference.HOLD:
        return
    if gate.over is not Over.WHOLE:
        yield Finding(
            f"`{gate.text}` compares several backtests with holding over the whole period.",
            f"Write `{gate.over} excess_return > 0`: it is what each made beyond holding.",
        )
    elif gate.metric in {"excess_return", "hold_return"}:
        yield Finding(
            f"`{gate.metric}` already is about holding.",
            "Write `excess_return > 0`, or `cum_returns > hold`, which is the same.",
        )
    elif gate.metric not in HOLDABLE:
        yield Finding(f"Holding has no `{gate.metric}`.", "Write a number instead of `hold`.")


def _impossible(gate: Gate) -> Iterator[Finding]:
    """Refuse a gate that no value can fail, or that none can pass."""
    limit = gate.limit(None)
    if limit is None:
        return
    lowest = _LOWEST.get(gate.metric, Decimal("-Infinity"))
    highest = _HIGHEST.get(gate.metric, Decimal("Infinity"))
    is_loss = gate.metric in _LOSSES and limit < 0 and gate.operator in _UPWARDS
    is_never_failed, is_never_passed = {
        Operator.AT_LEAST: (limit <= lowest, limit > highest),
        Operator.ABOVE: (limit < lowest, limit >= highest),
        Operator.AT_MOST: (limit >= highest, limit < lowest),
        Operator.BELOW: (limit > highest, limit <= lowest),
        Operator.EQUAL: (False, not lowest <= limit <= highest),
        Operator.UNEQUAL: (not lowest <= limit <= highest, False),
    }[gate.operator]
    if is_never_failed or is_loss:
        yield Finding(f"no backtest can fail `{gate.text}`: {_range(gate)}.", _way_on(gate))
    elif is_never_passed:
        yield Finding(f"no backtest can pass `{gate.text}`: {_range(gate)}.", _way_on(gate))


def _range(gate: Gate) -> str:
    """Say which values the metric has."""
    name, sign = f"`{gate.metric}`", "%" if METRICS[gate.metric].unit is Unit.PER_CENT else ""
    if gate.metric in _LOSSES:
        return f"{name} is a loss as a positive number"
    if gate.metric in _HIGHEST:
        return f"{name} is from 0{sign} to 100{sign}"
    return f"{name} is never below {write_number(_LOWEST[gate.metric])}{sign}"


def _way_on(gate: Gate) -> str:
    number, sign = abs(gate.bound.number), "%" if gate.bound.is_per_cent else ""
    if gate.metric in _LOSSES and gate.bound.number:
        over = f"{gate.over} " if gate.over else ""
        return f"Write `{over}{gate.metric} <= {write_number(number)}{sign}`."
    return "Write a bound that some backtests pass and others fail, or remove the line."


def _odd_direction(gate: Gate) -> Iterator[Finding]:
    """Find a gate that more risk helps to pass: an error for losses, and else a warning."""
    is_lower = METRICS[gate.metric].better is Better.LOWER
    if is_lower and gate.operator in _UPWARDS:
        opposite = "<=" if gate.operator is Operator.AT_LEAST else "<"
        turned = gate.text.replace(gate.operator, opposite, 1)
        is_plain = gate.bound.reference is Reference.ZERO
        if is_plain and not gate.bound.number:  # below 0 there is nothing
            turned = f"{gate.metric} <= 25%"
        yield Finding(
            f"`{gate.text}` passes the models with more risk: of `{gate.metric}`, less is better.",
            f"Write `{turned}`.",
            Severity.ERROR if is_plain and gate.metric in _LOSSES else Severity.WARNING,
        )


def _odd_units(gate: Gate) -> Iterator[Finding]:
    """Warn if a number was probably meant in another unit."""
    bound, unit = gate.bound, METRICS[gate.metric].unit
    if not bound.number:
        return
    if bound.reference is not Reference.ZERO:
        yield from _odd_margins(gate)
        return
    number, hundredfold = bound.number, bound.number.scaleb(2, EXACTLY)
    if bound.is_per_cent and unit not in {Unit.PER_CENT, Unit.FRACTION}:
        message, hint = _as_hundredth(gate)
    elif not bound.is_per_cent and unit is Unit.PER_CENT and abs(number) < 1:
        message, hint = _as_per_cent(gate, "in per cent", number, hundredfold)
    elif not bound.is_per_cent and unit is Unit.FRACTION and abs(number) >= _LARGE_FRACTION:
        message, hint = _as_per_cent(gate, "a fraction of 1", hundredfold, number)
    else:
        return
    yield Finding(message, hint, Severity.WARNING)


def _odd_margins(gate: Gate) -> Iterator[Finding]:
    """Warn if the offset from a base was probably meant in another unit."""
    number, unit = gate.bound.number, METRICS[gate.metric].unit
    if gate.bound.is_per_cent or unit is not Unit.FRACTION or abs(number) < _LARGE_FRACTION:
        return
    sign, share = "-" if number < 0 else "+", write_number(abs(number))
    points = write_number(abs(number.scaleb(2, EXACTLY)))
    base = gate.bound.reference
    yield Finding(
        f"`{base} {sign} {share}` is read as {points} percentage points, because "
        f"`{gate.metric}` is a fraction of 1.",
        f"Write `{base} {sign} {write_number(abs(number.scaleb(-2, EXACTLY)))}` for {share} "
        f"percentage points, or `{base} {sign} {share}%` for that share of that value.",
        Severity.WARNING,
    )


def _as_hundredth(gate: Gate) -> tuple[str, str]:
    number = gate.bound.number
    shown, hundredth = write_number(number), write_number(number.scaleb(-2, EXACTLY))
    offset = EXACTLY.subtract(number, Decimal(100))
    margin = f" {'-' if offset < 0 else '+'} {write_number(abs(offset))}%" if offset else ""
    way_out = f"Write `{hundredth}` if you mean that, or `base{margin}` for {shown}% of"
    return (
        f"`{shown}%` is read as {hundredth}, because `{gate.metric}` is not a percentage.",
        f"{way_out} the base's value.",
    )


def _as_per_cent(gate: Gate, unit: str, read: Decimal, other: Decimal) -> tuple[str, str]:
    shown, per_cent = write_number(gate.bound.number), write_number(read)
    return (
        f"`{shown}` is read as {per_cent}%, because `{gate.metric}` is {unit}.",
        f"Write `{per_cent}%` if you mean that, else `{write_number(other)}%`.",
    )


def write_number(number: Decimal) -> str:
    """Return a number as written in a gate."""
    short = number.normalize(EXACTLY)
    return f"{short:f}" if abs(short.adjusted()) < _LONGEST_PLAIN else str(short)
