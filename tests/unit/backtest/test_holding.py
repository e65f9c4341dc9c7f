"""What holding made, and what the prices cover of the period."""

from __future__ import annotations

from typing import Any

import pytest

from deploy_action.backtest.figures.analysis import Analysis
from tests.support.backtests import (
    DAY,
    START,
    a_market,
    a_result,
    an_order,
    raw_result,
    read_result,
)

TWO = {"OAK-USD": [10.0, 11.0, 12.0], "ELM-USD": [5.0, 5.0, 4.0]}


def analysed(
    prices: dict[str, list[float]],
    values: list[float | None] | None = None,
    *,
    symbols: list[str] | None = None,
    **changes: Any,
) -> Analysis:
    raw = raw_result(
        values or [1_000.0] * max(map(len, prices.values())),
        market=a_market(prices, **changes),
        symbols=list(prices) if symbols is None else symbols,
    )
    return read_result(raw).analysis


def test_symbols_are_held_in_equal_parts() -> None:
    """500 in each: 500 * 1.2 and 500 * 0.8 are 1,000; the day before 550 and 500."""
    found = analysed(TWO, [1_000.0, 1_000.0, 1_100.0])
    assert found.holding is not None
    assert list(found.holding.values.values) == [1_000, 1_050, 1_000]
    assert found.holding.metrics["max_drawdown"] == pytest.approx(5_000 / 1_050)
    assert found.holding.metrics["longest_drawdown_days"] == 1
    assert found.metrics["hold_return"] == 0
    assert found.metrics["excess_return"] == pytest.approx(10)


def test_a_model_that_holds_is_equal_to_holding_in_every_figure() -> None:
    """The account's last value comes a bar after the last price, at which it is valued."""
    prices = [10.0, 11.0, 9.0, 12.0]
    found = analysed({"OAK-USD": prices}, [*(100 * price for price in prices), 1_200.0])
    assert found.holding is not None
    for metric, value in found.holding.metrics.items():
        assert found.metrics[metric] == pytest.approx(value), metric


def test_holding_is_cash_until_the_first_price() -> None:
    market = a_market({"OAK-USD": [10.0] * 6, "ELM-USD": [5.0, 6.0]})
    late = market["prices"][1]
    late["times"] = [START + 4 * DAY, START + 5 * DAY]
    raw = raw_result([1_000.0] * 6, market=market, symbols=["ELM-USD"])
    holding = read_result(raw).analysis.holding
    assert holding is not None
    assert list(holding.values) == [
        (START, 1_000.0),
        (START + 4 * DAY, 1_000.0),
        (START + 5 * DAY, 1_200.0),
    ]


def test_prices_in_any_order_are_sorted() -> None:
    raw = raw_result([1_000.0] * 3, market=a_market({"OAK-USD": [10.0, 11.0, 12.0]}))
    for name in ("times", "values"):
        raw["market"]["prices"][0][name].reverse()
    assert read_result(raw).analysis.metrics["hold_return"] == pytest.approx(20)


def test_only_what_was_traded_is_held() -> None:
    assert analysed(TWO, symbols=["OAK-USD"]).metrics["hold_return"] == pytest.approx(20)


def test_without_any_order_all_symbols_are_held() -> None:
    found = analysed(TWO, symbols=[])
    assert found.holding is not None
    assert found.holding.symbols == ("OAK-USD", "ELM-USD")


def test_a_symbol_that_is_named_often_is_held_once() -> None:
    found = analysed(TWO, symbols=["OAK-USD", "ELM-USD", "OAK-USD"])
    assert found.holding is not None
    assert found.holding.symbols == ("OAK-USD", "ELM-USD")


def test_the_benchmark_is_held_instead() -> None:
    found = analysed(TWO, symbols=["OAK-USD"], benchmark_symbol="ELM-USD")
    assert found.metrics["hold_return"] == pytest.approx(-20)


def test_the_part_of_a_symbol_that_starts_later_is_cash_until_then() -> None:
    """500 in OAK make 100 by the third day; ELM's first bar is that of the second, at 5."""
    raw = raw_result([1_000.0] * 3, market=a_market(TWO), symbols=list(TWO))
    later = raw["market"]["prices"][1]
    later["times"], later["values"] = later["times"][1:], [5.0, 6.0]
    holding = read_result(raw).analysis.holding
    assert holding is not None
    assert list(holding.values.values) == pytest.approx([1_000, 1_050, 1_200])


