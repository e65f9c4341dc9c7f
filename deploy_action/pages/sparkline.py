"""A small picture of a line over time: as an SVG path, and in words for who cannot see it.

Points are a time in seconds since 1970 and a value; None is a gap, over which no line is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from deploy_action.records import dataclass
from deploy_action.text.quantities import days, money, per_cent

WIDTH: Final = 120  # of the picture, in its own units
HEIGHT: Final = 32
_MARGIN: Final = 2  # so that the line's own width is not cut off
_FEWEST_OF_LINE: Final = 3  # values: two make a slope of which nothing is known in between
_SECONDS_A_DAY: Final = 86_400
_PER_CENT: Final = 100


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The `d` of paths in a box of WIDTH by HEIGHT, their `label`, and the `change` in words.

    Values between two gaps are joined in `path` where they are three or more; fewer are `dots`.
    The picture shows the smallest and the largest value at its edges, so it needs words beside it.
    """

    path: str
    dots: str
    label: str
    change: str


def sparkline(points: Sequence[tuple[float, float | None]], unit: str = "") -> Sparkline | None:
    """Return the picture of a line, None if fewer than two values are known.

    `unit` is the currency of the values, blank if there is none.
    """
    known = [(time, value) for time, value in points if value is not None]
    if len(known) < 2 or known[0][0] >= known[-1][0]:  # noqa: PLR2004  # a line has two ends
        return None
    change = _change(known)
    if None in [value for time, value in points if known[0][0] < time < known[-1][0]]:
        change += ", gaps included"
    unit = f" {unit}" if unit else ""
    label = f"from {money(known[0][1])} to {money(known[-1][1])}{unit} ({change})"
    return Sparkline(*_paths(points, known), label, change)


def _paths(
    points: Sequence[tuple[float, float | None]], known: Sequence[tuple[float, float]]
) -> tuple[str, str]:
    start, end = known[0][0], known[-1][0]
    low, high = min(value for _, value in known), max(value for _, value in known)
    stretches: list[list[str]] = [[]]
    for time, value in points:
        if value is None:
            stretches.append([])
            continue
        x = _MARGIN + (time - start) / (end - start) * (WIDTH - 2 * _MARGIN)
        share = 0.5 if low == high else (value - low) / (high - low)
        y = HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN)
        stretches[-1].append(f"{x:.1f} {y:.1f}")
    lines = ["M" + "L".join(each) for each in stretches if len(each) >= _FEWEST_OF_LINE]
    lone = [place for each in stretches if len(each) < _FEWEST_OF_LINE for place in each]
    # A line of no length is a dot, with round ends of lines.
    return "".join(lines), "".join(f"M{place}h0" for place in lone)


def _change(known: Sequence[tuple[float, float]]) -> str:
    (start, first), (end, last) = known[0], known[-1]
    share = ""
    if first > 0 and math.isfinite(ratio := last / first):
        share = f", {per_cent((ratio - 1) * _PER_CENT, with_sign=True)}"
    over = days((end - start) / _SECONDS_A_DAY)
    return f"{money(last - first, with_sign=True)}{share} in {over}"
