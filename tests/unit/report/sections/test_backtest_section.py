from __future__ import annotations

import re

import pytest
from hypothesis import given

from deploy_action.backtest.wire import parse_run
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import LARGEST_MARKDOWN, to_markdown, to_text
from deploy_action.report.summary import build_summary
from tests.support.backtests import a_result, an_order, raw_result, read_result, with_metrics
from tests.support.nasty import nasty_text
from tests.support.outcomes import a_backtest, backtests, with_parts, with_problems
from tests.support.rendered import Element, render

TAGS = {"h2", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "a"}
TAGS |= {"pre", "details", "summary", "ul", "li", "br"}


def seen(outcome: RunOutcome) -> Element:
    return render(to_markdown(build_summary(outcome)))


def rows(table: Element) -> dict[str, str]:
    cells = [[cell.text() for cell in row.all("th", "td")] for row in table.all("tr")]
    return {line[0]: line[1] for line in cells}


def folded(body: Element, title: str) -> Element:
    return next(one for one in body.all("details") if one.all("summary")[0].text() == title)


def test_a_backtest_shows_the_main_metrics_first() -> None:
    body = seen(backtests()["gain"])

    assert body.all("h2")[0].text() == "✅ Backtest of momentum: +29%, Sharpe 0.96"
    assert body.all("p")[0].text() == "2023-03-01 to 2024-08-23 (541 days) on keyless: OAK-USD."
    assert rows(body.all("table")[0]) == {
        "Return": "+29%",
        "Sharpe ratio": "0.96",
        "Sortino ratio": "1.31",
        "Maximum drawdown": "16%",
        "Trades": "17 (4 won, 4 lost)",
        "Final value": "15,302.45 USD, from 10,000.00 USD",
    }
    assert [one.attributes.get("lang") for one in body.all("pre")][:2] == ["mermaid", "mermaid"]
    assert "it ran with 3.11.7" in body.all("li")[0].text()
    assert [one.text() for one in body.all("summary")] == [
        "The same in characters",
        "All metrics",
        "Trades: 17 filled, 4 won, 4 lost",
        "Backtest arguments",
        "About this backtest",
        "Largest files of the bundle",
    ]
    tags = [one.tag for one in body.children if isinstance(one, Element)]
    assert tags.index("table") < tags.index("pre") < tags.index("ul") < tags.index("details", 6)


def test_all_metrics_have_the_names_of_the_package_and_the_ids_of_gates() -> None:
    table = folded(seen(backtests()["gain"]), "All metrics").all("table")[0]

    cells = [[cell.text() for cell in row.all("td")] for row in table.all("tr")[1:]]
    assert cells == [
        ["Calmar Ratio", "1.00", "calmar"],
        ["Compound Annual Growth Rate (%)", "24%", "cagr"],
        ["Conditional Value-at-Risk", "7.32 USD", "cvar"],
        ["Cumulative Returns (%)", "29%", "cum_returns"],
        ["Max Drawdown (%)", "16%", "max_drawdown"],
        ["Resampled Time", "86,400 s", ""],
        ["Risk Free Return Rate", "0", ""],
        ["Sharpe Ratio", "0.96", "sharpe"],
        ["Sortino Ratio", "1.31", "sortino"],
        ["Value-at-Risk", "207.66 USD", "value_at_risk"],
        ["Variance (%)", "2.96%", "variance"],
        ["Volatility", "0.17", "volatility"],
    ]


def test_metrics_that_gates_do_not_know_have_all_their_digits_and_no_id() -> None:
    raw = with_metrics(raw_result(), risk_free_rate=0.012345, volatility=0.172499)
    table = folded(seen(a_backtest(raw)), "All metrics").all("table")[0]
    cells = [[cell.text() for cell in row.all("td")] for row in table.all("tr")[1:]]
    assert ["Risk Free Return Rate", "0.012345", ""] in cells
    assert ["Volatility", "0.17", "volatility"] in cells


