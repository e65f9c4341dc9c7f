"""Where and how a backtest ran, and with which arguments."""

from __future__ import annotations

from typing import Final

from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report import blocks
from deploy_action.report.blocks import linked, short, some
from deploy_action.report.document import (
    Block,
    Code,
    Details,
    Inline,
    Line,
    Paragraph,
    Quote,
    prose,
)
from deploy_action.report.sections.verdict import symbols_of
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, duration, moment, shown_of

_MOST_SYMBOLS: Final = 5
_MOST_CALLS: Final = 10
_LONGEST_CALL: Final = 100


def arguments(outcome: RunOutcome) -> list[Block]:
    """Return the arguments of the backtest, folded."""
    shown = blocks.arguments(outcome)
    return [Details("Backtest arguments", shown)] if shown else []


def about_this(outcome: RunOutcome, result: BacktestResult) -> Details:
    """Return what ran where, and how long it took, folded."""
    run = outcome.backtests.run
    points = count(len(result.account_values), "account value")
    period = f"{moment(result.start_time)} to {moment(result.stop_time)} UTC, {points}"
    rows: list[tuple[str, Line]] = [
        ("Period", [period]),
        ("Symbols", some(symbols_of(outcome, result), _MOST_SYMBOLS)),
        ("Exchange", [Code(short(result.exchange))]),
        ("Called", [] if run is None else _calls(run)),
        *_on_the_server(outcome),
        ("Commit", blocks.commit(outcome)),
        ("Bundle", blocks.bundle(outcome)),
        ("Environment", _environment(outcome)),
        ("Pinned", [] if run is None else _pinned(run)),
        ("Duration", [_durations(outcome)]),
    ]
    shown: list[Block] = [blocks.facts_table(rows), *blocks.bundle_digest(outcome)]
    if outcome.model.description:
        shown += [Paragraph(["Description:"]), Quote(outcome.model.description)]
    return Details("About this backtest", shown)


def _on_the_server(outcome: RunOutcome) -> list[tuple[str, Line]]:
    """Return the ids on the server; those on the embedded platform end with the job."""
    if outcome.request.mode == "deploy":  # the server has the version, and no backtest of it
        return [("Backtest", [Code(outcome.backtests.backtest_id), " on the embedded platform"])]
    ids: list[tuple[str, Line]] = [
        ("Backtest", linked(outcome.backtests.backtest_id, outcome.target.url)),
        ("Model", [Code(outcome.model_id)]),
    ]
    if outcome.request.is_local:
        return ids
    return [
        *ids,
        ("Version", linked(outcome.target.version_id, outcome.target.version_url)),
        ("Project", linked(outcome.project_id, outcome.target.project_url)),
        ("Server", blocks.server_name(outcome)),
        ("Plan", [Code(outcome.model.runs_on.plan)]),
        ("Created", blocks.created(outcome)),
    ]


def _calls(run: BacktestRun) -> Line:
    line: list[Inline] = []
    if run.callback_calls is not None:
        line.append(count(run.callback_calls, "time"))
    most = shown_of(len(run.schedule), _MOST_CALLS)
    for one in run.schedule[:most]:
        line += ["; " if line else "", Code(cut(one.in_words(), _LONGEST_CALL))]
    left = len(run.schedule) - most
    return [*line, f" and {left:,} more"] if left > 0 else line


def _environment(outcome: RunOutcome) -> Line:
    run = outcome.backtests.run
    if run is None:
        python = outcome.model.runs_on.python_version
        return ["Python ", Code(python)] if python else []
    wanted = run.wanted_python
    is_other = wanted and not f"{run.python}.".startswith(f"{wanted}.")
    other: Line = [" (", *prose(wanted), " was wanted)"] if is_other else []
    package: Line = [", `blankly` ", *prose(run.blankly)] if run.blankly else []
    applied: Line = [", with ", Code(", ".join(run.constraints))] if run.constraints else []
    return ["Python ", *prose(run.python), *other, *package, *applied]


def _pinned(run: BacktestRun) -> Line:
    """Return what was pinned so that the same bytes and prices give the same result."""
    names = {
        "hashSeed": "hash seed",
        "randomSeed": "random seed",
        "threads": "threads",
        "now": "now",
    }
    known = [(words, run.pinned[key]) for key, words in names.items() if key in run.pinned]
    line: list[Inline] = []
    for words, value in known:
        line += [f"{', ' if line else ''}{words} ", Code(cut(str(value), _LONGEST_CALL))]
    return line


def _durations(outcome: RunOutcome) -> str:
    run, whole = outcome.backtests.run, duration(outcome.ending.seconds)
    if run is None:
        return whole
    parts = f"environment {duration(run.environment_seconds)}, model {duration(run.model_seconds)}"
    return f"{whole} ({parts})"
