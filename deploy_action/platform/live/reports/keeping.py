"""Keeps what models report: within bounds, and without slowing anything else.

One thread writes what came in with one commit, twenty times a second at most, however much comes.
Of what is too much or too large, only the number is kept. What could not be written because the
store failed is tried again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from deploy_action.platform.allowance import Allowance
from deploy_action.platform.live.reports.accounts import day_name, extended
from deploy_action.platform.live.reports.reading import (
    BOUNDS,
    Change,
    Fields,
    ReportError,
    check_time,
    read_report,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass

_SECONDS_BETWEEN_COMMITS: Final = 0.05
_SECONDS_AFTER_FAILURE: Final = 1.0
_MOST_WAITING_BYTES: Final = 8 << 20  # of all models, while the store fails
# Of each model: what it may report at once, and in each second from then on. Orders are counted
# apart, so that a flood of other reports displaces none. A report costs 1, and 1 for each 2 KiB.
_BURST: Final = 1_000.0
_PER_SECOND: Final = 20.0
_BYTES_PER_TOKEN: Final = 2 << 10
_REFUSED_COST: Final = 10.0
_ORDERS: Final = ("live/spot-", "live/update-")
_WRITE_SECONDS: Final = 30.0  # that a client waits for the store at most
_WITH_VERSION: Final = frozenset({"order", "event", "note", "screener"})
_LONGEST_NOTE: Final = 2_000

_ModelKey = tuple[str, str]


class TooManyReportsError(ReportError):
    """A model reports more than is kept."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A report to be written, of about `size` bytes.

    If somebody waits for it, `written` is done when it is safe, or has the reason why not.
    `version_id` is the version that ran then, "" if that is not known. `torn_down_for` is why its
    teardown ran then, "" if it did not.
    """

    model: _ModelKey
    time: float
    changes: list[Change]
    size: int
    written: Future[None] | None = None
    version_id: str = ""
    torn_down_for: str = ""


class Reports:
    """Takes the reports of all models, and writes them to the store; safe to use from threads."""

    def __init__(
        self,
        store: Store,
        on_error: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep reports in `store`; `on_error` gets tracebacks when it fails."""
        self._store = store
        self._on_error = on_error
        self._monotonic = monotonic
        self._allowances: dict[tuple[_ModelKey, bool], Allowance] = {}
        self._lost: defaultdict[_ModelKey, int] = defaultdict(int)
        self._waiting: list[_Waiting] = []
        self._condition = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._fails = False  # the last commit did

    def take(
        self,
        project_id: str,
        model_id: str,
        kind: str,
        fields: Fields,
        time: float,
        version_id: str = "",
        torn_down_for: str = "",
    ) -> None:
        """Keep a report some time soon; never fails, and never waits.

        `kind` is its path in the events API, below `/v1`, and `time` is in seconds since 1970.
        `version_id` is the version that runs, and `torn_down_for` why its teardown does, "" if it
        does not. What cannot be kept is counted.
        """
        try:
            model = project_id, model_id
            self._enter(model, kind, fields, time, None, version_id, torn_down_for)
        except ReportError:
            self._lose((project_id, model_id))

    def keep(self, project_id: str, model_id: str, kind: str, fields: Fields, time: float) -> None:
        """Keep a report, and return when it is safe.

        Raises:
            ReportError: it is refused.
            TooManyReportsError: the model reports too much.
            Exception: the store failed.
        """
        written = Future[None]()
        try:
            self._enter((project_id, model_id), kind, fields, time, written)
        except TooManyReportsError:
            self._lose((project_id, model_id))
            raise
        written.result(_WRITE_SECONDS)

    def note(
        self, project_id: str, model_id: str, text: str, time: float, version_id: str = ""
    ) -> None:
        """Add an event of the platform's own, which no model can forge or displace by a flood."""
        change = Change("note", None, {"type": "lifecycle", "text": text[:_LONGEST_NOTE]})
        model = project_id, model_id
        self._put(_Waiting(model, time, [change], _LONGEST_NOTE, version_id=version_id))

    def close(self) -> None:
        """Write what is waiting."""
        self._closing.set()
        with self._condition:
            thread, self._thread = self._thread, None
            self._condition.notify_all()
        if thread is not None:
            thread.join()

    def _enter(
        self,
        model: _ModelKey,
        kind: str,
        fields: Fields,
        time: float,
        written: Future[None] | None = None,
        version_id: str = "",
        torn_down_for: str = "",
    ) -> None:
        is_order = kind.startswith(_ORDERS)
        with self._condition:
            allowance = self._allowances.get((model, is_order))
            if allowance is None:
                allowance = Allowance(_BURST, _PER_SECOND, self._monotonic)
                self._allowances[model, is_order] = allowance
            if allowance.left <= 0:  # what a report costs is known afterwards
                raise TooManyReportsError(
                    f"The model reports too much: more than {_PER_SECOND:g} reports a second are"
                    " not kept"
                )
        cost = _REFUSED_COST
        try:
            at, changes = check_time(time), read_report(kind, fields)
            size = sum(len(json.dumps(each.document)) for each in changes)
            cost = len(changes) + size / _BYTES_PER_TOKEN
        finally:
            with self._condition:
                allowance.use(cost)
        self._put(_Waiting(model, at, changes, size, written, version_id, torn_down_for))

    def _put(self, waiting: _Waiting) -> None:
        with self._condition:
            if self._closing.is_set():
                if waiting.written is not None:
                    waiting.written.set_exception(ReportError("The server is being stopped"))
                return
            self._waiting.append(waiting)
            self._wake()

    def _lose(self, model: _ModelKey) -> None:
        with self._condition:
            self._lost[model] += 1
            self._wake()

    def _wake(self) -> None:
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._work, name="reports", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: self._waiting or self._lost or self._closing.is_set()
                )
                batch, self._waiting = self._waiting, []
                lost, self._lost = self._lost, defaultdict(int)
            if not batch and not lost:
                return
            self._write(batch, lost)
            self._closing.wait(_SECONDS_AFTER_FAILURE if self._fails else _SECONDS_BETWEEN_COMMITS)

    def _write(self, batch: list[_Waiting], lost: Mapping[_ModelKey, int]) -> None:
        faults: dict[int, ReportError] = {}
        try:
            with self._store.transaction() as transaction:
                writer = _Writer(transaction)
                for number, waiting in enumerate(batch):
                    try:
                        writer.write(waiting)
                    except ReportError as error:
                        faults[number] = error
                for model, count in lost.items():
                    writer.count_lost(model, count)
                writer.prune()
        except Exception as error:  # noqa: BLE001  # a full disk, or a bug: the thread has to go on
            if not self._fails:
                self._on_error(traceback.format_exc())
            self._fails = True
            self._put_back(batch, lost, error)
            return
        self._fails = False
        for number, waiting in enumerate(batch):
            if waiting.written is None:
                if number in faults:
                    self._lose(waiting.model)
            elif number in faults:
                waiting.written.set_exception(faults[number])
            else:
                waiting.written.set_result(None)

    def _put_back(
        self, batch: list[_Waiting], lost: Mapping[_ModelKey, int], error: Exception
    ) -> None:
        """Try later what nobody waits for; count what is too much, or may itself be the reason."""
        for waiting in batch:
            if waiting.written is not None:
                waiting.written.set_exception(error)
        if self._closing.is_set():
            return
        room = _MOST_WAITING_BYTES if isinstance(error, sqlite3.OperationalError) else 0
        back = list[_Waiting]()
        with self._condition:
            for model, count in lost.items():
                self._lost[model] += count
            for waiting in (each for each in batch if each.written is None):
                if waiting.size <= room:
                    room -= waiting.size
                    back.append(waiting)
                else:
                    self._lost[waiting.model] += 1
            self._waiting = back + self._waiting


