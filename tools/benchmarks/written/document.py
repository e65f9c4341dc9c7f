"""The results as Markdown: targets first, then a table for each section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from tools.benchmarks.rows import Curve, Row, Section
from tools.benchmarks.written.words import (
    about,
    circumstances,
    growth_verdict,
    quantity,
    ratio,
    spread,
    verdict,
    wanted,
)

_HEAD = """\
# Results of the benchmarks

`make bench` writes this file: do not edit it.
[What is measured, and how to read it](../CONTRIBUTING.md#benchmarks). Each value is a median, with
the smallest and the largest in brackets.
"""
_PICTURE = """\
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="results-dark.svg">
  <img src="results-light.svg" alt="Deploys beside zip with curl, the package's client and the \
floor; how far each target is; how time and memory grow">
</picture>
"""
_COLUMNS = ("", "ours", "beside", "its", "ours / its", "target", "met", "")
_GROWTH = (
    "",
    "of each",
    "at the smallest and the largest",
    "exponent",
    "most",
    "n log n or better",
)


def document(sections: Mapping[str, Section], titles: Mapping[str, str]) -> str:
    """Return the whole document; `titles` are those of the sections, in their order."""
    return "\n".join(_blocks(sections, titles))


def _blocks(sections: Mapping[str, Section], titles: Mapping[str, str]) -> Iterator[str]:
    yield _HEAD
    if not sections:
        yield "Nothing has been measured yet.\n"
        return
    machines = {about(one.machine) for one in sections.values()}
    if len(machines) == 1:
        yield f"On {machines.pop()}\n"
    yield _PICTURE
    yield from _targets(list(sections.values()))
    for name, title in titles.items():
        if (section := sections.get(name)) is None:
            continue
        yield f"## {title}\n"
        where = f" On {about(section.machine)}" if machines else ""
        yield f"{circumstances(section)}{where}\n"
        if section.rows:
            yield _table(_COLUMNS, map(_cells, section.rows))
        if section.curves:
            yield _table(_GROWTH, map(_growth_cells, section.curves))


def with_targets(sections: Sequence[Section]) -> list[Row]:
    """Return the rows that have targets and were measured, the farthest from them first."""
    rows = [
        _whole(row, section.rows[:number])
        for section in sections
        for number, row in enumerate(section.rows)
        if row.distance is not None
    ]
    return sorted(rows, key=lambda row: -(row.distance or 0.0))


def _whole(row: Row, before: Sequence[Row]) -> Row:
    """Return a row whose name says what it is of: "- peak memory" is of one further up."""
    if not row.what.startswith("- "):
        return row
    of = next((one.what for one in reversed(before) if not one.what.startswith("- ")), "")
    return msgspec.structs.replace(row, what=f"{of}, {row.what.removeprefix('- ')}")


def _targets(sections: Sequence[Section]) -> Iterator[str]:
    rows = with_targets(sections)
    curves = [curve for section in sections for curve in section.curves]
    met = sum(verdict(row) == "yes" for row in rows)
    fine = sum(curve.is_fine for curve in curves)
    yield f"## Targets: {met} of {len(rows)} met\n"
    if curves:
        yield f"And {fine} of {len(curves)} curves of growth are no worse than n log n.\n"
    columns = ("", "ours", "beside", "its", "target", "met")
    yield _table(columns, ([*_cells(row)[:4], *_cells(row)[5:7]] for row in rows))


def _cells(row: Row) -> list[str]:
    theirs = spread(row.theirs, row.unit)
    ours = spread(row.ours, row.unit) or "not measured"
    target = wanted(row.target, row.unit)
    return [row.what, ours, row.peer, theirs, ratio(row), target, verdict(row), row.remark]


def _growth_cells(curve: Curve) -> list[str]:
    at = [
        f"{size:,}: {quantity(value, curve.unit)}"
        for size, value in zip(curve.sizes, curve.medians, strict=True)
    ]
    kind = "memory" if curve.unit == "B" else "time"
    return [
        f"{curve.what}, {kind}",
        curve.of,
        f"{at[0]}; {at[-1]}",
        f"{curve.exponent:.2f}",
        f"{curve.most:.2f}",
        growth_verdict(curve),
    ]


def _table(columns: Sequence[str], rows: Iterator[list[str]] | map[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
