"""The summary of a run: what happened, where to look, and, on failure, what to do."""

from __future__ import annotations

from typing import Final

from deploy_action.backtest.result import BacktestResult
from deploy_action.errors import Severity
from deploy_action.gates.judgement import are_passed
from deploy_action.outcome.record import RunRecord, Status
from deploy_action.report import blocks, comparison_section, gate_section
from deploy_action.report.backtest_section import about, details, headline, outcome
from deploy_action.report.blocks import linked, model_name, server_name
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Document,
    Heading,
    Line,
    Link,
    Paragraph,
    Quote,
    prose,
)
from deploy_action.text.quantities import count, duration

_TITLES: Final = {
    Status.DEPLOYED: "✅ Deployed ",
    Status.BACKTESTED: "✅ Backtest submitted: ",
    Status.VALID: "✅ Valid: ",
    Status.DRY_RUN: "🔎 Dry run of ",
}
_RESULTS: Final = {"deploy": "new version", "backtest": "backtest"}
_FAILED_TITLES: Final = {
    "deploy": "❌ Not deployed: ",
    "backtest": "❌ Backtest failed: ",
    "validate": "❌ Not valid: ",
}


def build_summary(record: RunRecord) -> Document:
    """Return the summary of a run that has ended."""
    return [*_blocks(record), *blocks.largest_entries(record)]


def build_comment(record: RunRecord, run_url: str) -> Document:
    """Return the comment on the pull request: what the summary says, and where the run is.

    Its last block is a paragraph, which stays where the comment has to be cut. A blank `run_url`
    is not known.
    """
    where: Line = [Link("the whole run", run_url)] if run_url else []
    commit: Line = ["Commit ", *blocks.commit(record)] if record.commit else []
    between = [" \u00b7 "] if where and commit else []
    last: Line = [*commit, *between, *where]
    return [*_blocks(record), *([Paragraph(last)] if last else [])]


def _blocks(record: RunRecord) -> list[Block]:
    if record.backtest is None:
        return _without_result(record)
    return _with_result(record, record.backtest)


def _with_result(record: RunRecord, result: BacktestResult) -> list[Block]:
    gates = gate_section.gates(record.verdicts)
    if record.status is Status.BACKTESTED:
        shown: list[Block] = [Heading(headline(record, result)), *gates]
        shown.append(Paragraph(about(record, result)))
    else:
        shown = [Heading(_title(record)), Paragraph(_lead(record)), *gates]
        shown += [*_digests(record), *_errors(record)]
        shown.append(Paragraph(["The backtest: ", *about(record, result)]))
    shown += outcome(record, result)
    shown += _remarks(record)
    shown += [] if record.comparison is None else comparison_section.card(record.comparison)
    if record.description:
        shown.append(Quote(record.description))
    shown += details(record, result)
    if record.mode == "deploy":
        shown.append(Details("About this deployment", [_facts(record)]))
    return shown


def _digests(record: RunRecord) -> list[Block]:
    """Say beside each other which bytes were tested and which ones deployed."""
    if not record.tested_sha256:
        return []
    deployed = "" if record.bundle is None else record.bundle.sha256
    if record.status is not Status.DEPLOYED:
        sent: Line = ["not known" if record.is_in_doubt else "nothing"]
    elif deployed == record.tested_sha256:
        sent = ["SHA-256 ", Code(deployed), ", the same bytes"]
    else:
        sent = ["SHA-256 ", Code(deployed), ", **other bytes**"]
    tested: Line = ["Backtested: SHA-256 ", Code(record.tested_sha256)]
    return [Bullets([tested, ["Deployed: ", *sent]])]


def _without_result(record: RunRecord) -> list[Block]:
    shown: list[Block] = [Heading(_title(record)), Paragraph(_lead(record))]
    shown += gate_section.gates(record.verdicts)
    shown += [*_errors(record), *_planned(record)]
    if record.description:
        shown.append(Quote(record.description))
    shown.append(_facts(record))
    shown += blocks.bundle_digest(record)
    shown += _remarks(record)
    if record.comparison is not None:
        shown += comparison_section.no_base(record.comparison)
        shown += comparison_section.card(record.comparison)
    if record.backtest_args:
        shown.append(Paragraph(["**Backtest arguments**"]))
    shown += blocks.arguments(record)
    return shown


def _errors(record: RunRecord) -> list[Block]:
    return blocks.problems(record, Severity.ERROR, "What went wrong")


def _remarks(record: RunRecord) -> list[Block]:
    return [
        *blocks.problems(record, Severity.WARNING, "Warnings"),
        *blocks.problems(record, Severity.NOTICE, "Good to know"),
    ]


def _title(record: RunRecord) -> Line:
    words = gate_section.in_words(record.verdicts) if record.verdicts else ""
    if record.status is not Status.FAILED:
        return [_TITLES[record.status], model_name(record), f": {words}" if words else ""]
    if words and record.backtest is not None and not are_passed(record.verdicts):
        if record.mode != "deploy":
            return headline(record, record.backtest)
        return [_FAILED_TITLES["deploy"], model_name(record), f", {words}"]
    title = _FAILED_TITLES.get(record.mode, "❌ Failed: ")
    # An input may be so wrong that nobody got as far as a model.
    known = record.model_name or record.model_path
    return [title, model_name(record)] if known else [title.rstrip(": ")]


def _lead(record: RunRecord) -> Line:
    """Say in one sentence what happened."""
    match record.status:
        case Status.DEPLOYED:
            version: Line = [" ", Code(record.version_id)] if record.version_id else []
            return ["New version", *version, " on ", *server_name(record), "."]
        case Status.BACKTESTED:
            results = [Link("kept there", record.url)] if record.url else ["kept there"]
            server = server_name(record)
            return ["Handed to ", *server, " to backtest; the results are ", *results, "."]
        case Status.VALID:
            return [model_name(record), " can be packed and deployed. Nothing was sent."]
        case Status.DRY_RUN:
            # A dry run needs no server to be known.
            target = [" to ", *server_name(record)] if record.server else []
            return ["Nothing was changed. Without `dry-run` the model would go", *target, "."]
        case _:
            return [count(len(record.of(Severity.ERROR)), "problem"), ". ", _left_behind(record)]


def _left_behind(record: RunRecord) -> str:
    """Say what one asks first after a failure: whether anything new runs now."""
    if record.is_in_doubt:
        return "**What the server made of it is not known.**"
    if record.backtest is not None and record.mode == "backtest":
        return "The backtest itself ran to its end."
    if record.backtest_id and record.mode == "backtest":
        return "The backtest has no result."
    made = _RESULTS.get(record.mode)
    return "Nothing was sent." if record.is_unsent or made is None else f"No {made} was made."


def _facts(record: RunRecord) -> Block:
    return blocks.facts_table(
        [
            ("Model", linked(record.model_id, record.url)),
            ("Project", linked(record.project_id, record.project_url)),
            ("Backtest", [Code(record.backtest_id if record.mode == "backtest" else "")]),
            ("Type", prose(record.model_type)),
            ("Schedule", [Code(record.schedule)]),
            ("Plan", [Code(record.plan)]),
            ("Python", [Code(record.python_version)]),
            ("Commit", blocks.commit(record)),
            ("Bundle", blocks.bundle(record)),
            ("Created", [Code(", ".join(record.created))]),
            ("Duration", [duration(record.seconds)]),
        ]
    )


def _planned(record: RunRecord) -> list[Block]:
    if not record.would_do:
        return []
    return [
        Paragraph(["**What would be done**"]),
        Bullets([prose(step) for step in record.would_do]),
    ]
