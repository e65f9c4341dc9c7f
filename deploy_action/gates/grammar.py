"""Reads the lines of gates, and finds what is wrong or odd in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from deploy_action.backtest.metrics import EXACTLY, METRICS, Unit
from deploy_action.errors import Problem, Severity
from deploy_action.gates.judgement import Bound, Gate, Operator
from deploy_action.text.harmless import excerpt

_LINE_END: Final = re.compile(r"\r\n?|\n")
# All characters with which people write comparisons; `= >` is one operator with a blank in it.
_ALIKE: Final = str.maketrans(
    {**dict.fromkeys("≤⩽≦", "<="), **dict.fromkeys("≥⩾≧", ">="), "≠": "!="}
    # From Chinese and Japanese keyboards.
    | {"\uff1c": "<", "\uff1e": ">", "\uff1d": "="}
)
_COMPARING: Final = f"[<>=!~{''.join(map(chr, _ALIKE))}]"
_OPERATOR: Final = re.compile(rf"{_COMPARING}(?:\s*+{_COMPARING})*+")
_MEANT: Final = {
    **dict.fromkeys(("=", "==="), "=="),
    **dict.fromkeys(("=>", ">=="), ">="),
    **dict.fromkeys(("=<", "<=="), "<="),
    **dict.fromkeys(("!", "!==", "=!", "<>", "~="), "!="),
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
_LONGEST_NUMBER: Final = 40
# Other names of metrics that are not similar enough to ours.
_CALLED: Final = {
    "var": "value_at_risk",
    "expected_shortfall": "cvar",
    "mdd": "max_drawdown",
    "vol": "volatility",
    "max_dd": "max_drawdown",
    "balance": "final_account_value",
}
# A fraction of this or more is more likely meant as a percentage: 2 is 200%.
_LARGE_FRACTION: Final = 2

_FORM: Final = (
    "A gate is `METRIC OPERATOR VALUE`, such as `max_drawdown <= 20%` or `sharpe >= base - 10%`."
)
_VALUES: Final = (
    "A value is a number (`1.5`, `20%`), `base`, or `base + NUMBER` or `base - NUMBER`, with or "
    "without `%`."
)
_OPERATORS: Final = f"The operators are {', '.join(f'`{one}`' for one in Operator)}."
_METRICS: Final = f"The metrics are {', '.join(f'`{name}`' for name in METRICS)}."
# With more digits, an exponent is easier to read and to write.
_LONGEST_PLAIN: Final = 20


class _WrongLineError(Exception):
    """A line is not a gate; `index` is the place, in code points from 0."""

    def __init__(self, index: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.index = index
        self.hint = hint


def parse_gates(text: str) -> tuple[tuple[Gate, ...], tuple[Problem, ...]]:
    """Return the gates in the input `gates`, and the problems found.

    Each line that is not a gate has one error, with line and column (code points from 1). A gate
    that may have been meant in another unit is kept and has a warning.
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
    """Return the gate in a line that is not blank, and the index of its value."""
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
    return len(content) - len(content[index:].lstrip())


def _without_operator(content: str, start: int) -> _WrongLineError:
    word = content.split(maxsplit=1)[0]
    metric = _parse_metric(word, start)
    following = _skip_blanks(content, start + len(word))
    message = f"an operator is missing after `{metric}`."
    return _WrongLineError(following, message, f"{_OPERATORS} {_FORM}")


def _parse_metric(name: str, index: int) -> str:
    if name in METRICS:
        return name
    if not name:
        raise _WrongLineError(index, "the metric is missing.", f"{_FORM} {_METRICS}")
    if _NUMBER.fullmatch(name) or _BASE.match(name):
        raise _WrongLineError(
            index, f"the metric comes first, and {_quoted(name)} is not a metric.", f"{_FORM}"
        )
    near = _nearest_metric(name)
    meant = f"Did you mean `{near}`? " if near else ""
    raise _WrongLineError(index, f"{_quoted(name)} is not a metric.", f"{meant}{_METRICS}")


def _nearest_metric(name: str) -> str | None:
    """Return the id of the metric that was most likely meant, or None."""
    from difflib import get_close_matches

    form = re.sub(r"[\W_]+", "_", name[:_LONGEST_SHOWN].lower()).strip("_")
    names = {re.sub(r"\W", "_", kind.name.lower()): kind.id for kind in METRICS.values()}
    ids = names | _CALLED | {metric: metric for metric in METRICS}
    matches = [form] if form in ids else get_close_matches(form, ids, n=1)
    return ids[matches[0]] if matches else None


