"""Makes one environment: resolves the requirements, installs them, and imports blankly."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.environments.installer import OnLine, Uv, UvFailedError
from deploy_action.platform.environments.interpreters import WITH_WHEELS, Interpreter, release_of
from deploy_action.platform.environments.requirements import ModelRequirements
from deploy_action.platform.processes.child_process import run_process
from deploy_action.text.harmless import cut, plain

# newnewtulipy's wheels were built for numpy 1: with numpy 2, `import blankly` ends with
# "numpy.dtype size changed". pandas 2.2 was the first release built for numpy 2. The second entry
# is for requirements that need a newer pandas.
KNOWN_GOOD: Final = (("numpy<2", "pandas<2.2"), ("numpy<2",))
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
    """The version of blankly in an environment, and the constraints that were added."""

    blankly_version: str
    constraints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvironmentMaker:
    """Makes the environment of one model in `directory`, which is empty, with its venv in `venv`.

    Temporary files stay in `directory`.
    """

    directory: Path
    venv: Path
    uv: Uv
    interpreter: Interpreter
    requirements: ModelRequirements
    use_constraints: bool
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
            with self.requirements.readable_by_uv():
                constraints = self._install()
        except UvFailedError as error:
            raise self._failed(error.reason) from error
        return Made(self._try_blankly(), constraints)

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
        frozen = self._pip("freeze")
        if "blankly" in _versions(frozen):
            return ()
        self.on_line(f"{name} does not include blankly: adding it, without a hash")
        kept = self._file("installed", [line for line in frozen if _PINNED.fullmatch(line)])
        return self._resolve_and_install([self._file("blankly", ["blankly"])], [*self._given, kept])

    def _resolve_and_install(self, sources: list[Path], constraints: list[Path]) -> tuple[str, ...]:
        """Install the sources, with known-good constraints if numpy 2 would be installed."""
        resolved = self._resolve(sources, constraints)
        if "blankly" not in resolved:
            self.on_line(f"{self.requirements.name} does not include blankly: adding it")
            sources = [*sources, self._file("blankly", ["blankly"])]
            resolved = self._resolve(sources, constraints)
        added: tuple[str, ...] = ()
        if self.use_constraints and _needs_numpy_1(resolved):
            added = self._known_good(sources, constraints)
            constraints = [*constraints, *([self._file("known-good", added)] if added else [])]
        arguments = _arguments(sources, constraints)
        self._install_files(*arguments)
        return added

    def _known_good(self, sources: list[Path], constraints: list[Path]) -> tuple[str, ...]:
        """Return the first known-good constraints that can be satisfied, else ()."""
        for added in KNOWN_GOOD:
            try:
                self._resolve(sources, [*constraints, self._file("known-good", added)])
            except UvFailedError:
                continue
            self.on_line(
                f"Adding {' and '.join(added)}, because newnewtulipy, which blankly needs, was "
                "built for numpy 1 (BLANKLY_DEPLOY_CONSTRAINTS=off turns this off)"
            )
            return added
        return ()

    def _resolve(self, sources: list[Path], constraints: list[Path]) -> dict[str, str]:
        """Return the versions that would be installed, by normalised package name."""
        resolution = self.directory / "resolution.txt"
        resolution.unlink(missing_ok=True)  # uv prefers the versions in an existing file
        output = ("--quiet", "--no-header", "--no-annotate", "--output-file", resolution)
        files = (word for file in constraints for word in ("--constraint", file))
        self._uv("pip", "compile", "--python", self.python, *output, *sources, *files)
        return _versions(resolution.read_text(encoding="utf-8").splitlines())

    def _pip(self, command: str, *arguments: str | Path) -> list[str]:
        return self._uv("pip", command, "--python", self.python, *arguments)

    def _uv(self, *arguments: str | Path) -> list[str]:
        # As with pip, paths in requirements are relative to the current directory.
        return self.uv.run(
            *arguments,
            cwd=self.requirements.model,
            on_line=self.on_line,
            stop=self.stop,
        )

    def _install_files(self, *arguments: str | Path) -> None:
        """Install without compiling: importing blankly compiles what a backtest imports.

        That is a quarter of the modules, and takes half as long as compiling all of them.
        """
        linking = () if self._can_link() else ("--link-mode", "copy")
        self._pip("install", *linking, *arguments)

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
        problem = Problem(
            message=cut(f"The packages of {name} cannot be installed: {reason}", _LONGEST_MESSAGE),
            hint=self._hint_for(reason),
            path=name,
            line=self._line_of(reason),
        )
        return EnvironmentFailedError(problem)

    def _hint_for(self, reason: str) -> str:
        minor = release_of(self.interpreter.version)[:2]
        if "newnewtulipy" in reason and not WITH_WHEELS[0] <= minor <= WITH_WHEELS[1]:
            return f"Set python_version in blankly.json to {_NEWEST}, which has a wheel."
        if any(said in reason for said in _NO_REQUIREMENT):
            return "Write one package a line, such as blankly, and # before a comment."
        if any(said in reason for said in _OUT_OF_REACH):
            return "Check that this machine can reach the package index; the log has uv's output."
        return "Correct the names and versions in it; the log has uv's output."

    def _line_of(self, reason: str) -> int | None:
        """Return the line that uv complains about: it names a line, or a byte offset."""
        text = self.requirements.texts[self.requirements.name]
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
        return EnvironmentFailedError(problem)


def _arguments(sources: list[Path], constraints: list[Path]) -> list[str | Path]:
    given = [
        (option, file) for option, files in (("-r", sources), ("-c", constraints)) for file in files
    ]
    return [word for pair in given for word in pair]


def _versions(lines: Sequence[str]) -> dict[str, str]:
    """Parse `name==version` and `name @ URL` lines; names are normalised as in PEP 503."""
    found = (match for match in map(_RESOLVED.match, lines) if match)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] or "" for match in found}


def _needs_numpy_1(resolved: dict[str, str]) -> bool:
    major = resolved.get("numpy", "1").partition(".")[0]
    return "newnewtulipy" in resolved and major.isdecimal() and int(major) > 1
