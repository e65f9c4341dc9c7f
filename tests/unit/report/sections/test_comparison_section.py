from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from deploy_action.backtest.comparison import (
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.model_changes import Changed, FileChanges, ModelChanges
from deploy_action.report.document import Block, Paragraph, to_markdown, to_text
from deploy_action.report.sections import comparison as shown
from tests.support.backtests import DAY, START, an_order, raw_result, read_result, with_metrics
from tests.support.decisions import CHANGES, NOTHING, a_base
from tests.support.nasty import nasty_text
from tests.support.rendered import Element, render


def compare(base: dict[str, Any], candidate: dict[str, Any], **of_base: Any) -> Comparison:
    first, second = read_result(base), read_result(candidate)
    return Comparison(
        base=a_base(first, **of_base),
        metrics=compare_metrics(first.analysis.metrics, second.analysis.metrics),
        first_difference=first_difference(first, second),
    )


def seen(blocks: list[Block]) -> Element:
    return render(to_markdown(blocks))


def rows(body: Element) -> list[list[str]]:
    lines = body.all("table")[0].all("tr")[1:]
    return [[cell.text().replace("\u00a0", " ") for cell in line.all("td")] for line in lines]


def test_every_metric_says_what_its_change_means() -> None:
    base = with_metrics(raw_result([10_000.0, 9_000.0], [an_order("buy", 1, 1.0)]), cagr=None)
    base["final_account_value"] = 9_000.0
    now = with_metrics(
        raw_result([10_000.0, 12_345.6]),
        sharpe=0.961,
        sortino=None,
        cagr=25.0,
        calmar=-0.5,
        max_drawdown=12.0,
        volatility=0.1725,
        value_at_risk=300.0,
    )
    comparison = compare(base, now)

    body = seen(shown.compared(comparison, read_result(now)))

    assert body.all("p")[0].text() == (
        "Compared with main (81b7a04d3c6e): 3 metrics better, 3 worse."
    )
    assert rows(body) == [
        ["Sharpe ratio", "0.96 → 0.961", "🟢 +0.001 better"],
        ["Sortino ratio", "1.31 → \u2013", "not computed"],
        ["Calmar ratio", "1.00 → \u22120.50", "🔴 \u22121.50 worse"],
        ["Annual growth", "\u2013 → 25%", "not computed in the base"],
        ["Return", "29%", "same"],
        ["Maximum drawdown", "16% → 12%", "🟢 \u22124 pp better"],
        ["Volatility", "0.17 → 0.1725", "🔴 +0.0025 worse"],
        ["Variance", "2.96%", "same"],
        ["Value at risk, USD", "207.66 → 300.00", "🔴 +92.34 worse"],
        ["Conditional value at risk, USD", "7.32", "same"],
        ["Trades", "1 → 0", "\u22121"],
        ["Final value, USD", "9,000.00 → 12,346", "🟢 +3,345.60 better"],
        ["Round trips", "0", "same"],
    ]


def test_a_comparison_of_equals_says_so() -> None:
    result = raw_result(trades=[an_order("buy", 1, 1.0), an_order("sell", 1, 2.0)])
    comparison = compare(result, result, is_same_bundle=True)
    metrics = seen(shown.compared(comparison, read_result(result)))
    trades = seen(shown.trades(comparison, read_result(result)))
    assert "no metric is better or worse. Both are the same bundle" in metrics.text()
    assert {row[2] for row in rows(metrics)} == {"same"}
    assert trades.text().strip() == "Trade-for-trade identical: both placed the same 2 orders."
    nothing = raw_result()
    without = shown.trades(compare(nothing, nothing), read_result(nothing))
    assert "identical: both placed none." in seen(without).text()


@pytest.mark.parametrize(
    ("change", "what", "line"),
    [
        ({"size": 2.5}, "its size differs", "buy 2.5 OAK-USD at 3, spot-market"),
        (
            {"side": "sell", "price": None, "type": "limit"},
            "its side, type and price differ",
            "sell 2 OAK-USD, limit, not filled",
        ),
        (
            {"symbol": "S" * 60, "time": START + 90.5},
            "its symbol and time differ",
            f"buy 2 {'S' * 39}… at 3, spot-market, placed 2023-03-01 00:01:30",
        ),
    ],
)
def test_the_first_trade_that_differs_is_shown_of_both(
    change: dict[str, Any], what: str, line: str
) -> None:
    order = an_order("buy", 2, 3.0)
    changed = {**order, **change, "status": "pending"}
    base, now = raw_result(trades=[order] * 4), raw_result(trades=[order] * 2 + [changed] * 3)
    comparison = compare(base, now)
    body = seen(shown.trades(comparison, read_result(now)))
    assert body.all("p")[0].text() == f"The first trade that differs is number 3: {what}."
    before, after = (one.text() for one in body.all("li"))
    assert before == "Base: buy 2 OAK-USD at 3, spot-market, placed 2023-03-02 00:00."
    assert after.startswith(f"Now: {line}")


def test_a_later_day_is_no_difference() -> None:
    order = an_order("buy", 2, 3.0)
    later = {**order, "time": order["time"] + DAY, "size": 9.0}
    base = raw_result(trades=[order])
    now = raw_result(trades=[later], start_time=float(START + DAY))
    text = seen(shown.trades(compare(base, now), read_result(now))).text()
    assert "is number 1: its size differs." in text
    assert "placed 2023-03-02 00:00." in text
    assert "placed 2023-03-03 00:00." in text


def test_a_model_that_stopped_trading_has_no_different_trade() -> None:
    order = an_order("buy", 2, 3.0)
    base, now = raw_result(trades=[order] * 3), raw_result(trades=[order] * 2)
    body = seen(shown.trades(compare(base, now), read_result(now)))
    assert body.all("p")[0].text() == "The first trade that differs is number 3."
    assert body.all("li")[1].text() == "Now: none; it placed 2 orders in all."


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (
            BaseState.ABSENT,
            "",
            "The model did not exist at main (81b7a04d3c6e): it is new, or was moved.",
        ),
        (BaseState.FAILED, "it has no `bot.py`", "has no result: it has no bot.py."),
        (BaseState.FAILED, "", "has no result: the reason is unknown."),
    ],
)
def test_a_base_without_a_result_says_why(state: BaseState, reason: str, said: str) -> None:
    comparison = Comparison(base=a_base(state=state, reason=reason))
    text = seen(shown.no_base(comparison)).text()
    assert text.startswith("Nothing to compare with. The model ")
    assert said in text
    assert shown.no_base(compare(raw_result(), raw_result())) == []


