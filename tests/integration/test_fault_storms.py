"""Many faults in one run, and clocks that jump: a run stays sound, whatever goes wrong.

The exit code is right, one error says what happened, the server has one version at most, which is
the one that the run tells, no secret is shown, and the deadline holds.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.faults import rules
from tests.support.faults.answers import WAITS
from tests.support.faults.cases import DRIPS, Case, Sense, dripping, head
from tests.support.faults.damages import ALL
from tests.support.faults.plans import at, chaos, play
from tests.support.faults.stage import (
    Looked,
    Stage,
    Told,
    assert_looked,
    assert_sound,
    make_impatient,
)
from tests.support.torture import AT_ANY_MOMENT, Rounds


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


def jumping(chance: random.Random) -> Callable[[], float]:
    """Return a clock of the day that somebody sets at any moment, forwards and backwards."""
    true, away = time.time, 0.0

    def read() -> float:
        nonlocal away
        if chance.random() < 0.1:
            away = chance.choice((-1, 1)) * chance.choice((1, 60, 3_600, 10**7, 10**9))
        return max(1.0, true() + away)

    return read


ROUTES = [
    *(rules.SIGN_IN, rules.PLANS, rules.DESCRIPTION, rules.MODELS, rules.CREATE_MODEL),
    *(rules.DETAILS, rules.DEPLOY, rules.BACKTEST),
    *(rules.PROJECTS, rules.TEAMS, rules.CREATE_PROJECT),
]


def single_faults() -> list[dict[str, Any]]:
    """Return each fault of each request, once and always; of uploads, also without its routes."""
    found = [
        {"route": route, "case": case, "always": always, "hides": hides}
        for route in ROUTES
        for case in (*ALL, *DRIPS)
        for always in (False, True)
        for hides in ((False, True) if route in rules.UPLOADS else (False,))
    ]
    # Details would be asked for until the deadline.
    return [one for one in found if not (one["always"] and one["route"] == rules.DETAILS)]


def look_by_chance(stage: Stage, chance: random.Random, model_id: str) -> Looked:
    """Run `status` or `logs` with any number of faults."""
    minutes, share = chance.choice((0.02, 0.2)), chance.choice((0.1, 0.4))
    cases = ALL if minutes > 0.1 else (*ALL, *DRIPS * 5)
    plan = chaos(chance, share, cases)
    looked = stage.look(chance.choice(("status", "logs")), plan, model_id, minutes)
    assert_looked(stage, looked, minutes)
    return looked


def storm(stage: Stage, chance: random.Random, commanded: str) -> Told:
    """Run with any number of faults, and a clock of the day that jumps."""
    weights = stage.runner.workspace / "weights.bin"
    weights.unlink(missing_ok=True)
    mode = chance.choice(["deploy"] * 3 + ["backtest", "stop", "start", "rollback"])
    inputs, minutes = {"mode": mode}, chance.choice((0.02, 0.05, 0.3))
    cases = ALL if minutes == 0.3 else (*ALL, *DRIPS * 5)
    share = chance.choice((0.05, 0.2, 0.6))
    is_command = mode in {"stop", "start", "rollback"}
    if is_command:
        inputs |= {"model_id": commanded, "model_name": "Commanded"}
    elif chance.random() < 0.3:
        inputs |= {"project_name": f"Fund {stage.number}"}
    if chance.random() < 0.2:
        inputs |= {"dry_run": "true"}
    if mode == "backtest" and chance.random() < 0.5:
        inputs |= {"windows": "2"}
    if mode == "deploy" and chance.random() < 0.3:
        inputs |= {"model_env": "COLOUR=blue", "unchanged": "skip"}
    if chance.random() < 0.1:  # more than the buffers of a connection hold
        weights.write_bytes(chance.randbytes(12 << 20))
    as_process = chance.random() < 0.08
    with pytest.MonkeyPatch.context() as patch:
        if chance.random() < 0.3:
            patch.setattr(time, "time", jumping(chance))
        told = stage.run(
            chaos(chance, share, cases),
            {**inputs, "timeout_minutes": str(minutes)},
            forge_plan=chaos(chance, share, cases) if chance.random() < 0.4 else None,
            as_process=as_process,
            debug=chance.random() < 0.5,
        )
    most = 3 if "windows" in inputs else 1
    assert_sound(stage, told, minutes, deployed=2 if is_command else 0, most=most)
    return told


@AT_ANY_MOMENT
@pytest.mark.torture(quick=4, weight=3)
def test_one_fault_comes_to_what_the_rules_say(stage: Stage, rounds: Rounds) -> None:
    todo: list[dict[str, Any]] = []
    for chance in rounds:
        if not todo:
            todo = single_faults()
            chance.shuffle(todo)
        play(stage, **todo.pop(), debug=chance.random() < 0.5)


@AT_ANY_MOMENT
@pytest.mark.torture(quick=4)
def test_whatever_goes_wrong_a_terminal_is_told(stage: Stage, rounds: Rounds) -> None:
    model_id = stage.deploy_twice("Looked at")
    for chance in rounds:
        looked = look_by_chance(stage, chance, model_id)
        rounds.count("faults", sum(bool(one.fault) for one in looked.relay.seen))


@pytest.mark.parametrize("command", ["status", "logs"])
def test_a_terminal_does_not_wait_for_ever(stage: Stage, command: str) -> None:
    """Neither for an answer without an end nor for a server that asks for patience."""
    model_id = stage.deploy_twice(f"Waited for by {command}")
    route = rules.DETAILS if command == "status" else rules.LOGS
    text = head("Content-Type: text/plain", "Transfer-Encoding: chunked")
    drip = dripping(text, b"1\r\n \r\n")
    late = next(case.do for case in WAITS if case.sense is Sense.LATER)
    for fault in (drip, late):
        case = Case("endless", fault, Sense.ENDLESS)
        looked = stage.look(command, at(route, case, always=True), model_id, 0.03)
        assert_looked(stage, looked, 0.03)
        assert looked.code == 1
        assert re.search(r"deadline of 0.03 minutes|refused .* \(429\)", looked.text)


@AT_ANY_MOMENT
@pytest.mark.torture(quick=4, weight=3)
def test_whatever_goes_wrong_a_run_is_sound(stage: Stage, rounds: Rounds) -> None:
    commanded = stage.deploy_twice("Commanded")
    for chance in rounds:
        told = storm(stage, chance, commanded)
        rounds.count("requests", len(told.relay.seen))
        rounds.count("faults", sum(bool(one.fault) for one in told.relay.seen))
