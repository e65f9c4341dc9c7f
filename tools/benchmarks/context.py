"""What all benchmarks share: where they may write, and the tools that are there."""

from __future__ import annotations

import os
import sysconfig
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.benchmarks.measure import BrokenError

ROOT = Path(__file__).parents[2]
BLANKLY_PYTHON = ROOT / ".venv-blankly" / "bin" / "python"
NO_BLANKLY = "there is no .venv-blankly: make setup-blankly"
# A runner's variables would change what the program does, and a model's what the package does.
_FOREIGN = ("GITHUB_", "INPUT_", "RUNNER_", "ACTIONS_", "BACKTESTING", "PLATFORM_", "PYTHONPATH")


def tool(name: str) -> Path:
    """Return a program that was installed beside this interpreter."""
    return Path(sysconfig.get_path("scripts")) / name


def clean_environ() -> dict[str, str]:
    """Return our own environment without what a runner or a platform put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


@dataclass(slots=True)
class Context:
    """One run of the benchmarks; `scratch` is removed after it.

    `is_quick`: everything tiny and once, to see that it works.
    """

    scratch: Path
    is_quick: bool
    environ: Mapping[str, str] = field(default_factory=clean_environ)
    _model_python: Path | None = None

    @property
    def platform_data(self) -> Path:
        """Where the embedded platform keeps its data."""
        return self.scratch / "platform"

    def rounds(self, number: int) -> int:
        """Return how often to measure what is to be measured `number` times."""
        return 1 if self.is_quick else number

    def model_python(self) -> Path:
        """Return the Python that the platform runs the models with; the first call makes it.

        All models have the requirements of the example, so they share its environment.
        """
        if self._model_python is None:
            self._model_python = make_environment(self.platform_data, self.environ)
        return self._model_python


def make_environment(data: Path, environ: Mapping[str, str]) -> Path:
    """Have the platform's environment of the example in `data`, made or found; its Python.

    Raises:
        BrokenError: there can be none, for example because no package index can be reached.
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
