"""Makes one environment: installs what was planned, and imports blankly."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.platform.environments.builder import Builder
from deploy_action.platform.environments.explaining import Explainer
from deploy_action.platform.environments.installer import (
    OnLine,
    Uv,
    UvFailedError,
    with_temporary_cache,
)
from deploy_action.platform.environments.planning import Job, Plan, Planner, Step, major
from deploy_action.platform.processes.child_process import run_process
from deploy_action.platform.processes.directory_trees import directories_in
from deploy_action.records import dataclass, replace
from deploy_action.regular_files import is_within, read_regular
from deploy_action.text.harmless import cut, plain
from deploy_action.text.redaction import redacted

_FAILS_LIVE: Final = Problem(
    message="This model gets pandas 2 or later, with which blankly cannot handle live bar events "
    "on Coinbase (the exchange coinbase_pro), nor aggregate candles.",
    hint="If the model does either, require pandas<2.",
    severity=Severity.NOTICE,
)
_MOST_LINES: Final = 200
_LARGEST_NOTE: Final = 1 << 20
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
_LONGEST_VERSION: Final = 100


@dataclass(frozen=True, slots=True)
class Made:
    """The version of blankly in an environment, the known-good constraints, and what to say."""

    blankly_version: str
    constraints: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvironmentMaker:
    """Makes an environment in `venv`; `directory` is for temporary files.

    Only the `builder` runs code of packages.
    """

    directory: Path
    venv: Path
    job: Job
    builder: Builder

    @property
    def python(self) -> Path:
        """The interpreter inside the environment."""
        return self.venv / "bin" / "python"

    def make(self) -> Made:
        """Make it.

        Raises:
            EnvironmentFailedError: something cannot be installed, or blankly not imported.
            StoppedError: the job was told to stop; what is there is of no use.
        """
        job, requirements = self.job, self.job.requirements
        explainer = Explainer(requirements, job.interpreter)
        version = job.interpreter.version
        executable = job.interpreter.executable
        job.on_line(f"Making an environment with Python {version} from {requirements.name}")
        try:
            with self.builder.requirements.readable_by_uv():
                plan = Planner(self.directory, job, self.builder).plan()
                self._run(job.uv, "venv", "--quiet", "--python", executable, self.venv)
                links = self._links()
                self._install(plan)
        except UvFailedError as error:
            raise explainer.not_installed(error.reason) from error
        blankly_version = self._try_blankly(explainer)
        self.builder.give_back(self.venv)
        if self._links() != links:
            raise explainer.python_changed()
        if self.builder.user is None:
            _let_all_read(self.venv)
        _forget_addresses(self.venv, requirements.filled.values())
        problems = (_FAILS_LIVE,) if self._fails_live() else ()
        return Made(blankly_version, plan.constraints, problems)

    def _install(self, plan: Plan) -> None:
        """Install all without compiling: importing blankly compiles some.

        That is a quarter of the modules, and takes half as long as compiling all of them.
        """
        packages: list[str] = []

        def shorten(line: str) -> None:
            if match := _INSTALLED.fullmatch(line):
                packages.append(match[1])
            elif not line.startswith(_USING):
                self.job.on_line(line)

        steps = list(plan.steps)
        if self.builder.user is not None and self._install_wheels(steps[0], shorten):
            del steps[0]
        self.builder.lend(self.venv)
        for step in steps:
            self._pip_install(
                self.builder.uv,
                *step.arguments,
                cwd=self.builder.requirements.model,
                on_line=shorten,
            )
        if packages:
            self.job.on_line(", ".join(packages))

    def _links(self) -> tuple[str, str]:
        """Return what the interpreter and its directory are links to; blank for what is none."""
        found = []
        for path in (self.python, self.python.parent):
            try:
                found.append(str(path.readlink()))
            except OSError:
                found.append("")
        return found[0], found[1]

    def _install_wheels(self, step: Step, on_line: OnLine) -> bool:
        """Install the wheels of a step, from the cache that all share; return whether that is all.

        It runs as we do, but no code of packages: nothing is built, and the venv is empty.
        """
        if self.job.requirements.is_local:
            return False
        excluded = self.directory / "built.txt"
        excluded.write_text("\n".join([*step.built, ""]), encoding="utf-8")
        # The builder may have changed the copy that it reads.
        requirements = self.job.requirements.copied_to(self.directory / "requirements")
        excluding = (*self.job.uv.excluding_files, excluded)
        said: list[str] = []
        try:
            self._pip_install(
                self.job.uv,
                "--no-build",
                *(word for file in excluding for word in ("--excludes", file)),
                *step.arguments,
                cwd=requirements.model,
                on_line=said.append,
            )
        except UvFailedError:  # the builder does it, or says why it cannot
            return False
        _let_all_read(self.venv, but_not=0o022)  # a write would get into the cache
        for line in said:
            on_line(line)
        return not step.built

    def _pip_install(self, uv: Uv, *arguments: str | Path, cwd: Path, on_line: OnLine) -> None:
        linking = () if uv.confinement.user or self._can_link() else ("--link-mode", "copy")
        command = ("pip", "install", "--python", self.python, *linking)
        self._run(uv, *command, *arguments, cwd=cwd, on_line=on_line)

    def _run(
        self,
        uv: Uv,
        *arguments: str | Path,
        cwd: Path | None = None,
        on_line: OnLine | None = None,
    ) -> list[str]:
        return uv.run(
            *arguments,
            cwd=cwd or self.directory,
            on_line=on_line or self.job.on_line,
            stop=self.job.stop,
        )

    def _can_link(self) -> bool:
        """Whether files can be hard-linked from uv's cache; if not, uv would warn each time."""
        if "UV_LINK_MODE" in self.job.uv.environ:
            return True  # configured by the user
        lines = self._run(self.job.uv, "cache", "dir", on_line=lambda _line: None)
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

    def _fails_live(self) -> bool:
        """Whether the model will trade with a pandas that blankly's live code was not made for."""
        found = self.venv.glob("lib/python*/site-packages/pandas-*.dist-info")
        versions = (path.name.removeprefix("pandas-") for path in found)
        return self.job.is_live and any(major(version) > 1 for version in versions)

    def _try_blankly(self, explainer: Explainer) -> str:
        """Import blankly, as the builder, and return its version.

        Raises:
            EnvironmentFailedError: the import fails.
        """
        lines = deque[str](maxlen=_MOST_LINES)
        uv = self.builder.uv
        ended = run_process(
            # -I: a file of the model must not take the place of a package.
            [str(self.python), "-I", "-c", _TRY_BLANKLY],
            cwd=self.directory,
            environ=uv.environ,
            on_line=lines.append,
            stop=self.job.stop,
            confinement=uv.confinement,
        )
        said = [plain(line).strip() for line in lines if line.strip()]
        if ended.code == 0 and not ended.left and said and said[-1].startswith(_TRIED):
            return cut(said[-1].removeprefix(_TRIED), _LONGEST_VERSION)
        for line in said:
            self.job.on_line(line)
        raise explainer.not_imported(said, ended.code)


