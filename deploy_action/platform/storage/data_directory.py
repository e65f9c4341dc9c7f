"""The directory the platform keeps its data in: made, recognised, and locked while it changes."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_action.errors import InvalidInputError, Problem
from deploy_action.platform.processes.stragglers import end_stragglers
from deploy_action.platform.processes.unprivileged import is_root

DATABASE = "platform.sqlite"
INCOMING = "incoming"  # uploads on their way in
BUNDLES = "bundles"  # VERSION_ID.zip
RESULTS = "results"  # BACKTEST_ID.json
RUNS = "runs"  # private copies of models, by the process that runs them
REPORTS = "reports"  # on backtests, of those who run the action on a terminal
ENVIRONMENTS = "environments"  # of Python, for models; the one part that holds nothing secret
REFRESH_TOKEN = "refresh-token"  # noqa: S105  the name of a file
PASSABLE = 0o711  # a model may run as another user, and has to reach its copy
_LOCK = ".lock"
# A freshly made file system that is mounted as the directory holds this one.
_HARMLESS = frozenset({"lost+found"})
_OURS = frozenset(
    {DATABASE, INCOMING, BUNDLES, RESULTS, RUNS, ENVIRONMENTS, REPORTS, REFRESH_TOKEN, _LOCK}
)


def prepare(data: Path) -> None:
    """Make `data` (mode 0711) where it does not exist; refuse a directory of someone else's.

    Others may pass through it: a model to its private copy, and whoever keeps the environments
    from one run to the next (a workflow's cache). All else is ours alone.

    Raises `InvalidInputError` when it cannot be made or holds files that are not the platform's.
    """
    if os.pathsep in str(data):
        message = f"The platform's data directory {data} has a `{os.pathsep}` in its name."
        hint = "Name another one: Python could not find a model's modules there."
        raise InvalidInputError(Problem(message=message, hint=hint))
    try:
        data.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
        names = {entry.name for entry in data.iterdir()}
    except OSError as error:
        raise InvalidInputError(
            Problem(
                message=f"The platform's data directory {data} cannot be used: {error.strerror}.",
                hint="Name a directory that can be written to, or one that does not exist yet.",
            )
        ) from error
    if DATABASE not in names and any(not _is_ours(name) for name in names):
        raise InvalidInputError(
            Problem(
                message=f"{data} is not empty, and not a data directory of this platform.",
                hint="Name an empty directory, or one that does not exist yet.",
            )
        )


def _is_ours(name: str) -> bool:
    return name in _OURS | _HARMLESS or name.startswith(f".{REFRESH_TOKEN}.")


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Keep other processes from setting up the same directory meanwhile.

    The kernel drops the lock when the process ends, however it ends.
    """
    import fcntl

    descriptor = _open_lock(data)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Workplace:
    """A directory for the private copies of models that one process runs.

    It belongs to the process for as long as that holds the lock in it, and `id` names it.
    """

    def __init__(self, data: Path) -> None:
        """Make one; call it inside of `locked`, so that nobody takes it for an abandoned one."""
        import fcntl

        self.id = str(uuid.uuid4())
        self.path = data / RUNS / self.id
        self.path.mkdir(mode=PASSABLE)
        self._descriptor = _open_lock(self.path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove it."""
        remove_tree(self.path)
        os.close(self._descriptor)


def remove_abandoned_workplaces(data: Path) -> list[str]:
    """Remove those whose process is dead: a model's exchange keys may lie there.

    Returns the ids of the others. Call it inside of `locked`.
    """
    return [path.name for path in (data / RUNS).iterdir() if not _is_abandoned(path)]


def _is_abandoned(workplace: Path) -> bool:
    """Tell whether nobody works there any more, and then it is gone."""
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
            end_stragglers(private.name)
        remove_tree(workplace)
        return True
    finally:
        os.close(descriptor)


def remove_tree(directory: Path) -> None:
    """Remove a directory that a model may have closed to itself, and so to us.

    By programs: Python's own ways end where directories are nested deeper than its stack.
    """
    if not is_root():
        _run_quietly("chmod", "-R", "u+rwX", "--", str(directory))
    _run_quietly("rm", "-rf", "--", str(directory))


def _run_quietly(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # noqa: S603  # coreutils


def _open_lock(directory: Path) -> int:
    return os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def sync_directory(directory: Path) -> None:
    """Make names that were just added to `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
