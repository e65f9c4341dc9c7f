"""The tables of a sweep: a row for each combination, or the best and the worst of many."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.cells import (
    CURRENT,
    NO_RESULT,
    Metrics,
    figure,
    signed,
    square,
)
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.metrics import METRICS, Better
from deploy_action.backtest.sweep.grid import Axis, label_of, shown
from deploy_action.backtest.sweep.robustness import Robustness, result_of
from deploy_action.report.blocks import NO_BREAK, short
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Inline,
    Line,
    Paragraph,
    Table,
    prose,
)
from deploy_action.report.sections.backtests.heat_map import in_order
from deploy_action.report.sections.backtests.robustness import RESULTS, name_of, result
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import decimal, percentage

if TYPE_CHECKING:
    from deploy_action.backtest.figures.kept import KeptFigures
    from deploy_action.backtest.sweep.combinations import Combination, Swept

MOST_ROWS: Final = 40
_BEST, _WORST = 10, 5
_MOST_FAILED: Final = 10
_MOST_VALUES: Final = 12
_LONGEST_REASON: Final = 200
_COLUMNS: Final[Sequence[tuple[str, str, Callable[[float], str]]]] = (
    ("cum_returns", "Return", signed),
    ("excess_return", "Beyond holding", signed),
    ("sharpe", "Sharpe", decimal),
    ("max_drawdown", "Max drawdown", percentage),
)
_QUARTERS: Final = ("Worst", "Lower quarter", "Median", "Upper quarter", "Best")


def one_parameter(swept: Swept, axis: Axis) -> Table:
    """Return a row for each value of the only parameter that has several."""
    values = [Code(short(shown(value))) for value in axis.values]
    rows = [(index, [values[index]]) for index in in_order(axis)]
    return _table(swept, [Code(short(label_of(axis)))], rows)


def best_and_worst(swept: Swept, found: Robustness) -> list[Block]:
    """Return a row for each of the best, for the current setting, and for the worst."""
    places = range(len(found.ranking))
    here = [place for place in places if found.ranking[place] == swept.current]
    chosen = sorted({*places[:_BEST], *here, *places[-_WORST:]})
    rows: list[tuple[int, Line]] = [
        (found.ranking[place], [f"{place + 1:,}. ", name_of(swept, found.ranking[place])])
        for place in chosen
    ]
    if not rows:
        return []
    left = len(places) - len(chosen)
    title = "Best first" if not left else f"The best, and the worst; {left:,} between them left out"
    return [Paragraph([f"**{title}**"]), _table(swept, ["Combination"], rows)]


def _table(swept: Swept, name: Line, rows: Iterable[tuple[int, Line]]) -> Table:
    """Return rows of combinations, each with its index and its name."""
    combinations = swept.combinations
    has_windows = any(one.windows for one in combinations)
    header: list[Line] = [name, *([title] for _, title, _ in _COLUMNS), ["Trades"]]
    header += [["Worst window"]] if has_windows else []
    body = []
    for index, label in rows:
        mark: Line = [f"{CURRENT}{NO_BREAK}"] if index == swept.current else []
        cells = _cells(combinations[index].figures)
        if has_windows:
            worst = worst_window(combinations[index])
            made = None if worst is None else worst["cum_returns"]
            cells = [*cells, [f"{square(worst)}{NO_BREAK}{signed(made)}" if worst else NO_RESULT]]
        body.append([[*mark, *label], *cells])
    return Table(header, body, right=frozenset(range(1, len(header))))


def _cells(figures: KeptFigures | None) -> list[Line]:
    if figures is None:
        return [[f"{NO_RESULT} no result"], *([NO_FIGURE] for _ in _COLUMNS)]
    metrics = figures.metrics
    (made, _, _), *others = _COLUMNS
    return [
        [f"{square(metrics)}{NO_BREAK}{signed(metrics[made])}"],
        *([figure(metrics[name], form)] for name, _, form in others),
        [figure(metrics["trades"], lambda value: f"{value:,.0f}")],
    ]


def worst_window(combination: Combination) -> Metrics | None:
    """Return the metrics of the window with the lowest return; None if one has none."""
    known = [one.figures.metrics for one in combination.windows if one.figures is not None]
    made = {index: one["cum_returns"] for index, one in enumerate(known)}
    values = {index: one for index, one in made.items() if one is not None}
    if not values or len(values) < len(combination.windows):
        return None
    return known[min(values, key=values.__getitem__)]


def medians(swept: Swept, objective: str) -> list[Block]:
    """Return for each parameter the median result of each of its values."""
    lines: list[Line] = []
    for number, axis in enumerate(swept.sweep.axes):
        by_value: dict[int, list[float]] = {}
        places = {json.dumps(value): place for place, value in enumerate(axis.values)}
        for _, one in swept.known():
            if (made := result_of(one, objective)) is not None:
                by_value.setdefault(places[json.dumps(one.values[number])], []).append(made)
        if len(by_value) < 2:  # noqa: PLR2004  # a single value has nothing beside it
            continue
        line: list[Inline] = [Code(short(label_of(axis)))]
        for place in [one for one in in_order(axis) if one in by_value][:_MOST_VALUES]:
            middle = result(objective, median(by_value[place]))
            value = Code(short(shown(axis.values[place])))
            line += [": " if len(line) == 1 else " · ", value, f"{NO_BREAK}{middle}"]
        left = len(by_value) - _MOST_VALUES
        lines.append([*line, f" and {left:,} more values" if left > 0 else ""])
    title = f"**Median {RESULTS[objective]} of all combinations with a value**"
    return [Paragraph([title]), Bullets(lines)] if lines else []


def distribution(swept: Swept) -> list[Block]:
    """Return worst, quartiles and best of the main figures, and the current setting's."""
    known = [one.figures.metrics for _, one in swept.known() if one.figures is not None]
    if len(known) < 2:  # noqa: PLR2004  # of one there is no distribution
        return []
    columns = [_quarters(name, known) for name, _, _ in _COLUMNS]
    rows: list[Sequence[Line]] = []
    for number, title in enumerate(_QUARTERS):
        pairs = zip(columns, _COLUMNS, strict=True)
        rows.append([[title], *([figure(of[number], form)] for of, (_, _, form) in pairs)])
    current = None if swept.current is None else swept.combinations[swept.current].figures
    if current is not None:
        own = ([figure(current.metrics[name], form)] for name, _, form in _COLUMNS)
        rows.append([[f"{CURRENT}{NO_BREAK}Current setting"], *own])
    header: list[Line] = [["All combinations"], *([title] for _, title, _ in _COLUMNS)]
    table = Table(header, rows, right=frozenset(range(1, len(header))))
    return [table, Paragraph(["Each column is ordered by itself, from its worst to its best."])]


def _quarters(name: str, known: Sequence[Metrics]) -> Sequence[float | None]:
    """Return the worst, the quartiles and the best of a metric; None without a value."""
    values = sorted(value for one in known if (value := one[name]) is not None)
    if not values:
        return (None,) * len(_QUARTERS)
    if METRICS[name].better is Better.LOWER:
        values.reverse()
    ends = values[0], values[-1]
    inner = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    # It sorts what it gets.
    return (ends[0], *(inner if ends[0] <= ends[1] else inner[::-1]), ends[1])


def without_result(swept: Swept) -> list[Block]:
    """Return the first combinations without a result, with the reasons."""
    indices = [index for index, one in enumerate(swept.combinations) if one.figures is None]
    lines: list[Line] = []
    for index in indices[:_MOST_FAILED]:
        reason = swept.combinations[index].reason or "no reason is known"
        lines.append([name_of(swept, index), ": ", *prose(cut(reason, _LONGEST_REASON))])
    if (left := len(indices) - _MOST_FAILED) > 0:
        lines.append([f"and {left:,} more; the report has all."])
    return [Paragraph(["**Combinations without a result**"]), Bullets(lines)] if lines else []
