"""A queue in which those who ask take turns."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class FairQueue(Generic[Item]):
    """A queue in which each owner of items has one taken in each round, in order of arrival.

    Whoever comes takes part in the round in progress, unless an item of his was taken in it. So
    nobody waits for more than one item of each other owner, and coming back often gains nothing.
    """

    def __init__(self) -> None:
        self._round = 0
        self._waiting: dict[Hashable, dict[Item, None]] = {}  # by owner, in order of arrival
        self._turns: dict[Hashable, int] = {}  # the next round in which something is taken of each

    def __iter__(self) -> Iterator[Item]:
        """Yield all items, those of one owner in order."""
        for items in self._waiting.values():
            yield from items

    def put(self, owner: Hashable, item: Item) -> None:
        """Add an item."""
        if owner not in self._waiting:
            self._turns[owner] = max(self._round, self._turns.get(owner, 0))
        self._waiting.setdefault(owner, {})[item] = None

    def take(self) -> Item | None:
        """Remove and return the next item; None if there is none."""
        if not self._waiting:
            return None
        owner = min(self._waiting, key=self._turns.__getitem__)  # the first of several
        items = self._waiting.pop(owner)
        item = next(iter(items))
        del items[item]
        if items:
            self._waiting[owner] = items  # behind the others
        self._round = self._turns[owner]
        self._turns[owner] += 1
        # A turn that is not ahead of the round is what a newcomer would get.
        self._turns = {
            each: turn
            for each, turn in self._turns.items()
            if each in self._waiting or turn > self._round
        }
        return item

    def remove(self, owner: Hashable, item: Item) -> bool:
        """Remove an item, whose owner keeps his turn; return whether it was there."""
        items = self._waiting.get(owner, {})
        if item not in items:
            return False
        del items[item]
        if not items:
            del self._waiting[owner]
        return True
