"""A notification server that goes wrong: nobody waits, nothing is kept for ever, and it is said."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pytest

from deploy_action.platform import notifications
from deploy_action.platform.notifications import Notifier, Pace
from tests.support.faults.cases import DRIPS, Case, Sense
from tests.support.faults.damages import ALL
from tests.support.faults.relay import Fault, FaultRelay, Passing
from tests.support.faults.stage import leaks_in
from tests.support.inbox import Inbox, open_inbox
from tests.support.torture import Rounds
from tests.support.waiting import wait_for
from tests.support.wire_server import WireServer

# Apprise looks at the status alone: whatever is a success with another body is one.
CASES: Final = [one for one in (*ALL, *DRIPS) if not one.name.startswith("gone")]
QUICK: Final = [
    *(case for case in CASES if case.name in {
        "reset before the body", "closed after the body", "hangs", "drips headers",
        "drips an answer", "drips chunks", "500", "200 with a page", "200, too large",
        "302 to another host", "307 to another host", "307 to itself", "429, two hours", "401",
        "announced longer, held", "a bomb", "slow",
    }),
]  # fmt: skip
ENDS_BADLY: Final = re.compile(r"^([13-9]..|gone|drips|hangs|reset|closed|interim)")


@dataclass(slots=True)
class Service:
    """A notification server behind a relay, and a notifier that sends to it, once each."""

    inbox: Inbox
    relay: FaultRelay
    trap: WireServer
    secrets: Sequence[str]
    lines: list[str] = field(default_factory=list)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        user, password, key = self.secrets
        place = f"{user}:{password}@{urlsplit(self.relay.url).netloc}/{key}"
        url = f"json://{place}?cto=2&rto=0.4&+X-Key={key}"
        pace = Pace(burst=1_000, gap=0, pauses=())
        self.notifier = Notifier([url], log=self.lines.append, pace=pace)

    def send(self, title: str) -> list[str]:
        """Send a message, and return what the log says of it, and of a good one after it."""
        started = time.monotonic()
        before, count = len(self.lines), self.inbox.messages.count(("good", "text")) + 1
        self.notifier.send(title, "text", "failure")
        assert time.monotonic() - started < 1
        wait_for(lambda: f"notice: {title}: text" in self.lines[before:])
        self.notifier.send("good", "text", "failure")
        wait_for(lambda: self.inbox.messages.count(("good", "text")) == count)
        return [line for line in self.lines[before:] if f"`{title}`" in line]


@contextmanager
def serving(cases: Sequence[Case]) -> Iterator[Service]:
    """Open a notification server where the message named after a case goes wrong in its way."""
    by_name = {case.name: case for case in cases}

    def plan(passing: Passing) -> tuple[str, Fault] | None:
        if not passing.read_body():
            return None
        found = re.search(rb'"title": "([^"]*)"', passing.body)
        case = by_name.get(found[1].decode() if found else "")
        return None if case is None else (case.name, case.do)

    with open_inbox() as inbox, WireServer({}) as trap:
        parts = urlsplit(inbox.url)
        with FaultRelay((parts.hostname or "", parts.port or 0), trap.url, plan) as relay:
            service = Service(inbox, relay, trap, [secrets.token_hex(12) for _ in range(3)])
            yield service
            service.notifier.close()


def check(service: Service, case: Case) -> None:
    """Send a message that goes wrong, and check all that has to hold."""
    said = service.send(case.name)
    if ENDS_BADLY.match(case.name) or case.sense is Sense.ENDLESS:
        (line,) = said
        assert "could not be sent to notification target 1 (json)" in line
        assert "is given up after 1 attempt" in line
    else:
        assert len(said) <= 1
    assert leaks_in("\n".join(service.lines), service.secrets) == []
    assert service.trap.seen == []


def kept_threads() -> set[threading.Thread]:
    """Return the threads that go on: ours, and those that Apprise shares out."""
    names = ("notices", "ThreadPoolExecutor")
    return {one for one in threading.enumerate() if one.name.startswith(names)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_MOST_SECONDS", 1.2)


def test_whatever_goes_wrong_is_said_and_the_next_message_arrives() -> None:
    with serving(QUICK) as service:
        before = {*threading.enumerate()}
        for case in QUICK:
            check(service, case)
        wait_for(lambda: {*threading.enumerate()} - before <= kept_threads())


@pytest.mark.torture(quick=0)
def test_of_all_faults(rounds: Rounds) -> None:
    for chance in rounds:
        cases = chance.sample(CASES, 60)
        with serving(cases) as service:
            for case in cases:
                check(service, case)
        rounds.count("messages", len(cases))


def test_an_answer_without_an_end_does_not_fill_the_memory() -> None:
    sent = 0

    def pour(passing: Passing) -> None:
        nonlocal sent
        passing.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):
            passing.send(bytes(1 << 20))
            sent += 1

    with serving([Case("poured", pour, Sense.ENDLESS)]) as service:
        (line,) = service.send("poured")
        assert "is given up" in line
    assert sent < 50


def test_messages_of_ever_new_titles_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service hangs meanwhile."""
    monkeypatch.setattr(notifications, "_MOST_TITLES", 20)
    monkeypatch.setattr(notifications, "_MOST_SECONDS", 30)
    lines: list[str] = []
    with open_inbox() as inbox:
        inbox.release.clear()
        notifier = Notifier([inbox.url], log=lines.append, pace=Pace(gap=0, pauses=()))
        for number in range(60):
            notifier.send(f"title {number}", "text", "failure")
        given_up = [one for one in lines if one.startswith("a message is given up")]
        assert 38 <= len(given_up) <= 40
        inbox.release.set()
        wait_for(lambda: len(inbox.messages) >= 20)
        notifier.close()
