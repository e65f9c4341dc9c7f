"""Whether a platform's database can be relied on: found out before anything else reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError
from deploy_action.platform.storage import data_directory
from deploy_action.platform.storage.damage.write_ahead import log_fault

RESTORE: Final = "Restore the latest backup into an empty directory (`blankly-deploy restore`)."
DAMAGED: Final = (
    "The database of the server is damaged: what it says of models, versions and backtests may be"
    f" wrong. Stop the server. {RESTORE}"
)
_HINT: Final = (
    f"{RESTORE} Without one, move this directory away, start with an empty one, and deploy again: "
    "the files in `bundles` are the versions, as zips."
)
# Of a database that is new, nothing can be there yet.
_OF_ROWS: Final = (
    data_directory.BUNDLES,
    data_directory.RESULTS,
    data_directory.LOGS,
    data_directory.STATE,
)
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_TEXT: Final = "Could not decode to UTF-8"
_OF_SCHEMA: Final = b"malformed database schema"
_PRIMARY: Final = 0xFF  # of an extended error code
_BUSY_SECONDS: Final = 30.0


class DamagedSchemaError(sqlite3.DatabaseError):
    """The text of a table's definition is damaged."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise `DamagedSchemaError` where SQLite quotes a schema that Python cannot decode."""
    try:
        yield
    except UnicodeDecodeError as error:
        said = error.object
        if not said.startswith(_OF_SCHEMA):
            raise
        raise DamagedSchemaError(said.decode(errors="replace")) from error


def is_damage(error: BaseException) -> bool:
    """Tell whether an exception says that the database's file is not what SQLite wrote."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    if isinstance(error, DamagedSchemaError):
        return True
    if str(error).startswith(_NO_TEXT):  # Python says that, and SQLite nothing
        return True
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _DAMAGE


def damaged(data: Path, why: str) -> InvalidInputError:
    """Return what to say of a damaged database; nothing may be read from it."""
    return InvalidInputError.of(message=f"The database in {data} is damaged: {why}.", hint=_HINT)


def write_ahead_log(database: Path) -> Path:
    """Return the path of the file with the latest changes to a database."""
    return Path(f"{database}-wal")


def check_file(database: Path) -> None:
    """Check the files of a database before it is opened, and leave them as they are.

    SQLite begins anew where it finds nothing, and forgets what it cannot read of the latest
    changes. Raises `InvalidInputError` when the database is damaged or was lost; `sqlite3.Error`
    when it cannot be read.
    """
    data, log = database.parent, write_ahead_log(database)
    if fault := log_fault(log):
        raise damaged(data, f"{log.name}, which has the latest changes, {fault}")
    if not _size(database):
        what = f"{database.name} is {'empty' if database.exists() else 'missing'}"
        if _size(log):
            raise damaged(data, f"{what}, and its latest changes are there")
        check_new(data, what)
        return
    # Who only reads does not move the latest changes into the database when it closes it.
    url = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(url, uri=True, timeout=_BUSY_SECONDS)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0]:
            check_rows(connection, data)


def check_new(data: Path, what: str) -> None:
    """Check that there is nothing yet where the database has no tables; `what` says that.

    Otherwise an empty one would take the place of one that was lost, and everything that it does
    not name would be removed. Raises `InvalidInputError` when there are files of versions.
    """
    for name in _OF_ROWS:
        if (data / name).is_dir() and any((data / name).iterdir()):
            raise damaged(data, f"{what}, and there are files in {name}")


@readable_errors()
def check_rows(connection: sqlite3.Connection, data: Path) -> None:
    """Check that tables, indexes and references agree. Raises `InvalidInputError` if not."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged(data, " ".join(str(found).split()))
    if row := connection.execute("PRAGMA foreign_key_check").fetchone():
        raise damaged(data, f"a row of {row[0]} belongs to one of {row[2]} that is missing")
    (users,) = connection.execute("SELECT count(*) FROM users").fetchone()
    if users != 1:
        raise damaged(data, f"it has {users} users, and should have one")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
