from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.errors import Problem, Severity
from deploy_action.gates import (
    Bound,
    Gate,
    Operator,
    State,
    Verdict,
    judge,
    nearest_metric,
    parse_gates,
    problem_of,
)
from deploy_action.metrics import METRICS, Unit
from deploy_action.text import one_line
from tests.nasty import FRAGMENTS, nasty_text

PLACE = re.compile(r"Input `gates`, line (\d+), column (\d+): ")
VALUES: Mapping[str, float | None] = {
    "sharpe": 0.96,
    "cum_returns": -5.0,
    "max_drawdown": 24.0,
    "volatility": 0.27,
    "trades": 12,
    "final_account_value": 9_500.0,
    "calmar": None,
    "sortino": math.nan,
}
BASE: Mapping[str, float | None] = {
    "sharpe": 1.1,
    "cum_returns": -5.0,
    "max_drawdown": 20.0,
    "final_account_value": 10_000.0,
    "cagr": 0.0,
}

# ---------------------------------------------------------------------------- what is read


def one_gate(text: str) -> Gate:
    """Return the gate that a text is."""
    (gate,), _ = parse_gates(text)
    return gate


def only_problem(text: str) -> Problem:
    """Return the one thing that is wrong."""
    _, (problem,) = parse_gates(text)
    return problem


def bound(number: str, *, is_per_cent: bool = False, of_base: bool = False) -> Bound:
    """Return a bound."""
    return Bound(number=Decimal(number), is_per_cent=is_per_cent, of_base=of_base)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.5", bound("1.5")),
        ("-5", bound("-5")),
        ("+.5e-1", bound("0.05")),
        ("2.", bound("2")),
        ("1E3", bound("1000")),
        ("-0", bound("0")),
        ("0e999", bound("0")),
        ("20%", bound("20", is_per_cent=True)),
        ("- 20 %", bound("-20", is_per_cent=True)),
        ("base", bound("0", of_base=True)),
        ("base + 0.5", bound("0.5", of_base=True)),
        ("base - 0.5", bound("-0.5", of_base=True)),
        ("base-10%", bound("-10", is_per_cent=True, of_base=True)),
        ("base + 1e1 %", bound("10", is_per_cent=True, of_base=True)),
        ("base - -1", bound("1", of_base=True)),
    ],
)
def test_a_value_is_a_number_or_the_base(value: str, expected: Bound) -> None:
    """With a sign, decimals, an exponent and `%`, and with blanks or without."""
    for text in (f"cagr >= {value}", f"cagr>={value}", f"\t cagr\xa0>=\u3000{value}  # why"):
        assert one_gate(text).bound == expected


def test_comments_and_blank_lines_set_no_gate_and_count_as_lines() -> None:
    """However lines end."""
    gates, problems = parse_gates(
        "\n# all of it\r\n  sharpe  >=\t1  # fine\r\n\t\r\n#\rtrades>0# too\n"
    )

    assert [(gate.line, gate.text) for gate in gates] == [(3, "sharpe >= 1"), (6, "trades>0")]
    assert problems == ()
    assert parse_gates("") == parse_gates(" \n\r\n # nothing") == ((), ())


UNSIGNED = r"(?:[0-9]{1,6}(?:\.[0-9]{0,4})?|\.[0-9]{1,4})(?:[eE][+-]?[0-9]{1,2})?"
unsigned = st.from_regex(UNSIGNED, fullmatch=True)
numbers = st.from_regex(f"[+-]?{UNSIGNED}", fullmatch=True)
blanks = st.text(" \t\xa0\u2003\x85\u2028", max_size=2)
comments = st.one_of(st.just(""), nasty_text.map(lambda text: "#" + re.sub("[\r\n]", "", text)))
bounds = st.builds(
    lambda number, *, is_per_cent, of_base: Bound(
        number=number, is_per_cent=is_per_cent, of_base=of_base
    ),
    st.decimals(-1000, 1000, places=3),
    is_per_cent=st.booleans(),
    of_base=st.booleans(),
)
metric_names = st.sampled_from(list(METRICS))
operators = st.sampled_from(list(Operator))


