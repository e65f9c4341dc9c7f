"""A scripted server that runs models: what `POST /model/details` tells, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted_server import DEPLOYED, Reply, Request, Script, Step

DETAILS = "POST /model/details"
DEPLOY = "POST /model/deploy"
RUN = "POST /model/run"
KILL = "POST /model/kill"
LOGS = "POST /model/logs"
MODELS = "POST /model/list"
OPENAPI = "GET /openapi.json"

NEW = "11111111-2222-3333-4444-555555555555"
OLD = "0ld00000-2222-3333-4444-555555555555"
OLDER = "0lder000-2222-3333-4444-555555555555"
SINCE = "2026-11-28T23:48:43+00:00"
OPTIONS = (
    *("commit", "committedAt", "commitRepository", "allowOlder", "unchanged", "environment"),
    *("deployedBy", "runUrl"),
)


def described(*options: str) -> Reply:
    """Describe a server whose deploy and run take these fields."""
    schema = {"properties": {name: {"type": "string"} for name in options}}
    content = {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}
    paths = {f"/model/{name}": {"post": content} for name in ("deploy", "run")}
    return Reply(body={"openapi": "3.1.0", "paths": paths})


def live(state: str, version_id: str | None = NEW, **changes: object) -> dict[str, object]:
    """Return the member `live` of a model's details."""
    return {
        "state": state,
        "versionId": version_id,
        "wanted": "stopped" if state in {"stopped", "stopping"} else "running",
        "since": SINCE,
        "restarts": 0,
        "exitCode": None,
        "problem": None,
        "callbackErrors": 0,
        "lastOutputAt": None,
        "startVersionId": version_id,
        "previousVersionId": None,
        "next": None,
        "nextRunAt": None,
        "strategyStarted": True,
        **changes,
    }


def version(version_id: str, progress: str, **changes: object) -> dict[str, object]:
    """Return an entry of the list of versions."""
    return {
        "versionId": version_id,
        "progress": progress,
        "problem": None,
        "description": f"Commit of {version_id[:5]}",
        "createdAt": 1_700_000_000,
        "plan": "small",
        "schedule": None,
        "status": "deployed",
        **changes,
    }


def details(living: Mapping[str, object] | None, *versions: Mapping[str, object]) -> Reply:
    """Return the answer of `POST /model/details`."""
    body = {"id": "m-1", "type": "strategy", "live": living, "versions": list(versions)}
    return Reply(body=body)


@dataclass
class ScriptedLife:
    """The steps that a server's model goes through.

    Before the order (a deploy, a run, a kill) the details are `before`; after it, each look shows
    the next of `after`, and the last one from then on. `log` is written after it, `earlier` before.
    """

    after: Sequence[Reply]
    before: Reply = field(default_factory=lambda: details(None))
    log: Sequence[str] = ()
    earlier: Sequence[str] = ()
    answer: Reply = DEPLOYED
    ordered: bool = False
    looks: int = 0

    def script(self, **others: Script) -> dict[str, Script]:
        """Return the script of this server."""
        return {
            OPENAPI: described(*OPTIONS),
            MODELS: Reply(body=[]),
            DETAILS: self._describe,
            DEPLOY: self._order,
            RUN: self._order,
            KILL: self._order,
            LOGS: self._tell_log,
            **others,
        }

    def _order(self, request: Request) -> Step:
        self.ordered = True
        answers: dict[str, Any] = {DEPLOY: self.answer, RUN: Reply(), KILL: Reply(body="")}
        reply: Reply = answers[request.route]
        return reply

    def _describe(self, _request: Request) -> Step:
        if not self.ordered:
            return self.before
        self.looks += 1
        return self.after[min(self.looks, len(self.after)) - 1]

    def _tell_log(self, request: Request) -> Step:
        written = [*self.earlier, *(self.log if self.ordered else ())]
        lines = written[-int(request.fields["lines"]) :]
        text = "".join(f"{line}\n" for line in lines)
        return Reply(body=text, headers={"Content-Type": "text/plain"})