def test_it_is_held_while_the_account_has_values() -> None:
    """One symbol's prices went on for two days after the backtest ended, and fell."""
    found = analysed({"OAK-USD": [10.0, 12.0, 5.0, 1.0]}, [1_000.0, 1_000.0])
    assert found.metrics["hold_return"] == pytest.approx(20)


def test_the_price_is_the_first_from_then_on() -> None:
    """At half past a bar, the engine takes the next one."""
    raw = raw_result([1_000.0, 1_000.0], market=a_market({"OAK-USD": [10.0, 12.0, 5.0]}))
    raw["account_values"][1]["time"] = float(START + 1.5 * DAY)
    assert read_result(raw).analysis.metrics["hold_return"] == pytest.approx(-50)


@pytest.mark.parametrize(
    ("prices", "changes", "reason"),
    [
        (
            {"OAK-USD": [1.0, 2.0], "ELM-EUR": [1.0, 2.0]},
            {},
            "ELM-EUR is traded against EUR, and the account is in USD",
        ),
        ({"OAK-USD": [1.0, 2.0]}, {"symbols": ["FIR-USD"]}, "there are no prices of FIR-USD"),
        (
            {"OAK-USD": [1.0, 2.0]},
            {"benchmark_symbol": "FIR-USD"},
            "there are no prices of FIR-USD",
        ),
        ({"OAK-USD": [0.0, 2.0]}, {}, "the first price of OAK-USD is not above 0"),
        ({"OAK-USD": [1.0]}, {}, "there is a single price"),
    ],
)
def test_without_a_value_there_is_a_reason(
    prices: dict[str, list[float]], changes: dict[str, Any], reason: str
) -> None:
    found = analysed(prices, **changes)
    for metric in ("hold_return", "excess_return"):
        assert found.metrics[metric] is None
        assert found.reasons[metric] == reason


def test_another_server_does_not_tell_the_prices() -> None:
    found = a_result()
    assert found.analysis.reasons["hold_return"] == "the server does not tell the prices"


def test_a_market_without_prices_holds_nothing() -> None:
    raw = raw_result(market=a_market({}), symbols=[])
    assert read_result(raw).analysis.reasons["hold_return"] == "there are no prices"


# --------------------------------------------------------------------------- what prices cover


def late(values: list[float]) -> dict[str, Any]:
    """Return a result of ten days whose prices begin on the sixth."""
    raw = raw_result(values, market=a_market({"OAK-USD": [10.0] * 5}, start_value=values[0]))
    (prices,) = raw["market"]["prices"]
    prices["times"] = [time + 5 * DAY for time in prices["times"]]
    prices["asked_start"], prices["asked_end"] = float(START), float(START + 10 * DAY)
    return raw


def test_days_before_the_first_price_are_not_counted() -> None:
    found = read_result(late([100.0] * 6 + [101.0, 102.0, 103.0, 104.0])).analysis
    assert list(found.values.values) == [100, 101, 102, 103, 104]
    assert found.values.times[0] == START + 5 * DAY
    assert found.metrics["cum_returns"] == pytest.approx(4)
    (coverage,) = found.coverage
    end = float(START + 10 * DAY)
    assert coverage.asked == (float(START), end)
    assert coverage.covered == (float(START + 5 * DAY), end)
    assert coverage.share == 0.5


def test_fees_of_orders_before_the_first_price_are_counted() -> None:
    """The engine fills them at the first price, before there is any."""
    found = read_result(late([100.0] * 3 + [99.0] * 3 + [101.0, 102.0, 103.0, 104.0])).analysis
    assert list(found.values.values) == [100, 99, 101, 102, 103, 104]
    assert list(found.values.times[:2]) == [START + 5 * DAY] * 2


def test_orders_before_the_first_price_are_not_exposed() -> None:
    raw = late([100.0] * 10)
    raw["trades"] = [an_order("buy", 1, 10.0, time=float(START + DAY))]
    assert read_result(raw).analysis.metrics["exposure"] == 100


def test_prices_after_all_values_change_nothing() -> None:
    raw = late([100.0, 101.0, 102.0])
    assert read_result(raw).analysis.metrics["cum_returns"] == pytest.approx(2)


def test_prices_of_nothing_cover_nothing() -> None:
    raw = late([100.0, 101.0, 102.0])
    raw["market"]["prices"][0] |= {"times": [], "values": [], "bars": 0}
    (coverage,) = read_result(raw).analysis.coverage
    assert (coverage.covered, coverage.share) == (None, 0)


def test_a_period_that_was_not_asked_for_is_not_covered() -> None:
    assert analysed(TWO).coverage == ()
