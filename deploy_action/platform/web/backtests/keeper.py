"""Computes the figures of backtests when they have ended, one after the other."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from deploy_action.platform.storage.tables.figures import Figures
from deploy_action.platform.web.backtests.computed import NoFiguresError, compute
from deploy_action.platform.web.backtests.computed_views import COMPUTED_VIEWS

if TYPE_CHECKING:
    from deploy_action.backtest.figures.document import FiguresDocument
    from deploy_action.platform.storage.records import Backtest
    from deploy_action.platform.storage.store import Store

_AT_ONCE: Final = 20
_SECONDS_AFTER_FAILURE: Final = 60.0
_CLOSE_SECONDS: Final = 10.0
_BUG: Final = "they could not be computed; the log of the server says why"


class FigureKeeper:
    """A thread that computes the figures of each backtest in the store that has none yet.

    It takes turns with the views of pages, so that one large result is in memory at a time. Figures
    of which there are none are noted with the reason. `log` gets tracebacks.
    """

    def __init__(self, store: Store, log: Callable[[str], None]) -> None:
        self._store = store
        self._log = log
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="figures", daemon=True)

    def start(self) -> None:
        """Begin with the backtests that ended before, the newest first."""
        self._woken.set()
        self._thread.start()

    def wake(self) -> None:
        """Look for backtests that have ended."""
        self._woken.set()

    def close(self) -> None:
        """Finish the one that is being computed; the others are next, after the next start."""
        self._closing.set()
        self._woken.set()
        self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        has_failed = False
        while not self._closing.is_set():
            self._woken.wait(_SECONDS_AFTER_FAILURE if has_failed else None)
            self._woken.clear()
            try:
                self._catch_up()
                has_failed = False
            except Exception:  # noqa: BLE001  # such as a full disk: it is tried again
                if not has_failed:
                    self._log(traceback.format_exc())
                has_failed = True

    def _catch_up(self) -> None:
        while not self._closing.is_set():
            with self._store.snapshot() as snapshot:
                lacking = snapshot.figures.lacking(_AT_ONCE)
            if not lacking:
                return
            for backtest in lacking:
                if self._closing.is_set():
                    return
                self._keep(backtest, self._figures(backtest))

    def _figures(self, backtest: Backtest) -> FiguresDocument:
        try:
            path = self._store.result_path(backtest.id)
            return COMPUTED_VIEWS.alone(lambda: compute(path, backtest))
        except NoFiguresError as error:
            return {"problem": str(error)}
        except Exception:  # noqa: BLE001  # a bug of ours, or a lack of memory: the others go on
            self._log(traceback.format_exc())
            return {"problem": _BUG}

    def _keep(self, backtest: Backtest, document: FiguresDocument) -> None:
        ended_at = backtest.created_at if backtest.ended_at is None else backtest.ended_at
        figures = Figures(backtest.version_id, backtest.id, ended_at, document)
        # Its model may have been deleted meanwhile.
        with suppress(sqlite3.IntegrityError), self._store.transaction() as transaction:
            transaction.figures.keep(figures)
