from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy_action.platform.api.operations.live_documents import reported_document
from deploy_action.platform.live.reports import KINDS, ReportError, Reports, read_reports
from deploy_action.platform.live.reports.accounts import Account, read_lines
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import Clock

P, M = "p", "m"
MINUTE, DAY = 60.0, 86_400.0
NOON = 20_000 * DAY + DAY / 2
SAMPLE: Mapping[str, Any] = {
    "exchange": "alpaca", "quote": "USD", "simulated": False, "value": 100.0, "every": 900,
    "began": NOON - 10,
}  # fmt: skip


class Kept:
    """The accounts of one model in a store."""

    def __init__(self, data: Path) -> None:
        self.data, self.errors = data, list[str]()
        self.store = Store(data, Clock())
        with self.store.transaction() as transaction:
            transaction.add_project(P, name="", description="")
            transaction.add_model(P, M, model_type="strategy", name="", description="")
        self.now = 0.0  # of the clock by which floods are measured
        self.reports = Reports(self.store, self.errors.append, lambda: self.now)

    def keep(self, time: float, value: float | None, **more: object) -> None:
        self.now += 1
        self.reports.keep(P, M, "account", {**SAMPLE, "value": value, **more}, time)

    def fill(self, samples: list[tuple[float, float]]) -> None:
        """Keep many samples: the last one is waited for, and those before it come before it."""
        for time, value in samples[:-1]:
            self.now += 1
            self.reports.take(P, M, "account", {**SAMPLE, "value": value}, time)
        self.keep(*samples[-1])

    def read(self) -> list[Account]:
        with self.store.snapshot() as snapshot:
            return read_reports(snapshot, P, M, "").accounts

    def lines(self) -> list[Account]:
        with self.store.snapshot() as snapshot:
            return read_lines(snapshot).get((P, M), [])

    def rows(self) -> dict[str, int]:
        with closing(sqlite3.connect(self.data / "platform.sqlite")) as connection:
            return dict(
                connection.execute("SELECT kind, count(*) FROM reports GROUP BY kind").fetchall()
            )


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    found = Kept(tmp_path / "data")
    yield found
    found.reports.close()
    found.store.close()
    assert found.errors == []


def test_an_account_is_shown_with_its_values_over_time(kept: Kept) -> None:
    kept.keep(NOON, 100.0, portfolio="main", missing=["ELM"])
    kept.keep(NOON + 15 * MINUTE, 110.0, portfolio="main", missing=["ELM"])
    with kept.store.snapshot() as snapshot:
        document = reported_document(read_reports(snapshot, P, M, ""), "")
    assert document["account"] == [
        {
            "exchange": "alpaca", "portfolio": "main", "quote": "USD", "simulated": False,
            "time": "2024-10-04T12:15:00+00:00", "value": 110.0, "missing": ["ELM"],
            "problem": None, "values": [[NOON, 100.0], [NOON + 900, 110.0]],
        }
    ]  # fmt: skip


