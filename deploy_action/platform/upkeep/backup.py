"""Backup and restore of a data directory, as a tar file that any `tar` can read.

The database is copied first, by SQLite, as one state of it. All files that its rows name are there
by then, so the backup of a server that works is complete, whatever is stored meanwhile. Left out is
what can be made or downloaded again: environments and prices.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError, RefusedError
from deploy_action.platform.storage import data_directory
from deploy_action.platform.storage.damage.database import check_rows, damaged, is_damage
from deploy_action.platform.storage.database import SCHEMA_VERSION
from deploy_action.platform.storage.store import Store
from deploy_action.records import dataclass

_DATABASE: Final = data_directory.DATABASE
_NOT_KEPT: Final = frozenset(
    {
        *(_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm"),
        *(data_directory.INCOMING, data_directory.RUNS, data_directory.LIVE),
        *(data_directory.ENVIRONMENTS, data_directory.PRICES),
        "lost+found",
    }
)
_CHANGED: Final = 1  # tar's exit code when a file changed while it was read
_RESTORING: Final = ".restoring"


@dataclass(frozen=True, slots=True)
class Backup:
    """What was written: its size in bytes, and what `tar` says about files that changed."""

    bytes: int
    notes: str


def back_up(data: Path, file: Path) -> Backup:
    """Write a backup of `data` to a new file, readable by its owner only.

    A server may use the directory meanwhile. A failure leaves no file.

    Raises:
        InvalidInputError: `data` is no data directory, or its database is damaged; or the file
            exists.
        RefusedError: the backup cannot be written.
    """
    data, file = data.absolute(), file.absolute()
    database = data / _DATABASE
    if not database.is_file():
        raise InvalidInputError.of(
            message=f"{data} is not a data directory of this platform.",
            hint="Name the directory that `serve --data` uses.",
        )
    if file.exists():
        raise InvalidInputError.of(message=f"{file} exists already.", hint="Choose another name.")
    try:
        with _scratch(file.parent) as scratch:
            _copy_database(database, scratch / _DATABASE)
            names = sorted(path.name for path in data.iterdir() if _is_kept(path.name))
            part = scratch / "backup.tar"
            part.touch(0o600)
            # A model's file may be larger than the disk, and mostly holes.
            notes = _tar(
                "--create", "--sparse", "--file", part, "-C", scratch, _DATABASE, "-C", data, *names
            )
            _sync(part)
            part.rename(file)
            data_directory.sync_directory(file.parent)
    except (OSError, sqlite3.Error) as error:
        if is_damage(error):
            raise damaged(data, str(error)) from error
        raise RefusedError.of(message=f"{file} cannot be written: {error}.") from error
    return Backup(file.stat().st_size, notes)


def restore(file: Path, data: Path) -> list[str]:
    """Restore a backup into `data`, which has to be empty or not there.

    Returns the names of the models that a server on `data` will run. A failure leaves nothing.

    Raises:
        InvalidInputError: `data` is not empty, or the file is no backup of this or an earlier
            release.
        RefusedError: the backup cannot be read, or its files cannot be written.
    """
    data, file = data.absolute(), file.absolute()
    if data.exists() and any(path.name != "lost+found" for path in data.iterdir()):
        raise InvalidInputError.of(
            message=f"{data} is not empty.",
            hint="Restore into a directory that is empty, or does not exist yet.",
        )
    data_directory.prepare(data)
    scratch = data / _RESTORING
    try:
        scratch.mkdir(mode=0o700)
        # All of it becomes ours, what models wrote too: nothing of theirs may run with our rights,
        # and no other user may enter until it is handed over. tar drops set-user-id bits.
        _tar("--extract", "--no-same-owner", "--no-same-permissions", "--file", file, "-C", scratch)
        if (state := scratch / data_directory.STATE).is_dir():
            state.chmod(data_directory.PASSABLE)
        _check(scratch / _DATABASE, file)
        # The database last: until it is there, nobody takes this for a data directory.
        for path in sorted(scratch.iterdir(), key=lambda path: path.name == _DATABASE):
            path.rename(data / path.name)
    except (OSError, sqlite3.Error) as error:
        raise RefusedError.of(message=f"{file} cannot be restored: {error}.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    data_directory.sync_directory(data)
    with closing(Store(data, time.time)) as store, store.snapshot() as snapshot:
        return snapshot.upkeep.models_to_run()


def _is_kept(name: str) -> bool:
    return name not in _NOT_KEPT and not name.startswith(".")


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Yield a private directory beside the file, so that a rename puts the file in place."""
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=parent) as scratch:
        yield Path(scratch)


def _copy_database(source: Path, target: Path) -> None:
    target.touch(0o600)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        check_rows(copy, source.parent)


def _check(database: Path, file: Path) -> None:
    """Refuse what is no backup, is damaged, or was written by a later release."""
    if not database.is_file():
        raise InvalidInputError.of(message=f"{file} is not a backup of this platform.")
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version <= SCHEMA_VERSION:
            _check_rows(connection, file)
    if version > SCHEMA_VERSION:
        raise InvalidInputError.of(
            message=f"{file} was written by a later release (its schema is {version}, this release"
            f" knows {SCHEMA_VERSION}).",
            hint="Restore it with that release.",
        )


def _check_rows(connection: sqlite3.Connection, file: Path) -> None:
    try:
        check_rows(connection, file)
    except InvalidInputError as error:
        (damage,) = error.problems
        message = damage.message
        raise InvalidInputError.of(message=message, hint="Restore an earlier backup.") from error


def _tar(*arguments: str | Path) -> str:
    """Run tar; return what it says about files that changed while it read them.

    What it makes is for us alone.
    """
    command: Sequence[str] = ["tar", *map(str, arguments)]
    environ = {"PATH": os.defpath, "LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603  # tar
        command, env=environ, capture_output=True, text=True, check=False, umask=0o077
    )
    if done.returncode not in (0, _CHANGED):
        lines = done.stderr.strip().splitlines() or [f"tar ended with {done.returncode}"]
        raise OSError(lines[0].removeprefix("tar: "))
    return done.stderr.strip()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
