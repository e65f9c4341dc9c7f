"""The cache of Python environments: models with the same requirements share one.

Each environment has a key and consists of KEY/venv-* and KEY/environment.json. The JSON file names
the venv and is written last: without it the environment does not exist. Users of an environment
hold a shared lock on KEY.lock; whoever makes or removes it holds an exclusive lock. The venv has a
random name, so that an installer that survives its killed parent cannot write into a venv in use.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from deploy_action.errors import Problem, read_problems
from deploy_action.platform.environments.builder import Builder, Isolate
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.environments.installer import OnLine, Uv
from deploy_action.platform.environments.interpreters import (
    WITHOUT_WHEELS,
    Interpreter,
    Interpreters,
    write_atomically,
)
from deploy_action.platform.environments.locks import FileLock, taken_if_free
from deploy_action.platform.environments.maker import EnvironmentMaker, Made, with_own_cache
from deploy_action.platform.environments.planning import (
    KNOWN_GOOD,
    KNOWN_GOOD_LIVE,
    SETUPTOOLS,
    Job,
)
from deploy_action.platform.environments.requirements import ModelRequirements, read_requirements
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.records import dataclass, replace
from deploy_action.text.redaction import redacted

# Part of the key: a new number invalidates all existing environments.
_SCHEMA: Final = 1
_MARKER: Final = "environment.json"
_LOCK: Final = ".lock"
_PRIVATE: Final = "private-"
_UNUSED_SECONDS: Final = 30 * 24 * 3600
_KEY_BYTES: Final = 32
_READABLE_DIRECTORY: Final = 0o755
_ENTERABLE_DIRECTORY: Final = 0o711  # by the builder, for its home


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment in which `import blankly` works.

    `constraints` are the known-good constraints that were added to the requirements; `problems`
    are to be shown with what runs in it. A process that inherits the descriptor `lock` keeps the
    environment from being removed.
    """

    python: Path
    python_version: str
    blankly_version: str
    constraints: tuple[str, ...]
    was_made: bool
    problems: tuple[Problem, ...]
    lock: int = -1


