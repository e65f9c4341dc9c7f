from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.pages.assets import assets
from deploy_action.pages.charts import chart_data
from tests.support.backtests import DAY, START, a_market, a_result, an_order

LIBRARY = (
    Path(__file__).parents[3]
    / "node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.js"
)


def drawn(*named: tuple[str, Any]) -> dict[str, Any]:
    """Return what is drawn, as a script reads it."""
    found: dict[str, Any] = json.loads(json.dumps(chart_data(named), allow_nan=False))
    return found


def test_the_library_is_the_one_that_npm_installs() -> None:
    if not LIBRARY.exists():
        pytest.skip("no Lightweight Charts: `make setup`, with npm")
    assert assets()["lightweight-charts.js"].content == LIBRARY.read_bytes()


def test_one_backtest_has_its_account_holding_prices_and_orders() -> None:
    orders = [
        an_order("buy", 2, None, time=float(START + DAY)),
        an_order("sell", 2, 130.0, time=float(START + 2 * DAY)),
        an_order("sell", 2, 999.0, type="limit", status="open"),
    ]
    market = a_market({"OAK-USD": [100.0, 110.0, 120.0, 130.0], "ELM-USD": [1.0]})

    found = drawn(("Strategy", a_result(trades=orders, market=market)))

    (account,) = found["accounts"]
    assert account["values"] == [10_000, 10_400, 9_900, 12_900]
    assert account["drawdowns"] == [0, 0, pytest.approx(-4.807692, abs=1e-5), 0]
    assert found["holding"]["values"] == [10_000, 11_000, 12_000, 13_000]
    oak, elm = found["prices"]
    assert (oak["symbol"], oak["values"]) == ("OAK-USD", [100, 110, 120, 130])
    assert oak["orders"] == [[START + DAY, 1, 2, None], [START + 2 * DAY, -1, 2, 130]]
    assert elm["orders"] == []
    assert found["notes"] == ["1 order was not filled, and is not drawn."]
    assert "from 10,000.00 to 12,900.00 USD" in found["label"]
    assert "maximum drawdown 4.81%" in found["label"]


def test_what_is_not_known_is_a_gap_and_never_zero() -> None:
    found = drawn(("Strategy", a_result((10_000.0, None, 9_000.0, None))))

    (account,) = found["accounts"]
    assert account["values"] == [10_000, None, 9_000]
    assert account["drawdowns"] == [0, None, -10]
    assert found["holding"] is None
    assert "no number for 2 of 4 account values" in found["notes"][0]
    assert "does not tell prices" in found["notes"][1]


def test_without_account_values_it_says_so() -> None:
    found = drawn(("Strategy", a_result(())))

    assert found["accounts"][0]["times"] == []
    assert found["notes"][0] == "There is no chart: the result has no account values."


def test_an_account_without_money_has_no_drawdown() -> None:
    found = drawn(("Strategy", a_result((0.0, 0.0, 5.0))))

    assert found["accounts"][0]["drawdowns"] == [None, None, None]


def test_two_backtests_share_an_axis_only_in_the_same_asset() -> None:
    one = a_result((100.0, 120.0, 90.0))
    other = a_result((1_000.0, 1_100.0, 990.0), quote_asset="EUR")

    same = drawn(("now", one), ("before", one))
    apart = drawn(("now", one), ("before", other))

    assert (same["unit"], same["accounts"][1]["values"]) == ("USD", [100, 120, 90])
    assert (same["holding"], same["prices"]) == (None, [])
    assert apart["unit"] == "%"
    assert apart["accounts"][0]["values"] == pytest.approx([0, 20, -10])
    assert apart["accounts"][1]["values"] == pytest.approx([0, 10, -1])
    assert apart["notes"][0].startswith("The accounts are in different assets")


