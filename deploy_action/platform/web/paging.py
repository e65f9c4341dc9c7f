"""Which part of a long list a page shows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploy_action.records import dataclass

_MOST_DIGITS = 18  # a number that is cut there is still past the end of any list


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a list: its `number`, counted from 1, of how many `parts`, and its items."""

    number: int
    parts: int
    items: slice

    @property
    def skipped(self) -> int:
        """How many items come before it."""
        return int(self.items.start)


def asked_part(query: Mapping[str, str], total: int, most: int, name: str = "page") -> Part:
    """Return the part of `total` items that `name` in a query asks for, `most` in each.

    It is the last one if there are fewer, and the first one for what is no number from 1 on. An
    empty list has one part without items.
    """
    parts = max(1, -(-total // most))
    text = query.get(name, "")
    asked = int(text.lstrip("0")[:_MOST_DIGITS] or 1) if re.fullmatch("[0-9]+", text) else 1
    number = min(asked, parts)
    return Part(number, parts, slice((number - 1) * most, number * most))
