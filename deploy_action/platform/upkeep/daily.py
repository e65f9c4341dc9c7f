"""Cleans the data directory of a server when it starts, and once a day, and looks for damage."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Final

from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.cleaning import Rules, Share, clean
from deploy_action.text.quantities import count, size

_SECONDS_A_DAY: Final = 86_400.0


class DailyCleaning:
    """A thread that cleans; `log` gets a line about what was removed, or why nothing could be."""

    def __init__(self, store: Store, rules: Rules, log: Callable[[str], None]) -> None:
        self._store = store
        self._rules = rules
        self._log = log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cleaning", daemon=True)

    def start(self) -> None:
        """Clean now, and then once a day."""
        self._thread.start()

    def close(self) -> None:
        """Wait for the end of what is being removed, and clean no more."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._store.database.look_for_damage()
                if self._store.database.damage is not None:
                    return  # it may not name all that is needed
                if text := removed(clean(self._store, self._rules, time.time(), removes=True)):
                    self._log(f"cleaned: {text}")
                self._store.remove_orphans()
            except Exception:  # noqa: BLE001  # the server goes on without it
                self._log(f"not cleaned: {traceback.format_exc()}")
            self._stop.wait(_SECONDS_A_DAY)


def removed(shares: Iterable[Share]) -> str:
    """Return what was removed, in one line; blank for nothing."""
    return ", ".join(
        f"{count(share.unneeded, share.kind.removesuffix('s'))} ({size(share.unneeded_bytes)})"
        for share in shares
        if share.unneeded
    )
