"""What a model's process reports of itself. The model can forge it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.errors import Problem, read_problems
from deploy_action.platform.live.keeping.running import Running, for_people
from deploy_action.platform.live.keeping.telling import Telling
from deploy_action.platform.storage.records import StopReason

_LONGEST_MESSAGE: Final = 4_000
_MESSAGES: Final = {"text": "a text message", "email": "an e-mail", "chat": "a chat message"}
_MOST_ERRORS: Final = 1 << 53
_FLAGS: Final = {
    "starting": ("had_strategy", True),
    "started": ("has_started", True),
    "order": ("ordered", True),
    "callbacks_work": ("callbacks_fail_since", None),
}
_WHY: Final = {
    StopReason.STOP: "It is stopped, since somebody asked for that",
    StopReason.REPLACE: "It is stopped, since another version takes its place",
    StopReason.SHUTDOWN: "It is stopped, since this server ends",
}
_TEARDOWN: Final = {
    "began": "Its teardown has begun, which may send orders.",
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
        running.problem = for_people(problem)
    elif kind == "callback_error" and problem is not None:
        _take_callback_error(running, event, problem, telling.around.clock())
    elif kind == "warning" and problem is not None:
        telling.problem(version_id, problem)
    elif kind == "teardown" and running.stopped_for is not None:
        _take_teardown(telling, running, str(event.get("state")), problem)
    elif kind == "message":
        _take_message(telling, str(event.get("kind")), event.get("text"))
    elif kind == "report" and isinstance(fields := event.get("fields"), dict):
        model, now = telling.model, telling.around.clock()
        reports, kind = telling.around.reports, str(event.get("kind"))
        why = running.stopped_for if running.teardown == "began" else None
        reports.take(model.project_id, model.id, kind, fields, now, version_id, why or "")


def _take_message(telling: Telling, kind: str, text: object) -> None:
    """Pass on what the model has to say; its own words must not make a title."""
    if kind in _MESSAGES and isinstance(text, str) and text.strip():
        telling.notice(f"sends {_MESSAGES[kind]}", text[:_LONGEST_MESSAGE], "info")


def _take_callback_error(
    running: Running, event: Mapping[str, object], problem: Problem, now: float
) -> None:
    count = event.get("count")
    if event.get("fails") is not True:
        running.callbacks_fail_since = None
    elif running.callbacks_fail_since is None:
        running.callbacks_fail_since = now
    if type(count) is int and running.callback_errors < count <= _MOST_ERRORS:
        running.callback_errors = count
        running.problem = f"A callback failed: {for_people(problem)}"


def _take_teardown(telling: Telling, running: Running, state: str, problem: Problem | None) -> None:
    """Tell of a teardown: that it begins, and once how it ends."""
    text, is_over = _TEARDOWN.get(state), running.teardown not in {"", "began"}
    if text is None or is_over or state == running.teardown:
        return
    running.teardown = state
    if problem is not None:
        running.teardown_problem = for_people(problem)
        text = f"{text} {running.teardown_problem}"
    if state == "began" and running.stopped_for is not None:
        text = f"{_WHY[running.stopped_for]}. {text}"
    telling.event(running.version.id, text)
