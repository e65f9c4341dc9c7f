"""The page of a log: what it shows, where its search ends, and who may follow it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import pytest
import requests

from deploy_action.platform.storage.logs import Bounds, LogBook, VersionLog
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import TIMEOUT, Visitor, text_of
from tests.support.waiting import wait_for

FAST = Bounds(lines_a_second=10**9, bytes_a_second=10**12)
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31mred\x1b[0m \u202egnp.exe"


@dataclass
class Shown:
    """A model that runs a version, and somebody who looks at its log."""

    live: LivePlatform
    visitor: Visitor
    model_id: str
    version_id: str

    @property
    def base(self) -> str:
        return f"/{self.live.user_id}/{self.model_id}"

    def log(self, version_id: str = "") -> VersionLog:
        book = LogBook(self.live.data / "logs", FAST, self.live.clock)
        return book.open(version_id or self.version_id)

    def page(self, query: str = "") -> str:
        answer = self.visitor.get(f"{self.base}/log{query}")
        assert answer.status_code == 200, answer.text
        return answer.text

    def text(self, query: str = "") -> str:
        return text_of(self.page(query))

    @contextmanager
    def follow(self, after: str) -> Iterator[Iterator[str]]:
        """Yield the lines of an answer that goes on."""
        url = f"{self.visitor.url}{self.base}/log/follow"
        with self.visitor.session.get(
            url, params={"after": after}, stream=True, timeout=TIMEOUT, allow_redirects=False
        ) as answer:
            assert answer.status_code == 200, answer.text
            yield answer.iter_lines(chunk_size=1, decode_unicode=True)


@pytest.fixture
def shown(live: LivePlatform) -> Shown:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    model_id = live.create_model()
    version_id = live.run_a_version(model_id)
    return Shown(live, visitor, model_id, version_id)


def test_a_model_without_a_deploy_has_no_log(live: LivePlatform) -> None:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    model_id = live.create_model()

    page = visitor.get(f"/{live.user_id}/{model_id}/log")

    assert page.status_code == 200
    assert "so it has no log" in text_of(page.text)


def test_the_last_lines_are_shown_and_all_by_a_link(shown: Shown) -> None:
    for number in range(5_600):
        shown.log().write("out", f"line-{number}.")

    page = shown.page()
    assert page.count('<div class="line ') == 500
    assert "line-5599." in page
    assert "line-5099." not in page
    all_of_it = shown.page("?lines=999999")
    assert all_of_it.count('<div class="line ') == 5_000
    assert shown.visitor.get(f"{shown.base}/log?lines=x").status_code == 400


def test_streams_are_chosen_by_a_form_without_script(shown: Shown) -> None:
    shown.log().write("out", "bought")
    shown.log().write("err", "a warning")

    text = shown.text("?err=on&version=")

    assert "a warning" in text
    assert "bought" not in text
    assert "bought" in shown.text("?search=")
    for number in range(600):
        shown.log().write("out", f"later {number}")
    assert "a warning" in shown.text("?err=on")
    assert "a warning" not in shown.text()


def test_a_search_finds_any_case_in_the_whole_log_and_says_how_far_it_came(shown: Shown) -> None:
    shown.log().write("err", "ÄRGER: Order REJECTED by exchange")
    for number in range(900):
        shown.log().write("out", f"tick {number}")

    text = shown.text("?search=order+rejected")
    assert "1 line with “order rejected”" in text
    assert "Order REJECTED by exchange" in text
    assert "that are kept were searched" in text
    assert "1 line with" in shown.text("?search=%C3%A4rger")
    many = shown.text("?search=tick")
    assert "The search stopped at 200 lines: nothing before" in many
    assert "tick 899" in many
    assert "tick 699" not in many
    assert "0 lines with" in shown.text("?search=2023")  # times are not searched
    assert shown.visitor.get(f"{shown.base}/log?search={'x' * 201}").status_code == 400


def test_a_found_line_leads_to_its_place(shown: Shown) -> None:
    for number in range(2_000):
        shown.log().write("out", f"line-{number}.")

    found = shown.page("?search=line-1000.")
    path = found.partition('<li class="line out"><a href="')[2].partition("#marked")[0]
    page = shown.visitor.get(path.replace("&amp;", "&")).text

    marked = page.partition('id="marked"')[2].partition("</div>")[0]
    assert "line-1000." in marked
    assert "line-999." in page
    assert "line-1001." in page
    assert page.count('<div class="line ') == 500


def test_the_lines_around_a_time_are_of_the_version_that_ran_then(shown: Shown) -> None:
    first, clock = shown.version_id, shown.live.clock
    shown.log().write("out", "sold everything")
    sold_at = clock()
    clock.now += 1_000
    second = shown.live.run_a_version(shown.model_id)
    shown.log(second).write("out", "hello")

    page = shown.page(f"?at={sold_at + 2}")

    marked = page.partition('id="marked"')[2].partition("</div>")[0]
    assert "sold everything" in marked
    assert first in text_of(page)
    assert "which is not the current one" in text_of(page)
    assert "hello" in shown.text()
    for wrong in ("x", "nan", "inf", "-1", "1e300"):
        assert shown.visitor.get(f"{shown.base}/log?at={wrong}").status_code == 400


def test_versions_of_the_same_commit_are_told_apart(shown: Shown) -> None:
    ids = [
        shown.live.run_a_version(shown.model_id, commit="abcdef0" * 5, allowOlder="true")
        for _ in range(2)
    ]

    page = text_of(shown.page(""))

    for version_id in ids:
        assert f"abcdef0 (id {version_id[:8]})" in page


def test_it_says_when_nothing_was_written_at_that_time(shown: Shown) -> None:
    shown.log().write("out", "the last words")
    now = shown.live.clock()

    assert "The marked line is the nearest to" in shown.text(f"?at={now + 30}")
    far = shown.text(f"?at={now + 7_200}")
    assert "Nothing was written within a minute of" in far
    assert "the nearest one, is of 2023-11-14 22:13:20" in far
    before = shown.text(f"?at={now - 7_200}")
    assert "The log of this version begins later, or what was before was removed" in before
    assert "Nothing was written to this log around" in shown.text(f"?at={now}&err=on")


def test_what_a_model_prints_stays_text(shown: Shown) -> None:
    shown.log().write("out", HOSTILE)
    shown.log().write("out", "x" * 5_000)

    for query in ("", "?search=onerror"):
        page = shown.page(query)
        assert "<img" not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "\\u202e" in page
    assert "(cut: it has 5,000 characters)" in shown.text()
    assert "<img" not in shown.page("?search=%3Cimg+src%3D%22%27%3E")


def test_following_starts_after_what_the_page_shows(shown: Shown) -> None:
    shown.log().write("out", "before")
    page = shown.page()
    after = page.partition("/log/follow?after=")[2].partition('"')[0].replace("%2F", "/")

    with shown.follow(after) as lines:
        shown.log().write("out", HOSTILE)
        position, _, stream, text = next(lines).split(" ", 3)

    assert position.startswith(f"{shown.version_id}/")
    assert stream == "out"
    assert text == "</script><img src=x onerror=alert(1)>red \\u202egnp.exe"


def test_nobody_follows_without_a_session_or_from_another_model(shown: Shown) -> None:
    other = shown.live.create_model()
    path = f"/log/follow?after={shown.version_id}/0-0"

    assert Visitor(shown.visitor.url).get(f"{shown.base}{path}").status_code == 303
    wrong = shown.visitor.get(f"/{shown.live.user_id}/{other}{path}")
    assert wrong.status_code == 404


@pytest.mark.parametrize("ending", ["signed out", "expired"])
def test_a_follower_whose_session_ends_is_cut_off(shown: Shown, ending: str) -> None:
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.wait(0.05):
            shown.log().write("out", "private")

    writer = threading.Thread(target=keep_writing, daemon=True)
    writer.start()
    try:
        with shown.follow(f"{shown.version_id}/0-0") as lines:
            assert "private" in next(line for line in lines if "private" in line)
            if ending == "expired":
                shown.live.clock.now += 15 * 86_400
            else:
                other = Visitor(shown.visitor.url)
                other.session.cookies.update(shown.visitor.session.cookies)
                other.send_form("/", "/logout")
            assert len(list(islice(lines, 400))) < 400  # it ends: that many take 20 seconds
    finally:
        stop.set()
        writer.join()
    wait_for(lambda: not shown.live.errors)


def test_the_kept_log_can_be_downloaded_as_text(shown: Shown) -> None:
    for number in range(1_000):
        shown.log().write("out", f"line {number}")

    answer = shown.visitor.get(f"{shown.base}/log/download?version={shown.version_id}")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert len([line for line in answer.text.splitlines() if " out line " in line]) == 1_000


def test_a_wrong_version_or_place_is_refused(shown: Shown) -> None:
    for query, status in (
        ("?version=../..", 404),
        ("?version=x&place=1-0", 404),
        ("?place=x", 400),
    ):
        assert shown.visitor.get(f"{shown.base}/log{query}").status_code == status
    assert "line" in shown.text("?place=7-123456")


def test_lines_that_are_gone_are_said_to_be(shown: Shown) -> None:
    small = Bounds(file_bytes=2_000, files=2, lines_a_second=10**9, bytes_a_second=10**12)
    log = LogBook(shown.live.data / "logs", small, shown.live.clock).open(shown.version_id)
    for number in range(200):
        log.write("out", f"line {number}")

    assert "what was before is gone" in shown.text()
    assert "lines may be missing here" in shown.text("?place=1-0")


def test_the_download_of_a_stranger_is_refused(shown: Shown) -> None:
    answer = requests.get(
        f"{shown.visitor.url}{shown.base}/log/download", timeout=TIMEOUT, allow_redirects=False
    )
    assert answer.status_code == 303


def test_a_text_that_is_everywhere_does_not_make_the_page_huge(shown: Shown) -> None:
    for _ in range(50):
        shown.log().write("out", "a" * 4_000)

    assert 50 < shown.page("?search=a").count("<mark>") <= 50 * 20 + 100
