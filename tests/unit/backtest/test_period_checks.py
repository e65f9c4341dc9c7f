"""Arguments that cannot be meant are found before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from deploy_action.backtest.figures.analysis import Coverage
from deploy_action.backtest.period.asked import seconds_back
from deploy_action.backtest.period.checks import check_meaning
from deploy_action.backtest.period.coverage import coverage_warnings
from deploy_action.backtest.period.dates import NoDateError, parse_date
from deploy_action.errors import Severity

NOW = datetime(2024, 6, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def found(**arguments: Any) -> list[tuple[str, str, Severity]]:
    return [(one.argument, one.message, one.severity) for one in check_meaning(arguments, NOW)]


@pytest.mark.parametrize(
    ("arguments", "argument", "message"),
    [
        (
            {"start_date": "2024-01-01", "end_date": "2023-01-01"},
            "end_date",
            '`end_date` is "2023-01-01", not after `start_date`, 2024-01-01.',
        ),
        (
            {"start_date": "2023-01-01", "end_date": "2023-01-01"},
            "end_date",
            '`end_date` is "2023-01-01", not after `start_date`, 2023-01-01.',
        ),
        (
            {"start_date": "2030-01-01", "end_date": "2031-01-01"},
            "start_date",
            '`start_date` is "2030-01-01", in the future.',
        ),
        (
            {"start_date": "2023-01-01", "end_date": "2030-01-01"},
            "end_date",
            '`end_date` is "2030-01-01", in the future.',
        ),
        ({"start_date": "soon"}, "start_date", '`start_date` is "soon", no date.'),
        (
            {"end_date": "2023-02-30"},
            "end_date",
            '`end_date` is "2023-02-30", no date of the calendar',
        ),
        ({"start_date": -5}, "start_date", "`start_date` is -5, no time in seconds since 1970."),
        ({"to": "0d"}, "to", '`to` is "0d", no time at all.'),
        ({"initial_values": {}}, "initial_values", "leaves the account with nothing"),
        ({"initial_values": {"USD": 0, "OAK": 0.0}}, "initial_values", "with nothing"),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    arguments: dict[str, Any], argument: str, message: str
) -> None:
    ((where, what, severity),) = found(**arguments)
    assert (where, severity) == (argument, Severity.ERROR)
    assert message in what


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"to": "1y"},
        {"start_date": "2023-01-01", "end_date": "2024-01-01"},
        {"start_date": "2023-01-01", "end_date": "2024-06-01"},
        {"start_date": 1_672_531_200, "end_date": 1_704_067_200.5},
        {"start_date": "15/06/2023", "end_date": "20230701"},
        {"start_date": "3/3/2023", "end_date": "June 3, 2023"},
        {"initial_values": {"USD": 0, "OAK": 1}},
        {"start_date": ["2023"]},
    ],
)
def test_what_can_be_meant_is_not_mentioned(arguments: dict[str, Any]) -> None:
    assert found(**arguments) == []


def test_a_date_with_two_readings_is_a_warning_that_shows_how_it_is_read() -> None:
    """The package reads it with pandas, which takes the month first."""
    (finding,) = check_meaning({"start_date": "01/03/2023", "end_date": "15/06/2023"}, NOW)
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        '`start_date` is "01/03/2023", read as 2023-01-03, with the month first.'
    )
    assert finding.hint == "Write `2023-01-03`, or `2023-03-01` if that is meant."


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2023", "2023-01-01"),
        ("2023-06", "2023-06-01"),
        ("2023-06-15T12:30:05", "2023-06-15T12:30:05"),
        ("2023/6/5 07:00", "2023-06-05T07:00"),
        ("20230615", "2023-06-15"),
        ("06/15/2023", "2023-06-15"),
        ("15.06.2023", "2023-06-15"),
        ("03/06/18", "2018-03-06"),
        ("15 Jun 2023", "2023-06-15"),
        ("June 15, 2023", "2023-06-15"),
    ],
)
def test_dates_are_read_as_the_package_reads_them(text: str, read: str) -> None:
    """Compared by hand with pandas 2.1.4."""
    date = parse_date(text)
    assert date is not None
    assert date.time == moment(read)


def test_a_time_zone_is_refused_and_other_forms_are_left_to_the_package() -> None:
    """The package subtracts a time without a zone, which pandas refuses."""
    with pytest.raises(NoDateError, match="time zone"):
        parse_date("2023-01-01T00:00:00Z")
    assert parse_date("a quarter past 5") is None


@pytest.mark.parametrize(
    ("to", "seconds"),
    [("1y", 365 * DAY), ("6mo", 180 * DAY), ("2w", 14 * DAY), ("90m", 5_400), ("x", None)],
)
def test_lengths_are_read_as_the_package_reads_them(to: str, seconds: float | None) -> None:
    assert seconds_back(to) == seconds


def cover(asked: tuple[str, str], covered: tuple[str, str], symbol: str = "OAK-USD") -> Coverage:
    wanted = (moment(asked[0]), moment(asked[1]))
    known = (moment(covered[0]), moment(covered[1]))
    overlap = min(wanted[1], known[1]) - max(wanted[0], known[0])
    share = max(0.0, overlap / (wanted[1] - wanted[0]))
    return Coverage(symbol=symbol, resolution=DAY, asked=wanted, covered=known, share=share)


def test_prices_of_another_period_are_a_warning_with_both() -> None:
    one = cover(("2021-11-28", "2024-11-28"), ("2023-01-01", "2024-08-23"))
    (warning,) = coverage_warnings([one])
    assert warning.severity is Severity.WARNING
    assert warning.message == (
        "Asked for 2021-11-28 to 2024-11-28; the prices of OAK-USD cover 2023-01-01 to 2024-08-23 "
        "(55% of it)."
    )


def test_symbols_with_the_same_prices_share_a_warning() -> None:
    asked, covered = ("2021-01-01", "2024-01-01"), ("2023-01-01", "2024-01-01")
    many = [cover(asked, covered, f"A{number}-USD") for number in range(5)]
    many.append(cover(asked, ("2022-01-01", "2024-01-01"), "B-USD"))
    messages = [one.message for one in coverage_warnings(many, "Window `a`: ")]
    assert len(messages) == 2
    assert "the prices of A0-USD, A1-USD, A2-USD and 2 more cover" in messages[0]
    assert all(message.startswith("Window `a`: Asked for") for message in messages)


def test_names_are_redacted_before_they_are_cut() -> None:
    """Half a secret would not be recognised where others are hidden."""
    asked, covered = ("2021-01-01", "2024-01-01"), ("2023-01-01", "2024-01-01")
    one = cover(asked, covered, f"{'A' * 30}{'d1fe' * 5}")
    (found,) = coverage_warnings([one], redact=lambda text: text.replace("d1fe" * 5, "***"))
    assert f"the prices of {'A' * 30}*** cover" in found.message


@pytest.mark.parametrize(
    "covered",
    [("2023-01-01", "2024-01-01"), ("2023-01-03", "2023-12-30"), ("2023-01-05", "2023-12-28")],
    ids=["all of it", "two bars", "a weekend with holidays"],
)
def test_a_bar_or_two_are_not_mentioned(covered: tuple[str, str]) -> None:
    assert list(coverage_warnings([cover(("2023-01-01", "2024-01-01"), covered)])) == []
