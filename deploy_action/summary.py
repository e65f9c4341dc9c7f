"""The summary of a run: what happened, where to look, and, on failure, what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Final

from deploy_action.document import (
    Block,
    Bullets,
    Code,
    Details,
    Document,
    Heading,
    Inline,
    Line,
    Link,
    Paragraph,
    Quote,
    Table,
    prose,
)
from deploy_action.errors import Problem, Severity
from deploy_action.record import RunRecord, Status

# So many that the longest ones stay below what a summary may have, even in the widest script.
_MOST_PROBLEMS: Final = {Severity.ERROR: 50, Severity.WARNING: 20, Severity.NOTICE: 20}
_SHORT: Final = 12
_SECONDS_A_MINUTE: Final = 60
_MOST_ARGUMENTS: Final = 50

_TITLES: Final = {
    Status.DEPLOYED: "✅ Deployed ",
    Status.BACKTESTED: "✅ Backtest submitted: ",
    Status.VALID: "✅ Valid: ",
    Status.DRY_RUN: "🔎 Dry run of ",
}
_NOT_RUN: Final = "The embedded platform does not run models, so there are no metrics."
_RESULTS: Final = {"deploy": "new version", "backtest": "backtest"}
_FAILED_TITLES: Final = {
    "deploy": "❌ Not deployed: ",
    "backtest": "❌ Backtest failed: ",
    "validate": "❌ Not valid: ",
}


def build_summary(record: RunRecord) -> Document:
    """Return the summary of a run that has ended."""
    blocks: list[Block] = [Heading(_title(record)), Paragraph(_lead(record))]
    blocks += _problem_blocks(record.of(Severity.ERROR), "What went wrong", record)
    blocks += _planned(record)
    if record.description:
        blocks.append(Quote(record.description))
    blocks += _facts(record)
    blocks += _problem_blocks(record.of(Severity.WARNING), "Warnings", record)
    blocks += _problem_blocks(record.of(Severity.NOTICE), "Good to know", record)
    blocks += _arguments(record)
    blocks += _largest_entries(record)
    return blocks


def _model(record: RunRecord) -> Code:
    return Code(record.model_name or record.model_path or ".")


def _title(record: RunRecord) -> Line:
    if record.status is not Status.FAILED:
        return [_TITLES[record.status], _model(record)]
    title = _FAILED_TITLES.get(record.mode, "❌ Failed: ")
    # An input may be so wrong that nobody got as far as a model.
    known = record.model_name or record.model_path
    return [title, _model(record)] if known else [title.rstrip(": ")]


def _lead(record: RunRecord) -> Line:
    """Say in one sentence what happened."""
    match record.status:
        case Status.DEPLOYED:
            version: Line = [" ", Code(record.version_id)] if record.version_id else []
            return ["New version", *version, " on ", *_server(record), "."]
        case Status.BACKTESTED:
            if record.server == "local":
                return ["Bundle and arguments are stored. ", _NOT_RUN]
            results = [Link("kept there", record.url)] if record.url else ["kept there"]
            return ["Handed to ", *_server(record), " to backtest; the results are ", *results, "."]
        case Status.VALID:
            return [_model(record), " can be packed and deployed. Nothing was sent."]
        case Status.DRY_RUN:
            # A dry run needs no server to be known.
            target = [" to ", *_server(record)] if record.server else []
            return ["Nothing was changed. Without `dry-run` the model would go", *target, "."]
        case _:
            return [_count(len(record.of(Severity.ERROR)), "problem"), ". ", _left_behind(record)]


def _left_behind(record: RunRecord) -> str:
    """Say what one asks first after a failure: whether anything new runs now."""
    if record.is_in_doubt:
        return "**What the server made of it is not known.**"
    made = _RESULTS.get(record.mode)
    return "Nothing was sent." if record.is_unsent or made is None else f"No {made} was made."


def _server(record: RunRecord) -> list[Inline]:
    return ["the embedded platform"] if record.server == "local" else [Code(record.server)]


def _facts(record: RunRecord) -> list[Block]:
    rows: list[tuple[str, Line]] = [
        ("Model", _linked(record.model_id, record.url)),
        ("Project", _linked(record.project_id, record.project_url)),
        ("Backtest", [Code(record.backtest_id)]),
        ("Type", prose(record.model_type)),
        ("Schedule", [Code(record.schedule)]),
        ("Plan", [Code(record.plan)]),
        ("Python", [Code(record.python_version)]),
        ("Commit", _commit(record)),
        ("Bundle", _bundle(record)),
        ("Created", [Code(", ".join(record.created))]),
        ("Duration", [_duration(record.seconds)]),
    ]
    # The first one is the header: a table of Markdown must have one, and an empty one shows.
    header, *others = (([f"**{name}**"], value) for name, value in rows if _is_known(value))
    blocks: list[Block] = [Table(header=header, rows=others)]
    if record.bundle is not None:
        # Not in the table, which it would make too wide for a telephone.
        blocks.append(Paragraph(["SHA-256 of the bundle: ", Code(record.bundle.sha256)]))
    return blocks


def _is_known(line: Line) -> bool:
    return any(part if isinstance(part, str) else part.text for part in line)


def _linked(text: str, url: str) -> Line:
    return [Link(text, url)] if text and url else [Code(text)]


def _commit(record: RunRecord) -> Line:
    short = record.commit[:_SHORT]
    return [Link(short, record.commit_url)] if record.commit_url else [Code(short)]


def _bundle(record: RunRecord) -> Line:
    bundle = record.bundle
    if bundle is None:
        return []
    unpacked = _bytes(bundle.unpacked_size)
    return [f"{_count(bundle.file_count, 'file')}, {_bytes(bundle.size)} ({unpacked} unpacked)"]


def _planned(record: RunRecord) -> list[Block]:
    if not record.would_do:
        return []
    return [
        Paragraph(["**What would be done**"]),
        Bullets([prose(step) for step in record.would_do]),
    ]


def _arguments(record: RunRecord) -> list[Block]:
    if record.backtest_args is None:
        return []
    if not record.backtest_args:
        return [Paragraph(["The backtest has no arguments: the defaults of the package hold."])]
    rows = [
        ([Code(name)], [Code(json.dumps(value, ensure_ascii=False))])
        for name, value in islice(record.backtest_args.items(), _MOST_ARGUMENTS)
    ]
    blocks: list[Block] = [
        Paragraph(["**Backtest arguments**"]),
        Table([["Argument"], ["Value"]], rows),
    ]
    if (left := len(record.backtest_args) - _MOST_ARGUMENTS) > 0:
        blocks.append(Paragraph([f"And {left:,} more."]))
    return blocks


def _largest_entries(record: RunRecord) -> list[Block]:
    if record.bundle is None or not record.bundle.largest:
        return []
    rows = [([Code(name)], [_bytes(size)]) for name, size in record.bundle.largest]
    table = Table([["File"], ["Size"]], rows, right=frozenset({1}))
    return [Details("Largest files of the bundle", [table])]


def _problem_blocks(problems: Sequence[Problem], title: str, record: RunRecord) -> list[Block]:
    if not problems:
        return []
    most = _MOST_PROBLEMS[problems[0].severity]
    blocks: list[Block] = [
        Paragraph([f"**{title}**"]),
        Bullets([_problem_line(problem, record) for problem in problems[:most]]),
    ]
    if (left := len(problems) - most) > 0:
        blocks.append(Paragraph([f"And {left:,} more, in the log."]))
    return blocks


def _problem_line(problem: Problem, record: RunRecord) -> Line:
    line = [*_place(problem, record), *prose(problem.message)]
    return [*line, "<br>**What to do:** ", *prose(problem.hint)] if problem.hint else line


def _place(problem: Problem, record: RunRecord) -> Line:
    if not problem.path:
        return []
    parts = (f"{record.path_prefix}{problem.path}", problem.line, problem.column)
    return [Code(":".join(str(part) for part in parts if part)), ": "]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes(size: int) -> str:
    """Return a size in the decimal units that file managers and GitHub show."""
    if size < 1000:  # noqa: PLR2004  # decimal units
        return _count(size, "byte")
    value = float(size)
    for unit in ("kB", "MB"):
        value /= 1000
        if round(value, 1) < 1000:  # noqa: PLR2004  # as above
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} GB"


def _duration(seconds: float) -> str:
    if round(seconds, 1) < _SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes} min {rest} s"
