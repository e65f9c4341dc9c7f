"""Shared by all benchmarks: directories, environment variables and tools."""

from __future__ import annotations

import os
import sysconfig
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.isolated import allowed_by_this_machine
from tools.benchmarks.installed import install
from tools.benchmarks.measure import BrokenError

ROOT = Path(__file__).parents[2]
BLANKLY_PYTHON = ROOT / ".venv-blankly" / "bin" / "python"
NO_BLANKLY = "there is no .venv-blankly: make setup-blankly"
# Variables of a runner change what the program does, those of a platform what the package does.
_FOREIGN = ("GITHUB_", "INPUT_", "RUNNER_", "ACTIONS_", "BACKTESTING", "PLATFORM_", "PYTHONPATH")


def tool(name: str) -> Path:
    """Return the path of a program in this interpreter's environment."""
    return Path(sysconfig.get_path("scripts")) / name


def clean_environ() -> dict[str, str]:
    """Return our environment without the variables of a runner or a platform.

    Root runs the models as users of their own, as in the image, where those can reach Python.
    """
    found = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return found | allowed_by_this_machine()


@dataclass(slots=True)
class Context:
    """One run of the benchmarks; `scratch` is removed after it.

    `is_quick`: everything tiny and once, to see that it works.
    """

    scratch: Path
    is_quick: bool
    environ: Mapping[str, str] = field(default_factory=clean_environ)
    _model_python: Path | None = None
    _programs: Path | None = None

    @property
    def platform_data(self) -> Path:
        """Where the embedded platform keeps its data."""
        return self.scratch / "platform"

    def rounds(self, number: int) -> int:
        """Return how often to measure: `number` times, or once if everything is to be quick."""
        return 1 if self.is_quick else number

    @property
    def programs(self) -> Path:
        """The folder of `blankly-deploy` and `python` of a fresh environment with our wheel."""
        if self._programs is None:
            self._programs = install(tool("uv"), self.scratch, self.environ)
        return self._programs

    def model_python(self) -> Path:
        """Return the Python that the platform runs models with; the first call installs it.

        All models have the requirements of the example, so they share its environment.
        """
        if self._model_python is None:
            self._model_python = make_environment(self.platform_data, self.environ)
        return self._model_python


def make_environment(data: Path, environ: Mapping[str, str]) -> Path:
    """Find or make the environment of the example in `data`, and return its Python.

    Raises:
        BrokenError: it cannot be made, for example without a package index.
    """
    from deploy_action.platform.environments import EnvironmentFailedError, Environments
    from deploy_action.platform.storage.data_directory import ENVIRONMENTS
    from tools.benchmarks.models import EXAMPLE

    try:
        with Environments(data / ENVIRONMENTS, environ=environ).acquire(
            EXAMPLE,
            requirements="requirements.txt",
            python_version="3.11",
            on_line=lambda _: None,
            stop=threading.Event(),
        ) as environment:
            return environment.python
    except EnvironmentFailedError as error:
        said = " ".join(problem.message for problem in error.problems)
        raise BrokenError(f"there is no environment for the models: {said}") from error
