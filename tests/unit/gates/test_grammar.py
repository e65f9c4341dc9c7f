from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.backtest.metrics import METRICS, Over
from deploy_action.errors import Problem, Severity
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Bound, Gate, IdenticalGate, Operator, Reference
from deploy_action.text.harmless import one_line
from tests.support.gate_cases import bound, metric_names, one_gate, operators
from tests.support.nasty import FRAGMENTS, nasty_text

PLACE = re.compile(r"Input `gates`, line (\d+), column (\d+): ")

# ---------------------------------------------------------------------------- what is read


def only_problem(text: str) -> Problem:
    _, (problem,) = parse_gates(text)
    return problem


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
    ],
)
def test_a_value_is_a_number_or_the_base(value: str, expected: Bound) -> None:
    for text in (f"cagr >= {value}", f"cagr>={value}", f"\t cagr\xa0>=\u3000{value}  # why"):
        assert one_gate(text).bound == expected


def test_comments_and_blank_lines_set_no_gate_and_count_as_lines() -> None:
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


@st.composite
def written_gates(draw: st.DrawFn) -> tuple[str, str, Operator, Bound]:
    """Draw a line with a gate, and what it means."""
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
    gates, problems = parse_gates(line_end.join(line for line, *_ in written))
    read = [gate for gate in gates if isinstance(gate, Gate)]
    assert [(gate.metric, gate.operator, gate.bound) for gate in read] == [
        tuple(parts) for _, *parts in written
    ]
    assert [gate.line for gate in gates] == [*range(1, len(written) + 1)]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert all(
        ": no backtest can " in problem.message or "with more risk" in problem.message
        for problem in errors
    )
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
        ("trades >= base - -1", 18, "`-1` has one sign too many.", "A value is a number"),
        ("sharpe >= base - base", 18, "`base` may occur once", "A value is a number"),
        ("  sharpp >= 1", 3, "`sharpp` is not a metric.", "Did you mean `sharpe`? The metrics are"),
        ("alpha > 90%", 1, "`alpha` is not a metric.", "The metrics are `sharpe`, `sortino`"),
        ("max drawdown < 1", 1, "`max drawdown` is not a metric.", "Did you mean `max_drawdown`?"),
        ("Sharpe > 1", 1, "`Sharpe` is not a metric.", "Did you mean `sharpe`?"),
        (">= 1", 1, "the metric is missing.", "A gate is `METRIC OPERATOR VALUE`"),
        ("1 <= sharpe", 1, "the metric comes first, and `1` is not a metric.", "A gate is"),
        ("base < sharpe", 1, "the metric comes first, and `base` is not a metric.", "A gate is"),
        ("sharpe", 7, "an operator is missing after `sharpe`.", "The operators are `>=`, `>`"),
        ("sharpe  1", 9, "an operator is missing after `sharpe`.", "The operators are"),
        ("sharp 1", 1, "`sharp` is not a metric.", "Did you mean `sharpe`?"),
        ("sharpe = 1", 8, "`=` is not an operator.", "Did you mean `==`?"),
        ("sharpe => 1", 8, "`=>` is not an operator.", "Did you mean `>=`?"),
        ("sharpe =< 1", 8, "`=<` is not an operator.", "Did you mean `<=`?"),
        ("sharpe ≥ 1", 8, "`≥` is not an operator.", "Did you mean `>=`?"),
        ("sharpe ≠1", 8, "`≠` is not an operator.", "Did you mean `!=`?"),
        ("sharpe \uff1e\uff1d 1", 8, "`\uff1e\uff1d` is not an operator.", "Did you mean `>=`?"),
        ("sharpe <> 1", 8, "`<>` is not an operator.", "Did you mean `!=`?"),
        ("sharpe > = 1", 8, "`> =` is not an operator.", "Did you mean `>=`?"),
        ("sharpe ~ 1", 8, "`~` is not an operator.", "The operators are `>=`, `>`, `<=`, `<`"),
        ("sharpe >=", 10, "the value is missing.", "A value is a number (`1.5`, `20%`)"),
        ("sharpe >= base -  # x", 17, "the value is missing.", "A value is"),
        (
            "sharpe >= Base",
            11,
            "`Base` is neither a number nor `base` or `hold`.",
            "Did you mean `base`?",
        ),
        ("sharpe >= baseline", 11, "`baseline` is neither a number", "Did you mean `base`?"),
        ("sharpe >= sortino", 11, "`sortino` is not a value: metrics cannot be compared with", ""),
        (
            "sharpe >= one",
            11,
            "`one` is neither a number nor `base` or `hold`.",
            "A value is a number",
        ),
        ("sharpe >= %", 11, "`%` is neither a number nor `base` or `hold`.", "A value is a number"),
        ("sharpe >= NaN", 11, "`NaN` is not a finite number.", "A value is a number"),
        ("sharpe >= -Infinity", 11, "`-Infinity` is not a finite number.", "A value is a number"),
        (
            "sharpe >= \u22121",
            11,
            "`\u22121` is neither a number nor `base` or `hold`.",
            "Did you mean `-`?",
        ),
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
        ("0 < sharpe < 2", 1, "the metric comes first, and `0` is not a metric.", "A gate is"),
        ("sharpe > 0 < 2", 12, "`< 2` is not expected after the number.", "Write each gate on"),
        (
            "trades >= 1,000",
            12,
            "`,000` is not expected after the number.",
            "Write numbers without",
        ),
        ("trades >= 10k", 13, "`k` is not expected after the number.", "A value is a number"),
        (
            "sharpe >= \u0661",
            11,
            "`\u0661` is neither a number nor `base` or `hold`.",
            "A value is a number",
        ),
        ("sharpe >= 1e999", 11, "`1e999` is larger than any metric can be.", "Write a smaller"),
        ("sharpe >= 1e-999", 11, "`1e-999` is smaller than any metric can be.", "Write 0"),
        ("cagr > 0." + 40 * "1", 8, "`0.1111", "Round the number."),
    ],
)
def test_a_line_that_is_no_gate_says_where_why_and_what_is_allowed(
    line: str, column: int, message: str, hint: str
) -> None:
    problem = only_problem(f"# 😀\n\n{line}\ntrades > 0")
    assert problem.severity is Severity.ERROR
    assert problem.message.startswith(f"Input `gates`, line 3, column {column}: {message}")
    assert problem.hint.startswith(hint)


