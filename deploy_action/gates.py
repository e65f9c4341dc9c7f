"""Gates: conditions on the metrics of a backtest, one a line, parsed and judged.

Numbers are counted in decimals, as they are written: 3 times a base of 1.1 is 3.3 here, and
3.3000000000000003 in binary fractions.
"""

from __future__ import annotations

import math
import operator as operators
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.metrics import (
    EXACTLY,
    METRICS,
    Unit,
    in_decimals,
    known,
    nearest_float,
)
from deploy_action.quantities import exact, rounded
from deploy_action.text import cut, one_line

_LINE_END: Final = re.compile(r"\r\n?|\n")
_BLANKS: Final = re.compile(r"\s*+")
_WORD: Final = re.compile(r"\S++")
# Every character that people write comparisons with; `= >` is one operator with a blank in it.
_ALIKE: Final = {
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "⩽": "<=",
    "⩾": ">=",
    "≦": "<=",
    "≧": ">=",
    # Of keyboards for Chinese and Japanese.
    "\uff1c": "<",
    "\uff1e": ">",
    "\uff1d": "=",
}
_COMPARING: Final = f"[<>=!~{''.join(_ALIKE)}]"
_OPERATOR: Final = re.compile(rf"{_COMPARING}(?:\s*+{_COMPARING})*+")
_MEANT: Final = {
    "=": "==",
    "===": "==",
    "=>": ">=",
    "=<": "<=",
    ">==": ">=",
    "<==": "<=",
    "!": "!=",
    "!==": "!=",
    "=!": "!=",
    "<>": "!=",
    "~=": "!=",
    ">>": ">",
    "<<": "<",
}
_BASE: Final = re.compile(r"base(?!\w)")
_NUMBER: Final = re.compile(
    r"(?P<sign>[-+]?)\s*+(?P<digits>(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)"
    r"\s*+(?P<per_cent>%?)"
)
_NOT_FINITE: Final = re.compile(r"[-+]?\s*(?:inf(?:inity)?|nan)(?!\w)", re.IGNORECASE)
_SEPARATED: Final = re.compile(r"[,_'\u2019]?[0-9]")
_CONNECTED: Final = re.compile(r"(?:and|or)(?!\w)|[&|;,<>=!]", re.IGNORECASE)
_LONGEST_SHOWN: Final = 60
_LONGEST_REASON: Final = 200
_LONGEST_NUMBER: Final = 40
# What people call metrics elsewhere, where it is not near enough to our names.
_CALLED: Final = {
    "var": "value_at_risk",
    "expected_shortfall": "cvar",
    "mdd": "max_drawdown",
    "vol": "volatility",
    "max_dd": "max_drawdown",
    "balance": "final_account_value",
}
# From here on, a fraction without `%` is more likely a percentage: 2 is 200 %.
_LARGE_FRACTION: Final = 2

_FORM: Final = (
    "A gate is `METRIC OPERATOR VALUE`, such as `max_drawdown <= 20%` or `sharpe >= base - 10%`."
)
_VALUES: Final = (
    "A value is a number (`1.5`, `20%`), `base`, or `base + NUMBER` or `base - NUMBER`, with or "
    "without `%`."
)

# Shown numbers have as few of these decimals as tell the value from the bound, and say with two
# digits or so by how much; from the largest on, decimals are lost on the reader.
_DECIMALS: Final = (2, 4, 6)
_LEAST_SHOWN: Final = 5
_LARGEST_SHORT: Final = Decimal("1e15")
_LONGEST_PLAIN: Final = 20

_FAILED_HINT: Final = "Change the model, or the gate if this is not what it should ask for."
_NO_REF_HINT: Final = (
    "Set `compare-with` to a git ref, such as `origin/main`, or write a number instead of `base`."
)
_NO_BASE_HINT: Final = (
    "Set `compare-with` to a git ref where the model can be backtested, or write a number "
    "instead of `base`."
)
_NOT_COMPUTED_HINT: Final = (
    "Only a value can pass a gate. Let the backtest cover more time (`backtest-args`), so that "
    "there is enough to compute it from, or take another metric."
)
_NO_REF: Final = "`compare-with` is not set"
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


