"""Makes one environment: resolves the requirements, installs them, and imports blankly."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.environments.installer import OnLine, Uv, UvFailedError
from deploy_action.platform.environments.interpreters import WITH_WHEELS, Interpreter, release_of
from deploy_action.platform.environments.requirements import ModelRequirements
from deploy_action.platform.processes.child_process import run_process
from deploy_action.records import dataclass, replace
from deploy_action.text.harmless import cut, cut_middle, plain
from deploy_action.text.redaction import redacted

# newnewtulipy's wheels were built for numpy 1: with numpy 2, `import blankly` ends with
# "numpy.dtype size changed". pandas 2.2 was the first release built for numpy 2. The second entry
# is for requirements that need a newer pandas.
KNOWN_GOOD: Final = (("numpy<2", "pandas<2.2"), ("numpy<2",))
# pandas 2 has no `DataFrame.append`. blankly 1.18.25b0 calls it in `history` for "coinbase_pro", so
# at each live bar event there, also under PaperTrade, and in `utils.aggregate_candles`; a backtest
# does not get there.
KNOWN_GOOD_LIVE: Final = ("numpy<2", "pandas<2")
_FAILS_LIVE: Final = Problem(
    message="This model gets pandas 2 or later, with which blankly cannot handle live bar events "
    "on Coinbase (the exchange coinbase_pro), nor aggregate candles.",
    hint="If the model does either, require pandas<2.",
    severity=Severity.NOTICE,
)
# Python brought setuptools along until 3.11, and old packages import its `pkg_resources` without
# requiring it; setuptools 82 was the first release without that module.
_SETUPTOOLS_MAJOR: Final = 81
SETUPTOOLS: Final = f"setuptools<{_SETUPTOOLS_MAJOR}"
_WITHOUT_SETUPTOOLS: Final = (3, 12)
_NEWEST: Final = ".".join(map(str, WITH_WHEELS[1]))
_LONGEST_MESSAGE: Final = 1_000
_MOST_LINES: Final = 200
_PINNED: Final = re.compile(r"[A-Za-z0-9][\w.-]*==\S+")
_RESOLVED: Final = re.compile(r"([A-Za-z0-9][\w.-]*)(?:==([^\s;]+)|\s*@)")
_NUMPY_CHANGED: Final = re.compile(r"numpy\.dtype size changed|numpy 1\.x cannot be run|_ARRAY_API")
_AT_LINE: Final = re.compile(r":(\d+):\d+\b")
_AT_POSITION: Final = re.compile(r"at position (\d+)")
_NO_REQUIREMENT: Final = ("Couldn't parse requirement", "Unexpected '", "Error parsing included")
_OUT_OF_REACH: Final = ("error sending request", "Failed to fetch", "client error")
_NOT_BUILT: Final = "Failed to build"
# uv's words when a version has no file for the Python in use.
_OTHER_PYTHON: Final = re.compile(r"\bPython\b|\bcp3\d")
_WHEELS_FOR: Final = re.compile(r"\bcp(3\d+)")
# What `uv pip install` says of each package, and of the environment, whose path helps nobody.
_INSTALLED: Final = re.compile(r" \+ (\S+)")
_USING: Final = "Using Python "
# The version comes from the metadata: the package may have no __version__. Whatever the import
# prints comes before our line.
_TRY_BLANKLY: Final = (
    "import blankly\n"
    "from importlib.metadata import version\n"
    "print('\\nblankly-version', version('blankly'))"
)
_TRIED: Final = "blankly-version "


@dataclass(frozen=True, slots=True)
class Made:
    """The version of blankly in an environment, the known-good constraints, and what to say."""

    blankly_version: str
    constraints: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvironmentMaker:
    """Makes the environment of one model in `directory`, which is empty, with its venv in `venv`.

    Temporary files stay in `directory`. `is_live`: the model will trade, and not be backtested.
    """

    directory: Path
    venv: Path
    uv: Uv
    interpreter: Interpreter
    requirements: ModelRequirements
    use_constraints: bool
    is_live: bool
    on_line: OnLine
    stop: threading.Event

    @property
    def python(self) -> Path:
        """The interpreter inside the environment."""
        return self.venv / "bin" / "python"

    def make(self) -> Made:
        """Make it.

        Raises:
            EnvironmentFailedError: something cannot be installed, or blankly not imported.
            StoppedError: `stop` was set; what is there is of no use.
        """
        version, name = self.interpreter.version, self.requirements.name
        self.on_line(f"Making an environment with Python {version} from {name}")
        try:
            self._uv("venv", "--quiet", "--python", self.interpreter.executable, self.venv)
            with self.requirements.readable_by_uv(), self._own_cache() as maker:
                constraints = maker._install()  # noqa: SLF001  # of the same class
            _forget_addresses(self.venv, self.requirements.filled.values())
        except UvFailedError as error:
            raise self._failed(error.reason) from error
        version = self._try_blankly()
        return Made(version, constraints, (_FAILS_LIVE,) if self._fails_live() else ())

    @contextmanager
    def _own_cache(self) -> Iterator[EnvironmentMaker]:
        """Yield a maker whose uv keeps no secrets that were filled in: its cache has addresses."""
        if not (self.requirements.filled and self.requirements.shows_filled):
            yield self
            return
        cache = self.directory / "cache"
        uv = replace(self.uv, environ={**self.uv.environ, "UV_CACHE_DIR": str(cache)})
        try:
            yield replace(self, uv=uv)
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def _install(self) -> tuple[str, ...]:
        requirements = self.requirements
        if not requirements.installs_anything:
            self.on_line(f"{requirements.name} names no package: adding blankly")
            return self._resolve_and_install([self._file("blankly", ["blankly"])], self._given)
        if requirements.is_hashed:
            return self._install_hashed()
        return self._resolve_and_install([Path(requirements.name)], self._given)

    @property
    def _given(self) -> list[Path]:
        """The constraint files configured on this machine."""
        return list(self.uv.constraint_files)

    def _install_hashed(self) -> tuple[str, ...]:
        """Install the packages that have hashes, then blankly if it is not one of them."""
        name = self.requirements.name
        self._install_files("--require-hashes", "-r", name)
        frozen = self._uv("pip", "freeze", "--python", self.python)
        if "blankly" in _versions(frozen):
            return ()
        self.on_line(f"{name} does not include blankly: adding it, without a hash")
        kept = self._file("installed", [line for line in frozen if _PINNED.fullmatch(line)])
        return self._resolve_and_install([self._file("blankly", ["blankly"])], [*self._given, kept])

    def _resolve_and_install(self, sources: list[Path], constraints: list[Path]) -> tuple[str, ...]:
        """Install the sources, with setuptools, and numpy 1 if numpy 2 would be installed."""
        resolved = self._resolve(sources, constraints)
        if "blankly" not in resolved:
            self.on_line(f"{self.requirements.name} does not include blankly: adding it")
            sources = [*sources, self._file("blankly", ["blankly"])]
            resolved = self._resolve(sources, constraints)
        added: tuple[str, ...] = ()
        if self.use_constraints:
            added = self._known_good(sources, constraints, resolved)
            constraints = [*constraints, *([self._file("known-good", added)] if added else [])]
        if self.use_constraints and self._may_lack_setuptools(resolved):
            more = [*sources, self._file("setuptools", [SETUPTOOLS])]
            if self._can_resolve(more, constraints):
                self._say_added((SETUPTOOLS,), "old packages use it without requiring it")
                sources, added = more, (*added, SETUPTOOLS)
        self._install_files(*_arguments(sources, constraints))
        return added

    def _known_good(
        self, sources: list[Path], constraints: list[Path], resolved: dict[str, str]
    ) -> tuple[str, ...]:
        """Return the first known-good constraints that are needed and can be satisfied, else ()."""
        wanted: list[tuple[tuple[str, ...], str]] = []
        if self.is_live and _major(resolved.get("pandas", "")) > 1:
            wanted = [(KNOWN_GOOD_LIVE, "live bar events on Coinbase fail with pandas 2")]
        if _needs_numpy_1(resolved):
            why = "newnewtulipy, which blankly needs, was built for numpy 1"
            wanted += [(added, why) for added in KNOWN_GOOD]
        for added, why in wanted:
            if self._can_resolve(sources, [*constraints, self._file("known-good", added)]):
                self._say_added(added, why)
                return added
        return ()

    def _fails_live(self) -> bool:
        """Whether the model will trade with a pandas that blankly's live code was not made for."""
        found = self.venv.glob("lib/python*/site-packages/pandas-*.dist-info")
        versions = (path.name.removeprefix("pandas-") for path in found)
        return self.is_live and any(_major(version) > 1 for version in versions)

    def _may_lack_setuptools(self, resolved: dict[str, str]) -> bool:
        is_old = release_of(self.interpreter.version)[:2] < _WITHOUT_SETUPTOOLS
        return is_old and _major(resolved.get("setuptools", "")) not in range(_SETUPTOOLS_MAJOR)

    def _say_added(self, added: tuple[str, ...], why: str) -> None:
        off = "BLANKLY_DEPLOY_CONSTRAINTS=off turns this off"
        self.on_line(f"Adding {' and '.join(added)}, because {why} ({off})")

    def _can_resolve(self, sources: list[Path], constraints: list[Path]) -> bool:
        """Whether the sources can be installed; if not, nothing is said."""
        try:
            self._resolve(sources, constraints, on_line=lambda _line: None)
        except UvFailedError:
            return False
        return True

    def _resolve(
        self, sources: list[Path], constraints: list[Path], on_line: OnLine | None = None
    ) -> dict[str, str]:
        """Return the versions that would be installed, by normalised package name."""
        resolution = self.directory / "resolution.txt"
        resolution.unlink(missing_ok=True)  # uv prefers the versions in an existing file
        output = ("--quiet", "--no-header", "--no-annotate", "--output-file", resolution)
        files = (word for file in constraints for word in ("--constraint", file))
        command = ("pip", "compile", "--python", self.python)
        self._uv(*command, *output, *sources, *files, on_line=on_line)
        resolved = _versions(resolution.read_text(encoding="utf-8").splitlines())
        resolution.unlink()  # it has addresses as they were filled in
        return resolved

    def _uv(self, *arguments: str | Path, on_line: OnLine | None = None) -> list[str]:
        # As with pip, paths in requirements are relative to the current directory.
        return self.uv.run(
            *arguments,
            cwd=self.requirements.model,
            on_line=on_line or self.on_line,
            stop=self.stop,
        )

    def _install_files(self, *arguments: str | Path) -> None:
        """Install without compiling: importing blankly compiles what a backtest imports.

        That is a quarter of the modules, and takes half as long as compiling all of them.
        """
        linking = () if self._can_link() else ("--link-mode", "copy")
        packages: list[str] = []

        def shorten(line: str) -> None:
            if match := _INSTALLED.fullmatch(line):
                packages.append(match[1])
            elif not line.startswith(_USING):
                self.on_line(line)

        command = ("pip", "install", "--python", self.python)
        self._uv(*command, *linking, *arguments, on_line=shorten)
        if packages:
            self.on_line(", ".join(packages))

    def _can_link(self) -> bool:
        """Whether files can be hard-linked from uv's cache; if not, uv would warn each time."""
        if "UV_LINK_MODE" in self.uv.environ:
            return True  # configured by the user
        lines = self.uv.run(
            "cache", "dir", cwd=self.directory, on_line=lambda _line: None, stop=self.stop
        )
        probe = f"link-{os.urandom(8).hex()}"
        in_cache, linked = Path(lines[-1]) / probe, self.directory / probe
        try:
            in_cache.parent.mkdir(parents=True, exist_ok=True)
            in_cache.touch()
            linked.hardlink_to(in_cache)
        except OSError:
            return False
        finally:
            in_cache.unlink(missing_ok=True)
            linked.unlink(missing_ok=True)
        return True

    def _file(self, name: str, lines: Sequence[str]) -> Path:
        path = self.directory / f"{name}.txt"
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return path

    def _failed(self, reason: str) -> EnvironmentFailedError:
        name = self.requirements.name
        message = f"The packages of {name} cannot be installed: {reason}"
        problem = Problem(
            message=cut_middle(message, _LONGEST_MESSAGE),
            hint=self._hint_for(reason),
            path=name,
            line=self._line_of(reason),
        )
        return EnvironmentFailedError(problem, *self.interpreter.problems)

    def _hint_for(self, reason: str) -> str:
        minor = release_of(self.interpreter.version)[:2]
        is_build = _NOT_BUILT in reason
        if "newnewtulipy" in reason and not WITH_WHEELS[0] <= minor <= WITH_WHEELS[1]:
            return f"Set python_version in blankly.json to {_NEWEST}, which has a wheel."
        if any(said in reason for said in _NO_REQUIREMENT):
            return "Write one package a line, such as blankly, and # before a comment."
        if any(said in reason for said in _OUT_OF_REACH):
            return (
                "Check that this machine can reach the package index and, if there is a proxy, the "
                "variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY; the log has uv's output."
            )
        if not is_build and not _OTHER_PYTHON.search(reason):
            return "Correct the names and versions in it; the log has uv's output."
        wanted, runs_with = self.interpreter.wanted, self.interpreter.version
        if wanted and _may_have_worked_with(wanted, reason):
            return (
                f"The model wants Python {wanted} and runs with {runs_with}, which old versions of "
                f"packages may not know: install Python {wanted} here, or take newer versions."
            )
        return (
            f"Take a version that has a wheel for Python {'.'.join(map(str, minor))}, or correct "
            "the name; the log has uv's output."
        )

    def _line_of(self, reason: str) -> int | None:
        """Return the line that uv complains about: it names a line, or a byte offset."""
        name = self.requirements.name
        text = self.requirements.rewritten.get(name, self.requirements.texts[name])
        if match := re.search(re.escape(self.requirements.name) + _AT_LINE.pattern, reason):
            return int(match[1])
        match = _AT_POSITION.search(reason)
        if not match or f"`{self.requirements.name}` at position" not in reason:
            return None
        return text.encode()[: int(match[1])].count(b"\n") + 1

    def _try_blankly(self) -> str:
        """Import blankly and return its version.

        Raises:
            EnvironmentFailedError: the import fails.
        """
        lines = deque[str](maxlen=_MOST_LINES)
        ended = run_process(
            # -I: a file of the model must not take the place of a package.
            [str(self.python), "-I", "-c", _TRY_BLANKLY],
            cwd=self.directory,
            environ=self.uv.environ,
            on_line=lines.append,
            stop=self.stop,
        )
        said = [plain(line).strip() for line in lines if line.strip()]
        if ended.code == 0 and said and said[-1].startswith(_TRIED):
            return said[-1].removeprefix(_TRIED)
        for line in said:
            self.on_line(line)
        raise self._import_failed(said, ended.code)

    def _import_failed(self, said: list[str], code: int) -> EnvironmentFailedError:
        reason = said[-1] if said else f"Python ended with code {code}"
        name = self.requirements.name
        hint = "Correct the versions in it so that `import blankly` works."
        if any(_NUMPY_CHANGED.search(line) for line in said):
            hint = (
                f"Add the lines numpy<2 and pandas<2.2 to {name}: newnewtulipy, which blankly "
                "needs, was built for numpy 1."
            )
        message = f"blankly cannot be imported with the packages of {name}: {reason}"
        problem = Problem(message=cut(message, _LONGEST_MESSAGE), hint=hint, path=name)
        return EnvironmentFailedError(problem, *self.interpreter.problems)


