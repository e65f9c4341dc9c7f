"""Wishes, crashes and dying servers in any order: never two at once, and nothing after a stop."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.live_fleet import Fleet, Mark, Owner, read_marks, serving_fleet
from tests.support.torture import Rounds
from tests.support.waiting import is_alive, wait_for

_MODELS = 12


def _living(marks: list[Mark]) -> list[int]:
    return [mark.pid for mark in marks if mark.what == "begin" and is_alive(mark.pid)]


def _shake(
    fleet: Fleet, owners: list[Owner], chance: random.Random, *, wishes: int, kills: int
) -> None:
    """Have all owners wish at random while the server is killed and restarted."""
    up = owners[0].up
    up.set()

    def wish(owner: Owner) -> None:
        for _ in range(wishes):
            owner.wish_at_random()

    threads = [threading.Thread(target=wish, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 1.0))
        fleet.end(chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        up.clear()
        fleet.start()
        up.set()
    for thread in threads:
        thread.join()


def _settle(fleet: Fleet, owners: list[Owner], chance: random.Random) -> dict[str, str | None]:
    """Make a last wish for each model; return the version that should run, by its model."""
    wanted: dict[str, str | None] = {}
    for owner in owners:
        if chance.random() < 0.3:
            owner.stop()
            wanted[owner.model] = None
            continue
        version_id = owner.deploy()
        owner.note_start()
        fleet.run(owner.model, version_id)
        wanted[owner.model] = version_id
    for model, expected in wanted.items():
        if expected is None:
            fleet.wait_for(model, state="stopped")
        else:
            fleet.wait_for(model, state="running", versionId=expected)
    return wanted


def _check_marks(fleet: Fleet, owners: list[Owner]) -> None:
    """Check that no process ever met another of its model, and that none came after a stop."""
    found = read_marks(fleet.data)
    marks = [one for each in found.values() for one in each]
    assert [one for one in marks if one.what == "twice"] == []
    assert len([one for one in marks if one.what == "begin"]) > len(owners)
    for owner in owners:
        begun = [one.at for one in found.get(owner.place, []) if one.what == "begin"]
        assert _between(begun, owner.stopped) == [], "it ran after it had been stopped"
        assert _between(fleet.starts(owner.model), owner.told) == [], "started after a stop"
    assert any(owner.told for owner in owners)


def _between(moments: list[float], intervals: list[tuple[float, float]]) -> list[float]:
    return [one for one in moments for start, end in intervals if start + 0.001 < one < end]


def _interleave(data: Path, chance: random.Random, *, wishes: int, kills: int) -> None:
    """Have models meet whatever may come; then look whether each is in its wanted state, once."""
    up = threading.Event()
    with serving_fleet(data) as fleet:
        owners = [
            Owner(fleet, f"m{number}", random.Random(chance.getrandbits(64)), up)  # noqa: S311
            for number in range(1, _MODELS + 1)
        ]
        for owner in owners:
            owner.deploy()
        _shake(fleet, owners, chance, wishes=wishes, kills=kills)
        wanted = _settle(fleet, owners, chance)
        for _ in range(2):
            _check_marks(fleet, owners)
            found = read_marks(data)
            for owner in owners:
                expected = 0 if wanted[owner.model] is None else 1
                assert len(_living(found.get(owner.place, []))) == expected, owner.model
            fleet.end(signal.SIGKILL)
            fleet.start()
            for model, version_id in wanted.items():
                fleet.wait_for(model, state="running" if version_id else "stopped")
    wait_for(lambda: not any(map(_living, read_marks(data).values())))


@pytest.mark.torture(quick=1, weight=3)
def test_no_model_ever_runs_twice_and_none_starts_after_a_stop(
    tmp_path: Path, rounds: Rounds
) -> None:
    for chance in rounds:
        number = rounds.figures["rounds"]
        wishes, kills = (10, 3) if number == 1 else (40, 12)
        _interleave(tmp_path / f"data-{number}", chance, wishes=wishes, kills=kills)
        rounds.count("kills", kills + 2)
        rounds.count("wishes", wishes * _MODELS)
