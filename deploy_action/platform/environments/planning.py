"""Decides what an environment gets: resolves the requirements, with known-good constraints."""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy_action.platform.environments.builder import Builder
from deploy_action.platform.environments.installer import OnLine, Uv, UvFailedError
from deploy_action.platform.environments.interpreters import Interpreter, release_of
from deploy_action.platform.environments.requirements import ModelRequirements
from deploy_action.records import dataclass
from deploy_action.regular_files import read_regular

# newnewtulipy's wheels were built for numpy 1: with numpy 2, `import blankly` ends with
# "numpy.dtype size changed". pandas 2.2 was the first release built for numpy 2. The second entry
# is for requirements that need a newer pandas.
KNOWN_GOOD: Final = (("numpy<2", "pandas<2.2"), ("numpy<2",))
# pandas 2 has no `DataFrame.append`. blankly 1.18.25b0 calls it in `history` for "coinbase_pro", so
# at each live bar event there, also under PaperTrade, and in `utils.aggregate_candles`; a backtest
# does not get there.
KNOWN_GOOD_LIVE: Final = ("numpy<2", "pandas<2")
# Python brought setuptools along until 3.11, and old packages import its `pkg_resources` without
# requiring it; setuptools 82 was the first release without that module.
_SETUPTOOLS_MAJOR: Final = 81
SETUPTOOLS: Final = f"setuptools<{_SETUPTOOLS_MAJOR}"
_WITHOUT_SETUPTOOLS: Final = (3, 12)
_LARGEST_RESOLUTION: Final = 8 << 20
# As uv writes them. They become lines of files that it reads as root, where others are options.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.!+_-]{0,200}[A-Za-z0-9])?")
# A package that comes from one of these has no version that an index knows.
_NOT_OF_AN_INDEX: Final = frozenset({"archive", "directory", "vcs"})


