"""Warnings about a sweep: variables without effect, and the best of many taken for the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.sweep.deflated_sharpe import Deflated, NoOddsError, deflate
from deploy_action.backtest.sweep.robustness import (
    Standing,
    idle,
    objective_of,
    ranking,
    robustness_of,
)
from deploy_action.errors import Problem, Severity
from deploy_action.text.quantities import count, decimal

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Swept

ENOUGH: Final = 0.95
"""The odds from which on a result does not pass for luck; those of the usual tests."""
_CALLED: Final = {"cum_returns": "return", "sharpe": "Sharpe ratio"}
_CERTAIN: Final = 0.995


def sweep_warnings(swept: Swept, redact: Callable[[str], str] = str) -> tuple[Problem, ...]:
    """Return the warnings about a sweep as a whole; those about single backtests are not in it.

    `redact` is as in `grid.shown`.
    """
    luck = luck_warning(swept, redact)
    return (*_idle_warnings(swept), *([] if luck is None else [luck]))


def _idle_warnings(swept: Swept) -> Iterator[Problem]:
    """Warn about variables without effect: the model may not read them."""
    for axis in idle(swept):
        if axis.variable is not None:
            yield Problem(
                message=f"`{axis.variable}` never changed a trade: all its "
                f"{len(axis.values):,} values gave the same ones.",
                hint=f"Look whether the model reads the variable `{axis.variable}`, and uses it.",
                severity=Severity.WARNING,
            )


def luck_warning(swept: Swept, redact: Callable[[str], str] = str) -> Problem | None:
    """Return the warning that the current setting may only be the luckiest; None if it is not."""
    best = best_in(swept, swept.current)
    if swept.current is None or not best:
        return None
    try:
        odds = deflate(swept, swept.current)
    except NoOddsError:
        return None
    if odds.probability >= ENOUGH:
        return None
    tried = sum(1 for _ in swept.known())
    around = robustness_of(swept).neighbourhood
    is_safe = around is not None and around.standing is Standing.PLATEAU
    others = (
        "" if is_safe else ", or choose a setting on a plateau, with neighbours that do as well"
    )
    return Problem(
        message=f"The current setting (`{swept.name(swept.current, redact)}`) has the best "
        f"{' and '.join(best)} of {tried:,} that were tried, which may be luck. "
        f"{odds_in_words(swept, swept.current, odds)}",
        hint=f"Backtest it over a period that was not used to choose it{others}.",
        severity=Severity.WARNING,
    )


def best_in(swept: Swept, index: int | None) -> list[str]:
    """Return what a combination is the best in: return, Sharpe ratio, both, or nothing."""
    metrics = dict.fromkeys((objective_of(swept.sweep), "sharpe"))
    return [_CALLED[one] for one in metrics if ranking(swept, one)[:1] == (index,)]


def odds_in_words(swept: Swept, index: int, odds: Deflated) -> str:
    """Say what luck alone would have reached, and how far above that a setting is."""
    figures = swept.combinations[index].figures
    annual = None if figures is None else figures.metrics["sharpe"]
    reached, than_what = "", "what the best of as many without any merit reaches"
    if annual is not None and odds.sharpe:
        lucky = odds.threshold * annual / odds.sharpe  # in a year, as it is shown everywhere
        reached = (
            f"Of {count(odds.trials, 'setting')} without any merit, the best can be expected "
            f"to reach a Sharpe ratio of about {decimal(lucky)}; this one has {decimal(annual)}. "
        )
        than_what = "that"
    return (
        f"{reached}If its true ratio were {than_what}, it would come out lower than it did in "
        f"{likelihood(odds.probability)} of cases (deflated Sharpe ratio; the usual bar is 95%)."
    )


def likelihood(probability: float) -> str:
    """Return odds in per cent, without a 100% or a 0% that they are not."""
    if probability > _CERTAIN:
        return "over 99%"
    if probability < 1 - _CERTAIN:
        return "under 1%"
    # Not rounded up to what would be enough.
    return f"{math.floor(probability * 100) if probability < ENOUGH else round(probability * 100)}%"
