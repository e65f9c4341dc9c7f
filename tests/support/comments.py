"""Comments on pull requests as the tests write them, without waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploy_action.errors import Severity
from deploy_action.github.comment import Draft, Message, Outcome, Said, keep_comment
from deploy_action.github.pull_request import Place, RunNumber
from tests.support.forge import REPOSITORY, ForgeServer
from tests.support.transports import Waits
from tests.support.wire_server import Connection, StartWire, WireServer

TOKEN = "token-of-the-test"  # noqa: S105  # opened by nothing but the servers of these tests
KEY = "models/golden-cross"
RUN = RunNumber(500, 1)
OLDER = RunNumber(499, 3)
NEWER = RunNumber(501, 1)
POST = f"POST /repos/{REPOSITORY}/issues/7/comments"
LIST = f"GET /repos/{REPOSITORY}/issues/7/comments"
StartForge = Callable[..., ForgeServer]
_OF_MESSAGE = ("key", "leg", "is_failed", "is_update", "run_url")


def keep(server: ForgeServer | str, body: str = "# Report", **changes: Any) -> Outcome:
    """Keep a comment as a run does, without waiting; each run has one step."""
    url = server if isinstance(server, str) else server.url
    run, token = changes.pop("run", RUN), changes.pop("token", TOKEN)
    place = Place(url, changes.pop("repository", REPOSITORY), 7, run)
    of_message = {name: changes.pop(name) for name in _OF_MESSAGE if name in changes}
    message = Message(**{"key": KEY, "body": body, **of_message})
    return keep_comment(
        place, token, message, **{"pause": Waits(), "step": step_of(run), **changes}
    )


def step_of(run: RunNumber) -> str:
    """Return the number of the step that `keep` writes with."""
    return f"{run.run:04x}{run.attempt:04x}"


def text_of(body: str, run: RunNumber = RUN, key: str = KEY, **of_message: Any) -> str:
    """Return the whole comment, with its marker."""
    message = Message(key=key, body=body, **of_message)
    return Draft(message, Said(run, step_of(run), message.is_failed)).text()


def words_of(outcome: Outcome) -> str:
    """Return the notice that says why a comment was not written."""
    assert outcome.problem is not None
    assert outcome.url == ""
    assert outcome.problem.severity is Severity.NOTICE
    assert TOKEN not in outcome.problem.text()
    assert "The job's summary says the same" in outcome.problem.hint
    return outcome.problem.text()


def wire_forge(wire: StartWire, listed: list[Any]) -> tuple[WireServer, list[str]]:
    """Return a server that lists these comments and accepts edits, and the methods of the edits."""
    written: list[str] = []

    def answer(connection: Connection) -> None:
        connection.read_body()
        method = connection.route.partition(" ")[0]
        if method == "GET":
            connection.reply(200, listed)
            return
        written.append(method)
        listed[0]["body"] = text_of("# Report")
        connection.reply(200, listed[0])

    issues = f"/repos/{REPOSITORY}/issues"
    server = wire(
        {
            f"GET {issues}/7/comments?per_page=100": answer,
            f"PATCH {issues}/comments/1": answer,
            f"POST {issues}/7/comments": answer,
        }
    )
    return server, written