@dataclass(frozen=True, slots=True)
class Job:
    """An environment to be made: by which uv, with which Python, from what.

    `is_live`: the model will trade, and not be backtested.
    """

    uv: Uv
    interpreter: Interpreter
    requirements: ModelRequirements
    use_constraints: bool
    is_live: bool
    on_line: OnLine
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class Step:
    """Arguments of `uv pip install`, and the names of the packages that have to be built then."""

    arguments: tuple[str | Path, ...]
    built: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is installed, in this order, and the known-good constraints among it."""

    steps: tuple[Step, ...]
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What would be installed: versions by normalised name (PEP 503), "" if there is none.

    `pins` are the requirements that fix those of an index, and `built` the packages without wheels.
    """

    versions: Mapping[str, str]
    pins: tuple[str, ...]
    built: tuple[str, ...]

    @classmethod
    def read(cls, lock: bytes) -> _Resolved:
        """Read a lock file (PEP 751); raise ValueError if it is none, whatever it is."""
        try:
            packages = tomllib.loads(lock.decode()).get("packages", [])
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if not isinstance(packages, list) or not all(map(_is_package, packages)):
            raise ValueError("a package has no name, or an impossible version")
        return cls(
            {one["name"]: str(one.get("version", "")) for one in packages},
            tuple(
                f"{one['name']}=={one['version']}"
                for one in packages
                if "version" in one and not _NOT_OF_AN_INDEX & one.keys()
            ),
            tuple(one["name"] for one in packages if not one.get("wheels")),
        )


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans a job; `directory` gets files that the plan names."""

    directory: Path
    job: Job
    builder: Builder

    def plan(self) -> Plan:
        """Decide what is installed.

        Raises:
            UvFailedError: the requirements cannot be met.
            StoppedError: the job was told to stop.
        """
        requirements = self.job.requirements
        if not requirements.installs_anything:
            self.job.on_line(f"{requirements.name} names no package: adding blankly")
            return self._plan([self._file("blankly", ["blankly"])], self._given)
        if requirements.is_hashed:
            return self._plan_hashed()
        return self._plan([Path(requirements.name)], self._given)

    @property
    def _given(self) -> list[Path]:
        """The constraint files configured on this machine."""
        return list(self.job.uv.constraint_files)

    def _plan_hashed(self) -> Plan:
        """Install the packages that have hashes, then blankly if it is not one of them."""
        name = self.job.requirements.name
        resolved = self._resolve([Path(name)], [])
        hashed = Step(("--require-hashes", "-r", name), resolved.built)
        if "blankly" in resolved.versions:
            return Plan((hashed,))
        self.job.on_line(f"{name} does not include blankly: adding it, without a hash")
        kept = self._file("installed", resolved.pins)
        more = self._plan([self._file("blankly", ["blankly"])], [*self._given, kept])
        return Plan((hashed, *more.steps), more.constraints)

    def _plan(self, sources: list[Path], constraints: list[Path]) -> Plan:
        """Install the sources, with setuptools, and numpy 1 if numpy 2 would be installed."""
        resolved = self._resolve(sources, constraints)
        if "blankly" not in resolved.versions:
            self.job.on_line(f"{self.job.requirements.name} does not include blankly: adding it")
            sources = [*sources, self._file("blankly", ["blankly"])]
            resolved = self._resolve(sources, constraints)
        added: tuple[str, ...] = ()
        if self.job.use_constraints and (found := self._known_good(sources, constraints, resolved)):
            added, resolved = found
            constraints = [*constraints, self._file("known-good", added)]
        if self.job.use_constraints and self._may_lack_setuptools(resolved):
            more = [*sources, self._file("setuptools", [SETUPTOOLS])]
            if with_it := self._try_to_resolve(more, constraints):
                self._say_added((SETUPTOOLS,), "old packages use it without requiring it")
                sources, added, resolved = more, (*added, SETUPTOOLS), with_it
        constraints = [*constraints, self._file("resolved", resolved.pins)]
        return Plan((Step(_arguments(sources, constraints), resolved.built),), added)

    def _known_good(
        self, sources: list[Path], constraints: list[Path], resolved: _Resolved
    ) -> tuple[tuple[str, ...], _Resolved] | None:
        """Return the first known-good constraints that are needed and can be satisfied."""
        versions = resolved.versions
        wanted: list[tuple[tuple[str, ...], str]] = []
        if self.job.is_live and major(versions.get("pandas", "")) > 1:
            wanted = [(KNOWN_GOOD_LIVE, "live bar events on Coinbase fail with pandas 2")]
        if "newnewtulipy" in versions and major(versions.get("numpy", "")) > 1:
            why = "newnewtulipy, which blankly needs, was built for numpy 1"
            wanted += [(added, why) for added in KNOWN_GOOD]
        for added, why in wanted:
            known_good = self._file("known-good", added)
            if found := self._try_to_resolve(sources, [*constraints, known_good]):
                self._say_added(added, why)
                return added, found
        return None

    def _may_lack_setuptools(self, resolved: _Resolved) -> bool:
        is_old = release_of(self.job.interpreter.version)[:2] < _WITHOUT_SETUPTOOLS
        version = resolved.versions.get("setuptools", "")
        return is_old and major(version) not in range(_SETUPTOOLS_MAJOR)

    def _say_added(self, added: tuple[str, ...], why: str) -> None:
        off = "BLANKLY_DEPLOY_CONSTRAINTS=off turns this off"
        self.job.on_line(f"Adding {' and '.join(added)}, because {why} ({off})")

    def _try_to_resolve(self, sources: list[Path], constraints: list[Path]) -> _Resolved | None:
        """Resolve the sources; return None, and say nothing, if they cannot be installed."""
        try:
            return self._resolve(sources, constraints, on_line=lambda _line: None)
        except UvFailedError:
            return None

    def _resolve(
        self, sources: list[Path], constraints: list[Path], on_line: OnLine | None = None
    ) -> _Resolved:
        """Return what would be installed; some packages tell what they need when they are built."""
        lock = self.builder.home / "pylock.toml"
        lock.unlink(missing_ok=True)  # uv prefers the versions in an existing file
        self.builder.uv.run(
            *("pip", "compile", "--python", self.job.interpreter.executable),
            *("--quiet", "--format", "pylock.toml", "--output-file", lock),
            *sources,
            *(word for file in constraints for word in ("--constraint", file)),
            cwd=self.builder.requirements.model,
            on_line=on_line or self.job.on_line,
            stop=self.job.stop,
        )
        try:
            return _Resolved.read(read_regular(lock, _LARGEST_RESOLUTION, follow=False))
        except (OSError, ValueError) as error:
            raise UvFailedError("what it resolved cannot be read") from error

    def _file(self, name: str, lines: Sequence[str]) -> Path:
        path = self.directory / f"{name}.txt"
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        path.chmod(0o644)  # the builder reads it
        return path


def _is_package(found: object) -> bool:
    if not isinstance(found, dict):
        return False
    name, version = found.get("name"), found.get("version", "0")
    return (
        isinstance(name, str)
        and isinstance(version, str)
        and bool(_NAME.fullmatch(name) and _VERSION.fullmatch(version))
    )


def major(version: str) -> int:
    """Return the first number of a version; -1 if there is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else -1


def _arguments(sources: list[Path], constraints: list[Path]) -> tuple[str | Path, ...]:
    given = [
        (option, file) for option, files in (("-r", sources), ("-c", constraints)) for file in files
    ]
    return tuple(word for pair in given for word in pair)
