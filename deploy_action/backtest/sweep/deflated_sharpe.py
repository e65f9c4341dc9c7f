"""The odds that the Sharpe ratio of a chosen combination is more than luck.

After Bailey and López de Prado (2014), "The Deflated Sharpe Ratio: Correcting for Selection Bias,
Backtest Overfitting, and Non-Normality", Journal of Portfolio Management 40(5), 94-107: who tries
many settings finds one with a high ratio even if none has any merit. All ratios here are those of
one return, not annualised.

The tests check it with the paper's example: an annual ratio of 2.5 from 1,250 daily returns with
skewness -3 and kurtosis 10, the best of 100 whose annual ratios have the variance 1/2 (a year has
250 days), has the threshold 0.1132 and the odds 0.9004; of 46, the odds 0.9505.
"""

from __future__ import annotations

import math
from statistics import NormalDist, variance
from typing import TYPE_CHECKING, Final

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.figures.moments import Moments
    from deploy_action.backtest.sweep.combinations import Swept

_NORMAL: Final = NormalDist()
_EULER_MASCHERONI: Final = 0.5772156649015329
_FEWEST: Final = 2


class NoOddsError(ValueError):
    """The odds are not defined; the argument says why, and can follow a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """The odds of a combination.

    `trials` are the combinations with different trades. `threshold` is the ratio that the best of
    them can be expected to have by luck alone, and `probability`, from 0 to 1, the odds that the
    combination's true ratio is above it. `sharpe` is the ratio that was found.
    """

    trials: int
    sharpe: float
    threshold: float
    probability: float


def deflate(swept: Swept, index: int) -> Deflated:
    """Return the odds of a combination as the one that was chosen of all.

    Combinations with the same trades are one trial, and those without a ratio are none.

    Raises:
        NoOddsError: they are not defined.
    """
    chosen = swept.combinations[index].figures
    if chosen is None or chosen.moments is None:
        raise NoOddsError("it has too few returns, or they are all the same")
    trials = {
        one.figures.trades_sha256: one.figures.moments.sharpe
        for _, one in swept.known()
        if one.figures is not None and one.figures.moments is not None
    }
    if len(trials) < _FEWEST:
        raise NoOddsError("fewer than two combinations have different trades")
    try:
        threshold = expected_maximum(len(trials), math.sqrt(variance(trials.values())))
        probability = probabilistic_sharpe(chosen.moments, threshold)
    except OverflowError as error:
        raise NoOddsError("its returns, or those of others, are beyond all measure") from error
    return Deflated(
        trials=len(trials),
        sharpe=chosen.moments.sharpe,
        threshold=threshold,
        probability=probability,
    )


def expected_maximum(trials: int, spread: float) -> float:
    """Return the highest ratio to expect by luck of two trials or more with this deviation.

    It is cautious: neighbours are much alike, so that there are fewer independent trials than that;
    and where the true ratios differ, the found ones differ by more than luck.
    """
    lower, upper = (_NORMAL.inv_cdf(1 - 1 / (trials * by)) for by in (1, math.e))
    return spread * ((1 - _EULER_MASCHERONI) * lower + _EULER_MASCHERONI * upper)


def probabilistic_sharpe(moments: Moments, threshold: float) -> float:
    """Return the odds that the true ratio is above the threshold.

    Raises:
        NoOddsError: the moments allow no error of the estimate.
    """
    sharpe, skewness, kurtosis = moments.sharpe, moments.skewness, moments.kurtosis
    squared = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if not squared > 0 or not math.isfinite(squared):
        raise NoOddsError("its returns have no usable spread")
    apart = (sharpe - threshold) * math.sqrt(moments.count - 1)
    return _NORMAL.cdf(apart / math.sqrt(squared))
