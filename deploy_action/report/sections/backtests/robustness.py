"""The plain sentences on a sweep: is the setting robust, how many did well, is it luck."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.cells import signed
from deploy_action.backtest.sweep.robustness import Neighbourhood, Robustness, Standing, result_of
from deploy_action.backtest.sweep.warning_signs import luck_warning
from deploy_action.report.blocks import some
from deploy_action.report.document import Block, Code, Line, Paragraph, prose
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, decimal

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Swept

_LONGEST_NAME: Final = 120
_MOST_PARAMETERS: Final = 5
RESULTS: Final[Mapping[str, str]] = {"cum_returns": "return", "sharpe": "Sharpe ratio"}
"""The metrics by which combinations are compared."""


def name_of(swept: Swept, index: int) -> Code:
    """Return the name of a combination."""
    return Code(cut(swept.name(index), _LONGEST_NAME))


def result(objective: str, value: float) -> str:
    """Return a result: `+12.30%`, or `Sharpe 1.23`."""
    return signed(value) if objective == "cum_returns" else f"Sharpe {decimal(value)}"


def in_brief(swept: Swept, found: Robustness) -> list[Block]:
    """Return what a trader wants to know first."""
    lines = [_standing(swept, found), _counts(swept, found)]
    if (luck := luck_warning(swept)) is not None:
        lines.append(["⚠️ ", *prose(luck.message), " **What to do:** ", *prose(luck.hint)])
    return [Paragraph(line) for line in lines if line]


def _standing(swept: Swept, found: Robustness) -> Line:
    around = found.neighbourhood
    if around is None:
        return []
    start: Line
    lost = len(swept.combinations) - sum(1 for _ in swept.known())
    if lost and swept.current is None and swept.own is not None:
        of_all = f"{lost:,} of {count(len(swept.combinations), 'combination')} have no result"
        start = ["**Whether the current setting stands on a plateau cannot be told**: "]
        return [*start, f"{of_all}, and it may be one of these."]
    which = "The current setting" if around.is_current else "The best combination"
    name, kind = name_of(swept, around.setting), RESULTS[found.objective]
    has_windows = any(one.windows for one in swept.combinations)
    when = " over the whole period" if has_windows else ""
    if around.result is None or around.standing is Standing.UNKNOWN:
        start = [f"**Whether {which[0].lower()}{which[1:]} (", name, ") stands on a plateau "]
        said: Line = ["cannot be told**: ", *_why_unknown(swept, found, around), "."]
    elif around.standing is Standing.PLATEAU:
        start = [f"**{which} (", name, f") stands on a plateau{when}**: "]
        middle, worst = (f"{share:,.0%}" for share in (around.median_share, around.shares[0]))
        number = len(around.known)
        said = [f"its {number} neighbours make {middle} of its {kind} in the median, "]
        said = [*said, f"the worst {worst}.", *_of_all(around)]
    elif around.standing is Standing.NO_GAIN:
        start = [f"**{which} (", name, f") is on no plateau{when}**: "]
        said = [
            f"it made no gain ({result(found.objective, around.result)})",
            *_better(swept, found, around),
            ".",
        ]
    else:
        start = [f"**{which} (", name, f") stands on a {around.standing}{when}**: "]
        said = [*_uneven(swept, found.objective, around, around.result)]
    return [*start, *said, *_remarks(swept, found, around)]


def _of_all(around: Neighbourhood) -> Line:
    """Say whether a setting on a plateau made more, or less, than each of its neighbours."""
    if around.shares[0] > 1:
        return [" Each of them makes more than it does."]
    return [" None of them makes as much as it does."] if around.shares[-1] < 1 else []


def _uneven(swept: Swept, objective: str, around: Neighbourhood, made: float) -> Line:
    number, (worst, index) = len(around.known), around.known[0]
    middle = median(one for one, _ in around.known)
    begins = f"it makes {result(objective, made)}, its {number} neighbours "
    begins += f"{result(objective, middle)} in the median, the worst ("
    line: Line = [begins, name_of(swept, index), f") {result(objective, worst)}"]
    if around.better is not None:
        best = result(objective, around.known[-1][0])
        line = [*line, ", the best (", name_of(swept, around.better), f") {best}"]
    kept = {0: "None of them makes", 1: "1 of them makes"}
    who = kept.get(around.kept, f"{around.kept} of them make")
    return [*line, f". {who} half of its {RESULTS[objective]} or more."]


def _better(swept: Swept, found: Robustness, around: Neighbourhood) -> Line:
    if not around.known:
        return []
    if around.better is None:
        return [f", and none of its {count(len(around.known), 'neighbour')} made more"]
    best = result(found.objective, around.known[-1][0])
    return ["; its best neighbour (", name_of(swept, around.better), f") made {best}"]


def _why_unknown(swept: Swept, found: Robustness, around: Neighbourhood) -> Line:
    kind, number = RESULTS[found.objective], len(around.neighbours)
    if around.result is None:
        return [f"it has no {kind}"]
    if not number and len(found.idle) == sum(len(one.values) > 1 for one in swept.sweep.axes):
        return ["no parameter ever changed a trade"]
    if not number:
        return [
            "none of the parameters that matter has an order, as numbers, dates and lengths have"
        ]
    if number == 1 and around.known:
        made, index = around.known[0]
        return [
            "it has one neighbour only (",
            name_of(swept, index),
            f"), with {result(found.objective, made)}",
        ]
    known = f"{len(around.known)} of its {count(number, 'neighbour')}"
    return [f"only {known} {'has' if len(around.known) == 1 else 'have'} a result"]


def _remarks(swept: Swept, found: Robustness, around: Neighbourhood) -> Line:
    """Say what limits the sentence: no results, equal trades, ends of parameters, idle ones."""
    line: Line = []
    missing = len(around.neighbours) - len(around.known)
    if missing and around.standing is not Standing.UNKNOWN:
        has = "has" if missing == 1 else "have"
        line = [f" {count(missing, 'more neighbour')} {has} no result."]
    if same := sum(one.is_same for one in around.neighbours):
        line = [*line, f" {count(same, 'neighbour')} traded exactly as it did."]
    if around.edges:
        names = some(around.edges, _MOST_PARAMETERS)
        line = [*line, " It is at the edge of what was tried for ", *names, "."]
    if found.unordered and around.neighbours:
        names = some(found.unordered, _MOST_PARAMETERS)
        line = [*line, " The values of ", *names, " have no order, and so no neighbours"]
        line = [*line, *_worst_other(swept, found, around), "."]
    if found.idle and around.neighbours:
        names = some(found.idle, _MOST_PARAMETERS)
        line = [*line, " No value of ", *names, " ever changed a trade."]
    return line


def _worst_other(swept: Swept, found: Robustness, around: Neighbourhood) -> Line:
    """Say how little is made with another value of a parameter that has no order."""
    worst = around.worst_other
    made = None if worst is None else result_of(swept.combinations[worst], found.objective)
    if worst is None or made is None:
        return []
    return [
        "; the worst with another one (",
        name_of(swept, worst),
        f") makes {result(found.objective, made)}",
    ]


def _counts(swept: Swept, found: Robustness) -> Line:
    number = len(swept.combinations)
    known = [one.figures.metrics for _, one in swept.known() if one.figures is not None]
    held = "" if found.held == len(known) else f" of {found.held:,}"
    idle = sum(one["trades"] == 0 for one in known)
    parts = [f"{found.gained:,} gained"]
    parts += [f"{found.beat:,}{held} made more than holding"] if found.held else []
    parts += [f"{idle:,} made no trades"] if idle else []
    parts += [f"**{number - len(known):,} without a result**"] if len(known) < number else []
    counts = f"**{count(number, 'combination')}**: {', '.join(parts)}."
    if swept.current is None:
        is_absent = "The model's own setting is not among them."
        is_unknown = "Which of them is the model's own setting, if any, is not known."
        return [f"{counts} {is_absent if swept.own is None else is_unknown}"]
    if swept.current not in found.ranking:
        return [counts]
    return [f"{counts} By {RESULTS[found.objective]}, the current setting {_place(swept, found)}."]


def _place(swept: Swept, found: Robustness) -> str:
    """Say which of all the current setting is; of equals, it is the first in the ranking."""
    made = [result_of(swept.combinations[index], found.objective) for index in found.ranking]
    place, of = found.ranking.index(swept.current or 0), len(found.ranking)
    equal = made.count(made[place])
    if equal == 1:
        return f"is number {place + 1:,} of {of:,}"
    return f"is one of {equal:,} that share place {place + 1:,} of {of:,}"