def test_a_base_whose_commit_is_not_known_has_its_ref() -> None:
    base = a_base(commit_url=None)
    assert to_text([Paragraph(shown.base_name(base))]) == "main (81b7a04d3c6e)\n"
    assert to_text([Paragraph(shown.base_name(replace(base, commit="")))]) == "main\n"


def test_the_card_says_what_changes_in_production() -> None:
    body = seen(shown.card(Comparison(base=a_base(), changes=CHANGES)))
    titles = [one.text() for one in body.all("summary")]
    assert titles == ["What changes in production: 4 settings, 3 requirements, 3 files"]
    assert [one.text() for one in body.all("li")] == [
        "Plan: nano → micro",
        "Schedule: none → */15 9-16 * * 1-5",
        "Symbols: OAK-USD → OAK-USD, ELM-USD",
        'Argument initial_values: {"USD": 10000} → {"USD": 25000, "BTC": 0.5}',
        "Requirement numpy: ==1.26.4 → ==1.26.5",
        "Requirement added: scikit-learn, >=1.4",
        "Requirement removed: ta, any version",
        "2 files changed: bot.py, requirements.txt",
        "1 file added: signals.py",
    ]


def test_a_card_without_changes_says_so_and_unknown_facts_are_left_out() -> None:
    nothing = seen(shown.card(Comparison(base=a_base(), changes=NOTHING)))
    assert nothing.text().strip() == "What changes in production: nothing."
    assert shown.card(Comparison(base=a_base())) == []


def test_a_card_with_very_many_changes_is_cut() -> None:
    many = tuple(Changed(f"fact {number}", "1", "2") for number in range(130))
    names = tuple(f"{number}.py" for number in range(1_308))
    changes = ModelChanges(facts=many, requirements=many, files=FileChanges(removed=names))
    body = seen(shown.card(Comparison(base=a_base(), changes=changes)))
    items = [one.text() for one in body.all("li")]
    assert len(items) == 63
    assert items[29:31] == ["fact 29: 1 → 2", "… and 100 more facts"]
    assert items[61] == "… and 100 more requirements"
    assert items[62].startswith("1,308 files removed: 0.py, 1.py, ")
    assert items[62].endswith(" and 1,300 more")


@given(nasty_text, nasty_text)
def test_no_text_of_a_comparison_becomes_markup(text: str, other: str) -> None:
    base = raw_result(trades=[an_order("buy", 1, 1.0, symbol=text, type=other)])
    now = raw_result(trades=[an_order(other, 1, 1.0, symbol=other, type=text)], quote_asset=text)
    files = FileChanges((text,), (other,), (text, other))
    changes = ModelChanges(
        facts=(Changed(text, other, None),), requirements=(Changed(other, None, text),), files=files
    )
    comparison = replace(compare(base, now, ref=text, commit=other), changes=changes)
    failed = Comparison(base=a_base(ref=other, reason=text))
    blocks = [
        *shown.compared(comparison, read_result(now)),
        *shown.in_brief(comparison, read_result(now)),
        *shown.no_base(failed),
        *shown.card(comparison),
    ]

    body = seen(blocks)

    assert body.tags() <= {
        *("p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "a", "ul", "li"),
        *("details", "summary"),
    }
    assert {one.attributes["href"] for one in body.all("a")} <= {a_base().commit_url}
    for table in body.all("table"):
        assert {len(row.all("td", "th")) for row in table.all("tr")} == {3}