def test_accounts_of_other_amounts_or_periods_are_drawn_in_per_cent() -> None:
    one = a_result((100.0, 120.0, 90.0))
    larger = a_result((10_000.0, 11_000.0, 9_900.0))
    longer = a_result((100.0, 110.0, 99.0, 120.0))

    of_amounts = drawn(("A", one), ("B", larger))
    of_periods = drawn(("A", one), ("B", longer))

    for found in (of_amounts, of_periods):
        assert found["unit"] == "%"
        assert found["accounts"][0]["values"] == pytest.approx([0, 20, -10])
        assert found["accounts"][1]["values"][:3] == pytest.approx([0, 10, -1])
    assert of_amounts["notes"][0].startswith("The accounts begin with different amounts")
    assert of_periods["notes"][0].startswith("The accounts are of different periods")


def test_the_lowest_point_of_a_long_backtest_is_drawn_and_few_others() -> None:
    values = [10_000 + math.sin(step / 500) for step in range(50_000)]
    values[31_007] = 12.5
    market = a_market({"OAK-USD": [100.0 + step % 7 for step in range(50_000)]})

    found = drawn(("Strategy", a_result(values, market=market)))

    (account,) = found["accounts"]
    at = account["values"].index(12.5)
    assert account["times"][at] == START + 31_007 * DAY
    assert min(account["drawdowns"]) == pytest.approx(account["drawdowns"][at])
    assert len(account["times"]) <= 3_000
    assert len(found["prices"][0]["times"]) <= 3_000
    assert len(json.dumps(found)) < 400_000


def test_of_many_orders_the_last_are_drawn_and_it_is_said() -> None:
    orders = [
        an_order("buy" if number % 2 else "sell", 1, 100.0, time=float(START + 60 * number))
        for number in range(5_000)
    ]
    market = a_market({"OAK-USD": [100.0, 110.0, 120.0, 130.0]})

    (prices,) = drawn(("Strategy", a_result(trades=orders, market=market)))["prices"]

    assert len(prices["orders"]) == 2_000
    assert prices["orders"][-1][0] == START + 60 * 4_999
    assert prices["note"].startswith("Of 5,000 orders of OAK-USD, the last 2,000 are drawn")


@given(
    st.lists(
        st.tuples(st.floats(-1e15, 1e15), st.none() | st.floats(-1e300, 1e300)),
        max_size=60,
    )
)
@settings(deadline=None)
def test_whatever_a_server_sends_times_rise_and_numbers_are_such(
    points: list[tuple[float, float | None]],
) -> None:
    values = [{"time": time, "value": value} for time, value in points]

    found = drawn(("Strategy", a_result(account_values=values)))

    (account,) = found["accounts"]
    assert all(before < now for before, now in pairwise(account["times"]))
    assert len(account["times"]) == len(account["values"]) == len(account["drawdowns"])
    assert all(value is None or abs(value) < 9.1e15 for value in account["values"])


def test_an_order_stands_at_the_bar_at_whose_price_it_was_filled() -> None:
    orders = [
        an_order("buy", 1, None, time=float(START + DAY // 2)),
        an_order("sell", 1, None, time=float(START + 5 * DAY)),
    ]
    market = a_market({"OAK-USD": [100.0, 110.0, 120.0]})

    (prices,) = drawn(("Strategy", a_result(trades=orders, market=market)))["prices"]

    assert [order[0] for order in prices["orders"]] == [START + DAY, START + 5 * DAY]
    assert prices["times"][-1] == START + 5 * DAY
    assert prices["values"] == [100, 110, 120, 120]


def test_the_bars_of_orders_are_drawn_however_long_the_prices_are() -> None:
    market = a_market({"OAK-USD": [100.0 + step % 7 for step in range(50_000)]})
    orders = [an_order("buy", 1, None, time=float(START + at * DAY)) for at in (11, 3_017, 40_001)]

    (prices,) = drawn(("Strategy", a_result(trades=orders, market=market)))["prices"]

    assert {START + at * DAY for at in (11, 3_017, 40_001)} <= set(prices["times"])
