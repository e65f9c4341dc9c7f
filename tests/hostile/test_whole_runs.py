"""Whole runs in which every text that others control is hostile at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.github import comment
from deploy_action.stages.live import following
from tests.support.forge import ForgeServer
from tests.support.hostile_world import MODES, HostileWorld, open_world
from tests.support.scripted_server import ScriptedServer
from tests.support.torture import Rounds


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileWorld]:
    # Nobody else writes to the forge, and the server needs no time.
    monkeypatch.setattr("deploy_action.http.exchange._FIRST_PAUSE", 0.0)
    monkeypatch.setattr("deploy_action.deployment_api.settling._SOON", (0.0,))
    monkeypatch.setattr("deploy_action.deployment_api.settling._LATER", (0.0,))
    monkeypatch.setattr(comment, "_SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(following, "_PAUSES", (0.0,))
    monkeypatch.setattr(following, "_LAST_PAUSE", 0.01)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 0.0)
    with ForgeServer() as forge, ScriptedServer() as server:
        yield open_world(tmp_path, forge, server)


@pytest.mark.torture(quick=3)
@pytest.mark.parametrize("mode", MODES)
def test_what_others_write_is_text_wherever_a_run_shows_it(
    rounds: Rounds, world: HostileWorld, mode: str
) -> None:
    for chance in rounds:
        ended = world.run(mode, chance)
        rounds.count(f"runs that ended with {ended.code}")
