from __future__ import annotations

from collections.abc import Sequence

from deploy_action.report.document import Block, to_markdown, to_text
from deploy_action.report.sections import history, trades
from tests.support.backtests import DAY, START, a_market, a_result, an_order
from tests.support.rendered import Element, render


def cells(body: Element, table: int = 0) -> list[list[str]]:
    rows = body.all("table")[table].all("tr")
    shown = [[one.text().replace("\u00a0", " ") for one in row.all("th", "td")] for row in rows]
    return [row for row in shown if any(row)]


def seen(blocks: Sequence[Block]) -> Element:
    return render(to_markdown(blocks))


def test_months_have_squares_numbers_and_the_years_total() -> None:
    """From March to the first day of May: +10%, -10%, and no change."""
    values = [100.0 + 10 * day / 31 for day in range(32)]
    values += [110.0 - 11 * day / 30 for day in range(1, 31)] + [99.0] * 3
    body = seen(history.months(a_result(values)))
    header, year = cells(body)
    assert header[:3] == ["Year", "Jan", "Feb"]
    assert header[12:] == ["Dec", "Year's total"]
    assert year == [
        *("2023", "", "", "🟩 +10.0%", "🟥 \u221210.0%", "⬜ 0.0%"),
        *[""] * 7,
        "🟥 \u22121.0%",
    ]
    assert body.all("summary")[0].text() == "Months: 1 of 3 gained"


def test_the_months_of_a_table_have_one_precision() -> None:
    """March: +9.5%, April: +0.04%, each year's total with as many decimals."""
    values = [100.0 + 9.5 * day / 31 for day in range(32)]
    values += [109.5 * (1 + 0.000472 * day / 30) for day in range(1, 31)]
    assert cells(seen(history.months(a_result(values))))[1][3:5] == ["🟩 +9.5%", "🟩 0.0%"]


def test_a_table_of_small_months_has_more_decimals() -> None:
    values = [100.0 + 0.05 * day / 31 for day in range(32)]
    values += [100.05 - 0.004 * day / 30 for day in range(1, 31)] + [100.046] * 3
    row = cells(seen(history.months(a_result(values))))[1]
    assert row[3:6] == ["🟩 +0.050%", "🟥 \u22120.004%", "⬜ 0.000%"]


def test_a_single_month_or_an_account_that_never_moved_has_no_table() -> None:
    assert history.months(a_result([1.0, 2.0])) == []
    assert history.months(a_result([5.0] * 100)) == []
    assert history.drawdowns(a_result([5.0] * 100)) == []


def test_a_terminal_shows_months_in_two_parts() -> None:
    values = [100.0 + day % 40 for day in range(500)]
    text = to_text(history.months(a_result(values)))
    assert max(map(len, text.splitlines())) <= 96
    assert [line.split()[0] for line in text.splitlines()].count("Year") == 2


def test_drawdowns_say_when_it_hurt_and_for_how_long() -> None:
    values = [100.0, 120.0, 60.0, 90.0, 130.0, 120.0, 125.0]
    body = seen(history.drawdowns(a_result(values)))
    assert cells(body)[1:] == [
        ["50.00%", "2023-03-02", "2023-03-03", "2023-03-05", "3 days"],
        ["7.69%", "2023-03-05", "2023-03-06", "not yet", "2 days"],
    ]
    assert body.all("summary")[0].text() == (
        "Drawdowns: deepest 50.00%, longest under water 3 days"
    )


def test_round_trips_show_money_time_and_what_is_open() -> None:
    orders = [
        an_order("buy", 10, 100.0, time=float(START)),
        an_order("sell", 10, 110.0, time=float(START + 2 * DAY)),
        an_order("buy", 10, 100.0, time=float(START + 3 * DAY)),
        an_order("sell", 10, 95.0, time=float(START + 4 * DAY)),
        an_order("buy", 10, 100.0, time=float(START + 5 * DAY)),
    ]
    market = a_market({"OAK-USD": [100.0] * 8 + [102.0]})
    market["prices"][0] |= {"maker_fee": 0.0, "taker_fee": 0.0}
    values = [1_000.0 + day for day in range(9)]
    body = seen(trades.round_trips(a_result(values, orders, market=market)))
    assert body.all("summary")[0].text() == "2 round trips: 1 won, 1 lost, 1 still open"
    assert dict(cells(body)) == {
        "Closed": "2: 1 won (50.00%), 1 lost, 0 even",
        "Won, lost": "+100.00, \u221250.00 USD",
        "Profit factor": "2.00",
        "Expectancy": "+25.00 USD a round trip",
        "Held for": "1.5 days on average, median 1.5 days",
        "Exposure": "75.00% of the time with an open position",
    }
    assert body.all("li")[0].text() == "OAK-USD: long 10 since 2023-03-06 00:00, +20.00 so far"
    assert cells(body, 1)[1] == [
        *("+100.00", "+10.00%", "OAK-USD", "long"),
        *("2023-03-01 00:00", "2023-03-03 00:00", "2 days"),
    ]
    assert "its gain is after fees." in body.text()
    without = seen(trades.round_trips(a_result(values, orders)))
    assert "its gain is before fees, which are not known." in without.text()
    assert trades.round_trips(a_result(values)) == []


def test_a_list_does_not_hide_a_single_order() -> None:
    placed = [an_order("buy", 1, 100.0, time=float(START + 60 * number)) for number in range(22)]
    rows = cells(seen(trades.orders(a_result([1.0, 2.0], placed[:21]))))
    assert len(rows) == 22
    assert "more" not in str(rows)
    rows = cells(seen(trades.orders(a_result([1.0, 2.0], placed))))
    assert [row[0] for row in rows if "more" in row[0]] == ["… 2 more"]


def test_several_symbols_have_a_table_of_their_own_and_many_trips_both_ends() -> None:
    orders = [
        an_order(
            side, 1, 100.0 + number * (side == "sell"), symbol=symbol, time=START + number * 60
        )
        for number in range(20)
        for symbol in ("OAK-USD", "ELM-USD")
        for side in ("buy", "sell")
    ]
    body = seen(trades.round_trips(a_result([1.0, 2.0], orders)))
    assert [row[0] for row in cells(body, 1)] == ["Symbol", "OAK-USD", "ELM-USD"]
    assert cells(body, 1)[1][1:5] == ["20", "19", "0", "+190.00"]
    best = cells(body, 2)[1:]
    assert len(best) == 10
    assert (best[0][0], best[-1][0]) == ("+19.00", "0.00")