@st.composite
def written_gates(draw: st.DrawFn) -> tuple[str, str, Operator, Bound]:
    """Return a line that is a gate, and what it says."""
    metric, operator = draw(metric_names), draw(operators)
    per_cent = draw(st.sampled_from(["", "%"]))
    form = draw(st.sampled_from(["number", "base", "+", "-"]))
    if form == "number":
        number = draw(numbers)
        words, signed = [number], Decimal(number)
    elif form == "base":
        words, signed, per_cent = ["base"], Decimal(0), ""
    else:
        number = draw(unsigned)
        words = ["base", form, number]
        signed = Decimal(number) if form == "+" else -Decimal(number)
    words = [metric, operator, *words, per_cent]
    line = "".join(part for word in words for part in (draw(blanks), word))
    expected = bound(str(signed or 0), is_per_cent=bool(per_cent), of_base=form != "number")
    return line + draw(blanks) + draw(comments), metric, operator, expected


@given(st.lists(written_gates(), max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))
def test_every_gate_is_read_as_it_was_written(
    written: list[tuple[str, str, Operator, Bound]], line_end: str
) -> None:
    """One a line, in order, and its own text is read as the same gate again."""
    gates, problems = parse_gates(line_end.join(line for line, *_ in written))

    assert [(gate.metric, gate.operator, gate.bound) for gate in gates] == [
        tuple(parts) for _, *parts in written
    ]
    assert [gate.line for gate in gates] == [*range(1, len(written) + 1)]
    assert {problem.severity for problem in problems} <= {Severity.WARNING}
    for gate in gates:
        again = one_gate("\n" * (gate.line - 1) + gate.text)
        assert again == gate
        assert gate.text == " ".join(gate.text.split())


TOKENS = (
    *("sharpe", "max_drawdown", "volatility", "trades", "base", "Base", "nan", "-inf", "and"),
    *(">=", ">", "=", "<", "!", "≥", "~", "+", "-", "\u2212", "%", "1", ".5", "20%", "1e999", ","),
    *("\n", "\r", " ", "\t", "#", "\u2028", "0" * 50),
)


@given(st.one_of(st.lists(st.sampled_from((*TOKENS, *FRAGMENTS))).map("".join), nasty_text))
@example("sharpe > = > 1\n" * 3)
def test_any_text_is_gates_and_problems_with_their_places(text: str) -> None:
    """Each line that says something is a gate or has its error, at a place that is there."""
    gates, problems = parse_gates(text)

    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    lines = re.split(r"\r\n?|\n", text)
    said = [number for number, line in enumerate(lines, 1) if line.partition("#")[0].strip()]
    places = [PLACE.match(problem.message) for problem in problems]
    wrong = [int(place[1]) for place in places if place and place.end()]
    assert len(wrong) == len(problems)
    assert wrong == sorted(wrong)
    error_lines = [int(match[1]) for one in errors if (match := PLACE.match(one.message))]
    assert sorted([gate.line for gate in gates] + error_lines) == said
    for problem, place in zip(problems, places, strict=True):
        assert place
        assert 1 <= int(place[2]) <= len(lines[int(place[1]) - 1]) + 1
        assert one_line(problem.message) == problem.message
        assert len(problem.message) < 300
        assert problem.hint