def _stamped(change: Change, waiting: _Waiting) -> Mapping[str, object]:
    """Return what is to be kept, with what ran when it came, where that is kept."""
    document = dict(change.document)
    if waiting.version_id and change.kind in _WITH_VERSION:
        document["versionId"] = waiting.version_id
    if waiting.torn_down_for and change.kind == "order":
        document["tornDownFor"] = waiting.torn_down_for
    return document


class _Writer:
    """Writes reports within a transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._tables = transaction.reports
        self._exists: dict[_ModelKey, bool] = {}
        self._touched: set[tuple[_ModelKey, str]] = set()

    def write(self, waiting: _Waiting) -> None:
        """Write a report: all of it, or nothing with a `ReportError`."""
        if not self._has(waiting.model):
            raise ReportError("The model was deleted")
        writes = [(each.kind, self._merged(waiting, each)) for each in waiting.changes]
        for kind, kept in writes:
            self._put(waiting.model, kind, kept)

    def count_lost(self, model: _ModelKey, count: int) -> None:
        """Add to the number of reports that were not kept."""
        if not self._has(model):
            return
        before = self._tables.named(*model, "lost", "")
        total = count + (before.document["count"] if before else 0)
        self._put(model, "lost", Kept("", self._transaction.now, {"count": total}))
        if before is None:
            text = (
                f"Reports of the model were not kept: it sends more than {_PER_SECOND:g} a second,"
                " or larger ones than allowed, or ones that cannot be understood."
            )
            document = {"type": "lost", "text": text}
            self._put(model, "note", Kept(None, self._transaction.now, document))

    def prune(self) -> None:
        """Remove what is beyond the bounds; note that there once was more."""
        for model, kind in self._touched:
            if self._tables.prune(*model, kind, BOUNDS[kind].entries) and kind == "order":
                pruned = Kept("", self._transaction.now, {})
                self._tables.put(*model, "pruned", pruned)

    def _has(self, model: _ModelKey) -> bool:
        if model not in self._exists:
            self._exists[model] = self._transaction.model(*model) is not None
        return self._exists[model]

    def _merged(self, waiting: _Waiting, change: Change) -> Kept:
        before = None
        if change.daily and change.name is not None:
            return Kept(day_name(waiting.time, change.name), waiting.time, change.document)
        if change.extends and change.name is not None:
            before = self._tables.named(*waiting.model, change.kind, change.name)
            earlier = None if before is None else before.document
            line = extended(earlier, change.document, waiting.time)
            return Kept(change.name, waiting.time, line)
        if change.merges and change.name is not None:
            before = self._tables.named(*waiting.model, change.kind, change.name)
        if before is None:
            if change.needs:
                raise ReportError(f"There is no {change.kind} with this id")
            return Kept(change.name, waiting.time, _stamped(change, waiting))
        document = {**before.document, **change.document}
        if len(json.dumps(document)) > BOUNDS[change.kind].bytes:
            raise ReportError(f"The {change.kind} has become too large")
        # An order keeps the time at which it was sent.
        at = before.time if change.kind == "order" else waiting.time
        return Kept(change.name, at, document)

    def _put(self, model: _ModelKey, kind: str, kept: Kept) -> None:
        self._tables.put(*model, kind, kept)
        self._touched.add((model, kind))
