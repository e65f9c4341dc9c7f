"""The states of models in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import Model, Progress, State, Wanted
from deploy_action.records import dataclass, replace
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import count, moment

Tone = Literal["good", "bad", "warn", "busy", ""]

_LONGEST_MESSAGE: Final = 100
_UP: Final = frozenset(
    {State.PREPARING, State.RUNNING, State.STOPPING, State.RESTARTING, State.SCHEDULED}
)
_CANNOT_TRADE: Final = (
    "It opened a KeylessExchange, which cannot trade: live, prices and orders of it raise an"
    " exception."
)
_UNWATCHED: Final = (
    "This server does not watch over it any more, and does not know what it does now. Restart the"
    " server, and look at the exchange."
)
_STAYS_STOPPED: Final = (
    "It was stopped, and stays stopped until somebody starts it: over deploys, and over restarts"
    " of this server."
)


@dataclass(frozen=True, slots=True)
class StateWords:
    """A state for people: a badge with a tone, and its reason in sentences.

    `attention` says why somebody should look at the model; it is blank where nobody has to. `since`
    is when what the label says began, in seconds since 1970; None if that is not known.
    """

    label: str
    tone: Tone
    reason: str
    attention: str = ""
    since: float | None = None


def in_words(
    model: Model, status: LiveStatus | None, said: Mapping[str, Any] | None = None
) -> StateWords:
    """Return the state of a model; `status` is None if nothing was ever to run here.

    `said` is what such a model reported of its life, if it did.
    """
    if status is not None:
        words = _WORDS[status.state](model, status, _sentence(status.problem))
        return words if words.since is not None else replace(words, since=status.since)
    if said is None:
        return StateWords("Not deployed", "", "Nothing of it was deployed to run on this server.")
    message = excerpt(str(said.get("message") or "nothing"), _LONGEST_MESSAGE)
    reason = (
        f"It does not run on this server. It said of itself last: “{message}”. Whether that is"
        " still so is not known here."
    )
    return StateWords("Elsewhere", "", reason)


def doubted(
    words: StateWords,
    status: LiveStatus | None,
    *,
    is_watched: bool,
    is_keyless: bool,
    no_value_since: float | None,
) -> StateWords:
    """Return the words for a state that is less than it seems, with a tone that says so.

    `is_watched` says that this server looks after the model, `is_keyless` that it is to trade and
    opened an exchange that cannot. `no_value_since` is the time since which its process, which
    should have, told of no account; it is None if that is not so.
    """
    if status is None:
        return words
    if not is_watched:
        reason = f"{_UNWATCHED} What it did last: {words.reason}"
        return StateWords(f"{words.label}?", "bad", reason, _UNWATCHED)
    if status.state is State.RUNNING and no_value_since is not None:
        tone: Tone = "warn" if words.tone == "good" else words.tone
        told = moment(no_value_since)
        late = f"It has told no value of its account since {told} (UTC), although it should have"
        late = f"{late}: it may hang. Look at its log."
        label, since = f"{words.label}, no news", max(no_value_since, words.since or 0)
        reason, attention = f"{words.reason} {late}", f"{words.attention} {late}".strip()
        return StateWords(label, tone, reason, attention, since)
    if status.state is State.RUNNING and is_keyless and words.tone == "good":
        reason = f"{words.reason} {_CANNOT_TRADE}"
        label = f"{words.label}, cannot trade"
        return replace(words, label=label, tone="warn", reason=reason, attention=_CANNOT_TRADE)
    return words


def is_up(status: LiveStatus | None) -> bool:
    """Whether something of a model runs, or is about to."""
    return status is not None and status.wanted == Wanted.RUNNING and status.state in _UP


def is_coming(status: LiveStatus | None, version_id: str) -> bool:
    """Whether a version runs, or is about to, and no other is to take over."""
    if status is None or not is_up(status) or status.state is State.RESTARTING:
        return False
    shown = None if status.version is None else status.version.id
    return (status.next_id or shown) == version_id


def errors_in_words(status: LiveStatus) -> tuple[str, ...]:
    """Return what went wrong with the version that runs; nothing, if nothing is known.

    That its callbacks fail at present is what its state says.
    """
    found = []
    if status.restarts:
        found.append(f"{count(status.restarts, 'restart')} in a row")
    if status.callback_errors:
        since = "" if status.callbacks_fail else f"; {since_callbacks_failed(status)}"
        found.append(f"{count(status.callback_errors, 'callback')} failed{since}")
    return tuple(found)


def since_callbacks_failed(status: LiveStatus) -> str:
    """Say whether a callback has succeeded since the latest one failed."""
    if status.callbacks_fail:
        return "none has succeeded since the latest one"
    if status.callbacks_work:
        return "one has succeeded since the latest one"
    return "whether one has succeeded since is not known"


def _preparing(_: Model, status: LiveStatus, problem: str) -> StateWords:
    progress = "" if status.version is None else status.version.progress
    reason = "It is being started again: its process may already run."
    if progress == Progress.PREPARING:
        reason = "Its environment and its files are prepared. Nothing of it runs yet."
    elif progress == Progress.STARTING:
        reason = "Its process was started, and may trade already."
    return StateWords("Preparing", "busy", _with_last(reason, problem))


def _stopping(_: Model, status: LiveStatus, problem: str) -> StateWords:
    reason = "It was told to end. Until it has, its teardown may send orders."
    after = "it stays stopped" if status.wanted == Wanted.STOPPED else "the next version takes over"
    return StateWords("Stopping", "busy", _with_last(f"{reason} Then {after}.", problem))


def _running(model: Model, status: LiveStatus, problem: str) -> StateWords:
    if status.callbacks_fail:
        reason = (
            f"It has run since {moment(status.since)} (UTC), but no callback has succeeded since"
            f" the latest one failed. {problem}"
        ).strip()
        return StateWords("Callbacks fail", "bad", reason, reason, status.callbacks_fail_since)
    if model.is_screener:
        return StateWords("Running now", "busy", "A run of the screener is under way.")
    reason = "Its process runs, and a strategy was started in it."
    if not status.strategy_started:
        reason = "Its process runs. No strategy was started in it: what it does is not known here."
    if not status.restarts:
        return StateWords("Running", "good", reason)
    again = f"It ended unexpectedly and was started again, {_times(status.restarts)} in a row."
    attention = f"{again} {problem}".strip()
    return StateWords("Running again", "warn", f"{reason} {attention}", attention)


def _scheduled(_: Model, status: LiveStatus, problem: str) -> StateWords:
    if status.problem or status.exit_code:
        reason = f"Its last run failed. {problem}".strip()
        return StateWords("Last run failed", "bad", f"{reason} It runs again at its time.", reason)
    return StateWords("Scheduled", "good", "It waits for its next run.")


def _stopped(_: Model, status: LiveStatus, problem: str) -> StateWords:
    if status.wanted == Wanted.RUNNING:
        reason = f"It should run, and nothing of it does. {problem}".strip()
        return StateWords("Stopped", "bad", reason, reason)
    if problem:
        reason = f"{problem} {_STAYS_STOPPED}"
        return StateWords("Stopped, with a problem", "warn", reason, f"It was stopped. {problem}")
    return StateWords("Stopped", "", _STAYS_STOPPED)


def _finished(_: Model, status: LiveStatus, problem: str) -> StateWords:
    if status.exit_code == 0 and not problem:
        reason = "Its script came to its end by itself. It had no strategy, so it is not run again."
        return StateWords("Finished", "", reason)
    reason = f"It ended by itself, and is not run again. {problem}".strip()
    return StateWords("Ended", "warn", reason, reason)


def _restarting(_: Model, __: LiveStatus, problem: str) -> StateWords:
    reason = f"{problem} It is started again after a pause.".strip()
    return StateWords("Restarting", "warn", reason, f"It ended unexpectedly. {reason}")


def _failed(_: Model, __: LiveStatus, problem: str) -> StateWords:
    reason = f"{problem} Nothing runs, and it is not started again by itself.".strip()
    return StateWords("Failed", "bad", reason, reason)


_WORDS: Final[Mapping[State, Callable[[Model, LiveStatus, str], StateWords]]] = {
    State.PREPARING: _preparing,
    State.RUNNING: _running,
    State.STOPPING: _stopping,
    State.STOPPED: _stopped,
    State.FINISHED: _finished,
    State.RESTARTING: _restarting,
    State.FAILED: _failed,
    State.SCHEDULED: _scheduled,
}


def _with_last(reason: str, problem: str) -> str:
    return f"{reason} The last problem: {problem}" if problem else reason


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _sentence(text: str | None) -> str:
    told = (text or "").strip()
    if not told:
        return ""
    return told if told.endswith((".", "!", "?", "…")) else f"{told}."
