"""A server whose models run, with hostile texts in all that it tells of them."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from tests.support.hostile import changed, hostile_text, with_hostile_texts
from tests.support.live_server import (
    KILL,
    LOGS,
    NEW,
    OLD,
    OPENAPI,
    OPTIONS,
    RUN,
    ScriptedLife,
    described,
    details,
    live,
    version,
)
from tests.support.scripted_server import Reply, Script

LIVE_MODES: Final = ("stop", "start", "rollback")
# What decides how a run goes on; another value is tried by `changed`.
_KEPT: Final = ("state", "wanted", "progress", "status", "type", "since")
_GOALS: Final = {"stop": ("stopping", "stopped"), "start": ("starting", "running")}


def hostile_life(mode: str, chance: Random) -> dict[str, Script]:
    """Return the script of a server on which a model is stopped, started or rolled back."""
    goal = _GOALS.get(mode, ("starting", "running"))
    wanted = OLD if mode == "rollback" else NEW
    ends = [goal[1], "failed", "stopped", "finished", "restarting"]
    end = goal[1] if chance.random() < 0.6 else chance.choice(ends)
    life = ScriptedLife(
        before=_details(chance, "running" if mode != "start" else "stopped", NEW),
        after=[_details(chance, goal[0], wanted), _details(chance, end, wanted)],
        log=[hostile_text(chance).replace("\n", " ") for _ in range(chance.randint(0, 5))],
    )
    script = life.script()
    if chance.random() < 0.2:
        refusal = Reply(chance.choice((400, 403, 404, 409)), {"error": hostile_text(chance)})
        script[chance.choice((RUN, KILL, LOGS))] = refusal
    if chance.random() < 0.1:
        script[OPENAPI] = Reply(200, changed(chance, described(*OPTIONS).body))
    return script


def _details(chance: Random, state: str, version_id: str) -> Reply:
    living = live(
        state,
        version_id,
        startVersionId=version_id,
        previousVersionId=OLD,
        exitCode=chance.choice((None, 1, -9)),
        problem=chance.choice((None, hostile_text(chance))),
        callbackErrors=chance.choice((0, 3)),
        strategyStarted=chance.random() < 0.8,
    )
    told = details(
        living,
        version(OLD, "ran", description=hostile_text(chance)),
        version(NEW, "ran", plan=hostile_text(chance), problem=hostile_text(chance)),
    ).body
    kept = _KEPT if chance.random() < 0.2 else (*_KEPT, "versionId", "startVersionId")
    document: Any = with_hostile_texts(chance, told, chance.random(), kept=kept)
    return Reply(body=changed(chance, document) if chance.random() < 0.15 else document)
