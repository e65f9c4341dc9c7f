"""What a model's process reports of itself. The model can forge it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.errors import Problem, read_problems
from deploy_action.platform.live.keeping.running import Running, explained
from deploy_action.platform.live.keeping.telling import Telling

_LONGEST_MESSAGE: Final = 4_000
_MESSAGES: Final = {"text": "a text message", "email": "an e-mail", "chat": "a chat message"}
_MOST_ERRORS: Final = 1 << 53
_FLAGS: Final = {
    "starting": ("had_strategy", True),
    "started": ("has_started", True),
    "order": ("ordered", True),
    "callbacks_work": ("callbacks_fail", False),
}
_TEARDOWN: Final = {
    "began": "Its teardown has begun.",
    "ended": "Its teardown is done.",
    "none": "It has no teardown to call.",
    "failed": "Its teardown failed.",
}


def take_report(telling: Telling, running: Running, event: Mapping[str, object]) -> None:
    """Note what an instance reports; ignore what cannot be understood."""
    kind, version_id = event.get("event"), running.version.id
    problem = next(iter(read_problems([event.get("problem")], telling.redact)), None)
    if (told := _FLAGS.get(str(kind))) is not None:
        setattr(running, *told)
    elif kind == "fault" and problem is not None:
        running.fault = problem
        running.problem = explained(problem)
    elif kind == "callback_error" and problem is not None:
        _take_callback_error(running, event, problem)
    elif kind == "warning" and problem is not None:
        telling.problem(version_id, problem)
    elif kind == "teardown" and running.stopped_for is not None:
        _take_teardown(telling, running, str(event.get("state")), problem)
    elif kind == "message":
        _take_message(telling, str(event.get("kind")), event.get("text"))
    elif kind == "report" and isinstance(fields := event.get("fields"), dict):
        model, now = telling.model, telling.around.clock()
        telling.around.reports.take(model.project_id, model.id, str(event.get("kind")), fields, now)


def _take_message(telling: Telling, kind: str, text: object) -> None:
    """Pass on what the model has to say; its own words must not make a title."""
    if kind in _MESSAGES and isinstance(text, str) and text.strip():
        telling.notice(f"sends {_MESSAGES[kind]}", text[:_LONGEST_MESSAGE], "info")


def _take_callback_error(running: Running, event: Mapping[str, object], problem: Problem) -> None:
    running.callbacks_fail, count = event.get("fails") is True, event.get("count")
    if type(count) is int and running.callback_errors < count <= _MOST_ERRORS:
        running.callback_errors = count
        running.problem = f"A callback failed: {explained(problem)}"


def _take_teardown(telling: Telling, running: Running, state: str, problem: Problem | None) -> None:
    """Tell of a teardown: that it begins, and once how it ends."""
    text, is_over = _TEARDOWN.get(state), running.teardown not in {"", "began"}
    if text is None or is_over or state == running.teardown:
        return
    running.teardown = state
    if problem is not None:
        running.teardown_problem = explained(problem)
        text = f"{text} {running.teardown_problem}"
    running.hearing.log.write("platform", text, telling.redact)