# ---------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        ("  sharpp >= 1", 3, "`sharpp` is no metric.", "Did you mean `sharpe`? The metrics are"),
        ("win_rate > 90%", 1, "`win_rate` is no metric.", "The metrics are `sharpe`, `sortino`"),
        ("max drawdown < 1", 1, "`max drawdown` is no metric.", "Did you mean `max_drawdown`?"),
        ("Sharpe > 1", 1, "`Sharpe` is no metric.", "Did you mean `sharpe`?"),
        (">= 1", 1, "the metric is missing.", "A gate is `METRIC OPERATOR VALUE`"),
        ("1 <= sharpe", 1, "the metric comes first, and `1` is none.", "A gate is"),
        ("base < sharpe", 1, "the metric comes first, and `base` is none.", "A gate is"),
        ("sharpe", 7, "after `sharpe` an operator is missing.", "The operators are `>=`, `>`"),
        ("sharpe  1", 9, "after `sharpe` an operator is missing.", "The operators are"),
        ("sharp 1", 1, "`sharp` is no metric.", "Did you mean `sharpe`?"),
        ("sharpe = 1", 8, "`=` is no operator.", "Did you mean `==`?"),
        ("sharpe => 1", 8, "`=>` is no operator.", "Did you mean `>=`?"),
        ("sharpe =< 1", 8, "`=<` is no operator.", "Did you mean `<=`?"),
        ("sharpe ≥ 1", 8, "`≥` is no operator.", "Did you mean `>=`?"),
        ("sharpe ≠1", 8, "`≠` is no operator.", "Did you mean `!=`?"),
        ("sharpe \uff1e\uff1d 1", 8, "`\uff1e\uff1d` is no operator.", "Did you mean `>=`?"),
        ("sharpe <> 1", 8, "`<>` is no operator.", "Did you mean `!=`?"),
        ("sharpe > = 1", 8, "`> =` is no operator.", "Did you mean `>=`?"),
        ("sharpe ~ 1", 8, "`~` is no operator.", "The operators are `>=`, `>`, `<=`, `<`"),
        ("sharpe >=", 10, "a value is missing at the end.", "A value is a number (`1.5`, `20%`)"),
        ("sharpe >= base -  # x", 17, "a value is missing at the end.", "A value is"),
        ("sharpe >= Base", 11, "`Base` is neither a number nor `base`.", "Did you mean `base`?"),
        ("sharpe >= baseline", 11, "`baseline` is neither a number", "Did you mean `base`?"),
        ("sharpe >= sortino", 11, "`sortino` is no value: a metric is not compared with", ""),
        ("sharpe >= one", 11, "`one` is neither a number nor `base`.", "A value is a number"),
        ("sharpe >= %", 11, "`%` is neither a number nor `base`.", "A value is a number"),
        ("sharpe >= NaN", 11, "`NaN` is no finite number.", "A value is a number"),
        ("sharpe >= -Infinity", 11, "`-Infinity` is no finite number.", "A value is a number"),
        ("sharpe >= \u22121", 11, "`\u22121` is neither a number nor `base`.", "Did you mean `-`?"),
        (
            "sharpe >= base \u2013 1",
            16,
            "`\u2013 1` is not expected after `base`.",
            "Did you mean `-`?",
        ),
        ("sharpe >= base * 2", 16, "`* 2` is not expected after `base`.", "A value is a number"),
        (
            "sharpe >= 1 and trades > 1",
            13,
            "`and trades > 1` is not expected",
            "Write each gate on",
        ),
        ("0 < sharpe < 2", 1, "the metric comes first, and `0` is none.", "A gate is"),
        ("sharpe > 0 < 2", 12, "`< 2` is not expected after the number.", "Write each gate on"),
        (
            "trades >= 1,000",
            12,
            "`,000` is not expected after the number.",
            "Write numbers without",
        ),
        ("trades >= 10k", 13, "`k` is not expected after the number.", "A value is a number"),
        ("sharpe >= \u0661", 11, "`\u0661` is neither a number nor `base`.", "A value is a number"),
        ("sharpe >= 1e999", 11, "`1e999` is larger than any metric can be.", "Write a smaller"),
        ("sharpe >= 1e-999", 11, "`1e-999` is smaller than any metric can be.", "Write 0"),
        ("cagr > 0." + 40 * "1", 8, "`0.1111", "Round the number."),
    ],
)
def test_a_line_that_is_no_gate_says_where_why_and_what_is_allowed(
    line: str, column: int, message: str, hint: str
) -> None:
    """The column counts code points from 1; the line counts all lines of the input."""
    problem = only_problem(f"# 😀\n\n{line}\ntrades > 0")

    assert problem.severity is Severity.ERROR
    assert problem.message.startswith(f"Input `gates`, line 3, column {column}: {message}")
    assert problem.hint.startswith(hint)


def test_all_wrong_lines_are_reported_beside_the_right_ones() -> None:
    """One problem a line, in their order."""
    gates, problems = parse_gates("sharp > 1\ncagr > 5\ncagr\n\ncagr > x")

    assert [gate.line for gate in gates] == [2]
    assert [problem.message[:23] for problem in problems] == [
        f"Input `gates`, line {line}, " for line in (1, 3, 5)
    ]


