"""The results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from tools.benchmarks.rows import Curve, Row, Section
from tools.benchmarks.written.words import quantity, ratio, spread, verdict, wanted

_HEADER = ("", "ours", "peer", "ours/peer", "target", "met", "")


def table(sections: Mapping[str, Section]) -> str:
    """Return all rows and curves below each other."""
    cells: list[tuple[str, ...]] = [_HEADER]
    for section in sections.values():
        cells += map(_row, section.rows)
        cells += map(_curve, section.curves)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _row(row: Row) -> tuple[str, ...]:
    theirs = f"{spread(row.theirs, row.unit)} {row.peer}".strip()
    return (
        *(row.what, spread(row.ours, row.unit) or "skipped", theirs, ratio(row)),
        *(wanted(row.target, row.unit), verdict(row).replace("*", ""), row.remark),
    )


def _curve(curve: Curve) -> tuple[str, ...]:
    first, last = curve.medians[0], curve.medians[-1]
    kind = "memory" if curve.unit == "B" else "time"
    return (
        f"growth: {curve.what}, {kind}",
        quantity(last, curve.unit),
        f"{quantity(first, curve.unit)} with {curve.sizes[0]:,} instead of {curve.sizes[-1]:,}",
        *("", f"exponent at most {curve.most:.2f}", "yes" if curve.is_fine else "no"),
        f"exponent {curve.exponent:.2f}, of each {curve.of}",
    )