def test_a_project_key_cannot_report_the_value_of_an_account() -> None:
    """The events API serves `KINDS`: anybody with a key of the project may use it."""
    assert "account" not in KINDS
    assert not [kind for kind in KINDS if "account" in kind.lower()]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exchange": None}, "Missing required body key: exchange"),
        ({"value": "much"}, "value must be a number"),
        ({"value": 1e16}, "value must be at most 1e.15"),
        ({"value": -1e300}, "value must be at most 1e.15"),
        ({"simulated": "perhaps"}, "simulated must be true or false"),
        ({"missing": "ELM"}, "missing must be a list"),
        ({"missing": ["ELM"] * 101}, "missing must be a list of at most 100"),
        ({"missing": ["E" * 31]}, "Each of missing must be 1 to 30"),
        ({"missing": [{}]}, "Each of missing must be 1 to 30"),
    ],
)
def test_nonsense_is_refused(kept: Kept, fields: Mapping[str, object], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        kept.keep(NOON, **{"value": 1.0, **fields})  # type: ignore[arg-type]  # that is the test
    assert kept.read() == []


def test_a_value_that_is_not_known_is_no_value_and_a_gap(kept: Kept) -> None:
    kept.keep(NOON, 100.0)
    kept.keep(NOON + 900, None, quote=None, problem="It cannot be reached.")
    (account,) = kept.read()
    assert (account.value, account.problem) == (None, "It cannot be reached.")
    assert (account.quote, account.time) == ("USD", NOON + 900)
    assert list(account.points) == [(NOON, 100.0), (NOON + 900, None)]
    kept.keep(NOON + 1_800, 102.0)
    for (account,) in (kept.read(), kept.lines()):
        assert list(account.points) == [(NOON, 100.0), (NOON + 900, None), (NOON + 1_800, 102.0)]
        assert account.value == 102.0


def test_no_line_is_drawn_over_a_time_in_which_the_model_was_stopped(kept: Kept) -> None:
    kept.fill([(NOON, 1.0), (NOON + 900, 2.0), (NOON + 7_200, 3.0), (NOON + 8_100, 4.0)])
    for (account,) in (kept.read(), kept.lines()):
        assert [value for _, value in account.points] == [1.0, 2.0, None, 3.0, 4.0]


def test_no_line_is_drawn_over_a_stop_however_short(kept: Kept) -> None:
    """The pause is shorter than the time between two values of one run."""
    kept.keep(NOON, 1.0)
    kept.keep(NOON + 900, 2.0)
    kept.keep(NOON + 1_000, None, began=NOON + 990, problem="It cannot be reached.")
    kept.keep(NOON + 1_300, 3.0, began=NOON + 990)
    kept.keep(NOON + 2_200, 4.0, began=NOON + 990)
    kept.keep(NOON + 2_205, 5.0, began=NOON + 2_203)
    for (account,) in (kept.read(), kept.lines()):
        assert [value for _, value in account.points] == [1.0, 2.0, None, 3.0, 4.0, None, 5.0]
        assert (NOON + 1_100, None) in account.points


def test_days_of_different_runs_are_not_joined(kept: Kept) -> None:
    """Of the first two days, only the last values are kept; the third has all of its own."""
    kept.fill([(NOON + number * 900, 1.0) for number in range(50)])
    for number in range(1_100):
        kept.reports.take(P, M, "account", {**SAMPLE, "began": NOON + DAY}, NOON + DAY + number)
        kept.now += 1
    kept.keep(NOON + DAY + 1_100, 2.0, began=NOON + DAY)
    values = [value for _, value in kept.read()[0].points]
    assert values[:2] == [1.0, None]


def test_a_model_that_always_starts_again_has_a_bounded_line(kept: Kept) -> None:
    for number in range(1_200):
        kept.now += 1
        time = NOON + number * 60
        kept.reports.take(P, M, "account", {**SAMPLE, "began": time - 1}, time)
    kept.keep(NOON + 72_000, 2.0, began=NOON + 71_999)
    for (account,), most in ((kept.read(), 200), (kept.lines(), 125)):
        assert 20 <= len(account.points) <= most
        assert all(None in (first[1], second[1]) for first, second in pairwise(account.points))


def test_values_that_count_different_things_are_not_joined(kept: Kept) -> None:
    kept.keep(NOON, 1.0)
    kept.keep(NOON + 900, 2.0, missing=["ELM"])
    kept.keep(NOON + 1_800, 3.0, missing=["ELM"])
    assert [value for _, value in kept.read()[0].points] == [1.0, None, 2.0, 3.0]
    assert [value for _, value in kept.lines()[0].points] == [2.0, 3.0]


def test_accounts_are_told_apart(kept: Kept) -> None:
    """By exchange, portfolio, and whether they are simulated."""
    kept.keep(NOON, 1.0)
    kept.keep(NOON, 2.0, exchange="binance", quote="USDT")
    kept.keep(NOON, 3.0, portfolio="second")
    kept.keep(NOON, 4.0, simulated=True)
    for accounts in (kept.read(), kept.lines()):
        assert [each.value for each in accounts] == [1.0, 2.0, 3.0, 4.0]
        assert [len(each.points) for each in accounts] == [1, 1, 1, 1]


def test_what_is_kept_is_bounded_and_still_goes_back_to_the_first_day(kept: Kept) -> None:
    """1,000 values, the last one of each day, and one line; at most 200 points are shown."""
    kept.fill([(NOON + number * 900, 1_000.0 + number) for number in range(3_000)])
    rows = kept.rows()
    assert rows["account"] == 1_000
    assert rows["accountDay"] == 32
    assert rows["accountLine"] == 1
    (account,) = kept.read()
    assert 100 <= len(account.points) <= 200
    assert account.points[0][0] < NOON + DAY
    assert account.points[-1] == (NOON + 2_999 * 900, 3_999.0)
    values = [value for _, value in account.points]
    assert None not in values, "nothing is missing"
    assert all(first[0] < second[0] for first, second in pairwise(account.points))
    (line,) = kept.lines()
    assert 60 <= len(line.points) <= 125
    assert line.points[0][0] >= NOON + 2_999 * 900 - 30 * DAY
    assert line.points[-1] == account.points[-1]
    assert None not in [value for _, value in line.points]


def test_accounts_survive_the_server(tmp_path: Path) -> None:
    first = Kept(tmp_path / "data")
    first.keep(NOON, 5.0)
    first.reports.close()
    first.store.close()
    store = Store(tmp_path / "data", Clock())
    with store.snapshot() as snapshot:
        (account,) = read_reports(snapshot, P, M, "").accounts
    store.close()
    assert account.value == 5.0
