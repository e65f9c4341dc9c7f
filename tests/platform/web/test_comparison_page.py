"""Two backtests beside each other: like with like, or not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy_action.platform.storage.records import BacktestStatus
from tests.support.backtests import a_market, an_order, raw_result
from tests.support.scripted_live_server import LivePlatform
from tests.support.versions import a_version
from tests.support.visitor import Visitor, text_of

PRICES = [100.0, 110.0, 105.0, 120.0]
BUY, SELL = an_order("buy", 1.0, 100.0), an_order("sell", 1.0, 90.0)
WORSE = (10_000.0, 10_300.0, 9_000.0, 11_000.0)
BETTER = (10_000.0, 10_400.0, 9_900.0, 12_900.0)


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    return visitor


def raw(
    values: tuple[float, ...], orders: tuple[dict[str, Any], ...] = (BUY, SELL), **market: Any
) -> dict[str, Any]:
    prices = market.pop("prices", {"OAK-USD": PRICES})
    return raw_result(values, orders, market=a_market(prices, **market))


def add(
    live: LivePlatform,
    model_id: str,
    result: object,
    *,
    sha256: str = "a" * 64,
    arguments: dict[str, object] | None = None,
    **facts: Any,
) -> str:
    """Add a backtest that ended with a result; return its id."""
    store = live.parts.store
    with store.transaction() as transaction:
        version = a_version(live.user_id, model_id, sha256=sha256)
        transaction.add_version(version, "")
        added = transaction.add_backtest(
            version.id, args=arguments or {}, description="<b>bold</b>", workplace="none"
        )
    store.write_result(added, json.dumps(result).encode())
    variables = {"names": [], "digest": ""}
    run = {"problems": [], "arguments": arguments or {}, "variables": variables, **facts}
    with store.transaction() as transaction:
        transaction.end_backtest(added, BacktestStatus.FINISHED, run)
    return added


def page(visitor: Visitor, live: LivePlatform, model_id: str, a: str, b: str) -> str:
    answer = visitor.get(f"/{live.user_id}/{model_id}/backtests/compare?a={a}&b={b}")
    assert answer.status_code == 200
    return answer.text


def rows(html: str) -> dict[str, list[str]]:
    """Return the cells of the table of figures, by the names of the figures."""
    found = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', html, re.DOTALL)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", cells, re.DOTALL) for name, cells in found}


def test_the_better_one_is_named_by_the_direction_of_each_figure(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    a, b = add(live, model_id, raw(WORSE)), add(live, model_id, raw(BETTER), sha256="b" * 64)

    html = page(visitor, live, model_id, a, b)

    figures = rows(html)
    assert figures["Return"] == ["10%", "29%", "<strong>B</strong>", "+19 pp"]
    assert figures["Maximum drawdown"][2] == "<strong>B</strong>"
    assert figures["Trades"] == ["2", "2", "", "same"]
    assert "Not like with like" not in html
    assert "/versions/compare?a=" in html
    assert "<b>bold" not in html


def test_what_is_equal_in_the_digits_that_are_shown_is_the_same(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    nearly = (10_000.0, 10_400.0, 9_900.0, 12_900.001)
    a, b = add(live, model_id, raw(nearly)), add(live, model_id, raw(BETTER))

    figures = rows(page(visitor, live, model_id, a, b))

    assert figures["Return"] == ["29%", "29%", "", "same"]
    equal = [cells[2:] for cells in figures.values() if "%" in cells[0] and cells[0] == cells[1]]
    assert len(equal) > 5
    assert all(cells == ["", "same"] for cells in equal)


def test_accounts_that_begin_otherwise_are_drawn_in_per_cent(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    hundredfold = tuple(value * 100 for value in BETTER)
    a, b = add(live, model_id, raw(BETTER)), add(live, model_id, raw(hundredfold))

    text = text_of(page(visitor, live, model_id, a, b))

    assert "The accounts begin with different amounts, so their returns are drawn" in text


def test_swapped_sides_say_the_same(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    a, b = add(live, model_id, raw(WORSE)), add(live, model_id, raw(BETTER))

    html, swapped = page(visitor, live, model_id, a, b), page(visitor, live, model_id, b, a)

    assert f'href="?a={b}&amp;b={a}"' in html
    other = {"A": "B", "B": "A"}
    for name, cells in rows(html).items():
        mirrored = rows(swapped)[name]
        assert mirrored[:2] == cells[1::-1]
        if len(cells) > 3:
            named = re.sub("<[^>]*>", "", cells[2])
            assert re.sub("<[^>]*>", "", mirrored[2]) == other.get(named, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prices": {"OAK-USD": [*PRICES[:3], 121.0]}}, "A saw other prices of OAK-USD: 1 of 4"),
        ({"prices": {"OAK-USD": PRICES[:3]}}, "A saw other prices of OAK-USD: from 2023-03-01"),
        ({"prices": {"OAK-USD": PRICES, "ELM-USD": PRICES}}, "only B saw ELM-USD"),
        ({"of_symbol": {"taker_fee": 0.0}}, "A pays 0.10% in fees for market orders, B 0.00%"),
        ({"use_price": "close"}, "A's orders are filled at the open of a bar, B's at close"),
        ({"initial_values": {"USD": 500.0}}, "A starts with 10,000 USD, B with 500 USD"),
    ],
    ids=["prices", "period", "symbols", "fees", "column", "start"],
)
def test_what_is_unlike_comes_first_and_nothing_is_better(
    changes: dict[str, Any], said: str, live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    a, b = add(live, model_id, raw(WORSE)), add(live, model_id, raw(BETTER, **changes))

    html = page(visitor, live, model_id, a, b)

    text = text_of(html).replace("&#39;", "'")
    assert said in text
    assert text.index("Not like with like") < text.index("Figure A B")
    assert len(rows(html)["Return"]) == 3


def test_other_arguments_are_unlike_and_listed(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    a = add(live, model_id, raw(WORSE), arguments={"to": "1y"}, blankly="1.18.0", python="3.11")
    b = add(live, model_id, raw(BETTER), arguments={"to": "1y", "</script>": [1]},
            blankly="1.19.0", python="3.11")  # fmt: skip

    html = page(visitor, live, model_id, a, b)

    assert "They ran with other arguments: &lt;/script&gt;" in html
    assert rows(html)["Argument &lt;/script&gt;"] == ["not given", "[1]"]
    assert rows(html)["blankly"] == ["1.18.0", "1.19.0"]
    assert "Python" not in rows(html)


def test_a_period_that_is_only_written_otherwise_is_like(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    a = add(live, model_id, raw(WORSE), arguments={"to": "1y"})
    b = add(live, model_id, raw(BETTER), arguments={"start_date": "2023-03-01"})

    html = page(visitor, live, model_id, a, b)

    assert "Not like with like" not in html
    assert rows(html)["Argument to"] == ["&#34;1y&#34;", "not given"]


def test_the_first_order_that_differs_is_shown(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    a = add(live, model_id, raw(BETTER))
    b = add(live, model_id, raw(BETTER, (BUY, an_order("sell", 0.5, 90.0))))
    c = add(live, model_id, raw(BETTER, (BUY,)))

    other, fewer = page(visitor, live, model_id, a, b), page(visitor, live, model_id, a, c)

    assert "The first order that differs is number 2." in text_of(other)
    assert rows(other)["Size (differs)"] == ["1", "0.5"]
    assert rows(other)["Side"] == ["sell", "sell"]
    assert rows(fewer)["Order"][1] == "no more orders"


def test_the_same_orders_are_identical(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    a, b = add(live, model_id, raw(BETTER)), add(live, model_id, raw(BETTER))

    html = page(visitor, live, model_id, a, b)

    assert "Trade for trade identical: both placed the same 2 orders." in text_of(html)
    assert "Both ran the same bundle, byte for byte." in text_of(html)
    assert '"name":"A"' in html
    assert '"name":"B"' in html


def test_without_known_prices_nothing_is_better(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    a, b = add(live, model_id, raw_result(WORSE)), add(live, model_id, raw_result(BETTER))

    html = page(visitor, live, model_id, a, b)

    assert "It is not known which prices both saw" in text_of(html)
    assert len(rows(html)["Return"]) == 3


def test_what_cannot_be_compared_says_why(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    a, broken = add(live, model_id, raw(BETTER)), add(live, model_id, {"trades": 5})
    gone = add(live, model_id, raw(BETTER))
    live.parts.store.result_path(gone).unlink()

    assert "There is nothing to compare. B:" in text_of(page(visitor, live, model_id, a, broken))
    assert "A: The result was removed" in text_of(page(visitor, live, model_id, gone, a))
    assert "are the same backtest" in text_of(page(visitor, live, model_id, a, a))
    base = f"/{live.user_id}/{model_id}/backtests"
    assert visitor.get(f"{base}/compare?a={a}").headers["location"] == base
    assert visitor.get(f"{base}/compare?a={a}&b=nothing").status_code == 404


def test_backtests_of_another_model_are_not_found(live: LivePlatform, visitor: Visitor) -> None:
    mine, other = live.create_model(), live.create_model()
    a, b = add(live, mine, raw(BETTER)), add(live, other, raw(BETTER))

    answer = visitor.get(f"/{live.user_id}/{mine}/backtests/compare?a={a}&b={b}")

    assert answer.status_code == 404
