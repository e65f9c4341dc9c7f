"""Every fault of a forge while `mode: comment` posts: one comment at most, one error, no secret.

The forge is behind a relay on which one kind of request goes wrong, once or always.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pytest

from deploy_action.github import forge as forge_client
from tests.conftest import Ended, Runner
from tests.end_to_end.test_forwarded_reports import DECISIONS, Base
from tests.support.faults.answers import GARBAGE
from tests.support.faults.cases import DRIPS, Case, Sense
from tests.support.faults.damages import ALL
from tests.support.faults.relay import Fault, FaultRelay, Passing, Plan
from tests.support.faults.stage import GRACE, leaks_in, make_impatient, without_masks
from tests.support.forge import REPOSITORY, WORKFLOW, ForgeServer
from tests.support.torture import AT_ANY_MOMENT, Rounds
from tests.support.wire_server import WireServer

OF_ISSUE: Final = f"/repos/{REPOSITORY}/issues/7/comments"
OF_COMMENT: Final = f"/repos/{REPOSITORY}/issues/comments/"
PULLS: Final = f"GET /repos/{REPOSITORY}/pulls"
USER: Final = "GET /user"
LIST: Final = f"GET {OF_ISSUE}"
CREATE: Final = f"POST {OF_ISSUE}"
EDIT: Final = f"PATCH {OF_COMMENT}"
DELETE: Final = f"DELETE {OF_COMMENT}"
READS: Final = (PULLS, USER, LIST)
WRITES: Final = (CREATE, EDIT, DELETE)


@dataclass(slots=True)
class Posting:
    """A job that posts the report of a fork's run, through a relay to its forge."""

    base: Base
    trap: WireServer

    def post(self, plan: Plan, route: str, minutes: float = 0.5) -> tuple[Ended, float, list[str]]:
        """Return how a run ended that sends this request, its seconds, and its comments."""
        base, forge = self.base, self.base.forge
        forge.comments.clear()
        base.leave(DECISIONS["identical"])
        base.runner.environ["GITHUB_API_URL"] = forge.url
        if route in {EDIT, DELETE}:
            base.post()
            base.on()
            base.leave(DECISIONS["stopped"])
        if route == DELETE:
            forge.add(WORKFLOW, forge.bodies()[0])
        parts = urlsplit(forge.url)
        with FaultRelay((parts.hostname or "", parts.port or 0), self.trap.url, plan) as relay:
            base.runner.environ["GITHUB_API_URL"] = relay.url
            started = time.monotonic()
            ended = base.post(timeout_minutes=str(minutes))
            return ended, time.monotonic() - started, forge.bodies()


@pytest.fixture
def posting(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Posting]:
    make_impatient(monkeypatch)
    monkeypatch.setattr(forge_client, "READ_TIMEOUT", 0.5)
    with ForgeServer() as forge, WireServer({}) as trap:
        yield Posting(Base(runner, forge), trap)


def at(route: str, case: Case, *, always: bool) -> Plan:
    seen = 0

    def plan(passing: Passing) -> tuple[str, Fault] | None:
        nonlocal seen
        if not passing.route.startswith(route):
            return None
        seen += 1
        return (case.name, case.do) if seen == 1 or always else None

    return plan


def play(posting: Posting, route: str, case: Case, *, always: bool) -> None:
    """Run with one fault, and check all that has to come of it."""
    minutes = 0.03 if case.sense is Sense.ENDLESS else 0.5
    ended, seconds, comments = posting.post(at(route, case, always=always), route, minutes)
    log = f"{route}, {case.name}, {always=}\n{ended.log}"
    errors = [one for one in ended.annotations if one.startswith("::error")]
    assert "Traceback" not in ended.log, log
    assert ended.code in {0, 1}, log
    assert len(errors) == ended.code, log
    assert (ended.outputs["status"] == "commented") == (ended.code == 0), log
    assert seconds < minutes * 60 + GRACE, log
    assert posting.trap.seen == [], log
    shown = "\n".join([without_masks(ended.log), ended.summary, *ended.outputs.values(), *comments])
    assert leaks_in(shown, [posting.base.token]) == [], log
    assert len(comments) <= (2 if route == DELETE else 1), log
    if ended.code == 0:
        assert len(comments) >= 1, log
    if must_work(case, always=always):
        assert (ended.code, len(comments)) == (0, 1), log
    if must_fail(route, case, always=always):
        assert ended.code == 1, log
        assert re.search(r"127\.0\.0\.1:\d+|took longer than|deadline of", errors[0]), log


def must_work(case: Case, *, always: bool) -> bool:
    if case.sense is Sense.FINE:
        return True
    if case.sense in {Sense.ENDLESS, Sense.LATER} or case.name.startswith("gone"):
        return False
    if case.name in UNKNOWN_LIMITS:  # GitHub asks to wait a minute then
        return False
    is_read_again = case.passes and not always
    return is_read_again and case.sense in {Sense.BUSY, Sense.CUT, Sense.SILENCE, Sense.BROKEN}


def must_fail(route: str, case: Case, *, always: bool) -> bool:
    if route in {PULLS, LIST} and always and case.name.startswith("200 with a list"):
        return True  # of what are no pull requests, and no comments
    if route == USER and case.name in NAMING_NOBODY:
        return True
    if route in {USER, DELETE} or (case.acted and not always):
        return False
    is_broken = case.sense in {Sense.CUT, Sense.SILENCE, Sense.BUSY, Sense.LATER, Sense.ENDLESS}
    return always and is_broken and not case.acted


CASES: Final = (*ALL, *DRIPS)
NAMING_NOBODY: Final = {"200 with a list", "200 with null", "200 with a nested error"}
UNKNOWN_LIMITS: Final = {f"429, {name}" for name in GARBAGE}
NAMED: Final = {case.name: case for case in CASES}
QUICK: Final = [
    *("reset after the body", "hangs", "500", "500, and acted", "401", "404", "200 with a page"),
    *(
        "200 with null",
        "200 with a list",
        "307 to another host",
        "429, 0",
        "429, two hours",
        "drips headers",
        "slow",
    ),
]


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_of_each_request(posting: Posting, name: str) -> None:
    """Each of them once, and one of them always."""
    routes = (LIST, CREATE) if NAMED[name] in DRIPS else (*READS, *WRITES)
    for number, route in enumerate(routes):
        play(posting, route, NAMED[name], always=number == QUICK.index(name) % len(routes))


@AT_ANY_MOMENT
@pytest.mark.torture(quick=0)
def test_of_all_faults(posting: Posting, rounds: Rounds) -> None:
    for chance in rounds:
        route = chance.choice((*READS, *WRITES))
        case = chance.choice(ALL if chance.random() < 0.97 else DRIPS)
        play(posting, route, case, always=chance.random() < 0.4)
        rounds.count("faults")
