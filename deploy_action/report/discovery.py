"""The summary of a run that looked for models: which there are, and why each is listed."""

from __future__ import annotations

from typing import Final

from deploy_action.outcome.discovery import Discovery, FoundModel
from deploy_action.report.blocks import short, some
from deploy_action.report.document import (
    Block,
    Code,
    Heading,
    Line,
    Link,
    Paragraph,
    Table,
)
from deploy_action.text.quantities import count, shown_of

_MOST_MODELS: Final = 500
_MOST_UNCHANGED: Final = 20
_MOST_FILES: Final = 2
_SHORT: Final = 12


def discovery(found: Discovery) -> list[Block]:
    """Return what was found, and what it was compared with."""
    shown: list[Block] = [Heading(_title(found)), Paragraph(_basis(found))]
    if found.models:
        shown.append(_table(found))
        if (left := len(found.models) - shown_of(len(found.models), _MOST_MODELS)) > 0:
            shown.append(Paragraph([f"And {left:,} more, in the output `models`."]))
    if found.gone:
        what = ". If it was deployed, it still runs: `mode: stop` with its `model-id` stops it."
        gone = ["**Not there any more:** ", *some(found.gone, _MOST_MODELS), what]
        shown.append(Paragraph(gone))
    if found.unchanged:
        listed = some([one.path for one in found.unchanged], _MOST_UNCHANGED)
        shown.append(Paragraph(["Not changed: ", *listed, "."]))
    return shown


def _title(found: Discovery) -> Line:
    number = len(found.models)
    if not found.commit:
        return [f"🔎 {count(number, 'model')} found"]
    since = found.commit[:_SHORT] if found.since == found.commit else short(found.since)
    every = count(number + len(found.unchanged), "model")
    return [f"🔎 {number or 'None'} of {every} changed since ", Code(since)]


def _basis(found: Discovery) -> Line:
    if not found.commit:
        return ["Nothing was compared: every model is listed."]
    commit = found.commit[:_SHORT]
    what = (
        ". A model changed if a file in its directory did, or one that `include` or its "
        "requirements take in, or that its scripts import. Files that git does not "
        "track do not count."
    )
    linked = Link(commit, found.commit_url) if found.commit_url else Code(commit)
    return ["Compared with commit ", linked, what]


def _table(found: Discovery) -> Table:
    rows = found.models[: shown_of(len(found.models), _MOST_MODELS)]
    header: list[Line] = [["Model"], ["Directory"], *([["Changed"]] if found.commit else [])]
    return Table(
        header,
        [
            [
                [Code(short(one.name))],
                [Code(one.path)],
                *([_changed(one)] if found.commit else []),
            ]
            for one in rows
        ],
    )


def _changed(model: FoundModel) -> Line:
    return ["new"] if model.is_new else some(model.changed, _MOST_FILES)
