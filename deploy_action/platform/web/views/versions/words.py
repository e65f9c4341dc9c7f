"""What became of a version, in words, and what a start of it would do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Literal

from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import (
    Progress,
    State,
    Version,
    VersionStatus,
)
from deploy_action.platform.web.views.model_states import StateWords, Tone, is_up
from deploy_action.records import dataclass

# Why a form was refused, as an address says it, and in words.
CHANGED: Final = "changed"
REFUSALS: Final = {
    CHANGED: (
        "Nothing was started. The model is not as it was when your page was made: meanwhile it was"
        " started, stopped or deployed to, or it ended. Look at it again, and decide then."
    )
}

Place = Literal["current", "next", "start", "previous", ""]


@dataclass(frozen=True, slots=True)
class Became:
    """What became of a version: a badge with a tone, and sentences."""

    label: str
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """What a start of a version is called, and what it does.

    `warning` is blank if nothing speaks against it. `needs_plan` says that the version was uploaded
    without a plan.
    """

    label: str
    effects: tuple[str, ...]
    warning: str
    needs_plan: bool


def place_of(version: Version, status: LiveStatus | None) -> Place:
    """Return what a version is to its model: the current one, the next one, the one before."""
    if status is None:
        return ""
    if status.version is not None and version.id == status.version.id:
        return "current"
    if version.id == status.next_id:
        return "next"
    if version.id == status.start_id and not is_up(status):
        return "start"
    return "previous" if version.id == status.previous_id else ""


def became(
    state: StateWords, version: Version, status: LiveStatus | None, history: Collection[str]
) -> Became:
    """Return what became of a version of a model in this state.

    `history` are the ids of versions that ran.
    """
    place = place_of(version, status)
    if place == "current":
        text = "It is the current version: the state of the model, above, is about it."
        return Became(state.label, state.tone, _with(text, _problem(version)))
    if place == "next":
        text = "It is being prepared. Then it takes over; until then, the one before it goes on."
        return Became("Next", "busy", text)
    found = _by_progress(version)
    more = (
        "It ran before that." if version.progress != Progress.RAN and version.id in history else ""
    )
    if place == "start":
        more = _with(more, "A start of the model runs this version.")
    if place == "previous":
        more = _with(more, "A rollback goes back to this version.")
    return Became(found.label, found.tone, _with(found.text, more))


def _by_progress(version: Version) -> Became:
    if version.status == VersionStatus.BACKTEST:
        return Became("Backtest only", "", "It was uploaded for a backtest, and cannot be started.")
    if version.progress == Progress.FAILED:
        text = "It was to run, and failed: it could not be prepared, or ended at once."
        return Became("Failed", "bad", _with(text, _problem(version)))
    if version.progress == Progress.STORED and version.status != VersionStatus.UPLOADED:
        text = "It was deployed while the model was stopped, and has not been started."
        return Became("Stored", "", text)
    return _WORDS[Progress(version.progress)]


_WORDS: Final = {
    Progress.STORED: Became("Stored", "", "It was uploaded, and has not been started."),
    Progress.PREPARING: Became("Not started", "", "It was being prepared, and that did not end."),
    Progress.STARTING: Became(
        "Not running", "", "Its process was started, and ended before it was known to run."
    ),
    Progress.RAN: Became("Ran", "", "It ran, and does not run any more."),
    Progress.SUPERSEDED: Became(
        "Not started", "", "Another version took its place before it was ready."
    ),
    Progress.CANCELLED: Became("Not started", "", "The model was stopped before it was ready."),
}


def start_of(
    version: Version, status: LiveStatus | None, variables: Collection[str]
) -> Start | str:
    """Return what a start of a version does, or why it cannot be started, in a sentence.

    `variables` are the names of its variables.
    """
    place, up = place_of(version, status), is_up(status)
    if version.status == VersionStatus.BACKTEST:
        return "It was uploaded for a backtest. Deploy its commit to run it."
    if place == "next":
        return "It is being prepared already."
    is_waiting = status is not None and status.state is State.RESTARTING
    replaces_next = status is not None and status.next_id is not None
    if place == "current" and up and not is_waiting and not replaces_next:
        return "It runs, or is about to."
    if place == "current" and up:
        label = "Keep this version" if replaces_next else "Start this version"
    else:
        label = "Roll back to this version" if place == "previous" else "Start this version"
    effects = tuple(_effects(version, status, place)) + _kept(variables)
    warning = ""
    if version.progress == Progress.FAILED:
        warning = _with("When it was last to run, it failed.", _problem(version))
    return Start(label, effects, warning, needs_plan=not version.plan)


def _effects(version: Version, status: LiveStatus | None, place: Place) -> Iterator[str]:
    """Yield what happens to what runs."""
    if status is None or not is_up(status) or status.version is None:
        is_ending = status is not None and status.state is State.STOPPING
        now = "The model is being stopped." if is_ending else "Nothing of this model runs now."
        then = "kept running" if version.schedule is None else f"run by {version.schedule}"
        yield f"{now} This version is prepared and started, and the model is {then} from then on."
        return
    if status.next_id is not None:
        yield "The version that is being prepared is not started any more."
    if place == "current":
        yield "This version goes on; if it has ended or is being stopped, it is started again."
        return
    yield from _replaced(version, status, status.version.label_among([version]))
    yield (
        "The server itself sends no orders: positions and open orders are left as the teardown"
        " leaves them."
    )


def _replaced(version: Version, status: LiveStatus, current: str) -> Iterator[str]:
    """Yield what happens to the current version, by its label."""
    if status.state is State.PREPARING:
        yield (
            f"Version {current} is being prepared now, and this one takes its place. If this one"
            " cannot be prepared, or ends at once, it may be that nothing runs."
        )
        return
    if status.state is State.RESTARTING:
        yield (
            f"Version {current} has ended, and waits to be started again. When this one is"
            f" prepared, it is started in place of {current}, of which no teardown is called."
        )
    elif version.schedule is not None:
        yield (
            f"When this one is prepared, a run of version {current} that is under way is stopped:"
            ' its teardown is called with the reason "replace". Then this one runs by its schedule,'
            f" {version.schedule}."
        )
    else:
        yield (
            f"When this one is prepared, version {current} is stopped: its teardown is called with"
            ' the reason "replace". Then this one is started.'
        )
    yield f"If this one cannot be prepared, {current} goes on. If it ends at once, nothing runs."


def _kept(variables: Collection[str]) -> tuple[str, ...]:
    if not variables:
        return ("It has no variables of its own.",)
    return (f"It gets the variables that are kept with it: {', '.join(variables)}.",)


def _problem(version: Version) -> str:
    return (version.problem or "").strip()


def _with(text: str, more: str) -> str:
    return f"{text} {more}".strip()
