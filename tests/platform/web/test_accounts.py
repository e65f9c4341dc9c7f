"""What accounts are worth, on the pages."""

from __future__ import annotations

from typing import Any

import pytest

from deploy_action.platform.storage.records import Model
from tests.support.page_models import put_report, running_model
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of

NOTE = "a curve is not a model's profit"
NAME = '["alpaca", null, ""]'
NOON = 1_700_000_000.0
LINE: dict[str, Any] = {
    "exchange": "alpaca", "portfolio": None, "quote": "USD", "simulated": False,
    "value": 10_214.3, "missing": [], "problem": None, "every": 900.0, "step": 0.0,
    "points": [[NOON - 900, 10_000.0, 1.0], [NOON, 10_214.3, 1.0]],
}  # fmt: skip


def put_line(
    live: LivePlatform, model: Model, name: str = "a", time: float = NOON, **changes: Any
) -> None:
    document = {**LINE, **changes}
    put_report(live.parts.store, model, "accountLine", document, name=name, time=time)


def test_the_home_page_shows_what_an_account_is_worth_and_whose_it_is(
    live: LivePlatform, reader: Visitor
) -> None:
    put_line(live, running_model(live.parts.store))
    live.clock.now = NOON + 840
    html = reader.get("/").text
    assert "10,214.30 USD , the whole account at alpaca ( 14 min ago )" in text_of(html)
    assert NOTE in text_of(html)
    label = (
        "Value of the whole account at alpaca, deposits and other bots included: from 10,000.00"
        " to 10,214.30 USD (+214.30, +2.14% in 15 minutes)"
    )
    assert f'role="img" aria-label="{label}"' in html
    assert '<path class="dots" d="M2.0 30.0h0M118.0 2.0h0"' in html


def test_no_line_is_drawn_over_a_stop(live: LivePlatform, reader: Visitor) -> None:
    """Neither at home nor on the overview, and the words say that there was one."""
    model = running_model(live.parts.store)
    put_line(live, model, NAME, points=[[NOON - 400, 10_000.0, 1.0], [NOON, 10_214.3, 2.0]])
    for time, value, began in ((NOON - 400, 10_000.0, 1.0), (NOON, 10_214.3, 2.0)):
        document = {**LINE, "value": value, "began": began}
        put_report(live.parts.store, model, "account", document, time=time)
    for path in ("/", f"/{model.project_id}/{model.id}/overview"):
        html = reader.get(path).text
        assert "+214.30, +2.14% in 6.7 minutes, gaps included" in text_of(html)
        assert 'd="M2.0 30.0h0M118.0 2.0h0"' in html
        picture = html.partition('<svg class="sparkline"')[2].partition("</svg>")[0]
        assert "L" not in picture.partition(' d="')[2].partition('"')[0]


@pytest.mark.parametrize(("minutes", "is_overdue"), [(44, False), (46, True)])
def test_a_value_that_is_overdue_while_the_model_runs_is_told(
    minutes: int, *, is_overdue: bool, live: LivePlatform, reader: Visitor
) -> None:
    model = running_model(live.parts.store)
    put_line(live, model)
    live.clock.now = NOON + minutes * 60
    for path in ("/", f"/{model.project_id}/{model.id}/overview"):
        html = reader.get(path).text
        assert ("No newer value came" in text_of(html)) is is_overdue
        badge = (
            '"badge state warn">Running, no news<' if is_overdue else '"badge state good">Running<'
        )
        assert badge in html
    home = text_of(reader.get("/").text)
    assert ("Needs attention (1)" in home) is is_overdue
    assert ("Nothing needs attention" in home) is not is_overdue


def test_one_account_of_which_news_come_shows_that_the_process_does_not_hang(
    live: LivePlatform, reader: Visitor
) -> None:
    """Such as beside one that no version of it uses any more."""
    model = running_model(live.parts.store)
    put_line(live, model, "old", exchange="kraken")
    live.clock.now = NOON + 46 * 60
    put_line(live, model, "new", time=live.clock.now - 60)
    assert '"badge state good">Running<' in reader.get("/").text

    live.clock.now += 46 * 60
    html = reader.get("/").text
    assert '"badge state warn">Running, no news<' in html
    assert "Since 2023-11-14 22:58 " in text_of(html), "that is since when there are no news"
    overview = text_of(reader.get(f"/{model.project_id}/{model.id}/overview").text)
    assert "Running, no news since 2023-11-14 22:58 " in overview
    assert "no value of its account since 2023-11-14 22:58 (UTC)" in overview


def test_what_an_earlier_version_could_not_read_is_not_said_of_now(
    live: LivePlatform, reader: Visitor
) -> None:
    """Whether there is real money in an account is not known before it is read."""
    model = running_model(live.parts.store)
    put_line(live, model, "first", value=None, problem="It cannot be reached.", points=[])
    assert "could not be read: It cannot be reached." in text_of(reader.get("/").text)

    put_line(live, model, "later", time=NOON + 1, simulated=True)
    put_line(live, model, "other", value=None, problem="It asks for keys.", exchange="kraken")
    for path in ("/", f"/{model.project_id}/{model.id}/overview"):
        text = text_of(reader.get(path).text)
        assert "It cannot be reached." not in text
        assert "It asks for keys." in text, "another account is another one"


