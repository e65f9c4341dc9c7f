"""Small parts of a drawing: colours of a theme, text, lines, and logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

_FONT = "system-ui, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours. `series` can be told apart by the colour-blind, too."""

    paper: str
    ink: str
    pale: str
    grid: str
    good: str
    bad: str
    series: tuple[str, str, str, str, str]


THEMES = {
    "light": Theme(
        *("#ffffff", "#1f2328", "#59636e", "#d8dee4", "#1a7f37", "#cf222e"),
        ("#0969da", "#bc4c00", "#8250df", "#1b7c83", "#bf3989"),
    ),
    "dark": Theme(
        *("#0d1117", "#e6edf3", "#9198a1", "#30363d", "#3fb950", "#ff7b72"),
        ("#58a6ff", "#f0883e", "#bc8cff", "#39c5cf", "#f778ba"),
    ),
}


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis from one value at one place to another value at another."""

    least: float
    most: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """Return an axis with all the values, and some room on both sides."""
        known = [value for value in values if value > 0] or [1.0]
        least, most = min(known), max(known)
        room = max((most / least) ** 0.06, 1.15)
        return cls(least / room, most * room, start, end)

    def at(self, value: float) -> float:
        """Return the place of a value; values beyond the axis are at its ends."""
        inside = min(max(value, self.least), self.most)
        share = math.log(inside / self.least) / math.log(self.most / self.least)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values: powers of ten, and what lies between if those are few."""
        low, high = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        found: list[float] = []
        for factors in ((1,), (1, 3), (1, 2, 5)):
            all_of_them = [
                factor * 10.0**power for power in range(low, high + 1) for factor in factors
            ]
            inside = [value for value in all_of_them if self.least <= value <= self.most]
            if len(inside) > most and found:
                break
            found = inside
        return found


@dataclass(slots=True)
class Canvas:
    """A picture in the making, from the top down: the next panel begins at `y`."""

    theme: Theme
    y: float = 0.0
    parts: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, said: str, colour: str = "", *, size: float = 12,
        anchor: str = "start", weight: int = 400,
    ) -> None:  # fmt: skip
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour or self.theme.ink}" '
            f'font-size="{size:g}" text-anchor="{anchor}" font-weight="{weight}">'
            f"{escape(said)}</text>"
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1,
        dashes: str = "",
    ) -> None:  # fmt: skip
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
        )

    def dot(self, x: float, y: float, colour: str, *, radius: float = 4) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>')

    def cross(self, x: float, y: float, colour: str) -> None:
        """Draw a mark that nobody takes for a dot, in whatever colour they see it."""
        self.parts.append(
            f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" '
            'stroke-width="2" fill="none"/>'
        )

    def path(self, points: Iterable[tuple[float, float]], colour: str) -> None:
        steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f'<path d="M{steps}" fill="none" stroke="{colour}" stroke-width="1.8"/>')

    def drawing(self, width: float, title: str) -> str:
        """Return the picture, on paper of the theme's colour, as high as it has become."""
        inside = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {self.y:g}" '
            f'width="{width:g}" height="{self.y:g}" font-family="{_FONT}" role="img">\n'
            f"<title>{escape(title)}</title>\n"
            f'<rect width="{width:g}" height="{self.y:g}" fill="{self.theme.paper}"/>\n'
            f"{inside}\n</svg>\n"
        )
