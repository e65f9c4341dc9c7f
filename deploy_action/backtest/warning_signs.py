"""Warning signs that a backtest is too good to be true because of the change to the model.

A model that sees the future (look-ahead bias), or whose parameters were fitted to the tested period
(over-fitting), does well in a backtest only. The warnings say what to check. Honest models rarely
reach the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from deploy_action.backtest.figures.round_trips import RoundTrips
from deploy_action.backtest.metrics import in_decimals
from deploy_action.backtest.result import BacktestResult
from deploy_action.errors import Problem, Severity
from deploy_action.text.quantities import count, decimal, per_cent

# A Sharpe ratio this many times the base's, and higher by at least this much: 0.4 after 0.1 is
# normal. A base of 0 or below counts as 1.
_SHARPE_TIMES: Final = 3
_SHARPE_MORE: Final = 1
_HIGH_WIN_PER_CENT: Final = 95
# With fewer closing trades, all may win by chance.
_FEWEST_FOR_WIN_RATE: Final = 20
_FEWEST_FOR_NO_LOSS: Final = 5
_FEWEST_VALUES: Final = 20
_FEWEST_RETURNS: Final = 20
# Falls of up to this many per cent are fees, if the gain is this many times as large.
_LEAST_FALL: Final = 0.1
_TIMES_THE_FALL: Final = 20

_LOOK_AHEAD: Final = (
    "Check that no bar's close, high or low is used for a trade within that bar, that no `shift` "
    "is missing or negative, and that no feature, scaling or label is made from later data."
)
_OTHER_PERIOD: Final = (
    "If parameters were fitted on the tested period, test on another one: `start_date` and "
    "`end_date`, or `to`, in `backtest-args`."
)
_STILL_OPEN: Final = (
    "Also check the positions that are open when the backtest ends: their losses are not counted."
)


def find_warning_signs(
    candidate: BacktestResult, base: BacktestResult | None
) -> tuple[Problem, ...]:
    """Return a warning for each sign that the candidate shows and the base does not.

    Without a base, only the signs that need none are checked.
    """
    return (
        *([] if base is None else _sharpe(candidate, base)),
        *_wins(candidate.analysis.round_trips, None if base is None else base.analysis.round_trips),
        *_never_fell(candidate, base),
    )


def without_trades(result: BacktestResult) -> Iterator[Problem]:
    """Yield a warning where nothing was traded: no risk is low because the model is good."""
    if result.filled_trades:
        return
    orders = len(result.trades)
    what = f"None of {count(orders, 'order')} was filled" if orders else "The model made no trades"
    yield _warning(
        f"{what}: without trades there is no risk, and gates such as `max_drawdown <= 25%` pass.",
        "Check what keeps the model from trading in this period. The gate `trades >= 1` refuses "
        "such a model.",
    )


def few_returns(result: BacktestResult) -> Iterator[Problem]:
    """Yield a warning where figures are annualised from few returns."""
    moments = result.analysis.moments
    if moments is None or moments.count >= _FEWEST_RETURNS:
        return
    yield _warning(
        f"Sharpe, Sortino, Calmar, annual growth, volatility and value at risk are from "
        f"{count(moments.count, 'return')} only, and most of them are scaled to a year: of such a "
        "short time they say next to nothing.",
        "Test a longer period.",
    )


def _warning(message: str, *hints: str) -> Problem:
    return Problem(message=message, hint=" ".join(hints), severity=Severity.WARNING)


def _sharpe(candidate: BacktestResult, base: BacktestResult) -> Iterator[Problem]:
    now, before = candidate.analysis.metrics["sharpe"], base.analysis.metrics["sharpe"]
    if now is None or before is None:
        return
    exact_now, exact_before = in_decimals(now), in_decimals(before)
    is_times = exact_now >= _SHARPE_TIMES * (exact_before if before > 0 else 1)
    if is_times and exact_now - exact_before >= _SHARPE_MORE:
        times = f"at least {_SHARPE_TIMES} times the base's" if before > 0 else "and the base's is"
        yield _warning(
            f"The Sharpe ratio is {decimal(now)}, {times} {decimal(before)}: such a leap suggests "
            "look-ahead bias or over-fitting to the tested period.",
            _LOOK_AHEAD,
            _OTHER_PERIOD,
        )


def _wins(trips: RoundTrips, base: RoundTrips | None) -> Iterator[Problem]:
    closed = count(_closed(trips), "round trip")
    if _has_no_loss(trips):
        if base is None or not _has_no_loss(base):
            yield _warning(
                f"None of {closed} lost, which suggests look-ahead bias, or losses that are "
                "never realised.",
                _LOOK_AHEAD,
                _STILL_OPEN,
            )
    elif _has_high_win_rate(trips) and not (
        base is not None and (_has_high_win_rate(base) or _has_no_loss(base))
    ):
        share = per_cent((trips.win_rate or 0.0) * 100)
        yield _warning(
            f"{trips.wins:,} of {closed} won ({share}): a win rate so close to 100% suggests "
            "look-ahead bias, or losses that are never realised.",
            _LOOK_AHEAD,
            _STILL_OPEN,
        )


def _closed(trips: RoundTrips) -> int:
    return len(trips.closed)


def _has_no_loss(trips: RoundTrips) -> bool:
    return trips.losses == 0 < trips.wins and _closed(trips) >= _FEWEST_FOR_NO_LOSS


def _has_high_win_rate(trips: RoundTrips) -> bool:
    closed = _closed(trips)
    return closed >= _FEWEST_FOR_WIN_RATE and trips.wins * 100 >= _HIGH_WIN_PER_CENT * closed


def _never_fell(candidate: BacktestResult, base: BacktestResult | None) -> Iterator[Problem]:
    if not _only_rises(candidate) or (base is not None and _only_rises(base)):
        return
    values = candidate.analysis.values.values
    yield _warning(
        f"The account's value never fell by more than {per_cent(_LEAST_FALL)}: from "
        f"{decimal(values[0])} to {decimal(values[-1])} over {count(len(values), 'value')} "
        "without a real drawdown, which suggests look-ahead bias or over-fitting to the tested "
        "period.",
        _LOOK_AHEAD,
        _OTHER_PERIOD,
    )


def _only_rises(result: BacktestResult) -> bool:
    """Whether the model traded and gained, and its account never lost more than fees."""
    known = result.analysis.values
    if len(known) < _FEWEST_VALUES or not result.filled_trades:
        return False
    gain, fall = (result.analysis.metrics[name] for name in ("cum_returns", "max_drawdown"))
    if gain is None or fall is None:
        return False
    return fall <= min(_LEAST_FALL, gain / _TIMES_THE_FALL) and gain > 0