def test_what_is_quoted_is_cut_and_harmless() -> None:
    """A whole file that was pasted, and characters that hide or command."""
    for text in ("x" * 90_000, "sharpe > " + "\x1b[31m::error::😀" * 5_000, "sharpe\u202e > 1"):
        message = only_problem(text).message
        assert len(message) < 150
        assert message.isprintable()


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_found_by_what_it_is_called(metric: str) -> None:
    """By its name in the summary, in other spellings, and with a slip."""
    name = METRICS[metric].name
    for spelled in (name, name.upper(), metric.replace("_", "-"), metric.upper(), f"{metric}s:"):
        assert nearest_metric(spelled) == metric


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("var", "value_at_risk"),
        ("mdd", "max_drawdown"),
        ("cavr", "cvar"),
        ("returns", "cum_returns"),
        ("drawdown", "max_drawdown"),
        ("zzz", None),
        ("", None),
    ],
)
def test_other_names_are_known_too(name: str, metric: str | None) -> None:
    """The package's own `cavr` among them; a name that is like none has none."""
    assert nearest_metric(name) == metric


# ---------------------------------------------------------------------------- odd units


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        (
            "final_account_value >= 110%",
            24,
            "`110%` is read as 1.1, because `final_account_value` is no share of anything.",
            "Write `1.1` if you mean that, or `base + 10%` for 110 % of the base's value.",
        ),
        (
            "sharpe > 99.5%",
            10,
            "`99.5%` is read as 0.995, because `sharpe` is no share of anything.",
            "Write `0.995` if you mean that, or `base - 0.5%` for 99.5 % of the base's value.",
        ),
        (
            "trades == 100 %",
            11,
            "`100%` is read as 1, because `trades` is no share of anything.",
            "Write `1` if you mean that, or `base` for 100 % of the base's value.",
        ),
        (
            "max_drawdown <= 0.2",
            17,
            "`0.2` is read as 0.2 %, because `max_drawdown` is in per cent.",
            "Write `0.2%` if you mean that, else `20%`.",
        ),
        (
            "volatility <= 20",
            15,
            "`20` is read as 2000 %, because `volatility` is a fraction of 1.",
            "Write `2000%` if you mean that, else `20%`.",
        ),
    ],
)
def test_a_number_that_may_be_meant_in_another_unit_is_warned_of(
    line: str, column: int, message: str, hint: str
) -> None:
    """The gate stays, and what the hint offers is no longer warned of."""
    gates, (problem,) = parse_gates(line)

    assert len(gates) == 1
    assert problem.severity is Severity.WARNING
    assert problem.message == f"Input `gates`, line 1, column {column}: {message}"
    assert problem.hint == hint
    metric, operator = line.split()[:2]
    for offered in re.findall(r"`(.+?)`", hint):
        assert parse_gates(f"{metric} {operator} {offered}")[1] == ()


@pytest.mark.parametrize(
    "line",
    [
        "max_drawdown <= 20",
        "max_drawdown <= 0.2%",
        "cum_returns > 0",
        "cum_returns > -5",
        "volatility <= 20%",
        "volatility <= 1.5",
        "sharpe >= 0.5",
        "sharpe >= base - 10%",
        "max_drawdown <= base + 0.5",
    ],
)
def test_numbers_in_plain_units_are_not(line: str) -> None:
    """Nor is any offset from the base, which has but one meaning."""
    assert parse_gates(line)[1] == ()


# ---------------------------------------------------------------------------- what comes of it


def verdict_of(text: str, base: Mapping[str, float | None] | None = BASE) -> Verdict:
    """Return what comes of one gate with the values above."""
    (verdict,) = judge([one_gate(text)], VALUES, base)
    return verdict


@pytest.mark.parametrize(
    ("text", "limit", "state"),
    [
        ("sharpe >= 0.96", 0.96, State.PASSED),
        ("sharpe > 0.96", 0.96, State.FAILED),
        ("sharpe <= 0.96", 0.96, State.PASSED),
        ("sharpe < 0.96", 0.96, State.FAILED),
        ("sharpe == 0.960", 0.96, State.PASSED),
        ("sharpe != 0.96", 0.96, State.FAILED),
        ("max_drawdown <= 25", 25.0, State.PASSED),
        ("max_drawdown <= 25%", 25.0, State.PASSED),
        ("max_drawdown <= base", 20.0, State.FAILED),
        ("max_drawdown <= base + 20%", 24.0, State.PASSED),
        ("max_drawdown <= base + 4", 24.0, State.PASSED),
        ("volatility <= 27%", 0.27, State.PASSED),
        ("trades >= 1200%", 12.0, State.PASSED),
        ("cum_returns >= base", -5.0, State.PASSED),
        ("cum_returns >= base - 10%", -4.5, State.FAILED),
        ("cum_returns >= base - 0.5", -5.5, State.PASSED),
        ("final_account_value >= base - 5%", 9_500.0, State.PASSED),
        ("sharpe < base + 200%", 3.3, State.PASSED),
    ],
)
def test_a_gate_compares_in_the_unit_of_its_metric(text: str, limit: float, state: State) -> None:
    """Per cent of the base is of its value; an offset without `%` is in the metric's unit."""
    verdict = verdict_of(text)

    assert (verdict.bound, verdict.state, verdict.reason) == (limit, state, "")
    assert verdict.value == VALUES[verdict.gate.metric]
    assert verdict.base == BASE.get(verdict.gate.metric)