class Environments:
    """The environments in one directory; several processes may use it at once."""

    def __init__(
        self,
        directory: Path,
        *,
        environ: Mapping[str, str],
        use_constraints: bool = True,
        machine: tuple[str, str] | None = None,
        disk_bytes: int | None = None,
    ) -> None:
        """Set up the cache; `directory` is created on first use.

        `environ` are the environment variables of this process. `use_constraints`: add known-good
        constraints if blankly would not work without them. `machine` are the names of the operating
        system and the processor, as in uname(2); by default those of this machine. `disk_bytes` is
        what the files of a model may take.
        """
        self._directory = directory.absolute()
        self._uv = Uv.for_environ(environ)
        self._use_constraints = use_constraints
        self._disk_bytes = disk_bytes
        self._machine = machine or (os.uname().sysname, os.uname().machine)

    @contextmanager
    def acquire(  # noqa: PLR0913  # most are facts of one model, by name
        self,
        model: Path,
        *,
        requirements: str,
        python_version: str,
        on_line: OnLine,
        stop: threading.Event,
        is_live: bool = False,
        variables: Mapping[str, str] | None = None,
        isolate: Isolate = lambda *_: None,
    ) -> Iterator[Environment]:
        """Find or make the environment of a model, and hold it for the duration of the block.

        `requirements` is the path of the requirements file relative to `model`; files in `model`
        may be rewritten while packages are installed. `python_version` is like 3.10. `on_line`
        gets the installer's output. `is_live`: the model will trade, and not be backtested, which
        needs an older pandas. `variables` are those that the text of the requirements may name;
        nothing that is kept, said or raised has a value of them. `isolate` finds a user for what
        runs code of packages, which also gets `model`'s parent directory while packages of the
        model itself are installed.

        Raises:
            EnvironmentFailedError: the environment cannot be made.
            StoppedError: `stop` was set.
            NotIsolatedError: there can be no such user.
        """
        with _hiding(variables or {}):
            wanted = read_requirements(model, requirements, variables)
        self._check_machine(wanted)
        self._check_git(wanted)
        with _disk_errors():
            self._prepare()
        interpreter = Interpreters(self._directory, self._uv).choose(
            python_version, on_line=on_line, stop=stop
        )
        place = self._place(wanted, interpreter, is_live=is_live)
        uv = replace(self._uv, hidden=tuple(wanted.filled.values()))
        job = Job(uv, interpreter, wanted, self._use_constraints, is_live, on_line, stop)
        work = _Work(place, job, isolate, self._disk_bytes)
        with FileLock(place.lock_path) as lock:
            try:
                environment = self._locked(lock, work)
                problems = (*interpreter.problems, *environment.problems)
                yield replace(environment, problems=problems, lock=lock.descriptor)
            finally:
                if place.is_private:
                    place.clear()
                    lock.remove()

    def _check_machine(self, wanted: ModelRequirements) -> None:
        """Refuse a machine for which PyPI has no newnewtulipy, before time is spent."""
        if self._machine not in WITHOUT_WHEELS or wanted.names_sources or self._uv.has_own_indexes:
            return
        message = (
            "blankly cannot be installed on Linux on ARM64: newnewtulipy, which it needs, has no "
            "wheel for it, and its source does not build there."
        )
        hint = (
            "Use a machine with an x86-64 processor, such as runs-on: ubuntu-24.04, or set "
            "PIP_EXTRA_INDEX_URL to an index with a wheel of newnewtulipy that you built."
        )
        raise EnvironmentFailedError.of(message=message, hint=hint)

    def _check_git(self, wanted: ModelRequirements) -> None:
        """Refuse a repository that nothing here can fetch, before time is spent."""
        line = wanted.from_git
        if line is None or shutil.which("git", path=self._uv.environ.get("PATH")):
            return
        problem = Problem(
            message="This comes from a git repository, and this platform has no git to fetch it.",
            hint="Name its archive instead, which needs none"
            + (f": `{line.from_archive}`." if line.from_archive else "."),
            path=line.file,
            line=line.number,
        )
        raise EnvironmentFailedError(problem)

    def _locked(self, lock: FileLock, work: _Work) -> Environment:
        """Return the environment, made if necessary; the lock is shared on return."""
        while True:
            lock.share(work.job.stop)
            if found := work.place.read():
                return found
            lock.take(work.job.stop)
            if work.place.read() is None:
                with _disk_errors():
                    self._remove_unused()
                made = work.make()
                lock.share(work.job.stop)
                # Going from exclusive to shared is not atomic: another process may have removed it.
                if work.place.read() is not None:
                    return made

    def _key(self) -> bytes:
        """Return a key that is kept beside the directory, and not in it: that may be copied."""
        path = self._directory.with_suffix(".key")
        if not path.exists():
            with NamedTemporaryFile(dir=path.parent, prefix=path.name) as file:  # its owner's alone
                file.write(os.urandom(_KEY_BYTES))
                file.flush()
                with suppress(FileExistsError):  # another process was first
                    path.hardlink_to(file.name)
        return path.read_bytes()

    def _prepare(self) -> None:
        """Make the directory, and remove the private environments of killed runs."""
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._directory.chmod(_READABLE_DIRECTORY)
        for place in self._places():
            if place.is_private:
                place.remove_if_free(lambda: True)

    def _remove_unused(self) -> None:
        """Remove incomplete environments, and those not used for 30 days."""
        for place in self._places():
            if place.is_unused():
                place.remove_if_free(place.is_unused)

    def _places(self) -> list[_Place]:
        return [_Place(path.with_suffix("")) for path in self._directory.glob(f"*{_LOCK}")]

    def _place(
        self, wanted: ModelRequirements, interpreter: Interpreter, *, is_live: bool
    ) -> _Place:
        """Return the environment's place; one that contains the model's own code is for one run."""
        if wanted.is_local:
            return _Place(self._directory / f"{_PRIVATE}{os.urandom(8).hex()}")
        facts = [
            _SCHEMA,
            interpreter.version,
            wanted.name,
            sorted(wanted.texts.items()),
            (*KNOWN_GOOD, SETUPTOOLS) if self._use_constraints else (),
            *([KNOWN_GOOD_LIVE] if is_live else ()),
            self._uv.decisive_settings,
            (*self._machine, _c_library()),
        ]
        if wanted.filled:  # which may decide what is installed, and who may have it
            values = json.dumps(sorted(wanted.filled.items())).encode()
            facts.append(hmac.digest(self._key(), values, "sha256").hex())
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return _Place(self._directory / digest[:32])


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory for one environment, which may not exist yet."""

    directory: Path

    @property
    def lock_path(self) -> Path:
        return self.directory.with_suffix(_LOCK)

    @property
    def is_private(self) -> bool:
        return self.directory.name.startswith(_PRIVATE)

    @property
    def _marker(self) -> Path:
        return self.directory / _MARKER

    def read(self) -> Environment | None:
        """Return the environment if it is complete and its Python exists; record the use."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(self._marker.read_bytes())
            python = self.directory / kept["venv"] / "bin" / "python"
            # If the Python it was made with is gone, the link is broken.
            if kept["schema"] == _SCHEMA and python.exists():
                with suppress(OSError):  # another user's: we may only read it
                    os.utime(self._marker)
                return Environment(
                    python=python,
                    python_version=str(kept["python"]),
                    blankly_version=str(kept["blankly"]),
                    constraints=tuple(map(str, kept["constraints"])),
                    was_made=False,
                    problems=read_problems(kept.get("problems")),
                )
        return None

    def write(self, venv: Path, python_version: str, made: Made) -> None:
        """Mark the environment as complete."""
        kept = {
            "schema": _SCHEMA,
            "venv": venv.name,
            "python": python_version,
            "blankly": made.blankly_version,
            "constraints": made.constraints,
            "problems": [problem.document() for problem in made.problems],
        }
        write_atomically(self._marker, json.dumps(kept, indent=2))

    def is_unused(self, before: float | None = None) -> bool:
        """Whether the environment is incomplete, or was not used since a time: for 30 days."""
        try:
            used_at = self._marker.stat().st_mtime
        except OSError:
            return True
        return used_at < (time.time() - _UNUSED_SECONDS if before is None else before)

    def clear(self) -> None:
        """Remove the environment; the caller holds the exclusive lock, or the place is private."""
        remove_tree(self.directory)

    def remove_if_free(self, condition: Callable[[], bool]) -> bool:
        """Remove environment and lock if nobody uses it and the condition still holds."""
        with taken_if_free(self.lock_path) as lock:
            if lock and condition():
                self.clear()
                lock.remove()
                return True
        return False


