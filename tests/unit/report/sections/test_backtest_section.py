from __future__ import annotations

import re

import pytest
from hypothesis import given

from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.wire import parse_run
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import LARGEST_MARKDOWN, to_markdown, to_text
from deploy_action.report.summary import build_summary
from tests.support.backtests import a_market, a_result, an_order, raw_result, with_metrics
from tests.support.nasty import nasty_text
from tests.support.outcomes import a_backtest, backtests, with_parts
from tests.support.rendered import Element, render

NONE = "\u2013"
TAGS = {"h2", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "a"}
TAGS |= {"pre", "details", "summary", "ul", "li", "br"}


def seen(outcome: RunOutcome) -> Element:
    return render(to_markdown(build_summary(outcome)))


def rows(table: Element) -> dict[str, str]:
    cells = [[cell.text() for cell in row.all("th", "td")] for row in table.all("tr")]
    return {line[0]: line[1] for line in cells if any(line)}


def folded(body: Element, title: str) -> Element:
    return next(one for one in body.all("details") if one.all("summary")[0].text() == title)


def columns(table: Element) -> dict[str, list[str]]:
    """Return the cells of each row after its name, as one line each."""
    found = [
        [" ".join(cell.text().split()) for cell in row.all("th", "td")] for row in table.all("tr")
    ]
    return {line[0]: line[1:] for line in found}


def test_a_backtest_shows_the_main_figures_beside_holding() -> None:
    body = seen(backtests()["gain"])

    heading = body.all("h2")[0].text()
    assert heading == "Backtest of momentum: +53.0% against +65.0% for holding, Sharpe 7.31"
    about = body.all("p")[0].text().replace("\u00a0", " ")
    assert about == ("2023-03-01 to 2024-08-22 (540 days) on keyless: OAK-USD, from 10,000.00 USD.")
    assert columns(body.all("table")[0]) == {
        "In USD": ["Strategy", "Holding"],
        "Return": ["+53.02%", "+65.00%"],
        "Sharpe": ["7.31", "7.46"],
        "Sortino": ["26.34", "23.71"],
        "Max drawdown": ["6.20%", "13.49%"],
        "Longest drawdown": ["89 days", "226 days"],
        "Trips won": ["3: +2.86", NONE],
        "Trips lost": ["11: \u2212168.96", NONE],
        "Profit factor": ["0.02", NONE],
        "Exposure": ["99.88%", "100.00%"],
        "Final value": ["15,302.45", "16,500.00"],
    }
    assert [one.attributes.get("lang") for one in body.all("pre")][:2] == ["mermaid", "mermaid"]
    assert "it ran with 3.11.7" in body.all("li")[0].text()
    assert [one.text() for one in body.all("summary")] == [
        "The same in characters",
        "Months: 10 of 18 gained",
        "Drawdowns: deepest 6.20%, longest under water 89 days",
        "14 round trips: 3 won, 11 lost, 1 still open",
        "17 orders, 17 filled",
        "All metrics",
        "The package's own figures",
        "Backtest arguments",
        "About this backtest",
        "Largest files of the bundle",
    ]


def test_the_first_screen_is_verdict_table_and_charts_and_what_they_rest_on() -> None:
    body = seen(backtests()["gain"])
    tags = [one.tag for one in body.children if isinstance(one, Element)]
    # After the note on what figures rest on, the warnings; then all is folded.
    start = ["h2", "p", "table", "p", "pre", "pre", "details", "p", "p", "ul"]
    assert tags == [*start, *["details"] * 9]


def test_all_metrics_have_the_ids_of_gates_and_stand_beside_holding() -> None:
    table = folded(seen(backtests()["gain"]), "All metrics").all("table")[0]

    found = columns(table)
    assert [line[-1] for line in found.values()] == ["Id", *METRICS]
    assert found["Return"] == ["53.02%", "65%", "cum_returns"]
    assert found["Return beyond holding"] == ["\u221211.98%", "\u2013", "excess_return"]
    assert found["Value at risk, USD"][0] == "15.24"


def test_a_metric_without_a_value_says_why_among_all() -> None:
    table = folded(seen(backtests()["no trades"]), "All metrics").all("table")[0]
    assert columns(table)["Win rate"][0] == "\u2013 (there is no round trip)"


def test_the_packages_own_figures_have_its_names_and_all_their_digits() -> None:
    fold = folded(seen(backtests()["not computed"]), "The package's own figures")
    found = rows(fold.all("table")[0])
    assert found["Value-at-Risk"] == "207.66"
    assert found["Cumulative Returns (%)"] == "29"
    assert found["Sharpe Ratio"] == "failed: division by zero"
    assert found["Sortino Ratio"] == "not a number"
    assert "value at risk taken from the best days" in fold.text()


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
        "Pinned": "hash seed 0, random seed 0, threads 1, now 2026-01-02T03:04:05Z",
        "Duration": "12.3 s (environment 2.1 s, model 1.8 s)",
    }
    assert "9f86d081884c7d65" in facts.text()


