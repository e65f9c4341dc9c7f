"""What is installed and run is locked: packages by hash, actions by commit, jobs by permissions.

That actions are pinned by commit in our workflows and in those to copy is checked by zizmor, which
`make check` runs.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK_FILES = sorted(ROOT.glob("requirements*.lock"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# An installation, up to the end of its command; a line may be continued.
INSTALL = re.compile(r"\bpip\"? install\b(?:[^\n\\&]|\\\n)*")


def locked(lock_file: Path) -> dict[str, str]:
    """Return the lines of each package in a lock file, by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in lock_file.read_text().splitlines():
        if not line.startswith((" ", "#")):
            name = canonicalize_name(line.split("==")[0])
        found[name] = found.get(name, "") + line + "\n"
    return found


@pytest.mark.parametrize("lock_file", LOCK_FILES, ids=lambda path: path.name)
def test_each_locked_package_has_one_version_and_hashes(lock_file: Path) -> None:
    packages = locked(lock_file)
    assert packages
    for name, lines in packages.items():
        assert re.match(r"[\w.-]+==[\w.+!-]+( ; .*)? \\\n", lines), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", lines), name


@pytest.mark.parametrize("extra", [None, "server"])
def test_what_the_project_asks_for_is_locked(extra: str | None) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    packages = locked(ROOT / f"requirements{'-' + extra if extra else ''}.lock")
    for requirement in map(Requirement, wanted):
        version = packages[canonicalize_name(requirement.name)].split("==")[1].split()[0]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("name", ["Dockerfile", "tools/environment.sh"])
def test_nothing_is_installed_without_its_hash(name: str) -> None:
    commands = INSTALL.findall((ROOT / name).read_text())
    assert commands
    for command in commands:
        # The project itself, from this checkout and without dependencies, has no hash.
        assert "--require-hashes" in command or "--editable ." in command, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_job_has_no_more_permissions_than_it_names(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert isinstance(job["permissions"], dict), name
        may_write = [scope for scope, right in job["permissions"].items() if right == "write"]
        assert not may_write or path.stem in {"pages", "release"}, name