def unused_environments(directory: Path, before: float) -> list[Path]:
    """Return the environments in a directory that were not used since a time, nor are now."""
    places = [_Place(path.with_suffix("")) for path in sorted(directory.glob(f"*{_LOCK}"))]
    found = []
    for place in places:
        if place.is_unused(before):
            with taken_if_free(place.lock_path) as lock:
                found += [place.directory] if lock else []
    return found


def remove_unused_environment(environment: Path, before: float) -> bool:
    """Remove an environment unless it was used since a time; return whether it was removed."""
    place = _Place(environment)
    return place.remove_if_free(lambda: place.is_unused(before))


@dataclass(frozen=True, slots=True)
class _Work:
    """The making of one environment in its place."""

    place: _Place
    job: Job
    isolate: Isolate
    disk_bytes: int | None

    def make(self) -> Environment:
        """Make the environment; the caller holds the exclusive lock. A failure leaves nothing."""
        self.place.clear()
        try:
            with _disk_errors():
                return self._make(self.place.directory / f"venv-{os.urandom(4).hex()}")
        except BaseException:
            self.place.clear()
            raise

    def _make(self, venv: Path) -> Environment:
        self.place.directory.mkdir()
        self.place.directory.chmod(_READABLE_DIRECTORY)
        work = self.place.directory / "work"
        work.mkdir()
        work.chmod(_ENTERABLE_DIRECTORY)
        job, version = with_own_cache(self.job, work / "cache"), self.job.interpreter.version
        python = job.interpreter.executable.resolve()
        with Builder.at(
            work / "builder", job.uv, job.requirements, self.isolate, python, self.disk_bytes
        ) as builder:
            maker = EnvironmentMaker(work, venv, job, builder)
            made = maker.make()
        remove_tree(work)
        self.place.write(venv, version, made)
        return Environment(
            python=maker.python,
            python_version=version,
            blankly_version=made.blankly_version,
            constraints=made.constraints,
            was_made=True,
            problems=made.problems,
        )


def _c_library() -> str:
    """Return the C library with its version, "" if unknown: compiled packages depend on it."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, AttributeError):  # another C library
        return ""


@contextmanager
def _hiding(variables: Mapping[str, str]) -> Iterator[None]:
    """Hide the values of variables in problems, which may quote lines with them."""
    try:
        yield
    except EnvironmentFailedError as error:
        values = variables.values()
        shown = (
            replace(one, message=redacted(one.message, values), hint=redacted(one.hint, values))
            for one in error.problems
        )
        raise EnvironmentFailedError(*shown) from None


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn an OSError, such as a full disk or a read-only directory, into our error."""
    try:
        yield
    except OSError as error:
        message = f"The environment of the model cannot be made: {error.strerror}."
        hint = "Check the free disk space, and that the data directory is writable."
        raise EnvironmentFailedError.of(message=message, hint=hint) from error
