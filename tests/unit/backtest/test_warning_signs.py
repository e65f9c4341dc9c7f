from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.warning_signs import find_warning_signs, without_trades
from deploy_action.errors import Severity
from tests.support.backtests import a_result, an_order, raw_result, read_result, with_metrics

UP_AND_DOWN = [100.0, 90.0, *(float(value) for value in range(101, 130))]
NEVER_DOWN = [100.0, *(float(value) for value in range(100, 130))]


def traded(
    wins: int = 0, losses: int = 0, even: int = 0, *, sharpe: float | None = 1.0, **changes: Any
) -> BacktestResult:
    prices = [11.0] * wins + [9.0] * losses + [10.0] * even
    trades = [
        order
        for price in prices
        for order in (an_order("buy", 1, 10.0), an_order("sell", 1, price))
    ]
    if "values" in changes:
        return read_result(raw_result(trades=trades, **changes))
    return read_result(with_metrics(raw_result(trades=trades, **changes), sharpe=sharpe))


def messages(candidate: BacktestResult, base: BacktestResult | None = None) -> list[str]:
    return [problem.message for problem in find_warning_signs(candidate, base)]


@pytest.mark.parametrize(
    ("base", "candidate", "warns"),
    [
        (0.8, 4.2, True),
        (0.5, 1.5, True),
        (1.1, 3.3, True),  # 3 * 1.1 is 3.3000000000000003 for floats
        (1.1, 3.2999, False),
        (0.4, 1.3999, False),
        (0.0, 9.0, True),
        (-1.0, 3.0, True),
        (-1.0, 2.9, False),
        (4.2, 0.8, False),
        (None, 9.0, False),
        (1.0, None, False),
        (1e-300, 1e300, True),
    ],
)
def test_a_leap_of_the_sharpe_ratio_is_a_sign(
    base: float | None, candidate: float | None, *, warns: bool
) -> None:
    """Three times the base's and at least 1 more; at least 3 if the base's is 0 or below."""
    found = messages(traded(sharpe=candidate), traded(sharpe=base))
    assert bool(found) is warns
    assert messages(traded(sharpe=candidate)) == []


def test_a_leap_is_shown_with_both_ratios() -> None:
    (problem,) = find_warning_signs(traded(sharpe=4.2), traded(sharpe=0.8))
    assert problem.severity is Severity.WARNING
    assert problem.message == (
        "The Sharpe ratio is 4.20, at least 3 times the base's 0.80: such a leap suggests "
        "look-ahead bias or over-fitting to the tested period."
    )
    assert "`shift`" in problem.hint
    assert "`backtest-args`" in problem.hint


@pytest.mark.parametrize(
    ("wins", "losses", "even", "start"),
    [
        (19, 1, 0, "19 of 20 round trips won (95%): a win rate so close"),
        (95, 4, 1, "95 of 100 round trips won (95%): a win rate so close"),
        (1_990, 1, 0, "1,990 of 1,991 round trips won (99.95%): a win rate so close"),
        (5, 0, 0, "None of 5 round trips lost, which suggests"),
        (1, 0, 4, "None of 5 round trips lost, which suggests"),
        (200, 0, 0, "None of 200 round trips lost, which suggests"),
    ],
)
def test_winning_nearly_always_is_a_sign(wins: int, losses: int, even: int, start: str) -> None:
    """A model without a loss also has a win rate of 100%; one warning is enough."""
    (message,) = messages(traded(wins, losses, even))
    assert message.startswith(start)


@pytest.mark.parametrize(
    ("wins", "losses", "even"),
    [(18, 1, 0), (18, 2, 0), (94, 5, 1), (19, 1, 1), (4, 0, 0), (0, 0, 30), (0, 30, 0), (0, 0, 0)],
)
def test_chance_is_no_warning_sign(wins: int, losses: int, even: int) -> None:
    assert messages(traded(wins, losses, even)) == []


