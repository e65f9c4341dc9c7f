from __future__ import annotations

from typing import Any

import pytest

from deploy_action.report.document import to_text
from deploy_action.report.sections.basis import basis
from tests.support.backtests import DAY, START, a_market, a_result, an_order

VALUES = [100.0, 90.0, 120.0]
ORDERS = [an_order("buy", 1, 100.0), an_order("sell", 1, 101.0, time=float(START + 2 * DAY))]
OAK, ELM = {"OAK-USD": [4.0, 4.5, 5.0]}, {"ELM-USD": [7.0, 6.5, 6.0]}


def said(market: dict[str, Any] | None, orders: list[dict[str, Any]] = ORDERS, **of: Any) -> str:
    result = a_result(VALUES, orders, market=market, **of)
    return " ".join(to_text(basis(result), width=500).split())


def with_fees(*fees: tuple[float | None, float | None]) -> dict[str, Any]:
    market = a_market({**OAK, **(ELM if len(fees) > 1 else {})})
    for prices, (maker, taker) in zip(market["prices"], fees, strict=True):
        prices |= {"maker_fee": maker, "taker_fee": taker}
    return market


def test_start_fees_prices_and_holding_are_said_once() -> None:
    assert said(a_market(OAK)) == (
        "The account starts with 10,000 USD. Each order pays 0.10% in fees. Market orders are "
        "filled at the open of the bar that begins when the model is called, or of the next one if "
        "none does. Holding means all of it in OAK-USD from 2023-03-01 to 2023-03-03, without fees."
    )


@pytest.mark.parametrize(
    ("fees", "words"),
    [
        ([(0.0, 0.0)], "No fees are counted."),
        ([(0.001, 0.006)], "Market orders pay 0.60% in fees, other orders 0.10% in fees."),
        ([(None, 0.001)], "Fees are not known: round trips are before fees."),
        ([(0.00001, 0.00001)], "Each order pays 0.001% in fees."),
        ([(0.001, 0.001), (0.002, 0.002)], "Each order pays 0.10% to 0.20% in fees."),
    ],
)
def test_fees_are_those_of_the_traded_symbols(
    fees: list[tuple[float | None, float | None]], words: str
) -> None:
    orders = [*ORDERS, *([an_order("buy", 1, 7.0, symbol="ELM-USD")] if len(fees) > 1 else [])]
    assert words in said(with_fees(*fees), orders)


def test_a_price_that_is_known_too_early_is_called_that() -> None:
    text = said(a_market(OAK, use_price="close"))
    assert "With use_price: close, prices are ahead of their time. Market orders are " in text
    assert "nobody knows it yet" in text
    assert "ahead of their time" not in said(a_market(OAK))
    assert "at the column a b of the prices" in said(a_market(OAK, use_price="a b"))


def test_orders_that_got_the_price_of_a_later_bar_are_counted() -> None:
    early = [{**order, "time": order["time"] - 64_800} for order in ORDERS]
    sentence = "of 2 market orders were placed when no bar began, and filled at that price of the"
    assert f"2 {sentence} next bar, up to 18 hours later." in said(a_market(OAK), early)
    mixed = said(a_market(OAK, use_price="close"), [ORDERS[0], early[1]])
    assert f"1 {sentence} next bar" in mixed
    assert sentence not in said(a_market(OAK))
    # After the last bar, there is no other price than its own.
    assert sentence not in said(a_market(OAK), [{**ORDERS[0], "time": float(START + 9 * DAY)}])


def test_orders_with_a_price_of_their_own_are_explained_where_there_are_any() -> None:
    limit = an_order("buy", 1, 100.0, type="limit", executed_time=float(START + DAY))
    assert "Limit and stop orders are filled at the price" in said(a_market(OAK), [*ORDERS, limit])
    assert "Limit and stop orders" not in said(a_market(OAK))


def test_holding_is_named_and_says_when_parts_are_cash() -> None:
    symbols = ["OAK-USD", "ELM-USD"]
    assert "equal parts of OAK-USD, ELM-USD from" in said(a_market({**OAK, **ELM}), symbols=symbols)
    late = a_market({**OAK, **ELM})
    late["prices"][1]["times"] = [time + 9 * DAY for time in late["prices"][1]["times"]]
    assert "; a part is cash until its symbol has prices." in said(late, symbols=symbols)
    chosen = a_market({**OAK, **ELM}, benchmark_symbol="ELM-USD")
    assert "all of it in ELM-USD (benchmark_symbol) from" in said(chosen)


def test_what_the_start_was_is_listed() -> None:
    held = {"USD": 5.5, "OAK": 100.0, "ELM": 0.0, "ASH": 1.0, "FIR": 2.0}
    text = said(a_market(OAK, initial_values={**held, "YEW": 3.0}))
    assert text.startswith("The account starts with 5.5 USD, 100 OAK, 1 ASH and 2 more assets.")
    # A single one is named instead of counted.
    assert " 100 OAK, 1 ASH, 2 FIR. " in said(a_market(OAK, initial_values=held))
    assert said(a_market(OAK, initial_values={})).startswith("The account starts with nothing.")


def test_what_is_not_known_is_said() -> None:
    assert said(None) == (
        "The server tells neither prices nor fees: what holding would have made is not known, and "
        "round trips are before fees."
    )
    assert "It sends no account values either" in said(None, account_values=[])
    other = a_market(OAK, benchmark_symbol="FIR-USD")
    assert "What holding would have made is not known: there are no prices of FIR-USD." in said(
        other
    )
