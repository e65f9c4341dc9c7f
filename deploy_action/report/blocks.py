"""Blocks that every kind of summary uses: problems, facts, arguments, files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Inline,
    Line,
    Link,
    Paragraph,
    Quote,
    Table,
    prose,
)
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, shown_of, size
from deploy_action.text.redaction import HIDDEN

# Even in a script of four bytes a character, the longest of these fit into a summary (1 MiB).
_MOST_PROBLEMS: Final = {Severity.ERROR: 50, Severity.WARNING: 20, Severity.NOTICE: 20}
_MOST_SOURCES: Final = 3
_SHORT: Final = 12
_MOST_ARGUMENTS: Final = 50
_LONGEST_NAME: Final = 40
# A line break after a mark would leave the mark alone on its line.
NO_BREAK: Final = "\u00a0"


def short(name: str) -> str:
    """Return a name in at most 40 characters: others may choose any length."""
    return cut(name, _LONGEST_NAME)


def some(names: Sequence[str], most: int) -> Line:
    """Return the first names, and how many more there are."""
    line: list[Inline] = []
    most = shown_of(len(names), most)
    for name in names[:most]:
        line += [", " if line else "", Code(name)]
    left = len(names) - most
    return [*line, f" and {left:,} more"] if left > 0 else line


def model_name(outcome: RunOutcome) -> Code:
    """Return the name of the model, above all what the server calls it; else its path."""
    named = outcome.life.model.name or outcome.model.name
    if not named and not outcome.model.path:
        named = outcome.model_id
    return Code(named or outcome.model_path or ".")


def server_name(outcome: RunOutcome) -> list[Inline]:
    """Return the name of the server."""
    return ["the embedded platform"] if outcome.request.is_local else [Code(outcome.request.server)]


def facts_table(rows: Sequence[tuple[str, Line]]) -> Table:
    """Return a table of names and values; unknown values are left out."""
    return Table(
        # Markdown requires a header, and GitHub sets it in bold: no place for the first row.
        header=[[""], [""]],
        rows=[
            ([f"**{name}**"], line)
            for name, line in rows
            if any(part if isinstance(part, str) else part.text for part in line)
        ],
    )


def linked(text: str, url: str) -> Line:
    """Return an id, linked to its page if there is one."""
    return [Link(text, url)] if text and url else [Code(text)]


def commit(outcome: RunOutcome) -> Line:
    """Return the short id of the commit, linked to its page if there is one."""
    line = linked(outcome.model.commit[:_SHORT], outcome.model.commit_url or "")
    return line if outcome.model.is_committed else [*line, ", with changes that are not committed"]


def created(outcome: RunOutcome) -> Line:
    """Return what the run created on the server: `project, model`. Their ids stand beside it."""
    return [Code(", ".join(one.partition(" ")[0] for one in outcome.target.created))]


def bundle(outcome: RunOutcome) -> Line:
    """Return the number of packed files, and the packed and unpacked size."""
    packed = outcome.bundle
    if packed is None:
        return []
    unpacked = size(packed.unpacked_size)
    return [f"{count(packed.file_count, 'file')}, {size(packed.size)} ({unpacked} unpacked)"]


def bundle_digest(outcome: RunOutcome) -> list[Block]:
    """Return the bundle's digest; in a table it would be too wide for a telephone."""
    if outcome.bundle is None:
        return []
    return [Paragraph(["SHA-256 of the bundle: ", Code(outcome.bundle.sha256)])]


def arguments(outcome: RunOutcome) -> list[Block]:
    """Return the arguments of the backtest, each as JSON, and where it came from."""
    run = outcome.backtests.run
    used = outcome.model.runs_on.arguments if run is None or not run.arguments else run.arguments
    if used is None:
        return []
    if not used:
        return [Paragraph(["The backtest has no arguments: the defaults of the package hold."])]
    sources = argument_sources(outcome)
    header: list[Line] = [["Argument"], ["Value"], *([["From"]] if sources else [])]
    rows: list[Sequence[Line]] = [
        [
            [Code(name)],
            [Code(json.dumps(value, ensure_ascii=False))],
            *([[Code(sources.get(name, ""))]] if sources else []),
        ]
        for name, value in islice(used.items(), shown_of(len(used), _MOST_ARGUMENTS))
    ]
    blocks: list[Block] = [Table(header, rows)]
    if (left := len(used) - len(rows)) > 0:
        blocks.append(Paragraph([f"And {left:,} more."]))
    return blocks


