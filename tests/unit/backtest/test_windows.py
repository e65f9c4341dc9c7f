"""Windows: how they are written, and how a period is cut into equal parts."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.period.windows import (
    MOST_WINDOWS,
    Window,
    WrongWindowsError,
    equal_parts,
    iso,
    parse_windows,
    why_not_of,
)
from tests.support.backtests import a_result

DAY = 86_400


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2024-06-15T12:00")


@given(
    start=st.floats(0, 2e9),
    length=st.floats(1, 1e9),
    number=st.integers(1, MOST_WINDOWS),
)
def test_equal_parts_are_contiguous_not_empty_and_cover_the_whole(
    start: float, length: float, number: int
) -> None:
    end = start + length
    if end - start < number:
        with pytest.raises(WrongWindowsError, match="too short"):
            equal_parts(start, end, number)
        return
    parts = equal_parts(start, end, number)
    assert len(parts) == number
    assert (parts[0].start, parts[-1].end) == (start, end)
    assert all(one.end == following.start for one, following in pairwise(parts))
    assert all(one.start < one.end for one in parts)
    assert len({one.name for one in parts}) == number
    assert max(one.end - one.start for one in parts) <= length / number + DAY + 1


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _:-]{0,20}[A-Za-z0-9]", fullmatch=True),
            st.integers(0, int(NOW) - 2 * DAY),
            st.integers(1, DAY),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda one: one[0],
    )
)
def test_windows_that_are_written_are_read_as_they_were(
    given_windows: list[tuple[str, int, int]],
) -> None:
    windows = tuple(Window(name, start, start + length) for name, start, length in given_windows)
    text = "\n".join(
        f"{one.name}: {iso(one.start).replace(' ', 'T')}..{iso(one.end).replace(' ', 'T')}"
        for one in windows
    )
    assert parse_windows(text, NOW) == windows


def test_windows_have_names_or_are_named_by_their_dates() -> None:
    text = "2022: 2022-01-01..2023-01-01  # the bear market\n\n2023-01-01 .. 2023-07-01\n"
    first, second = parse_windows(text, NOW)  # type: ignore[misc]  # windows, not a number
    assert first == Window("2022", at("2022-01-01"), at("2023-01-01"))
    assert second == Window("2023-01-01..2023-07-01", at("2023-01-01"), at("2023-07-01"))
    assert first.arguments() == {"start_date": "2022-01-01", "end_date": "2023-01-01"}
    assert Window("", at("2022-01-01T06:30"), at("2022-01-02")).arguments() == {
        "start_date": "2022-01-01 06:30:00",
        "end_date": "2022-01-02",
    }


def test_a_number_stands_for_equal_parts_of_whole_days() -> None:
    assert parse_windows(" 4 ", NOW) == 4
    parts = equal_parts(at("2022-01-01"), at("2024-01-01"), 4)
    assert [one.name for one in parts] == [
        "2022-01-01..2022-07-02",
        "2022-07-02..2023-01-01",
        "2023-01-01..2023-07-02",
        "2023-07-02..2024-01-01",
    ]
    assert [one.name for one in equal_parts(at("2022-01-01"), at("2022-01-02"), 2)] == [
        "2022-01-01..2022-01-01 12:00:00",
        "2022-01-01 12:00:00..2022-01-02",
    ]


def test_periods_without_calendar_dates_have_no_parts() -> None:
    for start, end in ((-1e15, 0.0), (0.0, 1e300)):
        with pytest.raises(WrongWindowsError, match="calendar"):
            equal_parts(start, end, 3)


def test_today_can_be_the_last_day_of_a_window() -> None:
    assert parse_windows("2024-01-01..2024-06-16", NOW) == (
        Window("2024-01-01..2024-06-16", at("2024-01-01"), at("2024-06-16")),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0", "from 2 to 100"),
        ("1", "from 2 to 100"),
        ("-3", "from 2 to 100"),
        ("101", "from 2 to 100"),
        ("9" * 5000, "from 2 to 100"),
        ("# nothing", "names no window"),
        ("four", "`four` is not `[NAME: ]START..END`"),
        ("2022-01-01..", "is not `[NAME: ]START..END`"),
        ("2022-01-01..2022-13-01", "`2022-13-01` is no date such as"),
        ("01/02/2022..2022-12-01", "`01/02/2022` is no date such as"),
        ("2022-01-01..2022-01-01", "does not end after its start"),
        ("2023-01-01..2022-01-01", "does not end after its start"),
        ("2025-01-01..2026-01-01", "starts in the future"),
        ("2024-01-01..2025-01-01", "ends in the future"),
        ("a: 2022-01-01..2022-02-01\na: 2022-02-01..2022-03-01", "two windows are named `a`"),
        (f"{'n' * 61}: 2022-01-01..2022-02-01", "has more than 60 characters"),
        ("\n".join(f"w{n}: 2022-01-01..2022-02-01" for n in range(101)), "at most 100 are run"),
    ],
)
def test_windows_that_cannot_be_meant_are_refused(text: str, fault: str) -> None:
    with pytest.raises(WrongWindowsError) as refused:
        parse_windows(text, NOW)
    assert fault in str(refused.value)


def test_all_faults_of_windows_are_told_at_once() -> None:
    with pytest.raises(WrongWindowsError) as refused:
        parse_windows("x\n2022-01-01..2021-01-01\n2020-01-01..2021-01-01\n", NOW)
    assert "`x` is not" in str(refused.value)
    assert "does not end after" in str(refused.value)


@given(start=st.integers(0, 2_000_000_000), length=st.integers(1, 1_000_000_000))
def test_a_window_is_read_back_from_its_arguments(start: int, length: int) -> None:
    window = Window("bull", float(start), float(start + length))
    assert Window.of_arguments("bull", window.arguments()) == window


@pytest.mark.parametrize("value", [None, "", "never", [], {}, True, 1e300, -1e300, "9" * 400])
def test_arguments_without_dates_make_no_window(value: object) -> None:
    assert Window.of_arguments("x", {"start_date": value, "end_date": "2023-01-01"}) is None


OWN_PERIOD = "the model's script sets a period of its own"


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        ("2023-03-01", "2023-03-05", ""),
        ("2023-03-03", "2023-03-05", ""),  # two bars before it may be without prices
        ("2023-03-01", "2023-03-02", ""),
        (
            "2022-03-01",
            "2022-03-05",
            f"the backtest was from 2023-03-01 to 2023-03-04: {OWN_PERIOD}",
        ),
    ],
)
def test_a_result_of_another_period_is_not_that_of_a_window(
    start: str, end: str, reason: str
) -> None:
    assert why_not_of(Window("x", at(start), at(end)), a_result()) == reason


def test_times_that_no_calendar_has_are_told_in_seconds() -> None:
    """A server may send any number."""
    values = [{"time": time, "value": 1.0} for time in (-1e17, 0.0, 1e17)]
    found = why_not_of(
        Window("x", at("2023-03-01"), at("2023-03-05")), a_result(account_values=values)
    )
    assert found == f"the backtest was from -1e+17 s to 1e+17 s: {OWN_PERIOD}"
