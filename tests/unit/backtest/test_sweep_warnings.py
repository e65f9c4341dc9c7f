"""Warnings about a sweep as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from deploy_action.backtest.sweep.combinations import Swept
from deploy_action.backtest.sweep.warning_signs import likelihood, luck_warning, sweep_warnings
from deploy_action.errors import Severity
from deploy_action.text.located_json import JsonValue
from tests.support.sweeps import figures, swept


def noise(current: int | None, number: int = 60) -> Swept:
    """Return settings of which none has a merit; 47 is the luckiest."""
    return swept({"env.FAST": range(number)}, lambda fast: fast * 37 % 60 - 30.0, current=current)


def test_the_best_of_many_may_be_luck() -> None:
    (warning,) = sweep_warnings(noise(47))
    assert warning.severity is Severity.WARNING
    assert warning.message == (
        "The current setting (`FAST=47`) has the best return and Sharpe ratio of 60 that were "
        "tried, which may be luck. Of 60 settings without any merit, the best can be expected to "
        "reach a Sharpe ratio of about 5.65; this one has 4.00. If its true ratio were "
        "that, it would come out lower than it did in 1% of cases (deflated Sharpe ratio; the "
        "usual bar is 95%)."
    )
    assert warning.hint == (
        "Backtest it over a period that was not used to choose it, or choose a setting on a "
        "plateau, with neighbours that do as well."
    )


def test_a_plateau_is_not_told_to_look_for_one() -> None:
    found = swept({"env.FAST": range(30)}, lambda fast: 30.0 - abs(fast - 15) * 4, current=15)
    warning = luck_warning(found)
    assert warning is not None
    assert warning.hint == "Backtest it over a period that was not used to choose it."


def test_a_setting_that_is_not_the_best_was_not_chosen_for_that() -> None:
    assert sweep_warnings(noise(46)) == ()
    assert sweep_warnings(noise(None)) == ()


def test_a_result_beyond_luck_has_no_warning() -> None:
    found = swept({"env.FAST": range(5)}, lambda fast: 90.0 + fast / 10, current=4)
    assert sweep_warnings(found) == ()


def test_the_best_by_its_sharpe_ratio_may_be_luck_too() -> None:
    found = swept(
        {"env.FAST": range(9)},
        lambda fast: figures(fast * 1.0, sharpe=9.0 if fast == 3 else fast / 10),
        current=3,
    )
    warning = luck_warning(found)
    assert warning is not None
    assert "has the best Sharpe ratio of 9 that were tried" in warning.message


def test_a_variable_without_effect_is_told_and_an_argument_is_not() -> None:
    axes: dict[str, Sequence[JsonValue]] = {
        "env.FAST": [1, 2],
        "benchmark_symbol": ["A", "B"],
        "env.X": [1, 2, 3],
    }
    (warning,) = sweep_warnings(swept(axes, lambda fast, *_: fast * 1.0))
    assert warning.message == "`X` never changed a trade: all its 3 values gave the same ones."
    assert "`X`" in warning.hint


@pytest.mark.parametrize(
    ("odds", "words"),
    [
        (0.001, "under 1%"),
        (0.5, "50%"),
        (0.9499, "94%"),
        (0.95, "95%"),
        (0.994, "99%"),
        (0.9999, "over 99%"),
    ],
)
def test_odds_are_neither_certain_nor_rounded_up_to_enough(odds: float, words: str) -> None:
    assert likelihood(odds) == words


def test_a_sweep_of_which_all_failed_has_no_warning_of_its_own() -> None:
    assert sweep_warnings(swept({"env.FAST": [1, 2]}, lambda _: None, current=0)) == ()