def test_no_change_is_told_from_one_currency_to_another(
    live: LivePlatform, reader: Visitor
) -> None:
    """The overview begins anew, as home does, and says so."""
    model = running_model(live.parts.store)
    told = (
        (900, 20_000.0, "USD"),
        (600, 20_100.0, "USD"),
        (300, 9_000.0, "EUR"),
        (0, 9_090.0, "EUR"),
    )
    for before, value, quote in told:
        document = {**LINE, "value": value, "quote": quote, "began": 1.0}
        put_report(live.parts.store, model, "account", document, time=NOON - before)
    points = [[NOON - 300, 9_000.0, 1.0], [NOON, 9_090.0, 1.0]]
    put_line(live, model, NAME, quote="EUR", value=9_090.0, points=points)

    for path in ("/", f"/{model.project_id}/{model.id}/overview"):
        html = reader.get(path).text
        assert "from 9,000.00 to 9,090.00 EUR (+90.00, +1% in 5 minutes)" in html
        assert "20,0" not in html
        assert "20,1" not in html
    overview = text_of(reader.get(f"/{model.project_id}/{model.id}/overview").text)
    said = "are not drawn, and are in no change: they count something else"
    assert f"Values from before 2023-11-14 22:08 {said}" in overview


def test_an_account_that_cannot_be_read_says_nothing_of_the_process(
    live: LivePlatform, reader: Visitor
) -> None:
    put_line(live, running_model(live.parts.store), value=None, problem="It is not read.")
    live.clock.now = NOON + 86_400
    assert '"badge state good">Running<' in reader.get("/").text


def test_a_model_without_an_account_shows_none(live: LivePlatform, reader: Visitor) -> None:
    running_model(live.parts.store)
    html = reader.get("/").text
    assert "account at" not in html
    assert NOTE not in text_of(html)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"simulated": True}, "at alpaca no real money ("),
        ({"portfolio": "second"}, "the whole account at alpaca (second) ("),
        ({"missing": list("abcdefg")}, "at alpaca, without a, b, c, d, e and 2 other assets ("),
        (
            {"value": None, "problem": "The exchange cannot be reached."},
            "Account at alpaca: – Its value could not be read: The exchange cannot be reached. (",  # noqa: RUF001  # as shown
        ),
    ],
)
def test_what_a_value_is_not_is_told(
    live: LivePlatform, reader: Visitor, changes: dict[str, Any], told: str
) -> None:
    put_line(live, running_model(live.parts.store), **changes)
    html = reader.get("/").text
    assert told in text_of(html)


def test_what_a_model_made_up_stays_text(live: LivePlatform, reader: Visitor) -> None:
    evil = '"><script>alert(1)</script>'
    model = running_model(live.parts.store)
    put_line(live, model, exchange=evil, portfolio=evil, quote=evil, missing=[evil])
    put_line(live, model, "b", value=None, problem=evil)
    html = reader.get("/").text
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;") >= 5


def test_of_many_accounts_two_are_shown_and_the_others_counted(
    live: LivePlatform, reader: Visitor
) -> None:
    model = running_model(live.parts.store)
    for name in "abcd":
        put_line(live, model, name, exchange=name)
    text = text_of(reader.get("/").text)
    assert "the whole account at a" in text
    assert "the whole account at c" not in text
    assert "And 2 other accounts." in text


def test_the_overview_draws_an_account_with_its_scale(live: LivePlatform, reader: Visitor) -> None:
    model = running_model(live.parts.store)
    put_line(live, model, name=NAME)
    for number, value in enumerate((10_000.0, 9_500.0, 10_214.3)):
        time = NOON - 900 * (2 - number)
        put_report(live.parts.store, model, "account", {**LINE, "value": value}, time=time)
    html = reader.get(f"/{model.project_id}/{model.id}/overview").text
    text = text_of(html)
    assert "10,214.30 USD , the whole account at alpaca" in text
    for part in ("highest 10,214.30", "lowest 9,500.00", "+214.30, +2.14% in 30 minutes"):
        assert part in text
    assert "its change is not this model's profit" in text
    assert html.count('<svg class="sparkline" role="img"') == 1


def test_the_overview_of_a_model_without_an_account_says_why(
    live: LivePlatform, reader: Visitor
) -> None:
    model = running_model(live.parts.store)
    html = reader.get(f"/{model.project_id}/{model.id}/overview").text
    assert "It is not known what the account is worth" in text_of(html)
    put_line(live, model, name=NAME, value=None, problem="Accounts at okx are not read.", points=[])
    html = reader.get(f"/{model.project_id}/{model.id}/overview").text
    assert "Its value could not be read: Accounts at okx are not read." in text_of(html)
    assert "sparkline" not in html
