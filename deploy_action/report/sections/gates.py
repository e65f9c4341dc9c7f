"""The part of a summary about the gates: which passed, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.words import distance, figures
from deploy_action.backtest.metrics import EXACTLY, METRICS, in_decimals, nearest_float
from deploy_action.gates.judgement import IdenticalGate, Operator, State, Verdict, inside
from deploy_action.gates.messages import problem_of
from deploy_action.report.blocks import NO_BREAK
from deploy_action.report.document import Block, Code, Line, Paragraph, Table, prose
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, shown_of

if TYPE_CHECKING:
    from deploy_action.outcome.backtests import Backtests

_MOST_GATES: Final = 100
_LONGEST_GATE: Final = 60
_LONGEST_NAME: Final = 120
_EXACT: Final = frozenset({Operator.EQUAL, Operator.UNEQUAL})


def in_words(verdicts: Sequence[Verdict]) -> str:
    """Summarise the gate results in a few words; `verdicts` is not empty."""
    failed = sum(not verdict.is_passed for verdict in verdicts)
    if len(verdicts) == 1:
        return "the gate failed" if failed else "the gate passed"
    number = f"{len(verdicts):,} gates"
    return f"{failed:,} of {number} failed" if failed else f"all {number} passed"


def gates(verdicts: Sequence[Verdict]) -> list[Block]:
    """Return the table of the gates, in the order in which they were given."""
    if not verdicts:
        return []
    # Three columns with the result first: four would not fit on a telephone.
    rows = [_row(verdict) for verdict in _shown(verdicts)]
    table = Table([["Result"], ["Gate"], ["Value"]], rows)
    blocks: list[Block] = [table]
    if (left := len(verdicts) - len(rows)) > 0:
        blocks.append(Paragraph([f"And {left:,} more gates."]))
    return blocks


def over_what(verdicts: Sequence[Verdict], found: Backtests) -> list[Block]:
    """Say over which backtests of a sweep gates with `worst`, `median` and `best` were judged."""
    judged = {State.PASSED, State.FAILED}
    swept = found.sweep
    if swept is None or not any(one.gate.needs_several and one.state in judged for one in verdicts):
        return []
    windows, combinations = len(found.windows), len(swept.combinations)
    # Where its values are known, the own setting is one of the combinations.
    is_apart = windows > 0 and swept.index_of_own() is None
    number = combinations * (1 + windows) + (windows if is_apart else 0)
    inside_each = f" and in {count(windows, 'window')}" if windows else ""
    own = ", and the model's own setting in these windows" if is_apart else ""
    what = f"{count(combinations, 'combination')}, each over the whole period{inside_each}{own}"
    over = f" are over {count(number, 'backtest')}: {what}."
    return [Paragraph([Code("worst"), ", ", Code("median"), " and ", Code("best"), over])]


def told(verdicts: Sequence[Verdict]) -> frozenset[str]:
    """Return the messages of failed gates that say no more than the table does."""
    failed = [one for one in _shown(verdicts) if one.state is State.FAILED]
    problems = (problem_of(one) for one in failed if not isinstance(one.gate, IdenticalGate))
    return frozenset(problem.message for problem in problems if problem is not None)


def _row(verdict: Verdict) -> Sequence[Line]:
    if isinstance(verdict.gate, IdenticalGate):
        trades = {State.PASSED: "the same trades", State.FAILED: "other trades"}
        return [[_result(verdict)], [Code(verdict.gate.text)], [trades.get(verdict.state, "")]]
    unit = METRICS[verdict.gate.metric].unit
    value, limit = figures(unit, verdict.value, verdict.bound)
    bound = verdict.gate.bound
    # Any other bound is visible in the text of the gate.
    is_computed = verdict.bound is not None and (bound.reference or bound.is_per_cent)
    both = f"{value}, bound {limit}" if is_computed else value
    where: Line = []
    if verdict.where:
        # What has a value, and stands in code, is a combination.
        name = inside(verdict.where.removeprefix("Combination "))
        where = [f"{NO_BREAK}· ", *prose(cut(name, _LONGEST_NAME))]
    return [[_result(verdict)], [Code(cut(verdict.gate.text, _LONGEST_GATE))], [both, *where]]


def _shown(verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    return verdicts[: shown_of(len(verdicts), _MOST_GATES)]


def _result(verdict: Verdict) -> str:
    mark = "✅" if verdict.is_passed else "❌"
    return f"{mark}{NO_BREAK}{verdict.state.value}{_by_how_much(verdict)}"


def _by_how_much(verdict: Verdict) -> str:
    gate, is_judged = verdict.gate, verdict.state in {State.PASSED, State.FAILED}
    if isinstance(gate, IdenticalGate) or not is_judged:
        return ""
    if verdict.value is None or verdict.bound is None:
        return ""
    apart = nearest_float(
        abs(EXACTLY.subtract(in_decimals(verdict.value), in_decimals(verdict.bound)))
    )
    if not apart:
        return "" if gate.operator in _EXACT else ", just at the bound"
    return f" by {distance(METRICS[gate.metric].unit, apart)}"