def test_all_wrong_lines_are_reported_beside_the_right_ones() -> None:
    gates, problems = parse_gates("sharp > 1\ncagr > 5\ncagr\n\ncagr > x")
    assert [gate.line for gate in gates] == [2]
    assert [problem.message[:23] for problem in problems] == [
        f"Input `gates`, line {line}, " for line in (1, 3, 5)
    ]


def test_quoted_text_is_cut_and_harmless() -> None:
    for text in ("x" * 90_000, "sharpe > " + "\x1b[31m::error::😀" * 5_000, "sharpe\u202e > 1"):
        message = only_problem(text).message
        assert len(message) < 150
        assert message.isprintable()


def meant(name: str) -> str | None:
    """Return the metric that a name means, or the one suggested for it."""
    gates, problems = parse_gates(f"{name} == 1.5")
    found = re.match(r"Did you mean `(\w+)`\?", problems[0].hint) if not gates else None
    return gates[0].metric if gates else found and found[1]


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_found_by_similar_names(metric: str) -> None:
    name = METRICS[metric].name
    for spelled in (name, name.upper(), metric.replace("_", "-"), metric.upper(), f"{metric}s:"):
        assert meant(spelled) == metric


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("var", "value_at_risk"),
        ("mdd", "max_drawdown"),
        ("cavr", "cvar"),
        ("returns", "cum_returns"),
        ("drawdown", "max_drawdown"),
        ("zzz", None),
        ("%", None),
    ],
)
def test_other_names_of_a_metric_are_known(name: str, metric: str | None) -> None:
    assert meant(name) == metric


# ---------------------------------------------------------------------------- odd units


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        (
            "final_account_value >= 110%",
            24,
            "`110%` is read as 1.1, because `final_account_value` is not a percentage.",
            "Write `1.1` if you mean that, or `base + 10%` for 110% of the base's value.",
        ),
        (
            "sharpe > 99.5%",
            10,
            "`99.5%` is read as 0.995, because `sharpe` is not a percentage.",
            "Write `0.995` if you mean that, or `base - 0.5%` for 99.5% of the base's value.",
        ),
        (
            "trades == 100 %",
            11,
            "`100%` is read as 1, because `trades` is not a percentage.",
            "Write `1` if you mean that, or `base` for 100% of the base's value.",
        ),
        (
            "max_drawdown <= 0.2",
            17,
            "`0.2` is read as 0.2%, because `max_drawdown` is in per cent.",
            "Write `0.2%` if you mean that, else `20%`.",
        ),
        (
            "volatility <= 20",
            15,
            "`20` is read as 2000%, because `volatility` is a fraction of 1.",
            "Write `2000%` if you mean that, else `20%`.",
        ),
        (
            "volatility <= base + 20",
            15,
            (
                "`base + 20` is read as 2000 percentage points, because `volatility` is a fraction "
                "of 1."
            ),
            (
                "Write `base + 0.2` for 20 percentage points, or `base + 20%` for that share of "
                "that value."
            ),
        ),
    ],
)
def test_a_number_that_looks_like_another_unit_is_a_warning(
    line: str, column: int, message: str, hint: str
) -> None:
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
        "max_drawdown <= base + 1",
        "variance <= base + 0.5",
        "volatility <= base + 1.5",
    ],
)
def test_numbers_in_plain_units_are_no_warning(line: str) -> None:
    assert parse_gates(line)[1] == ()


def test_identical_is_a_gate_of_its_own() -> None:
    gates, problems = parse_gates("sharpe > 0\n identical  # to the base\n")
    assert gates[1] == IdenticalGate(line=2)
    assert problems == ()


@pytest.mark.parametrize("over", ["worst", "median", "best"])
def test_a_gate_may_be_over_all_windows(over: str) -> None:
    gate = one_gate(f"{over}  max_drawdown <= base + 5%")
    assert (gate.over, gate.metric, gate.text) == (
        Over(over),
        "max_drawdown",
        f"{over} max_drawdown <= base + 5%",
    )


def test_holding_is_a_bound() -> None:
    assert one_gate("cum_returns > hold").bound == Bound(
        number=Decimal(0), is_per_cent=False, reference=Reference.HOLD
    )
    assert one_gate("max_drawdown <= hold - 10%").bound == Bound(
        number=Decimal(-10), is_per_cent=True, reference=Reference.HOLD
    )
