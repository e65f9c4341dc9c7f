"""A sweep in a summary: first in a few sentences, then as a map or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_action.backtest.figures.cells import (
    CURRENT,
    NO_RESULT,
    legend,
)
from deploy_action.backtest.sweep.deflated_sharpe import NoOddsError, deflate
from deploy_action.backtest.sweep.robustness import Robustness, result_of
from deploy_action.backtest.sweep.warning_signs import best_in, luck_warning, odds_in_words
from deploy_action.report.blocks import NO_BREAK
from deploy_action.report.document import Block, Code, Details, Paragraph, Place, prose
from deploy_action.report.sections.backtests import sweep_tables
from deploy_action.report.sections.backtests.combinations import COMBINATIONS
from deploy_action.report.sections.backtests.heat_map import heat_map, plane_of
from deploy_action.report.sections.backtests.robustness import RESULTS, name_of, result

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Swept


def told(swept: Swept) -> frozenset[str]:
    """Return the messages of warnings that stand at the top already."""
    luck = luck_warning(swept)
    return frozenset() if luck is None else frozenset({luck.message})


def sweep(swept: Swept, found: Robustness) -> list[Block]:
    """Return all combinations: as a map, as a table, or the best and the worst."""
    return [
        *_combinations(swept, found),
        Paragraph([_legend(swept)]),
        *_ends(swept, found),
        *sweep_tables.distribution(swept),
        *_odds(swept, found),
        *sweep_tables.without_result(swept),
        Place(COMBINATIONS, []),
    ]


def _combinations(swept: Swept, found: Robustness) -> list[Block]:
    varied = [one for one in swept.sweep.axes if len(one.values) > 1]
    plane = plane_of(swept)
    if plane is not None:
        known = [one.figures for one in swept.combinations]
        figures = [None if one is None else one.metrics for one in known]
        unit = "Return in %" if found.objective == "cum_returns" else "Sharpe ratio"
        return [
            Paragraph([f"**{unit} of all combinations**"]),
            *heat_map(plane, figures, found.objective, swept.current),
            *_worst_windows(swept),
        ]
    if len(varied) == 1 and len(varied[0].values) <= sweep_tables.MOST_ROWS:
        return [sweep_tables.one_parameter(swept, varied[0])]
    return [
        *sweep_tables.best_and_worst(swept, found),
        *sweep_tables.medians(swept, found.objective),
    ]


def _worst_windows(swept: Swept) -> list[Block]:
    """Return the map of the worst window of each combination, folded; nothing without windows."""
    plane = plane_of(swept)
    if plane is None or not any(one.windows for one in swept.combinations):
        return []
    figures = [sweep_tables.worst_window(one) for one in swept.combinations]
    of_windows = heat_map(plane, figures, "cum_returns", swept.current)
    title = Paragraph(["Return in % in the window in which the combination made least."])
    return [Details("The worst window of each combination", [title, *of_windows])]


def _legend(swept: Swept) -> str:
    known = [one.figures.metrics for _, one in swept.known() if one.figures is not None]
    marks = [legend(known)]
    marks += [f"{CURRENT}{NO_BREAK}the current setting."] if swept.current is not None else []
    marks += [f"{NO_RESULT}{NO_BREAK}no result."] if len(known) < len(swept.combinations) else []
    return " ".join(marks)


def _ends(swept: Swept, found: Robustness) -> list[Block]:
    """Name the best and the worst combination."""
    if len(found.ranking) < 2:  # noqa: PLR2004  # the only one is both
        return []
    made_most, made_least = (
        result_of(swept.combinations[index], found.objective)
        for index in (found.ranking[0], found.ranking[-1])
    )
    if made_most is not None and made_most == made_least:
        return [Paragraph([f"All made the same: {result(found.objective, made_most)}."])]
    line: list[str | Code] = []
    by = f" by {RESULTS[found.objective]}: "
    for title, index in (("Best" + by, found.ranking[0]), ("worst: ", found.ranking[-1])):
        figures = swept.combinations[index].figures
        value = None if figures is None else figures.metrics[found.objective]
        made = "" if value is None else f" {result(found.objective, value)}"
        line += [
            "; " if line else "",
            title,
            name_of(swept, index),
            made,
        ]
    return [Paragraph([*line, "."])]


def _odds(swept: Swept, found: Robustness) -> list[Block]:
    """Say how likely the best is better than luck, unless a warning says that it is not.

    Of any other setting, one cannot say that it was chosen because it is the best.
    """
    around = found.neighbourhood
    if around is None or not best_in(swept, around.setting) or luck_warning(swept) is not None:
        return []
    try:
        odds = deflate(swept, around.setting)
    except NoOddsError:
        return []
    words = prose(odds_in_words(swept, around.setting, odds))
    which = "current setting" if around.is_current else "best combination"
    limits = " This counts tries; it knows nothing of neighbours."
    return [Paragraph([f"Is the {which} luck? ", *words, limits])]
