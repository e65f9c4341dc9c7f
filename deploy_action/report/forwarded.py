"""What is posted for another run: its report, and that nobody checked it.

Only the forge's words about that run are taken for true. What its report says is shown as the run
would have shown it, without links, for anybody may have written it.
"""

from __future__ import annotations

from typing import Final

from deploy_action.outcome.ending import Status
from deploy_action.outcome.forwarding import EarlierReport, Forwarding, Origin
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.outcome.target import Target
from deploy_action.records import replace
from deploy_action.report.blocks import linked
from deploy_action.report.document import (
    Block,
    Code,
    Document,
    Heading,
    Line,
    Link,
    Paragraph,
    prose,
)
from deploy_action.report.summary import build_comment
from deploy_action.text.quantities import count

_SHORT: Final = 12
_SUCCESS: Final = "success"
_OF_FORK: Final = "**The figures and the verdict are the fork's own, and nobody checked them.**"
_NUMBERED: Final = (
    "Reports are numbered in the order of their names: "
    "another run may have another one under this number."
)
_OF_RUN: Final = "**The figures and the verdict are that run's own, and nobody checked them.**"


def build_forwarded(forwarding: Forwarding, number: int, name: str = "") -> Document:
    """Return the comment for the report with that number, from 1.

    `name` says of which step that posts reports it is.
    """
    origin, report = forwarding.origin, forwarding.reports[number - 1]
    is_one_of_several = forwarding.count > 1
    which = f"Report {number} of {forwarding.count:,}" if is_one_of_several else ""
    if report.run is None:
        head = f"❌ {which} from " if which else "❌ The report of "
        return [
            Heading([head, Code(origin.repository), " cannot be used"]),
            Paragraph(["The file ", Code(report.name), " ", *prose(report.problem), "."]),
            _of_run(origin),
        ]
    heading, *others = build_comment(_as_backtest(report.run, origin), origin.run_url, name)
    title: Line = heading.line if isinstance(heading, Heading) else []
    # The report may say that all is well; how the run ended is known.
    is_contradicted = (
        origin.conclusion != _SUCCESS and report.run.ending.status is not Status.FAILED
    )
    mark = "❌ " if is_contradicted else ""
    source = f"{which} from " if which else "From "
    said = _OF_FORK if origin.is_fork else _OF_RUN
    shown: list[Block] = [
        Heading([f"{mark}{source}", Code(origin.repository), ": ", *title]),
        Paragraph(
            [
                f"⚠️ {said} They come from a run of ",
                *_where(origin),
                ", which can ",
                "write anything into its report. ",
                *_ending(origin),
            ]
        ),
    ]
    if is_one_of_several:
        # A name is the fork's, so it may be shown, but cannot choose a comment.
        shown.append(Paragraph(["This is ", Code(report.name), f". {_NUMBERED}"]))
    return [*shown, *others]


def build_without_report(forwarding: Forwarding, number: int = 1) -> list[Block]:
    """Return the comment for a report that the run did not leave, by its number, from 1."""
    origin = forwarding.origin
    mark = "" if origin.conclusion == _SUCCESS else "❌ "
    which = "" if number == 1 else f" {number}"
    left = f"only {count(forwarding.count, 'report')}" if forwarding.count else "no report"
    said: Line = ["A run of ", *_where(origin), f" left {left} of a backtest. ", *_ending(origin)]
    if which:
        said = [*said, f" This comment is for report{which}, which an earlier run had."]
    return [
        Heading([f"{mark}No report{which} from ", Code(origin.repository)]),
        Paragraph(said),
        _of_run(origin),
    ]


def build_forwarding(forwarding: Forwarding) -> Document:
    """Return what the summary of the posting job shows: its comments, and what is in them."""
    shown: list[Block] = []
    for number, one in enumerate(forwarding.reports, 1):
        if one.url:
            shown.append(Paragraph([Link("The comment", one.url), ":"]))
        shown += build_forwarded(forwarding, number)
    return shown or build_without_report(forwarding)


def is_wrong(origin: Origin, report: EarlierReport | None) -> bool:
    """Whether the run or its report failed."""
    if origin.conclusion != _SUCCESS:
        return True
    run = None if report is None else report.run
    return report is not None and (run is None or run.ending.status is Status.FAILED)


def _as_backtest(run: RunOutcome, origin: Origin) -> RunOutcome:
    """Return it without pages, ids, or the claim that something was deployed."""
    is_failed = run.ending.status is Status.FAILED
    return replace(
        run,
        request=replace(run.request, mode="backtest"),
        model=replace(run.model, commit=origin.commit, commit_url=origin.commit_url),
        target=Target(),
        ending=replace(run.ending, status=Status.FAILED if is_failed else Status.BACKTESTED),
    )


def _where(origin: Origin) -> Line:
    commit = linked(origin.commit[:_SHORT], origin.commit_url or "")
    return [Code(origin.repository), " at ", *commit]


def _ending(origin: Origin) -> Line:
    return ["That run ended as ", Code(origin.conclusion or "unknown"), "."]


def _of_run(origin: Origin) -> Block:
    return Paragraph([*linked("the whole run", origin.run_url)])
