"""Whether the platform works, for monitors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Literal, TypedDict

from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.storage.store import Store

# Anybody may ask, as often as he likes: the store is looked at once in this time.
_SECONDS_BETWEEN_LOOKS: Final = 1.0


class HealthDocument(TypedDict):
    """The platform works."""

    status: Literal["ok"]


class Health:
    """The operation that tells whether the platform works; it is open to all."""

    def __init__(self, store: Store, parts: Sequence[Callable[[], str | None]] = ()) -> None:
        """Watch the store and other parts, each of which tells what is wrong with it, or None.

        What they tell is shown to anybody.
        """
        self._checks = (store.fault, *parts)
        self._lock = threading.Lock()
        self._looked_at = -_SECONDS_BETWEEN_LOOKS
        self._problem: str | None = None

    def report_health(self, _: Request) -> HealthDocument:
        """Say that the platform works; with 503 and the reason if it does not."""
        with self._lock:
            if time.monotonic() - self._looked_at >= _SECONDS_BETWEEN_LOOKS:
                self._problem = next(filter(None, (check() for check in self._checks)), None)
                self._looked_at = time.monotonic()
            problem = self._problem
        if problem is not None:
            raise ApiError(problem, HTTPStatus.SERVICE_UNAVAILABLE)
        return {"status": "ok"}
