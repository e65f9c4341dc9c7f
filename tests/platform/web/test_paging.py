"""Every list with pages understands their numbers alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.platform.web.paging import asked_part
from tests.platform.web.test_backtest_page import many_trips, outcome, run
from tests.support.page_models import add_model
from tests.support.scripted_live_server import LivePlatform
from tests.support.versions import a_version
from tests.support.visitor import Visitor, text_of

Lister = Callable[[LivePlatform], str]

# What is asked for, and what is shown of three pages.
ASKED = {
    "": 1,
    "1": 1,
    "2": 2,
    "02": 2,
    "3": 3,
    "4": 3,
    "1000000": 3,
    "9" * 5_000: 3,
    "0": 1,
    "00": 1,
    "-1": 1,
    "-2": 1,
    "%2B2": 1,
    "2.0": 1,
    "2e0": 1,
    "%202": 1,
    "x": 1,
    "%D9%A3": 1,  # a three in Arabic
    "%C2%B2": 1,  # a two in superscript
}


def models(live: LivePlatform) -> str:
    for number in range(201):
        add_model(live.parts.store, f"Bot {number}")
    return "/?name=bot"


def versions(live: LivePlatform) -> str:
    model_id = live.create_model()
    first = live.deploy(model_id).json()["versionId"]
    with live.parts.store.transaction() as transaction:
        original = transaction.live.version(live.user_id, model_id, first)
        assert original is not None
        for number in range(100):
            transaction.add_version(replace(original, id=f"v{number}", status="stopped"), "")
    return f"/{live.user_id}/{model_id}/versions?"


def backtests(live: LivePlatform) -> str:
    model_id = live.create_model()
    with live.parts.store.transaction() as transaction:
        for _ in range(101):
            version = a_version(live.user_id, model_id)
            transaction.add_version(version, "")
            transaction.add_backtest(version.id, args={}, description="", workplace="none")
    return f"/{live.user_id}/{model_id}/backtests?"


def round_trips(live: LivePlatform) -> str:
    return f"{run(live, outcome(many_trips(201)))}?sort=profit"


@pytest.mark.parametrize("make", [models, versions, backtests, round_trips])
def test_every_list_answers_the_same_to_any_number(
    make: Lister, live: LivePlatform, reader: Visitor
) -> None:
    address = make(live)

    shown = {}
    for asked in ASKED:
        answer = reader.get(f"{address}&page={asked}")
        assert answer.status_code == 200
        shown[asked] = re.findall(r"Page (\d+) of 3", text_of(answer.text))

    assert shown == {asked: [str(number)] for asked, number in ASKED.items()}


def test_a_list_without_a_number_begins_with_its_first_page(
    live: LivePlatform, reader: Visitor
) -> None:
    assert "Page 1 of 3" in text_of(reader.get(versions(live)).text)


@given(number=st.integers(-5, 10**30), total=st.integers(0, 1_000), most=st.integers(1, 100))
def test_each_item_is_in_one_part(number: int, total: int, most: int) -> None:
    items = list(range(total))
    part = asked_part({"page": str(number)}, total, most)

    assert 1 <= part.number <= part.parts
    assert part.skipped == (part.number - 1) * most
    parts = [asked_part({"page": str(each)}, total, most) for each in range(1, part.parts + 1)]
    assert [item for each in parts for item in items[each.items]] == items
    assert all(items[each.items] for each in parts) or not items
