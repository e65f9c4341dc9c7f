from __future__ import annotations

from dataclasses import replace

import pytest

from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.result import BacktestRun, ScheduledCall
from deploy_action.errors import Problem, Severity
from deploy_action.pages.backtest import BacktestView, Figure, view_backtest
from deploy_action.pages.round_trips import sorted_trips, trip_rows
from tests.support.backtests import (
    DAY,
    START,
    a_market,
    a_result,
    an_order,
    raw_result,
    read_result,
    with_metrics,
)

RUN = BacktestRun(
    python="3.10.1",
    wanted_python="3.11",
    blankly="1.18.25b0",
    constraints=("numpy<2",),
    environment_seconds=28.0,
    model_seconds=5.0,
    schedule=(ScheduledCall("bar_event", "OAK-USD", DAY),),
    exchanges=("keyless",),
    symbols=("OAK-USD",),
    callback_calls=542,
    arguments={"to": "1y", "initial_values": {"USD": 1}},
    argument_sources={"to": "given"},
    pinned={"hashSeed": 0, "now": "2026-01-01T00:00:00Z"},
)
TRIPS = [
    an_order("buy", 1, 100.0, time=float(START)),
    an_order("sell", 1, 120.0, time=float(START + DAY)),
    an_order("buy", 2, 120.0, time=float(START + 2 * DAY)),
    an_order("sell", 2, 100.0, time=float(START + 5 * DAY)),
    an_order("sell", 1, 110.0, time=float(START + 6 * DAY)),
    an_order("buy", 1, 105.0, time=float(START + 8 * DAY)),
]
NO_FEES = {"maker_fee": 0.0, "taker_fee": 0.0}


def key(view: BacktestView, name: str) -> Figure:
    return next(one for one in view.key_figures if one.name == name)


def said(view: BacktestView) -> str:
    return "".join(part.text for part in view.basis)


def test_every_metric_has_a_value_or_the_reason_why_not() -> None:
    for result in (a_result(), a_result(()), a_result((0.0, 0.0, 1.0)), a_result((5.0,))):
        view = view_backtest(result, None)

        assert [one.id for one in view.figures] == list(METRICS)
        for one in (*view.figures, *view.key_figures):
            assert (one.text == NO_FIGURE) == bool(one.reason), one


def test_an_unknown_figure_is_no_zero() -> None:
    view = view_backtest(a_result(()), None)

    assert key(view, "Longest drawdown").text == NO_FIGURE
    assert key(view, "Exposure").reason == "the server sends no account values"
    assert view.no_drawdown == "They are not known: the server sends no account values."
    assert "rounds returns and drawdowns to whole per cents" in said(view)


def test_a_loss_is_marked_as_one() -> None:
    assert key(view_backtest(a_result((100.0, 90.0)), None), "Return").is_loss
    assert not key(view_backtest(a_result((100.0, 110.0)), None), "Return").is_loss


def test_without_trades_it_says_that_low_risk_means_nothing() -> None:
    called = view_backtest(a_result((100.0, 100.0)), RUN)
    never = view_backtest(a_result((100.0, 100.0)), replace(RUN, callback_calls=0))

    assert called.no_trades.startswith("So its drawdown and its ratios say nothing")
    assert "It was called 542 times." in called.no_trades
    assert "It was never called" in never.no_trades
    assert called.made == "no trades"


def test_prices_ahead_of_their_time_are_told() -> None:
    market = a_market({"OAK-USD": [100.0] * 9}, use_price="close")

    view = view_backtest(a_result((100.0,) * 9, TRIPS, market=market), None)

    (strong,) = (part.text for part in view.basis if part.kind == "strong")
    assert strong == "With use_price: close, prices are ahead of their time."
    assert "it gets the price of that moment. Holding means all of it in OAK-USD" in said(view)


def test_signs_that_a_backtest_is_too_good_are_warnings_unless_they_were_told() -> None:
    rising = [100.0 + step for step in range(30)]
    result = a_result(rising, TRIPS[:2])

    (sign,) = view_backtest(result, None).warnings

    assert "never fell by more than 0.1%" in sign.message
    told = Problem(message=sign.message, severity=Severity.WARNING)
    assert view_backtest(result, None, problems=[told]).warnings == ()


def test_another_period_than_the_one_asked_for_is_told() -> None:
    asked = {"asked_start": float(START - 300 * DAY), "asked_end": float(START + 4 * DAY)}
    market = a_market({"OAK-USD": [1.0, 2.0, 3.0, 4.0]}, of_symbol=asked)

    view = view_backtest(a_result(market=market), None)

    assert view.asked == "2022-05-05 to 2023-03-05"
    assert "Asked for 2022-05-05 to 2023-03-05" in view.warnings[-1].message


def test_how_it_ran_is_told_as_far_as_it_is_known() -> None:
    facts = dict(view_backtest(a_result(), RUN).facts)

    assert facts["Environment"] == (
        "Python 3.10.1 (3.11 was wanted), blankly 1.18.25b0, with numpy<2"
    )
    assert facts["Events"] == "bar_event OAK-USD every day"
    assert facts["Pinned"] == "hash seed 0, now 2026-01-01T00:00:00Z"
    assert "Environment" not in dict(view_backtest(a_result(), None).facts)


