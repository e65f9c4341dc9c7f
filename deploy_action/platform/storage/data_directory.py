"""The platform's data directory: created, recognised, and locked during set-up."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from deploy_action.errors import InvalidInputError, RefusedError
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.platform.processes.stragglers import end_stragglers
from deploy_action.platform.processes.unprivileged import is_root, is_transient
from deploy_action.platform.storage.ownership import check_ownership

DATABASE = "platform.sqlite"
INCOMING = "incoming"  # uploads on their way in
BUNDLES = "bundles"  # VERSION_ID.zip
RESULTS = "results"  # BACKTEST_ID.json
LOGS = "logs"  # of deployed versions: VERSION_ID/NUMBER.log
RUNS = "runs"  # private copies of models, one directory per process that runs them
REPORTS = "reports"  # reports of backtests that were run on a terminal
LIVE = "live"  # private copies of deployed models, and their locks
STATE = "state"  # what deployed models keep: a directory for each
ENVIRONMENTS = "environments"  # Python environments of models; nothing secret in them
PRICES = "prices"  # what models downloaded, and every user may read
REFRESH_TOKEN = "refresh-token"  # noqa: S105  the name of a file
PASSABLE = 0o711  # a model may run as another user, who must reach its copy
_LEAST_FREE_BYTES = 1 << 20  # to open the data
_LOCK = ".lock"
_SERVER = ".server"  # locked by the one `blankly-deploy serve` of the directory
# A newly created file system contains this directory.
_HARMLESS = frozenset({"lost+found"})
_OURS = frozenset(
    {
        *(
            DATABASE,
            f"{DATABASE}-wal",
            f"{DATABASE}-shm",
            INCOMING,
            BUNDLES,
            RESULTS,
            RUNS,
            ENVIRONMENTS,
            PRICES,
            REPORTS,
        ),
        *(LIVE, STATE, LOGS, REFRESH_TOKEN, _LOCK, _SERVER),
    }
)


def prepare(data: Path, homes: Iterable[Path] = ()) -> None:
    """Create `data` (mode 0711) if it does not exist; refuse a directory with other files.

    Other users may traverse it: a model reaches its private copy, and a workflow's cache the
    environments. Everything else in it is private. `homes` are directories whose owners are trusted
    as we are.

    Raises `InvalidInputError` when it cannot be created, holds files that are not the platform's,
    or may be another user's.
    """
    if os.pathsep in str(data):
        message = f"The platform's data directory {data} has a `{os.pathsep}` in its name."
        hint = "Use another directory: Python could not find a model's modules there."
        raise InvalidInputError.of(message=message, hint=hint)
    try:
        data.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
        names = {entry.name for entry in data.iterdir()}
    except OSError as error:
        raise _unusable(data, error) from error
    if DATABASE not in names and any(not _is_ours(name) for name in names):
        raise InvalidInputError.of(
            message=f"{data} is not empty, and it is not a data directory of this platform.",
            hint="Use an empty directory, or one that does not exist yet.",
        )
    try:
        check_ownership(data, homes)
    except OSError as error:
        raise _unusable(data, error) from error


def _unusable(data: Path, error: OSError) -> InvalidInputError:
    return lack_of_room(data, error) or InvalidInputError.of(
        message=f"The platform's data directory {data} cannot be used: {error.strerror}.",
        hint="Use a directory that can be written to, or one that does not exist yet.",
    )


def lack_of_room(data: Path, error: Exception) -> InvalidInputError | None:
    """Return what to say if the data cannot be opened because its disk is full, else None.

    SQLite says "disk I/O error" then, and other things.
    """
    is_full = is_disk_full(error)
    with suppress(OSError):
        free = os.statvfs(data if data.exists() else data.parent)
        is_full |= free.f_bavail * free.f_frsize < _LEAST_FREE_BYTES
    if not is_full:
        return None
    return InvalidInputError.of(
        message=f"The disk of {data} is full, so the platform's data cannot be opened.",
        hint="Remove something else from that disk, and try again. Leave the data as it is.",
    )


def _is_ours(name: str) -> bool:
    return name in _OURS | _HARMLESS or name.startswith(f".{REFRESH_TOKEN}.")


@contextmanager
def locked(*directories: Path) -> Iterator[None]:
    """Hold the directories' locks, which other processes wait for.

    The kernel releases the locks when the process ends, even by a crash.
    """
    import fcntl

    with ExitStack() as stack:
        for directory in dict.fromkeys(directories):
            descriptor = _open_lock(directory)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def only_server(data: Path) -> Iterator[None]:
    """Be the only one that runs deployed models from a directory, which is prepared.

    Runs of the action with an embedded platform may use it at the same time. Raises `RefusedError`
    when there is another server, and `InvalidInputError` when the lock's file cannot be opened.
    """
    import fcntl

    try:
        descriptor = os.open(data / _SERVER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(data, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise RefusedError.of(
                message=f"Another server uses {data} (process {process or 'unknown'}).",
                hint="Stop it first, or use another directory: two would run each model twice.",
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise _unusable(data, error) from error
        yield
    finally:
        os.close(descriptor)


class Workplace:
    """A directory for the private copies of the models that this process runs.

    The process owns it while it holds the lock file in it; `id` is its name.
    """

    def __init__(self, place: Path) -> None:
        """Create it. Call this inside `locked`, so that nobody takes it for an abandoned one."""
        import fcntl

        self.id = str(uuid.uuid4())
        self.path = place / RUNS / self.id
        make_passable(self.path)
        self._descriptor = _open_lock(self.path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the directory and release the lock."""
        remove_tree(self.path)
        os.close(self._descriptor)


def make_passable(directory: Path) -> None:
    """Create a directory that every user may enter, or leave the one that exists."""
    with suppress(FileExistsError):
        directory.mkdir(mode=PASSABLE)
        directory.chmod(PASSABLE)  # whatever our umask is


def remove_abandoned_workplaces(*places: Path) -> list[str]:
    """Remove the workplaces of dead processes: a model's exchange keys may be in them.

    Returns the ids of the others. Call this inside `locked`.
    """
    found = [path for place in dict.fromkeys(places) for path in (place / RUNS).iterdir()]
    return [path.name for path in found if not _is_abandoned(path)]


def _is_abandoned(workplace: Path) -> bool:
    """Remove a workplace whose process is dead; return whether it is gone."""
    import fcntl

    try:
        descriptor = _open_lock(workplace)
    except FileNotFoundError:  # its owner has just removed it
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        for private in workplace.iterdir():
            if not private.is_dir():
                continue
            owner = private.lstat().st_uid
            end_stragglers(private, owner if is_root() and is_transient(owner) else None)
        remove_tree(workplace)
        return True
    finally:
        os.close(descriptor)


def _open_lock(directory: Path) -> int:
    return os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an exception says that there is no room: on the disk, or in a quota."""
    import sqlite3

    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and error.errno in full


def write_private(path: Path, content: bytes, *, is_safe: bool) -> None:
    """Write a new file that only its owner reads, or none; `is_safe` from a power cut, too."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            if is_safe:
                os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Write the directory's entries to disk, so that new files survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
