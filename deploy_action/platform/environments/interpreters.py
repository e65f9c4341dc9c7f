"""Chooses the Python for a model: the version it asks for, else the nearest that works."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.environments.installer import OnLine, Uv, UvFailedError
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut

# newnewtulipy 0.4.6.5, a compiled dependency of blankly, has wheels for these versions only.
WITH_WHEELS: Final = ((3, 8), (3, 11))
# As uname(2) names system and processor: no wheel for these, and the source does not build.
WITHOUT_WHEELS: Final = frozenset({("Linux", "aarch64"), ("Linux", "arm64")})
_NOT_READY_MADE: Final = (
    "newnewtulipy, which blankly needs, has wheels for Python 3.8 to 3.11 only, and there is no C "
    "compiler here to build it"
)
_COMPILERS: Final = ("cc", "gcc", "clang")
_WRITTEN: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}")
_LISTED: Final = re.compile(r"cpython-(\d+\.\d+\.\d+)-")  # no pre-releases, no other builds
_PYTHONS: Final = "pythons"
# A download may fail only temporarily: after this time it is tried again.
_FALLBACK_SECONDS: Final = 3600
# Fail fast without a network; uv's defaults are 10 s to connect and three retries.
_IMPATIENT: Final = {
    "UV_HTTP_CONNECT_TIMEOUT": "5",
    "UV_HTTP_TIMEOUT": "20",
    "UV_HTTP_RETRIES": "1",
}

Release = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine; `version` is complete, such as 3.11.7.

    If it is not the version that the model asks for, `wanted` is that one, and `reason` says why.
    """

    executable: Path
    version: str
    wanted: str = ""
    reason: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """A warning if it is not the version that the model asks for."""
        if not self.wanted:
            return ()
        message = (
            f"The model wants Python {self.wanted} and runs with {self.version}: {self.reason}."
        )
        hint = "Set python_version in blankly.json to an installed Python, or install that one."
        return (Problem(message=message, hint=hint, severity=Severity.WARNING),)


def release_of(version: str) -> Release:
    """Return a version as numbers: (3, 11, 7)."""
    return tuple(int(part) for part in version.split("."))


@dataclass(frozen=True, slots=True)
class Interpreters:
    """Finds Pythons; keeps downloaded ones, and its choices, in `directory`."""

    directory: Path
    uv: Uv

    def choose(self, wanted: str, *, on_line: OnLine, stop: threading.Event) -> Interpreter:
        """Return the Python of a version such as 3.10, or else the nearest that works.

        Raises:
            EnvironmentFailedError: `wanted` is not a version, or no Python works.
            StoppedError: `stop` was set.
        """
        wanted = wanted.strip()
        if not _WRITTEN.fullmatch(wanted):
            message = f"python_version {cut(wanted, 40)!r} is not a version of Python."
            hint = 'Write it as "3.11", in quotes.'
            raise EnvironmentFailedError.of(message=message, hint=hint)
        own = _own()
        if own and _matches(own.version, wanted) and self.works_with(own.version):
            return own  # no need to ask uv
        decisions = _Decisions(self.directory, self._situation())
        if chosen := decisions.recall(wanted):
            return chosen
        chosen = _Search(self, own, on_line, stop).choose(wanted)
        decisions.keep(wanted, chosen)
        return chosen

    @property
    def has_compiler(self) -> bool:
        """Whether packages without a wheel can be compiled here."""
        path = self.uv.environ.get("PATH", os.defpath)
        return any(shutil.which(name, path=path) for name in _COMPILERS)

    def works_with(self, version: str) -> bool:
        """Whether blankly can be installed for this version of Python here."""
        is_ready_made = WITH_WHEELS[0] <= release_of(version)[:2] <= WITH_WHEELS[1]
        return is_ready_made or self.has_compiler

    def _situation(self) -> str:
        """Return a digest of everything that the choice of a Python depends on."""
        settings = [
            (name, value)
            for name, value in sorted(self.uv.environ.items())
            if name in {"PATH", "HOME"} or name.startswith(("XDG_", "UV_PYTHON"))
        ]
        facts = [self.has_compiler, sys.version, settings]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _own() -> Interpreter | None:
    """Return the Python that runs this program, without its virtual environment."""
    executable = Path(getattr(sys, "_base_executable", None) or sys.executable)
    if sys.implementation.name != "cpython" or not executable.is_file():
        return None
    if sys.version_info.releaselevel != "final":
        return None
    return Interpreter(executable, platform.python_version())


