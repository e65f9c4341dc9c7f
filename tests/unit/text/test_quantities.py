from __future__ import annotations

import pytest

from deploy_action.text.quantities import (
    count,
    days,
    decimal,
    duration,
    exact,
    interval,
    moment,
    money,
    per_cent,
    percentage,
    size,
)


@pytest.mark.parametrize(
    ("value", "shown", "in_full"),
    [
        (0, "0.00", "0"),
        (-0.0, "0.00", "0"),
        (13790.46170291562, "13,790.46", "13,790.4617"),
        (-1234.5, "\u22121,234.50", "\u22121,234.5"),
        (0.5, "0.50", "0.5"),
        (0.005, "0.005", "0.005"),
        (-0.001, "\u22120.001", "\u22120.001"),
        (0.00001234, "0.000012", "0.00001234"),
        (1e-9, "1e\u221209", "1e\u221209"),
        (0.1 + 0.2, "0.30", "0.3"),
        (1e12, "1,000,000,000,000.00", "1,000,000,000,000"),
        (12345678901.5, "12,345,678,901.50", "12,345,678,902"),
        (-1e16, "\u22121e+16", "\u22121e+16"),
    ],
)
def test_numbers_are_readable(value: float, shown: str, in_full: str) -> None:
    assert decimal(value) == shown
    assert exact(value) == in_full


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (28.999999999999996, "+29%"),
        (-12.345, "\u221212.35%"),
        (0.0, "0%"),
        (-0.0, "0%"),
        (-0.001, "0%"),
        (0.001, "0%"),
        (0.5, "+0.5%"),
        (1e12, "+1,000,000,000,000%"),
        (1e300, "+1e+300%"),
    ],
)
def test_a_percentage_is_rounded_and_has_a_sign(value: float, shown: str) -> None:
    """The package rounds before it multiplies by 100, and leaves digits behind."""
    assert per_cent(value, with_sign=True) == shown
    assert per_cent(value) == shown.removeprefix("+")


def test_moments_are_dates_in_utc() -> None:
    assert moment(1_677_628_800) == "2023-03-01 00:00"
    assert moment(-86_400, "%d %b %Y") == "31 Dec 1969"
    assert moment(1e18) == "1e+18 s"


def test_things_bytes_and_times_have_units() -> None:
    assert [count(number, "file") for number in (0, 1, 1_200)] == [
        "0 files",
        "1 file",
        "1,200 files",
    ]
    sizes = [size(number) for number in (1, 999, 1_000, 999_949, 999_950, 5_000_000_000)]
    assert sizes == ["1 byte", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "5.0 GB"]
    assert [duration(seconds) for seconds in (0.04, 59.94, 59.96, 125)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "2 min 5 s",
    ]


def test_an_interval_has_the_largest_unit_that_divides_it() -> None:
    said = [interval(seconds) for seconds in (60, 5_400, 14_400, 86_400.0, 604_800, 90, 0.5)]
    assert said == ["minute", "90 minutes", "4 hours", "day", "7 days", "90 s", "0.5 s"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (37.9046, "+37.90%"),
        (-0.004, "\u22120.004%"),
        (0.0, "0.00%"),
        (-1e-9, "0.00%"),
        (1e-9, "0.00%"),
        (2_226.6, "+2,226.60%"),
        (1e16, "+1e+16%"),
    ],
)
def test_percentages_in_a_column_have_the_same_decimals(value: float, expected: str) -> None:
    assert percentage(value, with_sign=True) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (181.4, "181 days"),
        (2.5, "2.5 days"),
        (1.0, "1 day"),
        (0.5, "12 hours"),
        (1 / 24, "1 hour"),
        (0.01, "14.4 minutes"),
        (0.0, "0 days"),
        (-3.0, "\u22123 days"),
    ],
)
def test_lengths_of_time_have_a_unit_that_fits(number: float, expected: str) -> None:
    assert days(number) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(13_790.456, "+13,790.46"), (-5.0, "\u22125.00"), (1_234_567.8, "+1,234,568"), (0.0, "0.00")],
)
def test_amounts_have_cents_below_a_million(value: float, expected: str) -> None:
    assert money(value, with_sign=True) == expected
