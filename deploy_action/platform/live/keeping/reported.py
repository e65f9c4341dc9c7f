"""What a model's process reports of itself. The model can forge it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.errors import Problem, read_problems
from deploy_action.platform.live.keeping.life_book import LifeBook
from deploy_action.platform.live.keeping.running import Running, explained
from deploy_action.platform.live.keeping.telling import Telling

_LONGEST_MESSAGE: Final = 4_000
_MESSAGES: Final = {"text": "a text message", "email": "an e-mail", "chat": "a chat message"}
_TEARDOWN: Final = {
    "began": "Its teardown has begun.",
    "ended": "Its teardown is done.",
    "none": "It has no teardown to call.",
    "failed": "Its teardown failed.",
}


def take_report(
    telling: Telling, book: LifeBook, running: Running, event: Mapping[str, object]
) -> None:
    """Note what an instance reports; ignore what cannot be understood."""
    kind, version_id = event.get("event"), running.version.id
    problem = next(iter(read_problems([event.get("problem")], telling.redact)), None)
    if kind == "starting":
        book.change(had_strategy=True)
    elif kind == "started":
        running.has_started = True
    elif kind == "order":
        book.change(ordered=True)
    elif kind == "fault" and problem is not None:
        running.fault = problem
        book.change(problem=explained(problem))
    elif kind == "callback_error" and problem is not None:
        _take_callback_error(book, running, event.get("count"), problem)
    elif kind == "warning" and problem is not None:
        telling.problem(version_id, problem)
    elif kind == "teardown":
        _take_teardown(telling, running, str(event.get("state")), problem)
    elif kind == "message":
        _take_message(telling, str(event.get("kind")), event.get("text"))
    elif kind == "report" and isinstance(fields := event.get("fields"), dict):
        model = telling.model
        now = telling.around.clock()
        telling.around.reports.take(model.project_id, model.id, str(event.get("kind")), fields, now)


def _take_message(telling: Telling, kind: str, text: object) -> None:
    """Pass on what the model has to say; its own words must not make a title."""
    if kind in _MESSAGES and isinstance(text, str) and text.strip():
        telling.notice(f"{telling.model.name} sends {_MESSAGES[kind]}", text[:_LONGEST_MESSAGE])


def _take_callback_error(book: LifeBook, running: Running, count: object, problem: Problem) -> None:
    if type(count) is not int or count <= running.callback_errors:
        return
    book.change(callback_errors=count, problem=f"A callback failed: {explained(problem)}")
    running.callback_errors = count


def _take_teardown(telling: Telling, running: Running, state: str, problem: Problem | None) -> None:
    text = _TEARDOWN.get(state)
    if text is None:
        return
    if problem is not None:
        text = f"{text} {explained(problem)}"
    if state == "failed":
        telling.alarm(running.version.id, "was not torn down", text)
    else:
        running.hearing.log.write("platform", telling.redact(text))
