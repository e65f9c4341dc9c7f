"""Prices with gaps, zeros, or times that are doubled or in no order get a warning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from .conftest import ARGUMENTS, HEAD, Model, write_prices

QUIET = (
    HEAD
    + """
strategy.add_price_event(lambda price, symbol, state: None, "ASH-USD", resolution="RES")
"""
)


def warnings(
    bot: Model, resolution: str = "1d", period: Mapping[str, str] = ARGUMENTS
) -> list[str]:
    ran = bot.run(QUIET.replace("RES", resolution), {**ARGUMENTS, **period})
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


def test_many_gaps_are_no_closings(bot: Model) -> None:
    """The more bars are missing, the more it matters."""
    edit(bot.root / "ASH-USD.csv", without=range(5, 50, 4))
    (message,) = warnings(bot)
    assert message.startswith("The prices of ASH-USD have 12 gaps, without bars: 2023-01-05 to ")


def test_missing_minutes_of_a_market_that_never_closes_are_gaps(bot: Model) -> None:
    path = bot.root / "ASH-USD.csv"
    write_prices(path, 0, bars=4 * 1_440, seconds=60)
    edit(path, without={number for number in range(1_500, 5_700) if number * number % 11 == 3})
    (message,) = warnings(bot, "1m", {"start_date": "2023-01-01", "end_date": "2023-01-04"})
    assert "gaps, without bars: 2023-01-02" in message


def hours(bot: Model, is_open: Callable[[int, int], bool]) -> None:
    """Write hourly bars of these days (from 0, a Sunday) and hours."""
    path = bot.root / "ASH-USD.csv"
    write_prices(path, 0, bars=56 * 24, seconds=3_600)
    shut = {bar + 1 for bar in range(56 * 24) if not is_open(*divmod(bar, 24))}
    edit(path, without=shut)


def session(day: int, hour: int) -> bool:
    """Return whether a market is open that closes at noon and an hour earlier in winter."""
    opens = 8 if day < 28 else 7
    return 1 <= day % 7 <= 5 and opens <= hour < opens + 8 and hour != opens + 3


HOURLY = {"start_date": "2023-01-02", "end_date": "2023-02-25"}


def test_nights_noons_holidays_and_half_days_are_no_gaps(bot: Model) -> None:
    hours(
        bot, lambda day, hour: session(day, hour) and day != 16 and (day, hour > 11) != (17, True)
    )
    assert warnings(bot, "1h", HOURLY) == []


def test_hours_that_are_missing_in_a_session_are_a_gap(bot: Model) -> None:
    hours(bot, lambda day, hour: session(day, hour) and (day, hour) not in {(17, 13), (17, 14)})
    (message,) = warnings(bot, "1h", HOURLY)
    assert message == (
        "The prices of ASH-USD have 1 gap, without bars: 2023-01-18 13:00 to 2023-01-18 15:00."
    )


def test_a_market_that_closes_from_friday_to_sunday_has_no_gaps(bot: Model) -> None:
    """As currencies do."""
    hours(bot, lambda day, hour: (day % 7, hour) >= (0, 22) and (day % 7, hour) < (5, 22))
    assert warnings(bot, "1h", HOURLY) == []


@pytest.mark.parametrize("resolution", [7 * 86_400, 30 * 86_400])
def test_weeks_and_months_are_no_gaps(bot: Model, resolution: int) -> None:
    write_prices(bot.root / "ASH-USD.csv", 0, bars=60, seconds=resolution)
    # The package calls the model from the start on, so a bar has to begin there.
    period = {"start_date": "2023-01-01", "end_date": "2023-12-30"}
    assert warnings(bot, f"{resolution}s", period) == []
    edit(bot.root / "ASH-USD.csv", without={5})
    (message,) = warnings(bot, f"{resolution}s", period)
    assert "have 1 gap" in message


def test_prices_that_begin_with_the_newest_are_in_order(bot: Model) -> None:
    path = bot.root / "ASH-USD.csv"
    header, *bars = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(bars)]) + "\n")
    assert warnings(bot) == []


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


def test_bars_that_two_events_load_are_no_doubles_of_the_file(bot: Model) -> None:
    event = QUIET.strip().splitlines()[-1]
    ran = bot.run(f"{QUIET}\n{event}".replace("RES", "1d"))
    (problem,) = ran.problems
    assert problem["message"] == (
        "The prices of ASH-USD are loaded once for each event of this resolution, so `history` "
        "gives each bar as often: 2023-01-02, 2023-01-03, 2023-01-04, …."
    )
    assert "one event" in problem["hint"]
