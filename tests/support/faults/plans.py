"""Which requests of a run go wrong, and a run with one fault."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from tests.support.faults import rules
from tests.support.faults.answers import STATUSES
from tests.support.faults.cases import Case, Sense
from tests.support.faults.relay import Fault, Passing, Plan
from tests.support.faults.stage import DOUBT, Stage, assert_sound

INPUTS: Final = {
    rules.BACKTEST: {"mode": "backtest"},
    rules.PROJECTS: {"project_name": "Fund"},
    rules.TEAMS: {"project_name": "Fund"},
    rules.CREATE_PROJECT: {"project_name": "Fund"},
}
"""What makes a run send a request that a deploy does not."""
_MISSING: Final = next(case for case in STATUSES if case.name == "404")


def at(route: str, case: Case, *, always: bool = False, hides: bool = False) -> Plan:
    """Return the plan in which the first request of a route has a fault, or each.

    `hides`: the server has no route that the documentation does not name.
    """

    def plan(passing: Passing) -> tuple[str, Fault] | None:
        if hides and passing.route in {rules.DETAILS, rules.DESCRIPTION}:
            return "hidden", _MISSING.do
        if passing.route != route or (passing.nth and not always):
            return None
        return case.name, case.do

    return plan


def chaos(chance: random.Random, share: float, cases: Sequence[Case]) -> Plan:
    """Return the plan in which that share of the requests has any of these faults."""

    def plan(_passing: Passing) -> tuple[str, Fault] | None:
        if chance.random() >= share:
            return None
        case = chance.choice(cases)
        return case.name, case.do

    return plan


def play(
    stage: Stage,
    route: str,
    case: Case,
    *,
    always: bool = False,
    hides: bool = False,
    debug: bool = False,
) -> None:
    """Run with one fault, and check all that has to come of it."""
    given = {**INPUTS.get(route, {})}
    if "project_name" in given:
        given["project_name"] = f"Fund {stage.number}"
    minutes = 0.03 if case.sense is Sense.ENDLESS else 0.5
    given["timeout_minutes"] = str(minutes)
    told = stage.run(at(route, case, always=always, hides=hides), given, debug=debug)
    assert_sound(stage, told, minutes)
    wanted = rules.expected(route, case, always=always, hides=hides)
    log = f"{route}: {case.name}\n{told.ended.log}"
    assert told.ended.code in wanted.codes, log
    assert wanted.sent in {None, told.relay.routes().count(route)}, log
    if told.ended.code == 1:
        assert re.search(wanted.words, told.error), f"{wanted.words}\n{log}"
        if wanted.doubts is not None:
            assert (DOUBT in told.error) == wanted.doubts, log
