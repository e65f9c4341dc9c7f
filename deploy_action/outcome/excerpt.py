"""Lines of the model around one that a problem points at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deploy_action.records import dataclass, replace
from deploy_action.text.harmless import cut, plain
from deploy_action.text.redaction import HIDDEN

_AROUND: Final = 2
# Longer lines were not written by hand. Cut where it is shown, so that secrets are still found.
_LONGEST_LINE: Final = 2_000
_LONGEST_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`lines` of a file, of which `first` is the number of the first; a problem is at `line`.

    `path` is relative to the model's directory, as in the problem. `url` is that line in the commit
    on the forge; blank if the forge is unknown or the commit has another file.
    """

    path: str
    line: int
    first: int
    lines: tuple[str, ...]
    url: str = ""

    def rewritten(self, redact: Callable[[str], str]) -> Excerpt:
        """Return it with its lines redacted; all of them are hidden if a secret goes over two."""
        lines = tuple(map(redact, self.lines))
        if redact("\n".join(lines)) != "\n".join(lines):
            lines = (HIDDEN,) * len(lines)
        return replace(self, path=redact(self.path), lines=lines, url=redact(self.url))

    def text(self) -> str:
        """Return the lines with their numbers, and a mark before the one at fault."""
        width = len(str(self.first + len(self.lines)))
        return "\n".join(
            f"{'>' if number == self.line else ' '} {number:>{width}}  {_shown(text)}".rstrip()
            for number, text in enumerate(self.lines, self.first)
        )


def excerpt_of(source: str, path: str, line: int, url: str = "") -> Excerpt | None:
    """Return a line of a source and two lines on each side; None if there is no such line.

    Lines end with line feeds.
    """
    lines = source.removesuffix("\n").split("\n")
    if not 0 < line <= len(lines):
        return None
    first = max(1, line - _AROUND)
    around = [text if len(text) <= _LONGEST_LINE else "…" for text in lines]
    return Excerpt(path, line, first, tuple(around[first - 1 : line + _AROUND]), url)


def _shown(text: str) -> str:
    return cut(plain(text).replace("\n", " ").expandtabs(4), _LONGEST_SHOWN)