def _forget_addresses(venv: Path, secrets: Iterable[str]) -> None:
    """Remove the notes of where packages came from, if a secret is in the address."""
    for note in venv.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        text = note.read_text(encoding="utf-8", errors="replace")
        if redacted(text, secrets) != text:
            note.unlink()


def _arguments(sources: list[Path], constraints: list[Path]) -> list[str | Path]:
    given = [
        (option, file) for option, files in (("-r", sources), ("-c", constraints)) for file in files
    ]
    return [word for pair in given for word in pair]


def _versions(lines: Sequence[str]) -> dict[str, str]:
    """Parse `name==version` and `name @ URL` lines; names are normalised as in PEP 503."""
    found = (match for match in map(_RESOLVED.match, lines) if match)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] or "" for match in found}


def _may_have_worked_with(wanted: str, reason: str) -> bool:
    """Whether the wanted Python may be what is missing: not if uv found files for others only."""
    found = set(_WHEELS_FOR.findall(reason))
    return "".join(wanted.split(".")[:2]) in found or len(found) <= 1  # the one in use


def _needs_numpy_1(resolved: dict[str, str]) -> bool:
    return "newnewtulipy" in resolved and _major(resolved.get("numpy", "")) > 1


def _major(version: str) -> int:
    """Return the first number of a version; -1 if there is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else -1