def test_the_facts_say_what_ran_where_and_how_long() -> None:
    facts = folded(seen(backtests()["gain"]), "About this backtest")

    assert rows(facts.all("table")[0]) == {
        "Period": "2023-03-01 00:00 to 2024-08-23 00:00 UTC, 541 account values",
        "Symbols": "OAK-USD",
        "Exchange": "keyless",
        "Called": "541 times; bar_event OAK-USD every day",
        "Backtest": "bt_881",
        "Model": "bN7x2",
        "Commit": "5f2c9e81b7a0",
        "Bundle": "14 files, 48.2 kB (183.4 kB unpacked)",
        "Environment": "Python 3.11.7 (3.10 was wanted), blankly 1.18.25b0, "
        "with numpy<2, pandas<2.2",
        "Duration": "12.3 s (environment 2.1 s, model 1.8 s)",
    }
    assert "9f86d081884c7d65" in facts.text()


def test_a_result_of_another_server_may_lack_facts() -> None:
    body = seen(backtests()["loss"])
    assert body.all("h2")[0].text() == "✅ Backtest of momentum: \u221221%, Sharpe \u22120.40"
    facts = rows(folded(body, "About this backtest").all("table")[0])
    assert facts["Environment"] == "Python 3.10"
    assert (facts["Version"], facts["Plan"]) == ("vX41c", "nano")
    assert facts["Server"] == "https://deploy.example"
    assert facts["Duration"] == "12.3 s"
    assert "Called" not in facts
    assert "https://app.example/Qk3v9/bN7x2/backtests" in [
        one.attributes["href"] for one in body.all("a")
    ]


def test_many_trades_are_shown_from_both_ends() -> None:
    outcome = backtests()["large"]
    title = "Trades: 10,000 filled, 2,500 won, 2,500 lost"

    trades = folded(seen(outcome), title)

    table = [[cell.text() for cell in row.all("td")] for row in trades.all("tr")[1:]]
    assert len(table) == 21
    assert table[0] == ["2023-03-01 00:00", "buy", "304.22878", "32.87", "OAK-USD", "spot-market"]
    assert table[10] == ["… 9,980 more", *["…"] * 5]
    assert table[20][0] == "2032-04-15 00:00"
    assert (
        trades.all("p")[0]
        .text()
        .startswith(
            "10,000 orders, 10,000 filled. 5,000 trades closed a position: 2,500 won (50%), "
            "2,500 lost, 0 even, by average cost and before fees, "
        )
    )
    assert outcome.backtests.result is not None
    assert outcome.backtests.result.trades_sha256 in trades.text()
    assert " and 45 more." in seen(outcome).all("p")[0].text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no trades", "It was called 541 times. Usually its conditions to buy were never met"),
        ("no fills", "It placed 3 orders, and none was filled"),
    ],
)
def test_a_backtest_without_trades_is_described(name: str, said: str) -> None:
    body = seen(backtests()[name])
    assert body.all("h2")[0].text() == "✅ Backtest of momentum: no trades"
    assert body.all("p")[1].text().startswith(f"The model made no trades. {said}")
    assert rows(body.all("table")[0])["Trades"] == "0"


def test_a_model_that_was_never_called_is_reported() -> None:
    found = backtests()["no trades"]
    outcome = with_parts(found, backtests={"run": None})
    assert "Usually its conditions" in seen(outcome).all("p")[1].text()
    outcome = with_parts(found, backtests={"run": parse_run({"callbackCalls": 0})})
    assert "It was never called" in seen(outcome).all("p")[1].text()


def test_orders_that_were_not_filled_say_so() -> None:
    table = folded(seen(backtests()["no fills"]), "Trades: 0 filled, 0 won, 0 lost").all("table")[0]
    assert [row.all("td")[5].text() for row in table.all("tr")[1:]] == ["limit, not filled"] * 3


def test_metrics_that_could_not_be_computed_say_why() -> None:
    body = seen(backtests()["not computed"])
    assert body.all("h2")[0].text() == "✅ Backtest of momentum: return not computed"
    assert list(rows(body.all("table")[0]).values())[:4] == ["not computed"] * 4
    few = "the package found no number for it, usually because there are too few account values."
    losses = "usually because fewer than two periods ended with a loss."
    assert [one.text() for one in body.all("li")] == [
        f"Cumulative Returns (%): {few}",
        "Sharpe Ratio: the package gave up on it, with failed: division by zero.",
        f"Sortino Ratio: the package found no number for it, {losses}",
        "Max Drawdown (%): the package gave up on it, with failed: `x` | <b>.",
        f"Conditional Value-at-Risk: {few}",
    ]
    assert "2 of 62 account values have no number, and are left out of the chart." in body.text()