def test_binary_fractions_decide_nothing() -> None:
    """Three times 1.1 is 3.3, though floats say otherwise."""
    gates, _ = parse_gates("sharpe == base + 200%\nsharpe <= base + 2.2")
    verdicts = judge(gates, {"sharpe": 3.3}, {"sharpe": 1.1})

    assert 1.1 * 3 != 3.3
    assert [verdict.is_passed for verdict in verdicts] == [True, True]


def test_all_gates_are_judged() -> None:
    """In the order in which they were written."""
    gates, _ = parse_gates("sharpe > 9\ntrades > 1\ncalmar > 0\nvolatility < base\nsharpe < 9")

    verdicts = judge(gates, VALUES, None)

    assert [verdict.gate for verdict in verdicts] == list(gates)
    assert [verdict.state.value for verdict in verdicts] == [
        *("failed", "passed", "not computed", "no base", "passed")
    ]


@pytest.mark.parametrize("operator", Operator)
@pytest.mark.parametrize("metric", ["calmar", "sortino", "cvar"])
def test_what_was_not_computed_passes_no_gate(metric: str, operator: Operator) -> None:
    """Null, NaN or missing; not even `!=`, and whether or not there is a base."""
    gates, _ = parse_gates(f"{metric} {operator} 1\n{metric} {operator} base")

    for verdict in judge(gates, VALUES, None, reasons={"calmar": "failed: no trades"}):
        assert (verdict.state, verdict.value) == (State.NOT_COMPUTED, None)
        assert verdict.reason == ("failed: no trades" if metric == "calmar" else "not reported")


def test_a_gate_without_its_base_says_why() -> None:
    """No ref was named, the model is new there, or its backtest computed no such metric."""
    gates, _ = parse_gates("sharpe >= base\nvolatility >= base - 5%\nsharpe >= 0")

    unset = judge(gates, VALUES, None)
    absent = judge(gates, VALUES, None, no_base="the model did not exist at main")
    computed = judge(gates, VALUES, {"sharpe": 0.5, "volatility": math.inf})

    reasons = [[verdict.reason for verdict in verdicts] for verdicts in (unset, absent, computed)]
    assert reasons == [
        ["`compare-with` is not set", "`compare-with` is not set", ""],
        ["the model did not exist at main", "the model did not exist at main", ""],
        ["", "the base's backtest did not compute it", ""],
    ]
    assert [verdict.state for verdict in computed] == [State.PASSED, State.NO_BASE, State.PASSED]
    assert all(verdict.bound is None for verdict in (*unset[:2], *absent[:2], computed[1]))


finite = st.floats(allow_nan=False, allow_infinity=False)
plain_values = st.one_of(
    finite,
    st.decimals(-1000, 1000, places=2).map(float),
    st.sampled_from([0.0, -0.0, 0.1 + 0.2, 5e-324, sys.float_info.max, -sys.float_info.max]),
)
maybe = st.one_of(st.none(), st.floats(), plain_values)


def passes(metric: str, operator: str, limit: Bound, value: float, base: float) -> bool:
    """Judge one gate."""
    gate = Gate(metric=metric, operator=Operator(operator), bound=limit, line=1, text="x")
    (verdict,) = judge([gate], {metric: value}, {metric: base})
    assert verdict.state in {State.PASSED, State.FAILED}
    return verdict.is_passed