def _quoted(text: str) -> str:
    return f"`{excerpt(text, _LONGEST_SHOWN)}`"


def _parse_operator(found: re.Match[str]) -> Operator:
    written = found.group()
    if written in set(Operator):
        return Operator(written)
    form = "".join(written.translate(_ALIKE).split())
    meant = _MEANT.get(form, form)
    known = f"Did you mean `{meant}`? " if meant in set(Operator) else ""
    raise _WrongLineError(
        found.start(), f"{_quoted(written)} is not an operator.", f"{known}{_OPERATORS}"
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
    index = _skip_blanks(content, index + 1)
    if content[index : index + 1] in {"+", "-"}:
        raise _WrongLineError(index, f"{_quoted(content[index:])} has one sign too many.", _VALUES)
    number, is_per_cent = _parse_number(content, index)
    offset = number if sign == "+" else number.copy_negate()
    return Bound(number=offset, is_per_cent=is_per_cent, of_base=True)


def _parse_number(content: str, start: int) -> tuple[Decimal, bool]:
    """Read the rest of the line as a number; return it and whether it has a `%`."""
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
        return _WrongLineError(index, "the value is missing.", _VALUES)
    if _NOT_FINITE.match(rest):
        return _WrongLineError(index, f"{_quoted(rest)} is not a finite number.", _VALUES)
    word = re.split(r"[^\w]", rest, maxsplit=1)[0]
    if word == "base":
        message = "`base` may occur once, at the start of the value."
        return _WrongLineError(index, message, _VALUES)
    if word in METRICS:
        message = f"{_quoted(rest)} is not a value: metrics cannot be compared with each other."
        return _WrongLineError(index, message, _VALUES)
    message = f"{_quoted(rest)} is neither a number nor `base`."
    return _WrongLineError(index, message, f"{_meant_base(word)}{_meant_minus(rest[0])}{_VALUES}")


def _meant_base(word: str) -> str:
    from difflib import get_close_matches

    is_near = get_close_matches(word[:_LONGEST_SHOWN].lower(), ["base", "baseline"], n=1)
    return "Did you mean `base`? " if is_near else ""


def _meant_minus(sign: str) -> str:
    # The hyphens and dashes of Unicode that word processors write for a minus.
    return "Did you mean `-`? " if sign in "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d" else ""


def _with_rest(content: str, index: int) -> _WrongLineError:
    rest = content[index:]
    message = f"{_quoted(rest)} is not expected after the number."
    if _SEPARATED.match(rest):
        hint = "Write numbers without separators, and decimals after a point: `10000.5`."
    elif _CONNECTED.match(rest):
        hint = "Write each gate on its own line: all of them have to pass."
    else:
        hint = _VALUES
    return _WrongLineError(index, message, hint)


def _checked_number(found: re.Match[str]) -> Decimal:
    """Return the number if a float can represent it: metrics are floats."""
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
    """Warn if a number was probably meant in another unit."""
    bound, unit = gate.bound, METRICS[gate.metric].unit
    if not bound.number:
        return
    if bound.of_base:
        yield from _odd_margins(gate, index)
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
    yield _located(gate.line, index, message, hint, Severity.WARNING)


def _odd_margins(gate: Gate, index: int) -> Iterator[Problem]:
    """Warn if the offset from a base was probably meant in another unit."""
    number, unit = gate.bound.number, METRICS[gate.metric].unit
    if gate.bound.is_per_cent or unit is not Unit.FRACTION or abs(number) < _LARGE_FRACTION:
        return
    sign, share = "-" if number < 0 else "+", write_number(abs(number))
    points = write_number(abs(number.scaleb(2, EXACTLY)))
    yield _located(
        gate.line,
        index,
        f"`base {sign} {share}` is read as {points} percentage points, because `{gate.metric}` is "
        "a fraction of 1.",
        f"Write `base {sign} {write_number(abs(number.scaleb(-2, EXACTLY)))}` for {share} "
        f"percentage points, or `base {sign} {share}%` for that share of the base's value.",
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
