"""What the deployed model does now: the first thing that a trader wants to know after a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.live.deployed import Live, Standing
from deploy_action.outcome.ending import Status
from deploy_action.outcome.life import Life
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import server_name
from deploy_action.report.document import Block, Code, Inline, Line, Paragraph, Quote, prose
from deploy_action.text.harmless import cut, one_line
from deploy_action.text.quantities import count, moment

_SHORT_ID: Final = 8
_LONGEST_LINE: Final = 160
_CLOCK: Final = slice(11, 19)  # of `2026-11-28T23:48:43…`

_RUNS: Final[Mapping[str, str]] = {
    "deploy": "✅ Deployed and {}: ",
    "start": "✅ Started and {}: ",
    "rollback": "✅ Rolled back and {}: ",
}
_NOT_DONE: Final[Mapping[str, str]] = {
    "deploy": "❌ Not deployed: ",
    "start": "❌ Not started: ",
    "stop": "❌ Not stopped: ",
    "rollback": "❌ Not rolled back: ",
}


def title(outcome: RunOutcome) -> str:
    """Return the beginning of a title, before the model's name; blank for other modes.

    There is a tick only over what is known to run, or to be stopped if that was asked for.
    """
    mode, status = outcome.request.mode, outcome.ending.status
    if mode not in _NOT_DONE or status is Status.DRY_RUN:
        return ""
    if status is Status.FAILED:
        return _failed_title(outcome)
    life = outcome.life
    if status is Status.STOPPED:
        is_known = life.model.tells_life
        return "✅ Stopped: " if is_known else "Asked to stop: "
    if status is Status.UNCHANGED:
        is_up = life.live is not None and life.live.is_up
        return "✅ Unchanged, and it runs: " if is_up else "Unchanged: "
    return _title_of_version(outcome)


def _title_of_version(outcome: RunOutcome) -> str:
    life, mode = outcome.life, outcome.request.mode
    if outcome.request.is_local or life.standing is Standing.STORED:
        return "⏸️ Stored, not running: "
    if life.was_up:
        return "✅ Runs already: "
    if life.standing is Standing.UP:
        return _RUNS[mode].format(life.state)
    if life.standing is Standing.ENDED:
        return "🏁 Ran to its end: "
    return "Deployed " if mode == "deploy" else "Asked to run: "


def _failed_title(outcome: RunOutcome) -> str:
    life, mode = outcome.life, outcome.request.mode
    if mode == "stop":
        return "⏳ Not stopped yet: " if life.state == "stopping" else _NOT_DONE["stop"]
    if not outcome.ending.is_unsent and life.standing is Standing.COMING:
        return "⏳ Not running yet: "
    is_down = life.standing in {Standing.DOWN, Standing.CANCELLED}
    nothing_runs = life.live is not None and not life.live.is_up
    return "❌ Not running: " if is_down and nothing_runs else _NOT_DONE[mode]


def lead(outcome: RunOutcome) -> Line:
    """Return one sentence on what runs now, after a run that did what it should."""
    life, status = outcome.life, outcome.ending.status
    on: Line = [" on ", *server_name(outcome)]
    if status is Status.STOPPED:
        return _stopped(life, on)
    if outcome.request.is_local:
        return ["Stored on the embedded platform, not running: nothing runs after the job."]
    version: Line = ["Version ", _short(life.version_id or outcome.target.version_id)]
    if status is Status.UNCHANGED:
        same = " has these bytes and settings, and was left alone."
        return [*version, *on, same, *_trouble(life.live)]
    if life.live is None:
        # A run that was cut off did not ask.
        why = "" if outcome.ending.problems else ": the server does not tell"
        unknown = f". **Whether it runs is not known{why}.**"
        if status is Status.STARTED:
            return [*version, *on, " was asked to run", unknown]
        id_: Line = [" ", Code(outcome.target.version_id)] if outcome.target.version_id else []
        return ["New version", *id_, *on, unknown]
    return _standing(life, life.live, version, on)


def _standing(life: Life, live: Live, version: Line, on: Line) -> Line:
    if life.standing is Standing.STORED:
        at = f" at {moment(live.since)} UTC" if live.since is not None else ""
        return [f"Stored, not running: stopped{at}. ", Code("mode: start"), " runs it."]
    if life.standing is Standing.ENDED:
        return [*version, *on, " ran to its end without an error. **Nothing runs now.**"]
    return [*version, *_up(live), *on, ".", *_trouble(live)]


def _stopped(life: Life, on: Line) -> Line:
    live = life.live
    if not life.model.tells_life:
        told = "The server took the order. **Whether anything still runs is not known**, because "
        return [told, "it does not tell."]
    if live is None:
        return ["Nothing of the model runs", *on, ": it was never deployed."]
    at = f" since {moment(live.since)} UTC" if live.since is not None else ""
    kept = " It stays stopped, also for later deploys, until "
    return [f"**Nothing of the model runs{at}**", *on, ".", kept, Code("mode: start"), " runs it."]


def _up(live: Live) -> Line:
    if live.state == "scheduled":
        following = f", next at {moment(live.next_run_at)} UTC" if live.next_run_at else ""
        return [f" is scheduled{following}"]
    since = f" since {moment(live.since)} UTC" if live.since is not None else ""
    return [f" runs{since}"]


def _trouble(live: Live | None) -> Line:
    """Say what is wrong with a model that runs."""
    if live is None:
        return []
    line: list[Inline] = []
    if live.callback_errors:
        line.append(f" **{count(live.callback_errors, 'error')} in its callbacks so far.**")
    if live.problem:
        line += [" ", *prose(one_line(live.problem))]
    return line


def left_behind(outcome: RunOutcome) -> Line:
    """Return what runs after a run that failed; nothing if the run does not know."""
    life, live = outcome.life, outcome.life.live
    if outcome.request.mode == "stop":
        return ["**The model may still run.**"]
    if life.standing is Standing.COMING:
        return ["The server goes on, and it may run soon."]
    if live is None:
        return []
    if live.is_up:
        return ["Version ", _short(live.version_id), " runs, as before."]
    if live.state == "restarting":
        return ["The server will start it again."]
    return ["**Nothing of the model runs now.**"]


def facts(outcome: RunOutcome) -> list[tuple[str, Line]]:
    """Return rows for the table of facts."""
    live, version = outcome.life.live, outcome.life.version
    if outcome.request.mode not in _NOT_DONE:
        return []
    version_id = outcome.life.version_id or outcome.target.version_id
    state: Line = [Code(outcome.life.state)]
    if live is not None and live.version_id != version_id and live.is_up:
        state = [Code(live.state), ", version ", Code(live.version_id)]
    rows: list[tuple[str, Line]] = [("State", state), ("Version", [Code(version_id)])]
    if live is None:
        return rows
    rows.append(("Ran before", [Code(live.previous_id)]))
    if outcome.request.mode != "deploy" and version is not None:
        rows.append(("Described as", [Code(cut(one_line(version.description), _LONGEST_LINE))]))
    return rows


def log(outcome: RunOutcome) -> list[Block]:
    """Return lines of the version's log."""
    life = outcome.life
    if life.log:
        name = "The first lines of its log" if life.is_beginning else "The end of its log"
        return [Paragraph([f"**{name}** (UTC)"]), Quote("\n".join(map(_line, life.log)))]
    if life.is_beginning:
        return [Paragraph(["It has printed nothing yet."])]
    return []


def _line(line: str) -> str:
    """Shorten `2026-11-28T23:48:43.123Z out Bought 1` to `23:48:43 Bought 1`, for a telephone."""
    time, _, rest = line.partition(" ")
    stream, _, text = rest.partition(" ")
    if len(time) < _CLOCK.stop or time[10:11] != "T":
        return cut(line, _LONGEST_LINE)
    mark = "" if stream == "out" else f"{stream}: "
    return cut(f"{time[_CLOCK]} {mark}{text}", _LONGEST_LINE)


def _short(version_id: str) -> Code:
    return Code(version_id[:_SHORT_ID])
