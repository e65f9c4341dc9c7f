"""Prices with gaps, zeros, or times that are doubled or in no order get a warning."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from .conftest import ARGUMENTS, HEAD, Model, write_prices

QUIET = (
    HEAD
    + """
strategy.add_price_event(lambda price, symbol, state: None, "ASH-USD", resolution="RES")
"""
)


def warnings(bot: Model, resolution: str = "1d") -> list[str]:
    ran = bot.run(QUIET.replace("RES", resolution))
    assert ran.last["event"] == "finished", ran.problems
    return [one["message"] for one in ran.problems if one["severity"] == "warning"]


def edit(path: Path, *, without: Iterable[int] = (), zero: Iterable[int] = ()) -> None:
    """Remove bars, counted from 1, or set their opening price to 0."""
    header, *bars = path.read_text().splitlines()
    kept = []
    for number, bar in enumerate(bars, 1):
        time, _, rest = bar.split(",", 2)
        if number not in without:
            kept.append(f"{time},0,{rest}" if number in zero else bar)
    path.write_text("\n".join([header, *kept]) + "\n")


def test_good_prices_are_not_mentioned(bot: Model) -> None:
    assert warnings(bot) == []


def test_gaps_are_named_with_their_ends(bot: Model) -> None:
    edit(bot.root / "ASH-USD.csv", without={10, 20, 21, 22})
    (message,) = warnings(bot)
    assert message == (
        "The prices of ASH-USD have 2 gaps, without bars: 2023-01-20 to 2023-01-23, 2023-01-10 to "
        "2023-01-11."
    )


def test_a_market_that_closes_at_weekends_has_no_gaps(bot: Model) -> None:
    """2023 began on a Sunday. A holiday beside a weekend is no gap either; two weeks are one."""
    weekends = {day for day in range(1, 61) if day % 7 in (0, 1)}
    edit(bot.root / "ASH-USD.csv", without=weekends | {16})
    assert warnings(bot) == []
    write_prices(bot.root / "ASH-USD.csv", 0)
    edit(bot.root / "ASH-USD.csv", without=weekends | set(range(16, 30)))
    (message,) = warnings(bot)
    assert message == ("The prices of ASH-USD have 1 gap, without bars: 2023-01-14 to 2023-01-30.")


def test_zeros_are_named(bot: Model) -> None:
    edit(bot.root / "ASH-USD.csv", zero={12, 14, 16, 18})
    (message,) = warnings(bot)
    assert message == (
        "The prices of ASH-USD are 0 or missing in 4 bars (`open`): 2023-01-12, 2023-01-14, "
        "2023-01-16, …."
    )


def test_doubled_and_unsorted_times_are_named(bot: Model) -> None:
    path = bot.root / "ASH-USD.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:9], *lines[30:], *lines[9:30], lines[5]]) + "\n")
    assert warnings(bot) == [
        "The prices of ASH-USD have 1 time twice: 2023-01-05.",
        "The prices of ASH-USD are not in the order of time.",
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_bars_outside_the_period_do_not_matter(bot: Model, when: str) -> None:
    assert ARGUMENTS["start_date"] == "2023-01-02"
    edit(bot.root / "ASH-USD.csv", zero={1} if when == "before" else {60})
    assert warnings(bot) == []