class _WrongLineError(Exception):
    """A line that is no gate; `index` is where, in code points from 0."""

    def __init__(self, index: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.index = index
        self.hint = hint


def parse_gates(text: str) -> tuple[tuple[Gate, ...], tuple[Problem, ...]]:
    """Return the gates in the input `gates`, and what is wrong or odd in it.

    Every line that is no gate has one error, with its line and its column (code points from 1).
    Gates that are read otherwise than they may have been meant have a warning, and stay.
    """
    gates: list[Gate] = []
    problems: list[Problem] = []
    for number, line in enumerate(_LINE_END.split(text), start=1):
        content = line.partition("#")[0].rstrip()
        if not content:
            continue
        try:
            gate, value_index = _parse_line(content, number)
        except _WrongLineError as wrong:
            problems.append(_located(number, wrong.index, str(wrong), wrong.hint))
            continue
        gates.append(gate)
        problems += _odd_readings(gate, value_index)
    return tuple(gates), tuple(problems)


def _located(
    line: int, index: int, message: str, hint: str, severity: Severity = Severity.ERROR
) -> Problem:
    place = f"Input `gates`, line {line}, column {index + 1}"
    return Problem(message=f"{place}: {message}", hint=hint, severity=severity)


def _parse_line(content: str, line: int) -> tuple[Gate, int]:
    """Return the gate in a line that is not blank, and where its value starts."""
    found = _OPERATOR.search(content)
    start = _skip_blanks(content, 0)
    if found is None:
        raise _without_operator(content, start)
    metric = _parse_metric(content[start : found.start()].rstrip(), start)
    operator = _parse_operator(found)
    value_index = _skip_blanks(content, found.end())
    bound = _parse_bound(content, value_index)
    text = " ".join(content.split())
    gate = Gate(metric=metric, operator=operator, bound=bound, line=line, text=text)
    return gate, value_index


def _skip_blanks(content: str, index: int) -> int:
    found = _BLANKS.match(content, index)
    return found.end() if found else index


def _without_operator(content: str, start: int) -> _WrongLineError:
    word = _WORD.match(content, start)
    end = word.end() if word else start
    metric = _parse_metric(content[start:end], start)
    following = _skip_blanks(content, end)
    return _WrongLineError(
        following, f"after `{metric}` an operator is missing.", f"{_operators()} {_FORM}"
    )


def _operators() -> str:
    return f"The operators are {', '.join(f'`{one}`' for one in Operator)}."


def _parse_metric(name: str, index: int) -> str:
    if name in METRICS:
        return name
    if not name:
        raise _WrongLineError(index, "the metric is missing.", f"{_FORM} {_known_metrics()}")
    if _NUMBER.fullmatch(name) or _BASE.match(name):
        raise _WrongLineError(
            index, f"the metric comes first, and {_quoted(name)} is none.", f"{_FORM}"
        )
    near = nearest_metric(name)
    meant = f"Did you mean `{near}`? " if near else ""
    raise _WrongLineError(index, f"{_quoted(name)} is no metric.", f"{meant}{_known_metrics()}")


def _known_metrics() -> str:
    return f"The metrics are {', '.join(f'`{name}`' for name in METRICS)}."


def nearest_metric(name: str) -> str | None:
    """Return the id of the metric that was most likely meant, however it was spelled."""
    from difflib import get_close_matches

    form = re.sub(r"[\W_]+", "_", name[:_LONGEST_SHOWN].lower()).strip("_")
    names = {re.sub(r"\W", "_", kind.name.lower()): kind.id for kind in METRICS.values()}
    ids = names | _CALLED | {metric: metric for metric in METRICS}
    matches = [form] if form in ids else get_close_matches(form, ids, n=1)
    return ids[matches[0]] if matches else None


def _quoted(text: str) -> str:
    return f"`{cut(one_line(text), _LONGEST_SHOWN)}`"


def _parse_operator(found: re.Match[str]) -> Operator:
    written = found.group()
    if written in set(Operator):
        return Operator(written)
    form = "".join(_ALIKE.get(char, char) for char in written if not char.isspace())
    meant = _MEANT.get(form, form)
    known = f"Did you mean `{meant}`? " if meant in set(Operator) else ""
    raise _WrongLineError(
        found.start(), f"{_quoted(written)} is no operator.", f"{known}{_operators()}"
    )


def _parse_bound(content: str, start: int) -> Bound:
    base = _BASE.match(content, start)
    if base is None:
        number, is_per_cent = _parse_number(content, start)
        return Bound(number=number, is_per_cent=is_per_cent, of_base=False)
    index = _skip_blanks(content, base.end())
    if index == len(content):
        return Bound(number=Decimal(0), is_per_cent=False, of_base=True)
    sign = content[index]
    if sign not in "+-":
        message = f"{_quoted(content[index:])} is not expected after `base`."
        raise _WrongLineError(index, message, f"{_meant_minus(sign)}{_VALUES}")
    number, is_per_cent = _parse_number(content, _skip_blanks(content, index + 1))
    offset = number if sign == "+" else number.copy_negate()
    return Bound(number=offset, is_per_cent=is_per_cent, of_base=True)


def _parse_number(content: str, start: int) -> tuple[Decimal, bool]:
    """Return the number that the rest of the line is, and whether it has a `%`."""
    found = _NUMBER.match(content, start)
    if found is None:
        raise _without_number(content, start)
    end = _skip_blanks(content, found.end())
    if end < len(content):
        raise _with_rest(content, end)
    return _checked_number(found), bool(found["per_cent"])


def _without_number(content: str, index: int) -> _WrongLineError:
    rest = content[index:]
    if not rest:
        return _WrongLineError(index, "a value is missing at the end.", _VALUES)
    if _NOT_FINITE.match(rest):
        return _WrongLineError(index, f"{_quoted(rest)} is no finite number.", _VALUES)
    word = re.split(r"[^\w]", rest, maxsplit=1)[0]
    if word in METRICS:
        message = f"{_quoted(rest)} is no value: a metric is not compared with another one."
        return _WrongLineError(index, message, _VALUES)
    message = f"{_quoted(rest)} is neither a number nor `base`."
    return _WrongLineError(index, message, f"{_meant_base(word)}{_meant_minus(rest[0])}{_VALUES}")


def _meant_base(word: str) -> str:
    from difflib import get_close_matches

    is_near = get_close_matches(word[:_LONGEST_SHOWN].lower(), ["base", "baseline"], n=1)
    return "Did you mean `base`? " if is_near else ""


def _meant_minus(sign: str) -> str:
    # The hyphens and dashes of Unicode, which word processors write for a minus.
    return "Did you mean `-`? " if sign in "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d" else ""


def _with_rest(content: str, index: int) -> _WrongLineError:
    rest = content[index:]
    message = f"{_quoted(rest)} is not expected after the number."
    if _SEPARATED.match(rest):
        hint = "Write numbers without separators, and decimals after a point: `10000.5`."
    elif _CONNECTED.match(rest):
        hint = "Write each gate on a line of its own: all of them have to pass."
    else:
        hint = _VALUES
    return _WrongLineError(index, message, hint)


def _checked_number(found: re.Match[str]) -> Decimal:
    """Return the number if a float can hold it: metrics are floats."""
    digits = found["digits"]
    shown = _quoted(found.group())
    if len(digits) > _LONGEST_NUMBER:
        message = f"{shown} has more than {_LONGEST_NUMBER} characters."
        raise _WrongLineError(found.start(), message, "Round the number.")
    if math.isinf(float(digits)):
        message = f"{shown} is larger than any metric can be."
        raise _WrongLineError(found.start(), message, "Write a smaller number.")
    if not float(digits):
        if re.search("[1-9]", re.split("[eE]", digits)[0]):
            message = f"{shown} is smaller than any metric can be."
            raise _WrongLineError(found.start(), message, "Write 0, or a larger number.")
        return Decimal(0)
    return Decimal(found["sign"] + digits)


def _odd_readings(gate: Gate, index: int) -> Iterator[Problem]:
    """Warn where a number is likely to be meant in another unit than it is read in."""
    bound, unit = gate.bound, METRICS[gate.metric].unit
    if bound.of_base or not bound.number:
        return
    if bound.is_per_cent and unit not in {Unit.PER_CENT, Unit.FRACTION}:
        message, hint = _as_hundredth(gate)
    elif not bound.is_per_cent and unit is Unit.PER_CENT and abs(bound.number) < 1:
        message, hint = _as_per_cent(gate)
    elif not bound.is_per_cent and unit is Unit.FRACTION and abs(bound.number) >= _LARGE_FRACTION:
        message, hint = _as_fraction(gate)
    else:
        return
    yield _located(gate.line, index, message, hint, Severity.WARNING)


def _as_hundredth(gate: Gate) -> tuple[str, str]:
    number = gate.bound.number
    shown, hundredth = _plain(number), _plain(number.scaleb(-2, EXACTLY))
    offset = EXACTLY.subtract(number, Decimal(100))
    of_base = f"base {'-' if offset < 0 else '+'} {_plain(abs(offset))}%" if offset else "base"
    return (
        f"`{shown}%` is read as {hundredth}, because `{gate.metric}` is no share of anything.",
        f"Write `{hundredth}` if you mean that, or `{of_base}` for {shown} % of the base's value.",
    )


def _as_per_cent(gate: Gate) -> tuple[str, str]:
    number = gate.bound.number
    shown, hundredfold = _plain(number), _plain(number.scaleb(2, EXACTLY))
    return (
        f"`{shown}` is read as {shown} %, because `{gate.metric}` is in per cent.",
        f"Write `{shown}%` if you mean that, else `{hundredfold}%`.",
    )


def _as_fraction(gate: Gate) -> tuple[str, str]:
    number = gate.bound.number
    shown, hundredfold = _plain(number), _plain(number.scaleb(2, EXACTLY))
    return (
        f"`{shown}` is read as {hundredfold} %, because `{gate.metric}` is a fraction of 1.",
        f"Write `{hundredfold}%` if you mean that, else `{shown}%`.",
    )


def _plain(number: Decimal) -> str:
    """Return a number as one would write it in a gate."""
    short = number.normalize(EXACTLY)
    return f"{short:f}" if abs(short.adjusted()) < _LONGEST_PLAIN else str(short)


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
    missing = no_base or _NO_REF
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
    bound = _exact_bound(gate, base_value)
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


def _exact_bound(gate: Gate, base: float | None) -> Decimal | None:
    """Return the bound in the metric's unit, None where it is one of a base that is not known."""
    bound = gate.bound
    if not bound.of_base:
        is_hundredth = bound.is_per_cent and METRICS[gate.metric].unit is not Unit.PER_CENT
        return bound.number.scaleb(-2, EXACTLY) if is_hundredth else bound.number
    if base is None:
        return None
    return EXACTLY.add(in_decimals(base), _offset(bound, base))


def _offset(bound: Bound, base: float) -> Decimal:
    """Return how far a bound lies above the base's value: of it, `10%` is a tenth."""
    if not bound.is_per_cent:
        return bound.number
    return EXACTLY.multiply(in_decimals(base), bound.number).scaleb(-2, EXACTLY)


def problem_of(verdict: Verdict) -> Problem | None:
    """Return the error to show for a gate that did not pass, with the value and by how much."""
    if verdict.is_passed:
        return None
    what, hint = _what_and_hint(verdict)
    return Problem(message=f"Gate `{verdict.gate.text}` failed: {what}.", hint=hint)


def _what_and_hint(verdict: Verdict) -> tuple[str, str]:
    if verdict.state is State.NOT_COMPUTED:
        what = f"`{verdict.gate.metric}` was not computed ({_reason(verdict)})"
        return what, _NOT_COMPUTED_HINT
    if verdict.state is State.NO_BASE:
        what = f"there is no base to compare with ({_reason(verdict)})"
        return what, _NO_REF_HINT if verdict.reason == _NO_REF else _NO_BASE_HINT
    return _failure(verdict), _sign_hint(verdict) or _FAILED_HINT


def _reason(verdict: Verdict) -> str:
    return cut(one_line(verdict.reason), _LONGEST_REASON).rstrip(".")


def _failure(verdict: Verdict) -> str:
    """Say what the value is, and by how much it misses the bound; both are known."""
    gate, bound = verdict.gate, _exact_bound(verdict.gate, verdict.base)
    if verdict.value is None or bound is None:
        raise ValueError(f"a gate that failed has a value and a bound: {verdict}")
    value, base = in_decimals(verdict.value), in_decimals(verdict.base or 0.0)
    difference = EXACTLY.subtract(value, bound)
    shown = _Shown(gate, _form(gate.bound, value, bound, difference))
    target = f"the bound of {shown.value(bound)}"
    if gate.bound.of_base:
        target = f"the base's {shown.value(base)}"
        if gate.bound.number:
            target = f"the bound of {shown.value(bound)} (the base has {shown.value(base)})"
    start = f"`{gate.metric}` is {shown.value(value)}, "
    if not difference:
        return f"{start}exactly {target}, and has to be {_WANTED[gate.operator]} it"
    side = "above" if difference > 0 else "below"
    end = ", and has to equal it" if gate.operator is Operator.EQUAL else ""
    return f"{start}{shown.difference(abs(difference))} {side} {target}{end}"


_WANTED: Final = {
    Operator.ABOVE: "above",
    Operator.BELOW: "below",
    Operator.UNEQUAL: "other than",
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """Shows amounts of a gate's metric, with the metric's unit."""

    gate: Gate
    form: Callable[[Decimal], str]

    @property
    def _is_per_cent(self) -> bool:
        return METRICS[self.gate.metric].unit is Unit.PER_CENT

    def value(self, number: Decimal) -> str:
        return self.form(number) + (" %" if self._is_per_cent else "")

    def difference(self, number: Decimal) -> str:
        shown = self.form(number)
        if not self._is_per_cent:
            return shown
        return f"{shown} percentage point{'' if shown == '1' else 's'}"


def _form(
    bound: Bound, value: Decimal, limit: Decimal, difference: Decimal
) -> Callable[[Decimal], str]:
    """Return how to show numbers: as short as it can be without hiding the difference."""
    for decimals in _DECIMALS:
        is_short = abs(difference) * 10**decimals >= _LEAST_SHOWN
        is_exact = bound.of_base or limit == round(limit, decimals)
        if is_short and is_exact and max(abs(value), abs(limit)) < _LARGEST_SHORT:
            return lambda number: rounded(float(number), decimals)
    if not difference or exact(float(value)) != exact(nearest_float(limit)):
        return lambda number: exact(nearest_float(number))
    return _plain


def _sign_hint(verdict: Verdict) -> str:
    """Say what a percentage of a base does that is not above zero: blank for all others."""
    gate, base = verdict.gate, verdict.base
    if base is None or base > 0 or not (gate.bound.is_per_cent and gate.bound.of_base):
        return ""
    if not base:
        return "The base is 0, and so is any share of it. Write the margin without `%`."
    # The opposite sign of what was written, because the base is negative.
    side, sign = ("above", "-") if gate.bound.number < 0 else ("below", "+")
    other = "below" if side == "above" else "above"
    margin = _plain(abs(_offset(gate.bound, base)))
    share = _plain(EXACTLY.add(gate.bound.number, Decimal(100)))
    return (
        f"The base is negative, so that {share} % of it is {side} it. For a bound {other} it, "
        f"write the margin as a number: `{gate.metric} {gate.operator} base {sign} {margin}`."
    )
