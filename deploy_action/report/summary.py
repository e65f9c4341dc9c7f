"""The summary of a run: what happened, where to look, and, on failure, what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.errors import Severity
from deploy_action.outcome.ending import Status
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report import blocks
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
from deploy_action.report.sections import live
from deploy_action.text.quantities import count, duration

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.backtest.sweep.shards import Part
    from deploy_action.gates.judgement import Verdict

_TITLES: Final = {
    # Nothing is known of its result, and a tick would be taken for that.
    Status.BACKTESTED: "Backtest submitted: ",
    Status.VALID: "✅ Valid: ",
    Status.DRY_RUN: "🔎 Dry run of ",
}
_FAILED_TITLES: Final = {
    "backtest": "❌ Backtest failed: ",
    "validate": "❌ Not valid: ",
    "discover": "❌ No list of models: ",
    "merge": "❌ Not merged: ",
}


def build_summary(outcome: RunOutcome) -> Document:
    """Return the summary of a run that has ended."""
    return [*_blocks(outcome), *blocks.largest_entries(outcome)]


def build_comment(outcome: RunOutcome, run_url: str, name: str = "") -> Document:
    """Return the comment on the pull request: the summary, and a link to the run.

    Its last block is a paragraph, which stays where the comment has to be cut. A blank `run_url`
    is not known. `name` says which of several comments on a model it is.
    """
    where: Line = [Link("the whole run", run_url)] if run_url else []
    commit: Line = ["Commit ", *blocks.commit(outcome)] if outcome.model.commit else []
    between = [" \u00b7 "] if where and commit else []
    last: Line = [*commit, *between, *where]
    heading, *others = _blocks(outcome)
    named = [Paragraph(["With ", Code(name), "."])] if name else []
    return [heading, *named, *others, *([Paragraph(last)] if last else [])]


def _blocks(outcome: RunOutcome) -> list[Block]:
    if outcome.discovery is not None and outcome.ending.status is Status.DISCOVERED:
        from deploy_action.report.discovery import discovery

        return [*discovery(outcome.discovery), *_remarks(outcome)]
    if outcome.request.mode == "comment":
        return _of_comment(outcome)
    if outcome.backtests.result is None:
        return _without_result(outcome)
    return _with_result(outcome, outcome.backtests.result)


def _of_comment(outcome: RunOutcome) -> list[Block]:
    is_partial = outcome.forwarding is not None and bool(outcome.forwarding.url)
    failed = "❌ Not all comments were written" if is_partial else "❌ No comment was written"
    title = {
        Status.COMMENTED: "💬 Commented on a pull request",
        Status.DRY_RUN: "🔎 Dry run: no comment was written",
        Status.UNCHANGED: "No comment was written",
    }.get(outcome.ending.status, failed)
    return [Heading([title]), *_errors(outcome), *_planned(outcome), *_remarks(outcome)]


def _with_result(outcome: RunOutcome, result: BacktestResult) -> list[Block]:
    # Most runs have no result, and these load the charts.
    from deploy_action.report.sections import (
        basis,
        chart,
        comparison,
        key_figures,
        verdict,
    )
    from deploy_action.report.sections.backtests import windows

    if outcome.backtests.part is not None:
        return _of_part(outcome, outcome.backtests.part)
    compared = outcome.backtests.comparison
    first, below, told = _of_sweep(outcome)
    shown = [*_verdict(outcome, result), *first]
    if not result.filled_trades:
        shown.append(Paragraph(verdict.no_trades(result, outcome.backtests.run)))
    if compared is not None:
        shown += comparison.in_brief(compared, result)
    # The figures of a base that did the same are the same.
    is_same = compared is not None and compared.is_identical
    shown.append(key_figures.key_figures(result, None if is_same else outcome.backtests.base))
    shown += below
    shown += chart.charts(outcome, result)
    shown += key_figures.not_computed(result)
    shown += basis.basis(result)
    shown += windows.windows(outcome)
    shown += blocks.problems(outcome, Severity.WARNING, "Warnings", told)
    return [*shown, *_folded(outcome, result)]


def _of_sweep(outcome: RunOutcome) -> tuple[list[Block], list[Block], Collection[str]]:
    """Return what a sweep says first, all of it, and the warnings that it has told."""
    swept = outcome.backtests.sweep
    if swept is None:
        return [], [], ()
    from deploy_action.backtest.sweep.robustness import robustness_of
    from deploy_action.report.sections.backtests import robustness, sweep

    found = robustness_of(swept)
    return robustness.in_brief(swept, found), sweep.sweep(swept, found), sweep.told(swept)


def _of_part(outcome: RunOutcome, part: Part) -> list[Block]:
    """Return what a part of a run says: nothing of its results, which are judged together."""
    from deploy_action.report.sections.backtests.part import heading, statement

    is_failed = outcome.ending.status is Status.FAILED
    return [
        Heading(_title(outcome)) if is_failed else heading(outcome, part),
        statement(outcome.backtests, part),
        *_errors(outcome),
        *live.log(outcome),
        *_remarks(outcome),
    ]


def _verdict(outcome: RunOutcome, result: BacktestResult) -> list[Block]:
    """Return the heading, the gates, what went wrong, and what was tested."""
    from deploy_action.backtest.figures.headline import made_in_words
    from deploy_action.report.sections import gates as gate_section
    from deploy_action.report.sections import verdict

    verdicts = outcome.backtests.verdicts
    gates = gate_section.gates(verdicts)
    gates += gate_section.over_what(verdicts, outcome.backtests)
    about = verdict.about(outcome, result)
    if outcome.ending.status in {Status.BACKTESTED, Status.MERGED}:
        return [Heading(verdict.headline(outcome, result)), *gates, Paragraph(about)]
    made = f"**The backtest: {made_in_words(result)}.** "
    return [
        Heading(_title(outcome)),
        Paragraph(_lead(outcome)),
        *gates,
        *_digests(outcome),
        *_errors(outcome, gate_section.told(outcome.backtests.verdicts)),
        *live.log(outcome),
        Paragraph([made, *about]),
    ]


def _folded(outcome: RunOutcome, result: BacktestResult) -> list[Block]:
    from deploy_action.report.sections import comparison, facts, history, metrics, trades

    compared = outcome.backtests.comparison
    of_base = [] if compared is None else comparison.compared(compared, result)
    notices = blocks.problems(outcome, Severity.NOTICE, "")[1:]
    return [
        *of_base,
        *([] if compared is None else comparison.card(compared)),
        *history.months(result),
        *history.drawdowns(result),
        *trades.round_trips(result),
        *trades.orders(result),
        metrics.all_metrics(result),
        *metrics.package_metrics(result),
        *facts.arguments(outcome),
        facts.about_this(outcome, result),
        *([Details("Good to know", notices)] if notices else []),
        *([Details("About this deployment", [_facts(outcome)])] if _is_deploy(outcome) else []),
    ]


def _is_deploy(outcome: RunOutcome) -> bool:
    return outcome.request.mode == "deploy"


def _digests(outcome: RunOutcome) -> list[Block]:
    """Show the digests of the tested and of the deployed bytes beside each other."""
    if not outcome.tested_sha256:
        return []
    deployed = "" if outcome.bundle is None else outcome.bundle.sha256
    if outcome.target.is_unchanged:
        sent: Line = ["nothing, because this runs already"]
    elif outcome.ending.status is not Status.DEPLOYED and not outcome.target.is_deployed:
        sent = ["not known" if outcome.target.is_in_doubt else "nothing"]
    elif deployed == outcome.tested_sha256:
        sent = ["SHA-256 ", Code(deployed), ", the same bytes"]
    else:
        sent = ["SHA-256 ", Code(deployed), ", **other bytes**"]
    tested: Line = ["Backtested: SHA-256 ", Code(outcome.tested_sha256)]
    return [Bullets([tested, ["Deployed: ", *sent]])]


def _without_result(outcome: RunOutcome) -> list[Block]:
    shown: list[Block] = [Heading(_title(outcome)), Paragraph(_lead(outcome))]
    if verdicts := outcome.backtests.verdicts:
        from deploy_action.report.sections.gates import gates

        shown += gates(verdicts)
    shown += [*_errors(outcome), *live.log(outcome), *_planned(outcome)]
    if outcome.model.description:
        shown += [Paragraph(["Description:"]), Quote(outcome.model.description)]
    shown.append(_facts(outcome))
    shown += blocks.bundle_digest(outcome)
    shown += _remarks(outcome)
    if (comparison := outcome.backtests.comparison) is not None:
        from deploy_action.report.sections.comparison import card, no_base

        shown += [*no_base(comparison), *card(comparison)]
    if outcome.model.runs_on.arguments:
        shown.append(Paragraph(["**Backtest arguments**"]))
    shown += blocks.arguments(outcome)
    return shown


def _errors(outcome: RunOutcome, told: Collection[str] = ()) -> list[Block]:
    return blocks.problems(outcome, Severity.ERROR, "What went wrong", told)


def _remarks(outcome: RunOutcome) -> list[Block]:
    return [
        *blocks.problems(outcome, Severity.WARNING, "Warnings"),
        *blocks.problems(outcome, Severity.NOTICE, "Good to know"),
    ]


def _is_refused(verdicts: Sequence[Verdict]) -> bool:
    """Whether all gates were judged, and not all passed."""
    from deploy_action.gates.judgement import State, are_passed

    is_judged = not any(verdict.state is State.NOT_JUDGED for verdict in verdicts)
    return is_judged and not are_passed(verdicts)


def _title(outcome: RunOutcome) -> Line:
    result, verdicts = outcome.backtests.result, outcome.backtests.verdicts
    mode, status = outcome.request.mode, outcome.ending.status
    words = ""
    if verdicts:
        from deploy_action.report.sections.gates import in_words

        words = in_words(verdicts)
    beginning = live.title(outcome)
    if status is not Status.FAILED:
        beginning = beginning or _TITLES[status]
        if status is Status.VALID and outcome.of(Severity.WARNING):
            beginning = "⚠️ Valid, with warnings: "
        return [beginning, model_name(outcome), f": {words}" if words else ""]
    if words and result is not None and _is_refused(verdicts):
        if mode != "deploy":
            from deploy_action.report.sections.verdict import headline

            return headline(outcome, result)
        return [beginning, model_name(outcome), f", {words}"]
    title = beginning or _FAILED_TITLES.get(mode, "❌ Failed: ")
    # An input may be so wrong that the run never got to a model.
    name = model_name(outcome)
    return [title.rstrip(": ")] if name.text == "." else [title, name]


def _lead(outcome: RunOutcome) -> Line:
    """Return one sentence on what happened."""
    match outcome.ending.status:
        case Status.DEPLOYED | Status.STARTED | Status.STOPPED | Status.UNCHANGED:
            return live.lead(outcome)
        case Status.BACKTESTED:
            results = (
                [Link("kept there", outcome.target.url)] if outcome.target.url else ["kept there"]
            )
            server = server_name(outcome)
            return ["Handed to ", *server, " to backtest; the results are ", *results, "."]
        case Status.VALID:
            warnings = len(outcome.of(Severity.WARNING))
            but = f", with {count(warnings, 'warning')}" if warnings else ""
            return [model_name(outcome), f" can be packed and deployed{but}. Nothing was sent."]
        case Status.DRY_RUN:
            # A dry run works without a server.
            if outcome.request.mode in {"start", "stop", "rollback"}:
                return ["Nothing was changed."]
            target = [" to ", *server_name(outcome)] if outcome.request.server else []
            return ["Nothing was changed. Without `dry-run` the model would go", *target, "."]
        case _:
            problems = count(len(outcome.of(Severity.ERROR)), "problem")
            return [problems, ". ", *_left_behind(outcome)]


def _left_behind(outcome: RunOutcome) -> Line:
    """Answer what people ask first after a failure: whether anything new runs now."""
    mode, backtests = outcome.request.mode, outcome.backtests
    if live.is_unknown(outcome):
        return ["**What the server made of it is not known.**"]
    if outcome.request.mode in {"deploy", "start", "stop", "rollback"}:
        return _left_by_command(outcome)
    if mode in {"backtest", "merge"} and backtests.result is not None:
        return ["The backtest itself ran to its end."]
    if mode == "backtest" and backtests.backtest_id:
        return ["The backtest has no result."]
    if outcome.ending.is_unsent or mode != "backtest":
        return ["Nothing was put together." if mode == "merge" else "Nothing was sent."]
    return ["No backtest was made."]


def _left_by_command(outcome: RunOutcome) -> Line:
    mode = outcome.request.mode
    if outcome.ending.is_unsent:
        return ["Nothing was sent."]
    if mode != "deploy" or outcome.target.is_deployed or outcome.target.version_id:
        return live.left_behind(outcome) or ["Nothing new was started."]
    return ["No new version was made."]


def _facts(outcome: RunOutcome) -> Block:
    model, target = outcome.model, outcome.target
    is_backtest = outcome.request.mode == "backtest"
    return blocks.facts_table(
        [
            *live.facts(outcome),
            ("Model", linked(outcome.model_id, target.url)),
            ("Project", linked(outcome.project_id, target.project_url)),
            ("Backtest", [Code(outcome.backtests.backtest_id if is_backtest else "")]),
            ("Type", prose(model.type)),
            ("Schedule", [Code(model.runs_on.schedule)]),
            ("Plan", [Code(model.runs_on.plan)]),
            ("Python", [Code(model.runs_on.python_version)]),
            ("Commit", blocks.commit(outcome)),
            ("Bundle", blocks.bundle(outcome)),
            ("Created", blocks.created(outcome)),
            ("Server", server_name(outcome) if outcome.life.version_id else []),
            ("Duration", [duration(outcome.ending.seconds)]),
        ]
    )


def _planned(outcome: RunOutcome) -> list[Block]:
    if not outcome.ending.would_do:
        return []
    return [
        Paragraph(["**What would be done**"]),
        Bullets([prose(step) for step in outcome.ending.would_do]),
    ]
