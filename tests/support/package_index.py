"""Small packages made for tests; the installer finds no others."""

from __future__ import annotations

import hashlib
import os
import resource
import secrets
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy_action.platform.environments import Environment, Environments
from deploy_action.platform.environments.builder import Isolate

_NEEDS_NUMPY_1 = """\
import numpy
if numpy.MAJOR > 1:
    raise ValueError("numpy.dtype size changed, may indicate binary incompatibility.")
"""

_BACKEND = """
import json, zipfile
def build(directory, *, is_editable):
    wheel, information = f"{NAME}-{VERSION}-py3-none-any.whl", f"{NAME}-{VERSION}.dist-info"
    told = json.dumps({"user": os.getuid(), "got": got})
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        archive.writestr("told.json", told)
        if is_editable:
            archive.writestr(f"{NAME}.pth", os.getcwd() + "\\n")
        else:
            archive.writestr(f"{NAME}.py", "")
            archive.write("at_each_start.py")
            archive.writestr(f"{NAME}.pth", "import at_each_start\\n")
        archive.writestr(f"{information}/METADATA",
            f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\\n"
            "Generator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{information}/RECORD", "")
    return wheel
def build_wheel(directory, config_settings=None, metadata_directory=None):
    return build(directory, is_editable=False)
def build_editable(directory, config_settings=None, metadata_directory=None):
    return build(directory, is_editable=True)
"""


@dataclass(frozen=True, slots=True)
class PackageIndex:
    """A directory of wheels, and an environment in which uv finds only these."""

    root: Path

    def __post_init__(self) -> None:
        """Make the directories, and packages with the same dependencies as blankly's."""
        for path in (self.wheels, self.root / "empty", self.root / "bin"):
            path.mkdir(parents=True)
        compiler = self.root / "bin" / "cc"
        compiler.write_text("#!/bin/sh\n")
        compiler.chmod(0o755)
        for major, version in ((1, "1.26.4"), (2, "2.1.0")):
            self.add("numpy", version, f"MAJOR = {major}\n")
        for version in ("1.5.3", "2.1.0", "2.2.0"):
            self.add("pandas", version)
        self.add("newnewtulipy", "0.4.6.5", _NEEDS_NUMPY_1, requires=("numpy",))
        self.add("blankly", "1.18", "import newnewtulipy\n", requires=("newnewtulipy", "pandas"))
        for version in ("80.1.0", "82.0.0"):
            self.add("setuptools", version)
        self.add("oaks", "1.0")
        self.add("oaks", "2.0")

    @property
    def wheels(self) -> Path:
        return self.root / "wheels"

    def add(self, name: str, version: str, code: str = "", requires: tuple[str, ...] = ()) -> Path:
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        information = f"{name}-{version}.dist-info"
        needed = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        files = {
            f"{name}/__init__.py": code,
            f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
            f"Version: {version}\n{needed}",
            f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
            "Root-Is-Purelib: true\nTag: py3-none-any\n",
            f"{information}/RECORD": "",
        }
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in files.items():
                archive.writestr(member, content)
        return path

    def add_source(self, name: str, version: str, code: str, *, at_each_start: str = "") -> Path:
        """Add a package that has no wheel; see `write_source`."""
        path = self.wheels / f"{name}-{version}.tar.gz"
        with tempfile.TemporaryDirectory() as folder, tarfile.open(path, "w:gz") as archive:
            sources = self.write_source(
                Path(folder) / name, code, name=name, version=version, at_each_start=at_each_start
            )
            archive.add(sources, f"{name}-{version}")
        return path

    @staticmethod
    def write_source(
        directory: Path,
        code: str,
        *,
        name: str = "pine",
        version: str = "1.0",
        at_each_start: str = "",
    ) -> Path:
        """Write the sources of a package that runs code when it is built, and return them.

        The code leaves in `got` what becomes part of `told.json`, beside who ran it. The other code
        runs whenever a Python starts where it is installed.
        """
        directory.mkdir()
        (directory / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            f'[project]\nname = "{name}"\ndynamic = ["version"]\n'
        )
        (directory / f"{name}.py").write_text("")
        (directory / "at_each_start.py").write_text(at_each_start)
        (directory / "backend.py").write_text(
            f"import os\n{code}\nNAME, VERSION = {name!r}, {version!r}\n" + _BACKEND
        )
        return directory

    def digest(self, name: str) -> str:
        """Return the `--hash` option of a wheel for a requirements file."""
        return self.digest_of(self.wheels / f"{name}-py3-none-any.whl")

    @staticmethod
    def digest_of(path: Path) -> str:
        """Return the `--hash` option of a file for a requirements file."""
        return f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process on a machine with this index and no network.

        Its compiler is one by name only, so that any Python will do.
        """
        return {
            "PATH": str(self.root / "bin"),
            "HOME": str(self.root / "home"),
            "UV_CACHE_DIR": str(self.root / "cache"),
            "UV_DEFAULT_INDEX": (self.root / "empty").as_uri(),
            "UV_FIND_LINKS": str(self.wheels),
            "UV_PYTHON_DOWNLOADS": "never",
        }


@dataclass(slots=True)
class Tenant:
    """A model that needs an environment, and the directory of environments."""

    root: Path
    environ: dict[str, str]
    python_version: str
    log: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    use_constraints: bool = True
    is_live: bool = False
    machine: tuple[str, str] | None = None
    variables: dict[str, str] = field(default_factory=dict)
    isolate: Isolate = lambda *_: None
    disk_bytes: int | None = None

    def __post_init__(self) -> None:
        self.model.mkdir(parents=True, exist_ok=True)

    @property
    def model(self) -> Path:
        return self.root / "private" / "model"

    @property
    def directory(self) -> Path:
        return self.root / "environments"

    def requires(self, *lines: str, name: str = "requirements.txt") -> None:
        path = self.model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))

    @contextmanager
    def inside(self, requirements: str = "./requirements.txt") -> Iterator[Environment]:
        """Hold the model's environment for the duration of the block."""
        environments = Environments(
            self.directory,
            environ=self.environ,
            use_constraints=self.use_constraints,
            machine=self.machine,
            disk_bytes=self.disk_bytes,
        )
        with environments.acquire(
            self.model,
            requirements=requirements,
            python_version=self.python_version,
            on_line=self.log.append,
            stop=self.stop,
            is_live=self.is_live,
            variables=self.variables,
            isolate=self.isolate,
        ) as environment:
            yield environment

    def visit(self, requirements: str = "./requirements.txt") -> Environment:
        """Find or make the environment, and release it at once."""
        with self.inside(requirements) as environment:
            return environment

    @property
    def made(self) -> list[str]:
        """The names of all environments, complete or not."""
        kept = {"pythons"}
        return [p.name for p in self.directory.iterdir() if p.is_dir() and p.name not in kept]


@contextmanager
def no_program_runs() -> Iterator[None]:
    """Fail if the block runs a program to its end: every program has page faults."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    yield
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt == before


def installed(environment: Environment) -> dict[str, str]:
    """Return the versions of the packages in an environment, by name."""
    found = environment.python.parents[1].glob("lib/python*/site-packages/*.dist-info")
    return dict(path.name.removesuffix(".dist-info").rsplit("-", 1) for path in found)


def new_secret() -> str:
    """Return a random password."""
    return "s" + secrets.token_hex(12)


def is_set(path: Path, bits: int) -> bool:
    """Return whether a file's mode has all these bits; links are followed."""
    return os.lstat(path).st_mode & bits == bits
