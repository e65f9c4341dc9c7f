"""Tells people that the disk of a server is full."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_SECONDS_BETWEEN_LOOKS: Final = 60.0
_SECONDS_A_DAY: Final = 86_400.0
_TITLE: Final = "The server's disk is full"
_REFUSED: Final = "there was no room for something that was to be stored"
_WHAT_TO_DO: Final = (
    "Deployed models run on. Once nothing is free, what they do is not stored, a deploy fails, and "
    "a model that ended is not started again. `blankly-deploy clean` removes what is not needed."
)


class FullDiskAlarm:
    """Sends a message when the disk is full, at most once a day.

    It looks once a minute, on a thread: models fill a disk within minutes, and most of what is
    written for them has nobody who would hear that it failed.
    """

    def __init__(
        self,
        lack_of_room: Callable[[], str | None],
        send: Callable[[str, str], None],
        *,
        pause: float = _SECONDS_BETWEEN_LOOKS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look with `lack_of_room`, which returns how little room there is, every `pause` seconds.

        `send` takes the title and the text of a message.
        """
        self._lack_of_room = lack_of_room
        self._send = send
        self._pause = pause
        self._monotonic = monotonic
        self._told_at: float | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="full disk", daemon=True)

    def start(self) -> None:
        """Look now, and from now on."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def tell(self, why: str = _REFUSED) -> None:
        """Tell that the disk is full, unless that was told within the last day."""
        now = self._monotonic()
        with self._lock:
            if self._told_at is not None and now - self._told_at < _SECONDS_A_DAY:
                return
            self._told_at = now
        self._send(_TITLE, f"{why[0].upper()}{why[1:]}. {_WHAT_TO_DO}")

    def _work(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError):  # which /healthz tells
                if why := self._lack_of_room():
                    self.tell(why)
            self._stop.wait(self._pause)
