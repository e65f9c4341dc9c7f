"""The odds that the best of many is more than luck."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import NormalDist, mean, stdev

import pytest

from deploy_action.backtest.figures.moments import Moments
from deploy_action.backtest.sweep.deflated_sharpe import (
    NoOddsError,
    deflate,
    expected_maximum,
    probabilistic_sharpe,
)
from tests.support.sweeps import A_SHARPE, figures, swept

FOUND = 2.5 / math.sqrt(250)


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "odds"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_the_example_of_the_paper(
    trials: int, skewness: float, kurtosis: float, odds: float
) -> None:
    """Bailey and López de Prado (2014), "A numerical example"."""
    threshold = expected_maximum(trials, math.sqrt(0.5 / 250))
    if trials == 100:
        assert threshold == pytest.approx(0.1132, abs=5e-5)
    moments = Moments(1250, FOUND, skewness, kurtosis)
    assert probabilistic_sharpe(moments, threshold) == pytest.approx(odds, abs=5e-5)


def test_it_is_what_luck_gives() -> None:
    """The best of 50 without any merit, many times over."""
    chance = random.Random(7)  # noqa: S311  # no secrets
    best = [max(chance.gauss(0, 1) for _ in range(50)) for _ in range(4_000)]
    assert expected_maximum(50, 1.0) == pytest.approx(mean(best), rel=0.03)


def test_a_sweep_has_a_trial_for_all_that_trade_the_same() -> None:
    found = deflate(swept({"env.X": [1, 2, 3]}, lambda x: min(x, 2) * 10.0), 1)
    assert found.trials == 2
    ratios = [made / A_SHARPE / math.sqrt(252) for made in (10, 20)]
    assert found.sharpe == pytest.approx(ratios[1])
    assert found.threshold == pytest.approx(expected_maximum(2, stdev(ratios)))
    apart = (found.sharpe - found.threshold) * math.sqrt(499)
    odds = NormalDist().cdf(apart / math.sqrt(1 + found.sharpe**2 / 2))
    assert found.probability == pytest.approx(odds)


def test_more_trials_make_the_same_result_less_likely() -> None:
    odds = [
        deflate(swept({"env.X": range(number)}, lambda x: 25.0 - x % 7 - x / 1e6), 0).probability
        for number in (7, 70, 700)
    ]
    assert odds == sorted(odds, reverse=True)
    assert odds[0] > odds[-1]


@pytest.mark.parametrize(
    ("results", "index", "why"),
    [
        ([10.0, None], 1, "too few returns"),
        ([10.0, None], 0, "fewer than two"),
        ([10.0, 10.0], 0, "fewer than two"),
    ],
)
def test_undefined_odds_have_a_reason(results: list[float | None], index: int, why: str) -> None:
    found = swept({"env.X": [0, 1]}, lambda x: results[int(x)])
    with pytest.raises(NoOddsError, match=why):
        deflate(found, index)


def test_without_returns_there_are_no_odds() -> None:
    nothing = replace(figures(0.0), moments=None)
    found = swept({"env.X": [0, 1, 2]}, lambda x: x or nothing)
    with pytest.raises(NoOddsError, match="too few returns"):
        deflate(found, 0)
    assert deflate(found, 1).trials == 2


@pytest.mark.parametrize("index", [0, 1])
def test_ratios_beyond_all_measure_give_no_odds(index: int) -> None:
    usual = figures(1.0)
    huge = replace(usual, trades_sha256="", moments=Moments(500, 1e308, 0.0, 3.0))
    found = swept({"env.FAST": [0, 1]}, lambda fast: huge if fast else usual)
    with pytest.raises(NoOddsError, match="beyond all measure"):
        deflate(found, index)


def test_moments_that_no_returns_can_have_give_no_odds() -> None:
    with pytest.raises(NoOddsError, match="spread"):
        probabilistic_sharpe(Moments(100, 2.0, 9.0, 1.0), 0.0)