@given(metric_names, bounds, plain_values, plain_values, plain_values)
def test_a_higher_value_never_fails_where_a_lower_one_passes(
    metric: str, limit: Bound, base: float, one: float, other: float
) -> None:
    """Of `>=` and `>`; with `<=` and `<` it is the other way round."""
    low, high = sorted([one, other])
    for operator in (">=", ">"):
        assert passes(metric, operator, limit, low, base) <= passes(
            metric, operator, limit, high, base
        )
    for operator in ("<=", "<"):
        assert passes(metric, operator, limit, high, base) <= passes(
            metric, operator, limit, low, base
        )


@given(metric_names, bounds, plain_values, plain_values)
def test_an_operator_and_its_opposite_never_agree(
    metric: str, limit: Bound, base: float, value: float
) -> None:
    """And `>=` is `>` or `==`."""
    passed = {one.value: passes(metric, one, limit, value, base) for one in Operator}

    assert passed[">="] is not passed["<"]
    assert passed["<="] is not passed[">"]
    assert passed["=="] is not passed["!="]
    assert passed[">="] == (passed[">"] or passed["=="])
    assert passed["<="] == (passed["<"] or passed["=="])


def exact_limit(metric: str, limit: Bound, base: float) -> Fraction:
    """Return the bound by the words of the contract, in fractions."""
    number = Fraction(limit.number)
    if limit.of_base:
        of = Fraction(repr(base))
        return of * (100 + number) / 100 if limit.is_per_cent else of + number
    in_per_cent = METRICS[metric].unit is Unit.PER_CENT
    return number / 100 if limit.is_per_cent and not in_per_cent else number


@given(metric_names, bounds, plain_values, plain_values)
def test_bounds_are_exact(metric: str, limit: Bound, base: float, value: float) -> None:
    """Checked with fractions, as far as floats reach and beyond."""
    exact = exact_limit(metric, limit, base)

    assert passes(metric, ">=", limit, value, base) == (Fraction(repr(value)) >= exact)
    assert passes(metric, "==", limit, value, base) == (Fraction(repr(value)) == exact)
    gate = Gate(metric=metric, operator=Operator.ABOVE, bound=limit, line=1, text="x")
    (verdict,) = judge([gate], {metric: value}, {metric: base})
    assert verdict.bound is not None
    assert math.isfinite(verdict.bound)
    if abs(exact) <= sys.float_info.max:
        assert verdict.bound == float(exact)


@given(metric_names, plain_values, plain_values, st.integers(0, 100), st.integers(0, 100))
def test_more_room_below_the_base_lets_more_through(
    metric: str, base: float, value: float, one: int, other: int
) -> None:
    """A wider margin never fails what a narrower one passes, where the base is not negative."""
    narrow, wide = sorted([one, other])
    for is_per_cent in (True, False):
        limits = [
            bound(f"-{room}", is_per_cent=is_per_cent, of_base=True) for room in (narrow, wide)
        ]
        of = abs(base) if is_per_cent else base
        assert passes(metric, ">=", limits[0], value, of) <= passes(
            metric, ">=", limits[1], value, of
        )


# ---------------------------------------------------------------------------- what is shown


def failure(text: str, base: Mapping[str, float | None] | None = BASE) -> Problem:
    """Return the error of a gate that does not pass."""
    problem = problem_of(verdict_of(text, base))
    assert problem is not None
    assert problem.severity is Severity.ERROR
    return problem


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sharpe >= 1", "`sharpe` is 0.96, 0.04 below the bound of 1"),
        ("sharpe >= 1.125", "`sharpe` is 0.96, 0.165 below the bound of 1.125"),
        ("sharpe >= 0.961", "`sharpe` is 0.96, 0.001 below the bound of 0.961"),
        ("sharpe <= 95 %", "`sharpe` is 0.96, 0.01 above the bound of 0.95"),
        (
            "max_drawdown <= 20%",
            "`max_drawdown` is 24 %, 4 percentage points above the bound of 20 %",
        ),
        (
            "max_drawdown <= 23",
            "`max_drawdown` is 24 %, 1 percentage point above the bound of 23 %",
        ),
        (
            "max_drawdown < 24",
            "`max_drawdown` is 24 %, exactly the bound of 24 %, and has to be below it",
        ),
        (
            "max_drawdown <= base",
            "`max_drawdown` is 24 %, 4 percentage points above the base's 20 %",
        ),
        (
            "max_drawdown <= base + 10%",
            (
                "`max_drawdown` is 24 %, 2 percentage points above the bound of 22 % "
                "(the base has 20 %)"
            ),
        ),
        (
            "cum_returns > base",
            "`cum_returns` is \u22125 %, exactly the base's \u22125 %, and has to be above it",
        ),
        (
            "cum_returns > 0",
            "`cum_returns` is \u22125 %, 5 percentage points below the bound of 0 %",
        ),
        ("trades == 10", "`trades` is 12, 2 above the bound of 10, and has to equal it"),
        ("trades != 12", "`trades` is 12, exactly the bound of 12, and has to be other than it"),
        ("volatility <= 20%", "`volatility` is 0.27, 0.07 above the bound of 0.2"),
        (
            "final_account_value >= 1000000",
            "`final_account_value` is 9,500, 990,500 below the bound of 1,000,000",
        ),
        ("calmar > 0", "`calmar` was not computed (not reported)"),
        (
            "volatility > base",
            "there is no base to compare with (the base's backtest did not compute it)",
        ),
    ],
)
def test_a_gate_that_failed_says_by_how_much(text: str, what: str) -> None:
    """With the value, the bound and the unit of both."""
    problem = failure(text)

    assert problem.message == f"Gate `{text}` failed: {what}."
    assert problem.hint


