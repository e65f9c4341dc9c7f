"""Reads the lines of gates, and finds what is wrong in them."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from deploy_action.backtest.metrics import METRICS, Over
from deploy_action.errors import Problem
from deploy_action.gates.judgement import (
    AnyGate,
    Bound,
    Gate,
    IdenticalGate,
    Operator,
    Reference,
)
from deploy_action.gates.sense import Finding, find_nonsense
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import replace
from deploy_action.text.harmless import excerpt

_LINE_END: Final = lazy_regex(r"\r\n?|\n")
# All characters with which people write comparisons; `= >` is one operator with a blank in it.
_ALIKE: Final = str.maketrans(
    {**dict.fromkeys("≤⩽≦", "<="), **dict.fromkeys("≥⩾≧", ">="), "≠": "!="}
    # From Chinese and Japanese keyboards.
    | {"\uff1c": "<", "\uff1e": ">", "\uff1d": "="}
)
_COMPARING: Final = f"[<>=!~{''.join(map(chr, _ALIKE))}]"
_OPERATOR: Final = lazy_regex(rf"{_COMPARING}(?:\s*+{_COMPARING})*+")
_MEANT: Final = {
    **dict.fromkeys(("=", "==="), "=="),
    **dict.fromkeys(("=>", ">=="), ">="),
    **dict.fromkeys(("=<", "<=="), "<="),
    **dict.fromkeys(("!", "!==", "=!", "<>", "~="), "!="),
    ">>": ">",
    "<<": "<",
}
_REFERENCE: Final = lazy_regex(r"(base|hold)(?!\w)")
_VALUE_FIRST: Final = lazy_regex(r"(?:base|hold)(?:\s*[-+]\s*[0-9.].*)?", re.DOTALL)
_OVER: Final = lazy_regex(r"(worst|median|best)\s+(?=\S)")
_IDENTICAL: Final = "identical"
_NUMBER: Final = lazy_regex(
    r"(?P<sign>[-+]?)\s*+(?P<digits>(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)"
    r"\s*+(?P<per_cent>%?)"
)
_NOT_FINITE: Final = lazy_regex(r"[-+]?\s*(?:inf(?:inity)?|nan)(?!\w)", re.IGNORECASE)
_SEPARATED: Final = lazy_regex(r"[,_'\u2019]?[0-9]")
_CONNECTED: Final = lazy_regex(r"(?:and|or)(?!\w)|[&|;,<>=!]", re.IGNORECASE)
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

_FORM: Final = (
    "A gate is `METRIC OPERATOR VALUE`, such as `max_drawdown <= 20%`, `cum_returns > hold` or "
    "`worst sharpe >= base - 10%`, or the word `identical`."
)
_VALUES: Final = (
    "A value is a number (`1.5`, `20%`), `base`, `hold`, or `base + NUMBER` or `base - NUMBER`, "
    "with or without `%`."
)
_OPERATORS: Final = f"The operators are {', '.join(f'`{one}`' for one in Operator)}."
_METRICS: Final = f"The metrics are {', '.join(f'`{name}`' for name in METRICS)}."


class _WrongLineError(Exception):
    """A line is not a gate; `index` is the place, in code points from 0."""

    def __init__(self, index: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.index = index
        self.hint = hint


def parse_gates(text: str) -> tuple[tuple[AnyGate, ...], tuple[Problem, ...]]:
    """Return the gates in the input `gates`, and the problems found.

    Each line that is not a gate has one error, with line and column (code points from 1), and so
    has a gate that no value can fail, or none can pass. A gate that may have been meant otherwise
    is kept and has a warning.
    """
    gates: list[AnyGate] = []
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
        if isinstance(gate, Gate):
            findings = find_nonsense(gate)
            problems += [_found(number, value_index, finding) for finding in findings]
    return tuple(gates), tuple(problems)


def _located(line: int, index: int, message: str, hint: str) -> Problem:
    place = f"Input `gates`, line {line}, column {index + 1}"
    return Problem(message=f"{place}: {message}", hint=hint)


def _found(line: int, index: int, finding: Finding) -> Problem:
    problem = _located(line, index, finding.message, finding.hint)
    return replace(problem, severity=finding.severity)


def _parse_line(content: str, line: int) -> tuple[AnyGate, int]:
    """Return the gate in a line that is not blank, and the index of its value."""
    found = _OPERATOR.search(content)
    start = _skip_blanks(content, 0)
    if content.strip() == _IDENTICAL:
        return IdenticalGate(line=line), start
    over = _OVER.match(content, start)
    if over is not None:
        start = over.end()
    if found is None:
        raise _without_operator(content, start)
    metric = _parse_metric(content[start : found.start()].rstrip(), start)
    operator = _parse_operator(found)
    value_index = _skip_blanks(content, found.end())
    bound = _parse_bound(content, value_index)
    text = " ".join(content.split())
    gate = Gate(
        metric=metric,
        operator=operator,
        bound=bound,
        line=line,
        text=text,
        over=Over.WHOLE if over is None else Over(over[1]),
    )
    return gate, value_index


def _skip_blanks(content: str, index: int) -> int:
    return len(content) - len(content[index:].lstrip())


def _without_operator(content: str, start: int) -> _WrongLineError:
    word = content[start:].split(maxsplit=1)[0]
    metric = _parse_metric(word, start)
    following = _skip_blanks(content, start + len(word))
    message = f"an operator is missing after `{metric}`."
    return _WrongLineError(following, message, f"{_OPERATORS} {_FORM}")


def _parse_metric(name: str, index: int) -> str:
    if name in METRICS:
        return name
    if not name:
        raise _WrongLineError(index, "the metric is missing.", f"{_FORM} {_METRICS}")
    if _NUMBER.fullmatch(name) or _VALUE_FIRST.fullmatch(name):
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
    found = _REFERENCE.match(content, start)
    if found is None:
        number, is_per_cent = _parse_number(content, start)
        return Bound(number=number, is_per_cent=is_per_cent)
    reference = Reference(found[1])
    index = _skip_blanks(content, found.end())
    if index == len(content):
        return Bound(number=Decimal(0), is_per_cent=False, reference=reference)
    sign = content[index]
    if sign not in "+-":
        message = f"{_quoted(content[index:])} is not expected after `{reference}`."
        raise _WrongLineError(index, message, f"{_meant_minus(sign)}{_VALUES}")
    index = _skip_blanks(content, index + 1)
    if content[index : index + 1] in {"+", "-"}:
        raise _WrongLineError(index, f"{_quoted(content[index:])} has one sign too many.", _VALUES)
    number, is_per_cent = _parse_number(content, index)
    offset = number if sign == "+" else number.copy_negate()
    return Bound(number=offset, is_per_cent=is_per_cent, reference=reference)


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
    if word in {"base", "hold"}:
        message = f"`{word}` may occur once, at the start of the value."
        return _WrongLineError(index, message, _VALUES)
    if word in METRICS:
        message = f"{_quoted(rest)} is not a value: metrics cannot be compared with each other."
        return _WrongLineError(index, message, _VALUES)
    message = f"{_quoted(rest)} is neither a number nor `base` or `hold`."
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
