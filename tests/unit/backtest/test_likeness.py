"""A base that saw other prices, or traded by other rules, is no fair comparison."""

from __future__ import annotations

from typing import Any

import pytest

from deploy_action.backtest.likeness import IN_A_RUN, unlike
from deploy_action.records import replace
from tests.support.backtests import START, a_market, a_result

VALUES = [100.0, 90.0, 120.0]
OAK = [4.0, 4.5, 5.0]
MEANS = ". The comparison, and gates with `base`, show more than what the models changed."


def said(base: dict[str, Any] | None, now: dict[str, Any] | None) -> list[str]:
    found = unlike(a_result(VALUES, market=base), a_result(VALUES, market=now))
    assert all(one.message.endswith(MEANS) for one in found)
    return [one.message.removesuffix(MEANS) for one in found]


def market(prices: list[float] = OAK, *, of: dict[str, Any] | None = None, **changes: Any) -> Any:
    return a_market({"OAK-USD": prices}, of_symbol=of or {}, **changes)


def test_the_same_market_is_like_itself() -> None:
    assert said(market(), market()) == []
    assert said(None, market()) == said(market(), None) == []


def test_other_periods_are_told_with_both() -> None:
    (found,) = said(market(), market([*OAK, 6.0]))
    assert found == (
        "The base saw other prices of OAK-USD: from 2023-03-01 to 2023-03-03, this model from "
        "2023-03-01 to 2023-03-04"
    )


def test_names_are_redacted_before_they_are_cut() -> None:
    """Half a secret would not be recognised where others are hidden."""
    secret = "d1fe" * 5
    name = f"{'A' * 30}{secret}-USD"
    base, now = (
        a_market({name: prices}, use_price=f"{'b' * 30}{secret}{number}")
        for number, prices in enumerate((OAK, [*OAK, 6.0]))
    )
    sides = replace(IN_A_RUN, redact=lambda text: text.replace(secret, "***"))
    found = unlike(a_result(VALUES, market=base), a_result(VALUES, market=now), sides)
    told = " ".join(one.message for one in found)
    assert (len(found), told.count("***")) == (2, 3)
    assert "d1fe" not in told


def test_other_prices_in_the_same_period_are_counted() -> None:
    assert said(market(), market([4.0, 4.6, 5.0])) == [
        "The base saw other prices of OAK-USD: 1 of 3 bars differ, the first of 2023-03-02"
    ]
    times = [float(START), float(START + 2 * 86_400)]
    gap = market([4.0, 5.0], of={"times": times, "bars": 2})
    assert said(market(), gap) == [
        "The base saw other prices of OAK-USD: 1 of 3 bars differ, the first of 2023-03-02"
    ]


def test_another_resolution_of_the_same_period_is_a_change_of_the_model() -> None:
    times = [START + 43_200.0 * half for half in range(6)]
    halves = market([4.0] * 6, of={"times": times, "bars": 6, "resolution": 43_200.0})
    assert said(market(), halves) == []


def test_symbols_of_only_one_are_a_change_of_the_model() -> None:
    assert said(market(), a_market({"ELM-USD": OAK})) == []


@pytest.mark.parametrize(
    ("base", "now", "words"),
    [
        (
            market(),
            market(of={"taker_fee": 0.0}),
            "The base pays 0.10% in fees for market orders, this model 0.00%",
        ),
        (
            market(of={"maker_fee": 0.002}),
            market(),
            "The base pays 0.20% in fees for limit orders, this model 0.10%",
        ),
        (
            market(),
            market(use_price="close"),
            "The base's orders are filled at the `open` of a bar, this model's at `close`",
        ),
        (
            market(),
            market(initial_values={"USD": 5_000.0, "OAK": 2.0}),
            "The base starts with 10,000 USD, this model with 5,000 USD, 2 OAK",
        ),
    ],
)
def test_other_rules_are_told(base: Any, now: Any, words: str) -> None:
    assert said(base, now) == [words]


def test_an_unknown_fee_is_no_other_fee() -> None:
    assert said(market(), market(of={"taker_fee": None, "maker_fee": None})) == []