def test_a_curve_that_never_falls_is_a_sign() -> None:
    values: list[float | None] = [*NEVER_DOWN]
    (message,) = messages(traded(1, 1, values=[*values[:9], None, *values[9:]]))
    assert message == (
        "The account's value never fell by more than 0.1%: from 100.00 to 129.00 over 31 values "
        "without a real drawdown, which suggests look-ahead bias or over-fitting to the tested "
        "period."
    )


@pytest.mark.parametrize(("dip", "warns"), [(0.0009, 1), (0.0011, 0)])
def test_fees_are_no_falls(dip: float, warns: int) -> None:
    values = [*NEVER_DOWN[:20], NEVER_DOWN[19] * (1 - dip), *NEVER_DOWN[20:]]
    assert len(messages(traded(1, 1, values=values))) == warns


def test_a_calm_account_that_gains_little_shows_no_sign() -> None:
    values = [100.0, *[99.95, 100.1] * 15]
    assert messages(traded(1, 1, values=values)) == []


@pytest.mark.parametrize(
    ("values", "trades"),
    [
        (UP_AND_DOWN, 1),
        (NEVER_DOWN[:19], 1),
        ([100.0] * 30, 1),
        (NEVER_DOWN, 0),
        ([None] * 30, 1),
        ([], 1),
    ],
    ids=["fell", "short", "flat", "did not trade", "unknown", "empty"],
)
def test_other_curves_are_no_sign(values: list[float | None], trades: int) -> None:
    """A model that holds cash does not fall either."""
    assert messages(traded(trades, trades, values=values)) == []


def test_orders_that_were_not_filled_are_no_trades() -> None:
    waiting = an_order("buy", 1, 10.0, type="limit", status="pending")
    result = read_result(raw_result(NEVER_DOWN, [waiting]))
    assert messages(result) == []


@pytest.mark.parametrize(
    ("candidate", "base"),
    [
        (traded(30), traded(10)),
        (traded(98, 2), traded(30)),
        (traded(98, 2), traded(19, 1)),
        (traded(98, 2), traded(10)),
        (traded(1, 1, values=NEVER_DOWN), traded(2, 2, values=NEVER_DOWN)),
    ],
)
def test_a_sign_that_the_base_has_too_is_not_reported(
    candidate: BacktestResult, base: BacktestResult
) -> None:
    assert len(messages(candidate)) == 1
    assert len(messages(candidate, traded(1, 1, sharpe=None))) == 1
    assert messages(candidate, base) == []


def test_losing_no_trade_is_a_sign_although_the_base_lost_few() -> None:
    (message,) = messages(traded(100), traded(98, 2))
    assert message.startswith("None of 100 round trips lost")


def test_all_signs_are_shown() -> None:
    found = messages(traded(30, values=NEVER_DOWN), traded(1, 1, sharpe=1.0))
    assert [message.split()[1] for message in found] == ["Sharpe", "of", "account's"]


results = st.builds(
    traded,
    st.integers(0, 30),
    st.integers(0, 2),
    st.integers(0, 2),
    sharpe=st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    values=st.one_of(
        st.sampled_from([UP_AND_DOWN, NEVER_DOWN]),
        st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))),
    ),
)


@given(results, results)
def test_a_base_removes_all_warnings_except_the_one_on_its_sharpe_ratio(
    candidate: BacktestResult, base: BacktestResult
) -> None:
    assert messages(candidate, candidate) == []
    beside = [one for one in messages(candidate, base) if "Sharpe" not in one]
    assert set(beside) <= set(messages(candidate))


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ([], "The model made no trades: without trades there is no risk"),
        ([an_order("buy", 1, 5.0, type="limit", status="open")], "None of 1 order was filled: "),
    ],
)
def test_a_model_that_traded_nothing_is_told(orders: list[dict[str, Any]], words: str) -> None:
    (problem,) = without_trades(a_result(trades=orders))
    assert problem.message.startswith(words)
    assert problem.severity is Severity.WARNING


def test_a_model_that_traded_is_not() -> None:
    assert not list(without_trades(a_result(trades=[an_order("buy", 1, 5.0)])))