def test_arguments_are_those_that_ran_with_where_they_came_from() -> None:
    shown = view_backtest(a_result(), RUN).arguments
    replaced = view_backtest(
        a_result(), RUN, arguments={"to": "2y"}, sources={"to": "blankly.json"}
    ).arguments

    assert [(one.name, one.value, one.source) for one in shown] == [
        ("to", '"1y"', "sent with the backtest"),
        ("initial_values", '{"USD": 1}', ""),
    ]
    assert [(one.value, one.source) for one in replaced] == [('"2y"', "blankly.json")]


def test_months_have_their_place_and_their_direction() -> None:
    values = [100.0 + (step if step < 40 else 80 - step) for step in range(60)]

    (year,) = view_backtest(a_result(values), None).years

    assert len(year.cells) == 13
    assert year.cells[0].direction == "up"  # of the year
    assert (year.cells[1].text, year.cells[1].direction) == ("", "")
    assert year.cells[3].direction == "up"
    assert year.cells[4].text.startswith("\u2212")
    assert year.cells[4].direction == "down"


def test_what_the_package_printed_is_apart() -> None:
    result = read_result(with_metrics(raw_result(), sharpe=None, calmar="infinite"))

    printed = {one.name: one for one in view_backtest(result, None).printed}

    assert printed["Sharpe Ratio"].reason == "not a number"
    assert printed["Calmar Ratio"].reason == "infinite"
    assert printed["Max Drawdown (%)"].text == "16"


def test_round_trips_are_told_with_what_is_still_open() -> None:
    market = a_market({"OAK-USD": [100.0] * 8 + [104.0]}, of_symbol=NO_FEES)
    orders = [*TRIPS[:4], an_order("buy", 1, 100.0, time=float(START + 6 * DAY))]

    trips = view_backtest(a_result((1_000.0,) * 9, orders, market=market), None).trips

    assert trips.summary == "2 round trips: 1 won, 1 lost, 1 still open"
    assert trips.still_open == ("OAK-USD: long 1 since 2023-03-07 00:00, +4.00 at the last price",)
    assert dict(trips.facts)["Won, lost"] == "+20.00, \u221240.00 USD"
    assert "after fees" in trips.meaning


def test_round_trips_that_cannot_be_followed_say_why() -> None:
    view = view_backtest(a_result(trades=[an_order("hold", 1, 1.0)]), None)

    assert view.trips.problem == "an order of OAK-USD has no side"
    assert key(view, "Round trips").text == NO_FIGURE


@pytest.mark.parametrize(
    ("column", "ascending"),
    [
        ("profit", [-40.0, 5.0, 20.0]),
        ("share", [-40.0, 5.0, 20.0]),
        ("symbol", [20.0, -40.0, 5.0]),
        ("side", [20.0, -40.0, 5.0]),
        ("opened", [20.0, -40.0, 5.0]),
        ("closed", [20.0, -40.0, 5.0]),
        ("held", [20.0, 5.0, -40.0]),
    ],
)
def test_round_trips_are_sorted_by_any_column(column: str, ascending: list[float]) -> None:
    market = a_market({"OAK-USD": [100.0] * 9}, of_symbol=NO_FEES)
    closed = view_backtest(a_result((1_000.0,) * 9, TRIPS, market=market), None).trips.closed

    found = [one.gain for one in sorted_trips(closed, column, descending=False)]

    assert found == ascending
    gains = [one.gain for one in sorted_trips(closed, "profit", descending=True)]
    assert gains == [20.0, 5.0, -40.0]
    assert [one.side for one in trip_rows(closed)] == ["long", "long", "short"]


def test_what_others_chose_is_cut_to_a_line() -> None:
    long = "A" * 500 + "\n\x1b[31m"

    view = view_backtest(a_result(exchange=long, quote_asset=long, symbols=[long]), None)

    texts = [view.period, *(text for _, text in view.facts), *(one.name for one in view.figures)]
    assert all(len(text) < 300 and "\n" not in text for text in texts)


def test_figures_that_are_annualised_from_few_returns_are_warned_of() -> None:
    (few,) = view_backtest(a_result((100.0, 90.0, 95.0, 91.0)), None).warnings

    assert "are from 3 returns only" in few.message
    many = a_result([100.0 + step % 5 for step in range(40)])
    assert view_backtest(many, None).warnings == ()


@pytest.mark.parametrize("values", [(1e-308, 1e308, 1e-308), (5e-324, 1.0, 5e-324, 1e308)])
def test_numbers_that_overflow_are_not_known(values: tuple[float, ...]) -> None:
    trades = [
        an_order("buy", 1e-300, 1e-8, time=float(START)),
        an_order("sell", 1e-300, 1e300, time=float(START + DAY)),
    ]

    view = view_backtest(a_result(values, trades), None)

    shown = [
        *(one.text for one in (*view.figures, *view.key_figures)),
        *(cell.text for year in view.years for cell in year.cells),
        *(one.depth for one in view.drawdowns),
        *(row.share for row in trip_rows(view.trips.closed)),
    ]
    assert not [text for text in shown if "inf" in text or "nan" in text]