def test_a_metric_that_a_server_left_out_is_missed() -> None:
    outcome = backtests()["gain"]
    raw = raw_result()
    del raw["metrics"]["sharpe"], raw["metrics"]["calmar"]
    outcome = with_problems(with_parts(outcome, backtests={"result": read_result(raw)}))
    assert [one.text() for one in seen(outcome).all("li")] == ["sharpe: not reported."]


def test_a_result_without_values_has_no_chart() -> None:
    body = seen(backtests()["no values"])
    assert "There is no chart: the result has no account value." in body.text()
    assert not [one for one in body.all("pre") if one.attributes.get("lang") == "mermaid"]
    assert rows(body.all("table")[0])["Final value"] == "not a number"
    outcome = backtests()["gain"]
    outcome = with_parts(outcome, backtests={"result": a_result([5.0])})
    assert "There is no chart: the result has a single account value." in seen(outcome).text()


def test_a_failed_run_with_a_result_shows_both() -> None:
    body = seen(backtests()["gate"])
    assert body.all("h2")[0].text() == "❌ Backtest failed: momentum"
    assert body.all("p")[0].text() == "1 problem. The backtest itself ran to its end."
    assert "sharpe is 0.96" in body.all("li")[0].text()
    assert rows(body.all("table")[0])["Return"] == "+29%"
    assert "All metrics" in [one.text() for one in body.all("summary")]


@pytest.mark.parametrize("name", backtests())
def test_a_summary_stays_small(name: str) -> None:
    markdown = to_markdown(build_summary(backtests()[name]))
    assert len(markdown.encode()) < 60_000 < LARGEST_MARKDOWN
    body = render(markdown)
    assert body.tags() <= TAGS
    assert "About this backtest" in [one.text() for one in body.all("summary")]


@pytest.mark.parametrize("name", [one for one in backtests() if one != "nasty"])
def test_a_terminal_of_a_hundred_columns_shows_it_whole(name: str) -> None:
    text = to_text(build_summary(backtests()[name]))
    assert "xychart" not in text
    assert "<details" not in text
    assert [line for line in text.split("\n") if len(line) > 100 and "https://" not in line] == []
    assert ("▁" in text) == (name != "no values" and name not in {"no trades", "no fills"})


@given(nasty_text, nasty_text)
def test_no_text_of_a_result_becomes_markup(text: str, other: str) -> None:
    order = an_order("buy", 1, 1.0, symbol=text, type=other)
    raw = with_metrics(
        raw_result(trades=[{**order, "side": other}], exchange=other, quote_asset=text),
        sharpe=other or "x",
    )
    raw["symbols"] = [text, other]
    raw["metrics"][text] = {"value": None, "display_name": other, "type": text}
    raw["metrics"]["odd"] = {"value": text, "display_name": text}
    run = {"python": text, "wantedPython": other, "blankly": other, "constraints": [text]}
    schedule = [{"kind": text, "symbol": other, "resolution": 1.5}]
    outcome = a_backtest(raw, backtests={"run": parse_run({**run, "schedule": schedule})})

    body = seen(outcome)

    assert body.tags() <= TAGS
    assert {one.attributes["href"] for one in body.all("a")} <= {outcome.model.commit_url}
    for table in body.all("table"):
        assert len({len(row.all("td", "th")) for row in table.all("tr")}) == 1
    pictures = [one.text() for one in body.all("pre") if one.attributes.get("lang") == "mermaid"]
    assert len(pictures) == 2
    assert all(len(picture.strip().split("\n")) == 6 for picture in pictures)
    assert len(re.findall(r"^<details>$", to_markdown(build_summary(outcome)), re.MULTILINE)) >= 5