def with_own_cache(job: Job, cache: Path) -> Job:
    """Return a job whose uv keeps no secrets that were filled in: its cache has addresses."""
    if not (job.requirements.filled and job.requirements.shows_filled):
        return job
    cache.mkdir(mode=0o700)
    environ = with_temporary_cache(job.uv.environ, cache)
    return replace(job, uv=replace(job.uv, environ=environ))


def _forget_addresses(venv: Path, secrets: Iterable[str]) -> None:
    """Remove the notes of where packages came from, if a secret is in the address."""
    for note in venv.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        if not is_within(os.path.realpath(venv), os.path.realpath(note)):
            continue  # a package put a link there
        with suppress(OSError):  # nothing that uv wrote
            text = read_regular(note, _LARGEST_NOTE, follow=False).decode(errors="replace")
            if redacted(text, secrets) != text:
                note.unlink()


def _let_all_read(directory: Path, *, but_not: int = 0) -> None:
    """Let other users read what is in a directory: a step that saves it may run as another user.

    Files of wheels are links to uv's cache, which may have been filled under another umask. The
    rights `but_not` are taken from them.
    """
    for parent in directories_in(directory):
        for entry in os.scandir(parent):
            if not entry.is_symlink():
                needed = 0o555 if entry.is_dir() else 0o444
                mode = stat.S_IMODE(entry.stat().st_mode)
                if (mode | needed) & ~but_not != mode:
                    os.chmod(entry, (mode | needed) & ~but_not)  # noqa: PTH101  # pathlib is slow for 10,000 files
