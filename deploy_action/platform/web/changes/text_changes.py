"""The changed lines of a text, with some around them, as `diff -u` shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Final, Literal

from deploy_action.backtest.model_changes import Changed
from deploy_action.records import dataclass, replace
from deploy_action.text.redaction import HIDDEN

# Which of the lines with these numbers, from 0, are not shown.
Hide = Callable[[Sequence[str], range], frozenset[int]]
Kind = Literal["same", "removed", "added", "gap", "note"]
_AROUND: Final = 3
_NO_END = "\0"  # ends a last line without a line feed; no text has one


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a comparison; a gap says which lines follow, a note something about the one before.

    `is_hidden` says that there may be a key in it, and that it is not shown.
    """

    kind: Kind
    text: str
    is_hidden: bool = False


def changed_lines(before: str, after: str, hide: Hide, most: int) -> tuple[list[Line], bool]:
    """Return the changed lines, and whether these are all: at most `most` are returned.

    `hide` says which lines are not shown.
    """
    if before and after and not before.endswith("\n") and not after.endswith("\n"):
        before, after = f"{before}\n", f"{after}\n"  # not worth a note
    found: list[Line] = []
    for line in _changed(lines_of(before), lines_of(after), hide):
        if len(found) == most:
            return found, False
        found.append(line)
    return found, True


def lines_of(text: str) -> list[str]:
    """Return the lines of a text."""
    lines = text.split("\n")
    if lines[-1]:
        lines[-1] += _NO_END
    else:
        lines.pop()
    return lines


def _changed(before: Sequence[str], after: Sequence[str], hide: Hide) -> Iterator[Line]:
    from difflib import SequenceMatcher

    for group in SequenceMatcher(None, before, after).get_grouped_opcodes(_AROUND):
        first, last = group[0], group[-1]
        yield Line("gap", _place(first[1], last[2], first[3], last[4]))
        hidden_before = hide(before, range(first[1], last[2]))
        hidden_after = hide(after, range(first[3], last[4]))
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                hidden = hidden_before | {n + start - new_start for n in hidden_after}
                yield from _shortened(_lines("same", before, range(start, end), hidden))
                continue
            old = list(_lines("removed", before, range(start, end), hidden_before))
            new = list(_lines("added", after, range(new_start, new_end), hidden_after))
            yield from _shortened(old, new)


def _place(start: int, end: int, new_start: int, new_end: int) -> str:
    return f"Lines {_span(start, end)}, now {_span(new_start, new_end)}"


def _span(start: int, end: int) -> str:
    if end - start <= 1:
        return str(start + 1) if end > start else "none"
    return f"{start + 1} to {end}"


def _lines(
    kind: Kind, lines: Sequence[str], numbers: range, hidden: frozenset[int]
) -> Iterator[Line]:
    for number in numbers:
        line = lines[number]
        text = line.removesuffix(_NO_END)
        if number in hidden:
            yield Line(kind, HIDDEN, is_hidden=True)
        else:
            # A carriage return is shown: it may be all that changed.
            yield Line(kind, text.replace("\r", "␍"))
        if line.endswith(_NO_END) and kind != "same":
            yield Line("note", "There is no line feed at the end of this line.")


def _shortened(lines: Iterable[Line], others: Iterable[Line] = ()) -> Iterator[Line]:
    """Yield lines, and those that took their place; long ones are cut.

    What is left of a long line has its first difference from the one at the same place.
    """
    first, second = list[Line](), list[Line]()
    for one, other in zip_longest(lines, others):
        texts = [None if line is None else line.text for line in (one, other)]
        cut = Changed("", texts[0], texts[1]).shortened()
        if one is not None:
            first.append(replace(one, text=cut.base or ""))
        if other is not None:
            second.append(replace(other, text=cut.candidate or ""))
    yield from first
    yield from second