def _matches(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith(f"{wanted}.")


@dataclass(frozen=True, slots=True)
class _Search:
    """One search for a Python with uv."""

    pythons: Interpreters
    own: Interpreter | None
    on_line: OnLine
    stop: threading.Event

    def choose(self, wanted: str) -> Interpreter:
        if release_of(wanted)[1:] and not self.pythons.works_with(wanted):
            return self._nearest(wanted, _NOT_READY_MADE)
        try:
            found = self._find(wanted) or self._fetch(wanted)
        except UvFailedError as error:
            reason = f"it is not installed here and cannot be downloaded ({cut(error.cause, 300)})"
            return self._nearest(wanted, reason)
        if not self.pythons.works_with(found.version):  # "3" may match any minor version
            return self._nearest(wanted, _NOT_READY_MADE)
        return found

    def _find(self, wanted: str) -> Interpreter | None:
        """Look for an installed Python, then for a downloaded one."""
        for settings in ({}, self._fetched):
            with suppress(UvFailedError):
                # --quiet would hide the answer, too. Other lines are noise: pyenv puts commands
                # on PATH for versions that are not selected.
                lines = self._uv("find", wanted, "--system", "--no-project", **settings)
                found = [Path(line) for line in lines if line.startswith("/")]
                if found and (version := self._version(found[-1])):
                    return Interpreter(found[-1], version)
        return None

    def _fetch(self, wanted: str) -> Interpreter:
        self.on_line(f"Downloading Python {wanted}, which is not installed here")
        impatient = {k: v for k, v in _IMPATIENT.items() if k not in self.pythons.uv.environ}
        self._uv("install", wanted, "--no-bin", **self._fetched, **impatient)
        if found := self._find(wanted):
            return found
        raise UvFailedError("it does not start")

    def _nearest(self, wanted: str, reason: str) -> Interpreter:
        versions = {self.own.version} if self.own else set()
        for settings in ({}, self._fetched):
            with suppress(UvFailedError):
                lines = self._uv("list", "--only-installed", "--no-project", **settings)
                versions.update(match[1] for match in map(_LISTED.match, lines) if match)
        for version in sorted(versions, key=lambda version: _distance(version, wanted)):
            if not self.pythons.works_with(version):
                continue
            same = self.own if self.own and self.own.version == version else None
            if found := same or self._find(version):
                return Interpreter(found.executable, found.version, wanted, reason)
        message = f"There is no Python for the model, which wants {wanted}: {reason}."
        hint = "Install Python 3.11 so that it is on PATH."
        raise EnvironmentFailedError.of(message=message, hint=hint)

    def _version(self, executable: Path) -> str:
        """Return the version that a Python reports; "" if it does not start."""
        from deploy_action.platform.processes.child_process import run_process

        lines: list[str] = []
        code = "import platform; print(platform.python_version())"
        with suppress(OSError):
            run_process(
                [str(executable), "-I", "-S", "-c", code],
                cwd=self.pythons.directory,
                environ=self.pythons.uv.environ,
                on_line=lines.append,
                stop=self.stop,
            )
        return lines[-1] if lines and re.fullmatch(r"\d+\.\d+\.\d+", lines[-1]) else ""

    @property
    def _fetched(self) -> Mapping[str, str]:
        return {"UV_PYTHON_INSTALL_DIR": str(self.pythons.directory / _PYTHONS)}

    def _uv(self, *arguments: str, **settings: str) -> list[str]:
        directory = self.pythons.directory
        return self.pythons.uv.run(
            "python",
            *arguments,
            cwd=directory,
            on_line=lambda _line: None,
            stop=self.stop,
            **settings,
        )


def _distance(version: str, wanted: str) -> tuple[int, ...]:
    """Sort key: the versions nearest to the wanted one first; of equally near ones, the newer."""
    release, target = release_of(version), (*release_of(wanted), 0)
    return (
        abs(release[0] - target[0]),
        abs(release[1] - target[1]),
        -release[1],
        *(-part for part in release[2:]),
    )


@dataclass(frozen=True, slots=True)
class _Decisions:
    """Stores the chosen Python until something changes: asking uv takes 0.5 s."""

    directory: Path
    situation: str

    def recall(self, wanted: str) -> Interpreter | None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(self._path(wanted).read_bytes())
            reason = kept["reason"]
            chosen = Interpreter(
                Path(kept["executable"]), kept["version"], wanted if reason else "", reason
            )
            is_fresh = not reason or 0 <= time.time() - kept["at"] < _FALLBACK_SECONDS
            if is_fresh and kept["stamp"] == self._stamp(chosen.executable):
                return chosen
        return None

    def keep(self, wanted: str, chosen: Interpreter) -> None:
        kept = {
            "executable": str(chosen.executable),
            "version": chosen.version,
            "reason": chosen.reason,
            "stamp": self._stamp(chosen.executable),
            "at": time.time(),
        }
        write_atomically(self._path(wanted), json.dumps(kept))

    def _path(self, wanted: str) -> Path:
        return self.directory / f"python-{wanted}.json"

    def _stamp(self, executable: Path) -> list[object]:
        status = executable.stat()
        return [self.situation, status.st_size, status.st_mtime_ns]


def write_atomically(path: Path, text: str) -> None:
    """Write a file completely or not at all; others can read it."""
    aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.chmod(0o644)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
