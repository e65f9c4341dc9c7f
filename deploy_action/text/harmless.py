"""Makes text from others safe to show: no workflow commands and no control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from deploy_action.lazy.patterns import lazy_regex

# Terminal escape sequences (ECMA-48): control sequences, strings such as hyperlinks, and others.
ESCAPES: Final = lazy_regex(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?"
)
_LINE_BREAKS: Final = lazy_regex(r"\r\n?|\n")
# The runner obeys `::name::` at the start of a line, and `##[name]` anywhere in it.
_COMMAND: Final = lazy_regex(r"^([^\S\n]*):(?=:)", re.MULTILINE)
_OLD_COMMAND: Final = lazy_regex(r"##(?=\[)")
_LAST_OF_FOUR_DIGITS: Final = 0xFFFF
LONGEST_DESCRIPTION: Final = 2_000
_LONGEST_EXCERPT: Final = 120


def plain(text: str) -> str:
    """Return `text` without escape sequences and with every control character made visible.

    Line breaks become line feeds and tabs stay. Characters that reorder or hide text (category
    Cf, such as right-to-left overrides) are written as escapes; the joiners that emoji and several
    scripts need are kept.
    """
    if text.isprintable():  # as nearly every text is
        return text
    text = _LINE_BREAKS.sub("\n", ESCAPES.sub("", text))
    return "".join(char if _is_harmless(char) else _escaped(char) for char in text)


def _is_harmless(char: str) -> bool:
    if char.isprintable() or char in "\n\t\u200c\u200d":
        return True
    # Emoji newer than this Python are unassigned in its tables.
    return unicodedata.category(char) == "Zs" or "\U0001f000" <= char <= "\U0001faff"


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= _LAST_OF_FOUR_DIGITS else f"\\U{ord(char):08x}"


def defused(text: str) -> str:
    """Return plain `text` in which the runner finds no workflow commands."""
    return _OLD_COMMAND.sub("## ", _COMMAND.sub(r"\1: ", plain(text)))


def one_line(text: str) -> str:
    """Return `text` as one line, its line breaks written as `⏎`."""
    return plain(text).strip().replace("\n", " ⏎ ").replace("\t", " ")


def is_placeholder(value: str) -> bool:
    """Whether a value means "unset": blank, or only asterisks."""
    return not value.strip().strip("*")


def tidy(text: str, redact: Callable[[str], str] = str) -> str:
    """Drop control characters other than newline and tab, trim, and cut at 2,000 code points.

    Of what is cut, `redact` hides the secrets before: half of one is not known again. A lone
    surrogate, which JSON can carry and UTF-8 cannot, becomes the replacement character.
    """
    kept = (char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")
    valid = "".join(kept).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    whole = valid.strip()
    return cut(whole if len(whole) <= LONGEST_DESCRIPTION else redact(whole), LONGEST_DESCRIPTION)


def cut(text: str, length: int) -> str:
    """Return `text` in at most `length` code points; if it was longer, the last one is `…`."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def cut_middle(text: str, length: int) -> str:
    """Return `text` in at most `length` code points: its start, and at least as much of its end."""
    if len(text) <= length:
        return text
    start = (length - 3) // 2
    return f"{text[:start].rstrip()} … {text[-(length - 3 - start) :].lstrip()}"


def excerpt(text: str, longest: int = _LONGEST_EXCERPT) -> str:
    """Return `text` as one line of at most `longest` code points, for quoting it in a message."""
    return cut(one_line(text), longest)