def argument_sources(outcome: RunOutcome) -> Mapping[str, str]:
    """Return where each argument came from: input, `blankly.json`, default, or script."""
    run = outcome.backtests.run
    of_run = {} if run is None else run.argument_sources
    told = {name: source for name, source in of_run.items() if source in {"script", "default"}}
    known = {**outcome.model.argument_sources, **told}
    # An argument that was given is not used if a script with prices of its own does not want it.
    return {name: source for name, source in known.items() if not of_run or name in of_run}


def largest_entries(outcome: RunOutcome) -> list[Block]:
    """Return the largest files of the bundle, folded."""
    if outcome.bundle is None or not outcome.bundle.largest:
        return []
    rows = [([Code(name)], [size(number)]) for name, number in outcome.bundle.largest]
    table = Table([["File"], ["Size"]], rows, right=frozenset({1}))
    return [Details("Largest files of the bundle", [table])]


def problems(
    outcome: RunOutcome, severity: Severity, title: str, told: Collection[str] = ()
) -> list[Block]:
    """Return the problems of one severity, with their places and hints; not those `told` already.

    `told` are messages of which the summary has all that they say.
    """
    found = [one for one in outcome.of(severity) if not _is_told(one.message, told)]
    if not found:
        return []
    most = shown_of(len(found), _MOST_PROBLEMS[severity])
    blocks: list[Block] = [
        Paragraph([f"**{title}**"]),
        Bullets(_problem_lines(found[:most], outcome)),
    ]
    if (left := len(found) - most) > 0:
        blocks.append(Paragraph([f"And {left:,} more, in the log."]))
    return [*blocks, *_sources(found[:most], outcome)]


def _is_told(message: str, told: Collection[str]) -> bool:
    """Whether a message is one of these, even if secrets were hidden in it alone."""
    if message in told or HIDDEN not in message:
        return message in told
    first, *between, last = message.split(HIDDEN)
    return any(_has_in_order(one, first, between, last) for one in told)


def _has_in_order(text: str, first: str, between: Sequence[str], last: str) -> bool:
    """Whether a text begins and ends like that, with the pieces between in their order.

    The first place of a piece is as good as any other, so that none is looked for again.
    """
    at = len(first)
    for piece in between:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return text.startswith(first) and text.endswith(last) and at + len(last) <= len(text)


def _sources(found: Sequence[Problem], outcome: RunOutcome) -> list[Block]:
    """Return the lines of the model at which the first problems are."""
    excerpts = dict.fromkeys(map(outcome.excerpt_at, found))
    known = [one for one in excerpts if one is not None][:_MOST_SOURCES]
    blocks: list[Block] = []
    for one in known:
        place = f"{outcome.path_in_workspace(one.path)}:{one.line}"
        blocks += [Paragraph(linked(place, one.url)), Quote(one.text())]
    return blocks


def _problem_lines(found: Sequence[Problem], outcome: RunOutcome) -> list[Line]:
    """Return a line for each problem; if several in a row have the same hint, the last one has it.

    Problems with a place of their own, such as a line of the model, always have their hint.
    """
    following = [*(problem.hint for problem in found[1:]), ""]
    return [
        [
            *_place(problem, outcome),
            *prose(problem.message),
            *([] if problem.hint == next_hint and not problem.path else _hint(problem)),
        ]
        for problem, next_hint in zip(found, following, strict=True)
    ]


def _hint(problem: Problem) -> Line:
    return ["<br>**What to do:** ", *prose(problem.hint)] if problem.hint else []


def _place(problem: Problem, outcome: RunOutcome) -> Line:
    if not problem.path:
        return []
    parts = (outcome.path_in_workspace(problem.path), problem.line, problem.column)
    return [Code(":".join(str(part) for part in parts if part)), ": "]
