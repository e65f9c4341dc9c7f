"""The platform's data directory: the database, and the files that its rows name.

Ids never become paths: a bundle is stored under the id of its version, which is a UUID of ours.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from deploy_action.errors import InvalidInputError
from deploy_action.platform.storage import data_directory
from deploy_action.platform.storage.damage.database import damaged, is_damage
from deploy_action.platform.storage.database import Database
from deploy_action.platform.storage.logs import LogBook
from deploy_action.platform.storage.models_place import find_models_place
from deploy_action.platform.storage.records import Wanted
from deploy_action.platform.storage.transaction import Transaction

# An upload that was not stored an hour later was cut off by the end of its process.
_ORPHAN_SECONDS = 3600.0
_FOLDERS = (
    data_directory.INCOMING,
    data_directory.BUNDLES,
    data_directory.RESULTS,
    data_directory.LOGS,
)
# With less, the next deploy, or the next note of what a model did, may fail.
_LEAST_FREE_BYTES = 64 << 20


class Store:
    """The data directory, safe to use from several threads and several processes."""

    def __init__(self, data: Path, clock: Callable[[], float], homes: Iterable[Path] = ()) -> None:
        """Open or set up `data`. Raises `InvalidInputError` when that is not possible.

        `homes` are directories whose owners may own the data, too.
        """
        self.data = data
        self.clock = clock
        data_directory.prepare(data, homes)
        self.models_place = find_models_place(data)
        self.logs = LogBook(data / data_directory.LOGS, clock=clock)
        place = self.models_place.path
        try:
            with data_directory.locked(data, place), ExitStack() as resources:
                self._make_folders()
                self.database = Database(data / data_directory.DATABASE, clock)
                resources.callback(self.database.close)
                self._end_abandoned()
                self.remove_orphans()
                self.workplace = data_directory.Workplace(place)  # for private copies of models
                resources.callback(self.workplace.close)
                with self.snapshot() as snapshot:
                    self.user_id = snapshot.user_id()
                self._resources = resources.pop_all()
        except (OSError, sqlite3.Error) as error:
            if (full := data_directory.lack_of_room(data, error)) is not None:
                raise full from error
            if is_damage(error):
                raise damaged(data, str(error)) from error
            raise InvalidInputError.of(
                message=f"The platform's data in {data} cannot be opened: {error}.",
                hint="Use another directory, or repair this one.",
            ) from error

    def close(self) -> None:
        """Close the database, and remove the private copies of models."""
        self._resources.close()

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Run reads and writes that happen together or not at all."""
        return self.database.transaction()

    def rehearsal(self) -> AbstractContextManager[Transaction]:
        """Run a transaction that is undone, to see whether it would succeed."""
        return self.database.rehearsal()

    def snapshot(self) -> AbstractContextManager[Transaction]:
        """Run reads that see one state of the data and wait for no writer."""
        return self.database.snapshot()

    def fault(self) -> str | None:
        """Return what keeps the store from working, None if it works; nothing in it is secret."""
        try:
            with self.snapshot() as snapshot:
                snapshot.user_id()
            lack = self.lack_of_room()
        except (OSError, sqlite3.Error) as error:
            return f"the store cannot be read: {getattr(error, 'strerror', None) or error}"
        if self.database.damage is not None:
            return f"the database is damaged: {self.database.damage}"
        return None if lack is None else f"the disk is full: {lack}"

    def lack_of_room(self) -> str | None:
        """Return how little room there is on the disk, None if it is enough. Raises `OSError`."""
        free = os.statvfs(self.data)
        if free.f_bavail * free.f_frsize < _LEAST_FREE_BYTES:
            return f"less than {_LEAST_FREE_BYTES >> 20} MiB are free"
        return None

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Yield a path for an upload; the file is removed afterwards, unless it was moved."""
        path = self.data / data_directory.INCOMING / str(uuid.uuid4())
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def bundle_path(self, version_id: str) -> Path:
        """Return the path of a version's bundle."""
        return self.data / data_directory.BUNDLES / f"{version_id}.zip"

    def hold_bundle(self, version_id: str) -> BinaryIO | None:
        """Open a version's bundle, which cleaning does not remove before the file is closed.

        Returns None if it was removed.
        """
        import fcntl

        path = self.bundle_path(version_id)
        with suppress(FileNotFoundError), ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_SH)
            path.stat()  # it may have been removed before it was locked
            opened.pop_all()
            return file
        return None

    def result_path(self, backtest_id: str) -> Path:
        """Return the path of a backtest's result.

        It exists if the backtest finished, and may exist if it failed.
        """
        return self.data / data_directory.RESULTS / f"{backtest_id}.json"

    def passing_result_path(self, backtest_id: str) -> Path:
        """Return the path of a result that is only sent, which the end of this process removes."""
        return self.workplace.path / f"{backtest_id}.json"

    def write_result(self, backtest_id: str, content: bytes) -> None:
        """Write the result of a backtest; a crash leaves all of it or nothing."""
        path = self.data / data_directory.INCOMING / f"{backtest_id}.json"
        data_directory.write_private(path, content, is_safe=True)
        path.rename(self.result_path(backtest_id))
        data_directory.sync_directory(self.data / data_directory.RESULTS)

    def delete_model(self, project_id: str, model_id: str) -> bool:
        """Delete a stopped model with its versions, backtests and all their files.

        Returns False, and deletes nothing, if it should run.
        """
        with self.transaction() as transaction:
            life = transaction.live.life(project_id, model_id)
            if life is not None and life.wanted == Wanted.RUNNING:
                return False
            versions = [each.id for each in transaction.versions(project_id, model_id)]
            backtests = [each.id for each in transaction.backtests(project_id, model_id)]
            transaction.delete_model(project_id, model_id)
        for path in (
            *map(self.bundle_path, versions),
            *map(self.result_path, backtests),
        ):
            path.unlink(missing_ok=True)
        for version_id in versions:
            self.logs.remove(version_id)
        return True

    @contextmanager
    def keeping(self, incoming: Path, version_id: str) -> Iterator[None]:
        """Move an uploaded file to the path of a version's bundle; remove it on an exception.

        The file is in place before its row is committed. A crash in between leaves a file without
        a row, which a later start removes.
        """
        path = self.bundle_path(version_id)
        incoming.rename(path)
        try:
            data_directory.sync_directory(path.parent)
            yield
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _make_folders(self) -> None:
        for name in _FOLDERS:
            (self.data / name).mkdir(mode=0o700, exist_ok=True)
        for place in (self.data, self.models_place.path):
            data_directory.make_passable(place / data_directory.RUNS)

    def _end_abandoned(self) -> None:
        """Remove the private copies of models that dead processes left, and end their backtests."""
        with self.transaction() as transaction:
            transaction.end_abandoned_backtests(
                data_directory.remove_abandoned_workplaces(self.data, self.models_place.path)
            )

    def remove_orphans(self) -> None:
        """Remove the files without a row that dead processes left.

        Recent files stay: they may belong to a request in progress, also in another process.
        """
        with self.snapshot() as transaction:
            versions = transaction.version_ids()
            kept = {*versions, *(self.bundle_path(each).name for each in versions)}
            kept |= {self.result_path(each).name for each in transaction.ids_with_result()}
        for name in _FOLDERS:
            for path in (self.data / name).iterdir():
                with suppress(FileNotFoundError):
                    age = self.clock() - path.stat().st_mtime
                    if path.name in kept or age <= _ORPHAN_SECONDS:
                        continue
                    if path.is_dir():
                        self.logs.remove(path.name)
                    else:
                        path.unlink()
