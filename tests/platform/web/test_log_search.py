"""The search in a log: what it finds, and where it stops."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partialmethod
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploy_action.platform.storage.logs import LogReader, format_line
from deploy_action.platform.web import log_lines
from deploy_action.platform.web.log_lines import STREAMS, LogLines
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of

START = 1_790_000_000  # in the year 2026
LETTERS = "aAbB\u0130i\u00df\u00c9\u00e9 :.-026ZTzouterplatfm"

AddLog = Callable[[list[tuple[str, str]]], LogLines]


@pytest.fixture
def add_log(tmp_path: Path) -> AddLog:
    """Return a function that writes lines of streams to a log, a second apart."""

    def add(lines: list[tuple[str, str]]) -> LogLines:
        written = [format_line(START + at, text, of) for at, (of, text) in enumerate(lines)]
        half = len(written) // 2
        for number, part in enumerate((written[:half], written[half:]), 1):
            (tmp_path / f"{number}.log").write_bytes(b"".join(part))
        return LogLines(LogReader(tmp_path), frozenset(STREAMS))

    return add


def ticking() -> Callable[[], float]:
    """Return a clock that is a second later whenever it is asked."""
    return count().__next__


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.tuples(st.sampled_from(STREAMS), st.text(LETTERS, max_size=12)), max_size=12),
    wanted=st.text(LETTERS, min_size=1, max_size=3),
)
@example(lines=[("out", "bought at 2026"), ("err", "2025")], wanted="2026")
@example(lines=[("out", "sold"), ("err", "out of memory")], wanted="out")
@example(lines=[("out", "\u0130\u0130\u0130 b"), ("out", "b")], wanted="B")
def test_it_finds_the_lines_whose_text_has_it(
    lines: list[tuple[str, str]], wanted: str, add_log: AddLog
) -> None:
    found = add_log(lines).search(wanted)

    expected = [(of, text) for of, text in lines[::-1] if wanted.lower() in text.lower()]
    assert [(line.stream, line.text) for line in found.lines] == expected
    assert found.stopped_by == ""


def test_what_stands_in_every_time_and_in_no_text_makes_no_line(
    add_log: AddLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading each line takes twenty times as long as the search."""
    lines = add_log([("out", f"tick {number % 7}") for number in range(5_000)])
    monkeypatch.setattr(log_lines, "_line", pytest.fail)

    assert lines.search("2026-").lines == ()
    assert lines.search("out").lines == ()


def test_it_stops_at_a_number_of_lines_and_says_so(add_log: AddLog) -> None:
    lines = add_log([("out", f"tick {number}") for number in range(1_000)])

    found = lines.search("tick", most=10)

    assert [line.text for line in found.lines] == [f"tick {at}" for at in range(999, 989, -1)]
    assert (found.stopped_by, found.since) == ("number", found.lines[-1].time)
    assert lines.search("tick 99", most=11).stopped_by == ""


def test_it_stops_after_its_time_and_says_how_far_it_came(add_log: AddLog) -> None:
    lines = add_log([("out", f"{'x' * 1_000} {number}.") for number in range(1_000)])
    whole = lines.search("x 0.")

    found = lines.search("x 0.", clock=ticking())

    assert (whole.stopped_by, len(whole.lines)) == ("", 1)
    assert (found.stopped_by, found.lines) == ("time", ())
    assert 0 < found.searched_bytes < whole.searched_bytes / 2
    oldest = round(datetime.fromisoformat(found.since).timestamp()) - START
    assert lines.search(f"x {oldest}.", clock=ticking()).lines
    assert not lines.search(f"x {oldest - 1}.", clock=ticking()).lines


def test_a_search_that_ends_just_in_time_searched_everything(add_log: AddLog) -> None:
    found = add_log([("out", "buy")]).search("buy", clock=ticking())

    assert (found.stopped_by, len(found.lines)) == ("", 1)


def test_the_page_says_that_a_search_took_too_long(
    live: LivePlatform, reader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id = live.create_model()
    version_id = live.run_a_version(model_id)
    folder = live.data / "logs" / version_id
    folder.mkdir(parents=True, exist_ok=True)
    lines = (format_line(START + at, f"{'x' * 1_000} {at}.", "out") for at in range(1_000))
    (folder / "9.log").write_bytes(b"".join(lines))
    monkeypatch.setattr(LogLines, "search", partialmethod(LogLines.search, clock=ticking()))

    text = text_of(reader.get(f"/{live.user_id}/{model_id}/log?search=x+0.").text)

    assert "0 lines with" in text
    assert re.search(r"took too long and stopped after [\d.]+ kB: nothing before 2026-", text)