def test_a_result_of_another_server_may_lack_facts() -> None:
    body = seen(backtests()["loss"])
    heading = body.all("h2")[0].text()
    assert heading == "Backtest of momentum: \u221221.3%, Sharpe \u221210.14"
    assert "The server tells neither prices nor fees" in body.text()
    assert columns(body.all("table")[0])["In USD"] == ["Strategy"]
    facts = rows(folded(body, "About this backtest").all("table")[0])
    assert facts["Environment"] == "Python 3.10"
    assert (facts["Version"], facts["Plan"]) == ("vX41c", "nano")
    assert facts["Server"] == "https://deploy.example"
    assert facts["Duration"] == "12.3 s"
    assert "Called" not in facts
    assert "https://app.example/Qk3v9/bN7x2/backtests" in [
        one.attributes["href"] for one in body.all("a")
    ]


def test_many_orders_are_shown_from_both_ends() -> None:
    outcome = backtests()["large"]

    trades = folded(seen(outcome), "10,000 orders, 10,000 filled")

    table = [[cell.text() for cell in row.all("td")] for row in trades.all("tr")[1:]]
    assert len(table) == 21
    assert table[0] == ["2023-03-01 00:00", "buy", "304.22878", "32.87", "OAK-USD", "spot-market"]
    assert table[10] == ["… 9,980 more", *["…"] * 5]
    assert table[20][0] == "2032-04-15 00:00"
    assert outcome.backtests.result is not None
    assert outcome.backtests.result.trades_sha256 in trades.text()
    assert " and 45 more, from " in seen(outcome).all("p")[0].text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no trades", "It was called 541 times. Usually its conditions to buy were never met"),
        ("no fills", "It placed 3 orders, and none was filled"),
    ],
)
def test_a_backtest_without_trades_is_described(name: str, said: str) -> None:
    body = seen(backtests()[name])
    assert body.all("h2")[0].text().startswith("Backtest of momentum: no trades")
    assert body.all("p")[1].text().startswith(f"The model made no trades. {said}")
    assert columns(body.all("table")[0])["Trips won"][0] == "0"


def test_a_model_that_was_never_called_is_reported() -> None:
    found = backtests()["no trades"]
    outcome = with_parts(found, backtests={"run": None})
    assert "Usually its conditions" in seen(outcome).all("p")[1].text()
    outcome = with_parts(found, backtests={"run": parse_run({"callbackCalls": 0})})
    assert "It was never called" in seen(outcome).all("p")[1].text()


def test_orders_that_were_not_filled_say_so() -> None:
    table = folded(seen(backtests()["no fills"]), "3 orders, 0 filled").all("table")[0]
    assert [row.all("td")[5].text() for row in table.all("tr")[1:]] == ["limit, not filled"] * 3


def test_key_figures_that_could_not_be_computed_say_why() -> None:
    body = seen(backtests()["not computed"])
    assert body.all("h2")[0].text() == "Backtest of momentum: +0.20%"
    found = columns(body.all("table")[0])
    assert found["Return"] == ["+0.20%"]
    assert "Sharpe" in found or "Sharpe ratio (" in body.text()
    assert "Not computed: Sharpe ratio (fewer than two returns: " in body.text()
    assert "1 of 3 account values have no number, and are left out." in body.text()


def test_a_server_that_sends_no_account_values_is_believed_and_named() -> None:
    body = seen(backtests()["package only"])
    assert body.all("h2")[0].text() == "Backtest of momentum: +29.0%, Sharpe 0.96"
    assert "these are the package's own metrics: it rounds returns" in body.text()
    assert "Not computed: Sortino ratio (not a number); Maximum drawdown (failed: x)" in body.text()
    assert "There is no chart: the result has no account value." in body.text()
    assert "taken as it comes" in folded(body, "All metrics").text()


def test_a_result_without_values_has_no_chart() -> None:
    body = seen(backtests()["no values"])
    assert "There is no chart: the result has no account value." in body.text()
    assert not [one for one in body.all("pre") if one.attributes.get("lang") == "mermaid"]
    outcome = backtests()["gain"]
    outcome = with_parts(outcome, backtests={"result": a_result([5.0])})
    assert "There is no chart: the result has a single account value." in seen(outcome).text()


def test_a_failed_run_with_a_result_shows_both() -> None:
    body = seen(backtests()["gate"])
    assert body.all("h2")[0].text() == "❌ Backtest failed: momentum"
    assert body.all("p")[0].text() == "1 problem. The backtest itself ran to its end."
    assert "sharpe is 0.96" in body.all("li")[0].text()
    assert "The backtest: +53.0%, Sharpe 7.31. 2023-03-01 to" in body.text()
    assert columns(body.all("table")[0])["Return"] == ["+53.02%"]
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
    assert ("▁" in text) == (name not in {"no values", "package only", "no fills", "no trades"})


@given(nasty_text, nasty_text)
def test_no_text_of_a_result_becomes_markup(text: str, other: str) -> None:
    order = an_order("buy", 1, 1.0, symbol=text, type=other)
    raw = with_metrics(
        raw_result(trades=[{**order, "side": other}], exchange=other, quote_asset=text),
        sharpe=other or "x",
    )
    raw["account_values"] = raw_result([2.0, 1.0])["account_values"]
    market = a_market({"OAK-USD": [2.0, 1.0]}, use_price=text, benchmark_symbol=other)
    market["initial_values"] = {text: 1.0, other: 2.0}
    market["prices"][0] |= {"symbol": other, "base": text, "quote": text}
    raw["market"] = market
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
    assert all(len(picture.strip().split("\n")) in {6, 7} for picture in pictures)
    assert len(re.findall(r"^<details>$", to_markdown(build_summary(outcome)), re.MULTILINE)) >= 5