def test_a_gate_that_passed_is_no_problem() -> None:
    """Whatever else is known of it."""
    assert problem_of(verdict_of("sharpe >= 0.5")) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "cum_returns >= base - 10%",
            (
                "The base is negative, so that 90 % of it is above it. For a bound below it, "
                "write the margin as a number: `cum_returns >= base - 0.5`."
            ),
        ),
        (
            "cum_returns < base + 20%",
            (
                "The base is negative, so that 120 % of it is below it. For a bound above it, "
                "write the margin as a number: `cum_returns < base + 1`."
            ),
        ),
        (
            "cagr > base + 5%",
            "The base is 0, and so is any share of it. Write the margin without `%`.",
        ),
        (
            "sharpe > base - 1%",
            "Change the model, or the gate if this is not what it should ask for.",
        ),
        (
            "cum_returns > base - 0",
            "Change the model, or the gate if this is not what it should ask for.",
        ),
    ],
)
def test_a_percentage_of_a_negative_base_is_explained(text: str, hint: str) -> None:
    """Because 90 % of a loss is a smaller loss."""
    values = {**VALUES, "cagr": -1.0}
    (verdict,) = judge([one_gate(text)], values, BASE)
    problem = problem_of(verdict)

    assert problem is not None
    assert problem.hint == hint


def test_what_to_do_without_a_base_depends_on_why_there_is_none() -> None:
    """It is not set, or what it names cannot be compared with."""
    (verdict,) = judge([one_gate("sharpe > base")], VALUES, None, no_base="it is\nnew.")
    problem = problem_of(verdict)

    assert failure("sharpe > base", None).hint.startswith("Set `compare-with` to a git ref, such")
    assert problem is not None
    assert problem.message.endswith("there is no base to compare with (it is ⏎ new).")
    assert problem.hint.startswith("Set `compare-with` to a git ref where the model can")


@given(metric_names, operators, bounds, maybe, maybe)
@example("sharpe", Operator.ABOVE, bound("0.30000000000000000001"), 0.3, None)
@example("sharpe", Operator.AT_LEAST, bound("1.0000000000000002"), 1.0, None)
@example("cagr", Operator.BELOW, bound("20.004"), 20.0041, None)
@example("sharpe", Operator.ABOVE, bound("50", is_per_cent=True, of_base=True), 1.0, 1.7e308)
def test_what_differs_never_looks_equal(
    metric: str, operator: Operator, limit: Bound, value: float | None, base: float | None
) -> None:
    """There is an error exactly where a gate did not pass, and it shows two different numbers."""
    gate = Gate(metric=metric, operator=operator, bound=limit, line=1, text="the gate")
    (verdict,) = judge([gate], {metric: value}, {metric: base})

    problem = problem_of(verdict)

    assert (problem is None) == verdict.is_passed
    if problem is None or verdict.state is not State.FAILED:
        return
    message = problem.message.partition("failed: ")[2]
    found = re.match(
        r"`\w+` is (\S+?)(?: %)?, (.+?) (?:the bound of|the base's) (\S+?)(?: %)?[,.]? ",
        message + " ",
    )
    assert found, message
    assert (found[1] == found[3]) == (found[2] == "exactly")
    assert not found[2].startswith("0 ")
