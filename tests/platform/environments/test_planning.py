"""What was resolved is read as what a package may have written: it ran code meanwhile."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from deploy_action.platform.environments.builder import Builder
from deploy_action.platform.environments.installer import Uv, UvFailedError
from deploy_action.platform.environments.interpreters import Interpreter
from deploy_action.platform.environments.planning import Job, Planner
from deploy_action.platform.environments.requirements import read_requirements


class ChangedByPackages(Uv):
    """A uv whose output file is another one before anybody reads it."""

    def run(self, *arguments: str | Path, **_: Any) -> list[str]:
        written = Path(arguments[arguments.index("--output-file") + 1])
        written.write_text(self.environ["WRITTEN"])
        return []


def plan(directory: Path, written: str) -> None:
    (directory / "requirements.txt").write_text("blankly\n")
    requirements = read_requirements(directory, "requirements.txt")
    uv = ChangedByPackages({"WRITTEN": written})
    python = Interpreter(Path(sys.executable), "3.12.1")
    job = Job(uv, python, requirements, True, False, lambda _: None, threading.Event())  # noqa: FBT003
    Planner(directory, job, Builder(directory, uv, requirements)).plan()


def package(name: str, version: str) -> str:
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'


def test_pins_are_those_that_were_resolved(tmp_path: Path) -> None:
    plan(tmp_path, package("blankly", "1.18") + package("a-b.c_d", "1!2.0rc1+cu12.1"))
    assert (tmp_path / "resolved.txt").read_text() == "blankly==1.18\na-b.c_d==1!2.0rc1+cu12.1\n"


@pytest.mark.parametrize(
    "written",
    [
        package("blankly", "1.0\\n-r /dev/zero"),
        package("blankly\\n--index-url https://other.example", "1.0"),
        package("-r /dev/zero #", "1.0"),
        package("pandas", "9" * 5_000),
        package("", "1.0"),
        "packages = 1",
        "packages = [1]",
        "[packages]\nblankly = 1",
        '[[packages]]\nname = "blankly"\nversion = 1',
        f"a = {'[' * 50_000}",
    ],
)
def test_what_uv_would_not_write_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(UvFailedError, match="what it resolved cannot be read"):
        plan(tmp_path, written)
