"""Tells of what happens to a model: in its log, in its events, and to people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from deploy_action.errors import Problem
from deploy_action.platform.live.keeping.running import explained
from deploy_action.platform.live.surroundings import NoticeKind, Surroundings
from deploy_action.platform.storage.records import Model
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt

_MOST_NAMED = 3
_LONGEST_NAME = 40  # what happened goes after it


@dataclass(slots=True)
class Telling:
    """Tells of one model, in the project of the name `project`.

    `redact` removes the secrets of the version that it is about.
    """

    around: Surroundings
    model: Model
    project: str
    redact: Callable[[str], str] = str

    def event(self, version_id: str | None, text: str) -> None:
        """Note something in the log and among the events."""
        text = self.redact(text)
        if version_id is not None:
            self.around.logs.open(version_id).write("platform", text)
        model = self.model
        now = self.around.clock()
        self.around.reports.note(model.project_id, model.id, text, now, version_id or "")

    def problem(self, version_id: str, problem: Problem) -> None:
        """Write a problem to the log."""
        text = f"{problem.severity}: {explained(problem)}"
        self.around.logs.open(version_id).write("platform", text, self.redact)

    def alarm(
        self, version_id: str | None, what: str, text: str, kind: NoticeKind = "failure"
    ) -> None:
        """Note something, and send it to people: `what` goes after the model's name."""
        self.event(version_id, text)
        self.notice(what, text, kind)

    def notice(self, what: str, text: str, kind: NoticeKind) -> None:
        """Send something to people: `what` goes after the names of the model and its project."""
        name, project = (excerpt(one, _LONGEST_NAME) for one in (self.model.name, self.project))
        title = self.redact(f"{name} ({project}) {what}")
        self.around.notices.send(title, self.redact(text), kind)

    def missed(self, version_id: str | None, planned: Sequence[float], reason: str) -> None:
        """Say which runs of a screener were missed; `planned` are seconds since 1970."""
        if not planned:
            return
        times = [f"{datetime.fromtimestamp(one, UTC):%Y-%m-%d %H:%M} UTC" for one in planned]
        named = ", ".join(times[:_MOST_NAMED])
        more = f" and {len(times) - _MOST_NAMED} more" if len(times) > _MOST_NAMED else ""
        runs = "run" if len(times) == 1 else "runs"
        self.event(version_id, f"Missed {runs}: {named}{more}, because {reason}. Not made up for.")
