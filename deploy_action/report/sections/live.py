"""What the deployed model does now: the first thing that a trader wants to know after a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.live.deployed import Live, Standing
from deploy_action.outcome.ending import Status
from deploy_action.outcome.life import Life
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.blocks import linked, server_name
from deploy_action.report.document import Block, Code, Line, Paragraph, Quote
from deploy_action.text.harmless import cut, one_line
from deploy_action.text.quantities import moment

_SHORT_ID: Final = 8
_LONGEST_LINE: Final = 160
_DATE: Final = slice(0, 10)  # of `2026-11-28T23:48:43…`
_CLOCK: Final = slice(11, 19)

_DONE: Final[Mapping[str, str]] = {
    "deploy": "Deployed",
    "start": "Started",
    "rollback": "Rolled back",
}
_NOT_DONE: Final[Mapping[str, str]] = {
    "deploy": "❌ Not deployed: ",
    "start": "❌ Not started: ",
    "stop": "❌ Not stopped: ",
    "rollback": "❌ Not rolled back: ",
}
_PERHAPS_DONE: Final[Mapping[str, str]] = {
    "deploy": "❌ Perhaps deployed: ",
    "start": "❌ Perhaps started: ",
    "rollback": "❌ Perhaps rolled back: ",
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
        return _stopped_title(life)
    if status is Status.UNCHANGED:
        is_up = life.live is not None and life.live.is_up
        return "✅ Unchanged, and it runs: " if is_up else "Unchanged: "
    return _title_of_version(outcome)


def _stopped_title(life: Life) -> str:
    if not life.model.tells_life:
        return "Asked to stop: "
    return "⚠️ Stopped, but something went wrong: " if life.problems else "✅ Stopped: "


def _title_of_version(outcome: RunOutcome) -> str:
    life, mode = outcome.life, outcome.request.mode
    if outcome.request.is_local or life.standing is Standing.STORED:
        return "⏸️ Stored, not running: "
    if life.ran_once:
        return "❌ Ran, and failed: " if outcome.ending.problems else "✅ Ran, and scheduled: "
    has_problem = life.problems or outcome.ending.problems
    mark, but = ("⚠️", ", with a problem") if has_problem else ("✅", "")
    if life.was_up:
        return f"{mark} Runs already{but}: "
    if life.standing is Standing.UP:
        return f"{mark} {_DONE[mode]} and {life.state}{but}: "
    if life.standing is Standing.ENDED:
        return "🏁 Ran to its end: "
    return "Deployed " if mode == "deploy" else "Asked to run: "


def _failed_title(outcome: RunOutcome) -> str:
    life, mode = outcome.life, outcome.request.mode
    if mode == "stop":
        return _failed_stop_title(life)
    # A screener was asked for a run between those of its schedule.
    is_up = life.standing is Standing.UP
    is_awaited = is_up and life.state == "scheduled" and not life.ran_once and not life.problems
    if not outcome.ending.is_unsent and (life.standing is Standing.COMING or is_awaited):
        return "⏳ Not running yet: "
    if life.is_done:  # but it could not be watched to the end, or a warning was not wanted
        return _title_of_version(outcome)
    if _may_be_done(outcome):
        return _PERHAPS_DONE[mode]
    is_down = life.standing in {Standing.DOWN, Standing.CANCELLED}
    nothing_runs = life.live is not None and not life.live.is_up
    return "❌ Not running: " if is_down and nothing_runs else _NOT_DONE[mode]


def _failed_stop_title(life: Life) -> str:
    if _is_stopped(life):  # and a warning was not wanted
        return _stopped_title(life)
    is_stopping = life.state == "stopping" and not (life.live and life.live.is_to_run)
    return "⏳ Not stopped yet: " if is_stopping else _NOT_DONE["stop"]


def _is_stopped(life: Life) -> bool:
    return life.state == "stopped" and not (life.live and life.live.is_to_run)


def is_unknown(outcome: RunOutcome) -> bool:
    """Return whether nobody knows what the server made of what it was asked for."""
    life = outcome.life
    return outcome.target.is_in_doubt or (bool(life.version_id) and life.standing is None)


def _may_be_done(outcome: RunOutcome) -> bool:
    """Whether the server may have the order: it gets none before project and model are known."""
    target = outcome.target
    has_model = bool(target.project_id and (target.model_id or target.upload_creates))
    return is_unknown(outcome) and has_model


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
        return [*version, *on, same]
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
    ran = [" ran once, and"] if life.ran_once else []
    return [*version, *ran, *_up(live), *on, "."]


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


def left_behind(outcome: RunOutcome) -> Line:
    """Return what runs after a run that failed; nothing if the run does not know."""
    life, live = outcome.life, outcome.life.live
    if outcome.request.mode == "stop":
        is_over = _is_stopped(life)
        return ["Nothing of it runs." if is_over else "**The model may still run.**"]
    if life.standing is Standing.COMING:
        return ["The server goes on, and it may run soon."]
    if live is None:
        return []
    if live.is_up:
        is_new = life.standing in {Standing.UP, Standing.SUPERSEDED}
        as_before = "" if is_new else ", as before"
        return ["Version ", _short(live.version_id), *_up(live), f"{as_before}."]
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
    url = outcome.target.version_url if version_id == outcome.target.version_id else ""
    rows: list[tuple[str, Line]] = [("State", state), ("Version", linked(version_id, url))]
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
        dates = {line[_DATE] for line in life.log if _has_time(line)}
        day = next(iter(dates)) if len(dates) == 1 else ""
        name = "The first lines of its log" if life.is_beginning else "The end of its log"
        lines = [_line(line, with_date=not day) for line in life.log]
        return [Paragraph([f"**{name}** ({day} UTC)".replace("( ", "(")]), Quote("\n".join(lines))]
    if life.is_beginning:
        return [Paragraph(["It has printed nothing yet."])]
    return []


def _has_time(line: str) -> bool:
    return line[10:11] == "T" and len(line) >= _CLOCK.stop


def _line(line: str, *, with_date: bool) -> str:
    """Shorten `2026-11-28T23:48:43.123Z out Bought 1` to `23:48:43 out Bought 1`."""
    if not _has_time(line):
        return cut(line, _LONGEST_LINE)
    date = f"{line[_DATE]} " if with_date else ""
    stream, _, text = line.partition(" ")[2].partition(" ")
    return cut(f"{date}{line[_CLOCK]} {stream:<8} {text}", _LONGEST_LINE)


def _short(version_id: str) -> Code:
    return Code(version_id[:_SHORT_ID])
