"""What a terminal can show: how wide it is, and whether it knows colours and redrawn lines."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self, TextIO

from deploy_action.records import dataclass

WIDTH_WITHOUT_TERMINAL: Final = 96
_HEIGHT_WITHOUT_TERMINAL: Final = 24
_OFF: Final = frozenset({"", "0"})
_ESCAPE: Final = "\x1b["


class Style(StrEnum):
    """How a line looks on a terminal with colours; the values are their codes (ECMA-48, SGR)."""

    PLAIN = ""
    TITLE = "1"
    GOOD = "1;32"
    BAD = "1;31"
    DOUBTFUL = "1;33"
    NOTICE = "1;36"
    ASIDE = "2"
    COMMAND = "36"
    ADDED = "32"
    REMOVED = "31"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What the reader of a stream can see; by default a file, or a runner's log.

    `width` is in columns. With `can_redraw`, a line may be replaced by writing it again.
    """

    width: int = WIDTH_WITHOUT_TERMINAL
    is_terminal: bool = False
    can_redraw: bool = False
    has_colours: bool = False

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Self:
        """Return what is behind a stream; `environ` says what its user wants."""
        from shutil import get_terminal_size

        fallback = (WIDTH_WITHOUT_TERMINAL, _HEIGHT_WITHOUT_TERMINAL)
        is_terminal = stream.isatty()
        can_redraw = is_terminal and environ.get("TERM") != "dumb"
        return cls(
            width=get_terminal_size(fallback).columns,
            is_terminal=is_terminal,
            can_redraw=can_redraw,
            has_colours=_wants_colours(environ, can_redraw),
        )

    def painted(self, text: str, style: Style) -> str:
        """Return the text in a style, unchanged where there are no colours."""
        if not self.has_colours or style is Style.PLAIN or not text:
            return text
        return f"{_ESCAPE}{style}m{text}{_ESCAPE}0m"

    def wrapped(self, text: str, indent: int = 0) -> str:
        """Wrap for a terminal; in a file, a line stays one, so that it can be searched."""
        return wrapped(text, self.width, indent) if self.is_terminal else text


def _wants_colours(environ: Mapping[str, str], is_capable: bool) -> bool:  # noqa: FBT001  # see `of`
    """Decide as Python does for its own messages.

    The variables are from no-color.org, force-color.org and bixense.com/clicolors.
    """
    if environ.get("NO_COLOR"):
        return False
    if not {environ.get(name, "") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")} <= _OFF:
        return True
    return is_capable and environ.get("CLICOLOR") != "0"


def wrapped(text: str, width: int, indent: int = 0) -> str:
    """Wrap at blanks only: a long word or address stays whole.

    `indent` is how many blanks the second and later lines get.
    """
    import textwrap

    lines = (
        textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )
    return "\n".join("\n".join(line) for line in lines)
