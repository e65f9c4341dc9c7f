"""The sizes at which something is measured, and rounds over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tools.benchmarks.context import Context

_STEP = 4
_SIZES = 4
_QUICKLY = 100

Found = TypeVar("Found")


def sizes_up_to(context: Context, largest: int) -> tuple[int, ...]:
    """Return four sizes, each four times the one before; quick ones are a hundredth of that."""
    last = max(largest // _QUICKLY, _STEP ** (_SIZES - 1)) if context.is_quick else largest
    return tuple(last // _STEP**number for number in reversed(range(_SIZES)))


def at_all_sizes(
    context: Context, sizes: Sequence[int], rounds: int, measure: Callable[[int], Found]
) -> list[list[Found]]:
    """Return what `measure` finds at each size, once a round: other load affects all sizes."""
    found: list[list[Found]] = [[] for _ in sizes]
    for _ in range(context.rounds(rounds)):
        for size, values in zip(sizes, found, strict=True):
            values.append(measure(size))
    return found
