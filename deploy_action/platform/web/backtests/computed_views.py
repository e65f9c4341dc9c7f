"""Keeps what was computed from results for as long as somebody is likely to look at it again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, TypeVar, cast

from deploy_action.platform.api.request import ApiError

_View = TypeVar("_View")
MOST_AT_ONCE: Final = 8  # visitors, of the 40 that are answered at the same time
_BUSY: Final = (
    "The server is computing what others asked for. Load this page again in a moment: nothing else"
    " waits for that."
)


class ComputedViews:
    """Views by their keys: those looked at last, of results of `most_bytes` together, and the last.

    One is computed after the other: many visitors take no more memory than one, and models run on
    this machine, too.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[int, object]] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._places = threading.Semaphore(MOST_AT_ONCE)

    def get(self, key: Hashable, size: int, compute: Callable[[], _View]) -> _View:
        """Return the view of a key, computed if need be from a result of `size` bytes.

        Raises `ApiError` if too many wait for their turn: while they wait, each takes a thread of
        those that answer every other request, such as one to stop a model.
        """
        if (found := self._find(key)) is None:
            with self._place(), self._turn:
                if (found := self._find(key)) is None:  # it may have come while this one waited
                    found = compute()
                    self._keep(key, size, found)
        return cast("_View", found)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise ApiError(_BUSY, HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            yield
        finally:
            self._places.release()

    def alone(self, compute: Callable[[], _View]) -> _View:
        """Return what is computed from a result in its turn, and keep nothing of it."""
        with self._turn:
            return compute()

    def _find(self, key: Hashable) -> object:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def _keep(self, key: Hashable, size: int, view: object) -> None:
        with self._lock:
            self._kept[key] = (size, view)
            while len(self._kept) > 1 and self._bytes() > self._most_bytes:
                self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(size for size, _ in self._kept.values())


COMPUTED_VIEWS = ComputedViews(most_bytes=16 << 20)
