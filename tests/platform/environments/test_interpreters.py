"""The Python of a model: the requested one, or the nearest with a warning."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_action.errors import Severity
from deploy_action.platform.environments import EnvironmentFailedError
from tests.support.package_index import PackageIndex, Tenant, installed, no_program_runs

OWN = ".".join(map(str, sys.version_info[:2]))
IS_COMPILED = """
import os
def is_compiled(module):
    cached = getattr(module, "__cached__", None)
    return cached is None or "site-packages" not in cached or os.path.exists(cached)
"""
PYENV = Path.home() / ".pyenv" / "versions"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PackageIndex:
    return PackageIndex(tmp_path_factory.mktemp("index") / "packages")


@pytest.fixture
def tenant(tmp_path: Path, index: PackageIndex) -> Tenant:
    """Return a model on a machine whose only Python is that of the tests."""
    tenant = Tenant(tmp_path, index.environ, OWN)
    tenant.requires("blankly")
    return tenant


@pytest.mark.parametrize(
    "wanted",
    ["", "  ", "three", "3.x", "3.11.1.2", "3.11; rm", "-3", "3.11\n3", "\u0663.11", "9" * 50],
)
def test_an_invalid_version_is_refused(tenant: Tenant, wanted: str) -> None:
    """It comes from a client, so it must not reach a command."""
    tenant.python_version = wanted
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    (problem,) = caught.value.problems
    assert "not a version of Python" in problem.message
    assert "\n" not in problem.message
    assert len(problem.message) < 100


@pytest.mark.parametrize("wanted", [OWN, platform.python_version(), f" {OWN} "])
def test_the_python_of_the_program_serves_its_own_version(tenant: Tenant, wanted: str) -> None:
    """Even if no Python is on PATH."""
    tenant.python_version = wanted
    environment = tenant.visit()
    assert environment.python_version == platform.python_version()
    assert environment.problems == ()
    assert not list(tenant.directory.glob("python-*.json"))


@pytest.mark.parametrize("wanted", ["3.6", "2.7", "3.99"])
def test_the_nearest_python_is_used_with_a_warning(tenant: Tenant, wanted: str) -> None:
    tenant.python_version = wanted
    environment = tenant.visit()
    (problem,) = environment.problems
    assert environment.python_version == platform.python_version()
    assert problem.severity is Severity.WARNING
    assert f"wants Python {wanted} and runs with {platform.python_version()}" in problem.message
    assert "not installed here" in problem.message
    assert "python_version" in problem.hint


def test_a_choice_is_kept_as_long_as_the_machine_is_the_same(tenant: Tenant) -> None:
    """Finding a Python takes half a second, or several if one can be downloaded."""
    tenant.python_version = "3.99"
    first = tenant.visit()
    with no_program_runs():
        second = tenant.visit()
    searches = [line for line in tenant.log if line.startswith("Downloading")]
    assert second.problems == first.problems
    assert len(searches) == 1
    tenant.environ["PATH"] += os.pathsep + str(tenant.root)
    tenant.visit()
    assert len([line for line in tenant.log if line.startswith("Downloading")]) == 2


@pytest.mark.parametrize("wanted", ["3.7", "3.12"])
def test_without_a_compiler_only_pythons_with_wheels_work(tenant: Tenant, wanted: str) -> None:
    """For others, compiled parts of blankly would have to be built."""
    if not (3, 8) <= sys.version_info[:2] <= (3, 11):
        pytest.skip(f"needs the tests to run on Python 3.8 to 3.11, not {OWN}")
    tenant.python_version = wanted
    tenant.environ["PATH"] = str(tenant.root)
    environment = tenant.visit()
    (problem,) = environment.problems
    assert environment.python_version == platform.python_version()
    assert "newnewtulipy" in problem.message
    assert "no C compiler" in problem.message
    assert not any(line.startswith("Downloading") for line in tenant.log)


def other_python(version: str) -> Path:
    """Return the commands of another Python of pyenv, or skip."""
    found = [p for p in sorted(PYENV.glob(f"{version}.*/bin")) if (p / f"python{version}").exists()]
    if not found or version == OWN:
        pytest.skip(f"needs a Python {version} of pyenv, beside the one that runs the tests")
    return found[-1]


def test_another_python_that_is_installed_is_used(tenant: Tenant) -> None:
    path = other_python("3.10")
    tenant.environ["PATH"] += f"{os.pathsep}{path}"
    own = tenant.visit()
    tenant.python_version = "3.10"
    other = tenant.visit()
    assert other.python_version == path.parent.name
    assert other.problems == ()
    assert other.python != own.python
    assert installed(other)["blankly"] == "1.18"
    assert not tenant.visit().was_made


def test_commands_without_a_python_are_ignored(tenant: Tenant) -> None:
    """On PATH, pyenv leaves some for each version that is not chosen."""
    command = tenant.root / "shims" / "python3.10"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho 'pyenv: python3.10: command not found' >&2\nexit 127\n")
    command.chmod(0o755)
    tenant.environ["PATH"] += f"{os.pathsep}{command.parent}"
    tenant.python_version = "3.10"
    if OWN == "3.10":
        pytest.skip("needs the tests to run on another Python than 3.10")
    environment = tenant.visit()
    assert environment.python_version == platform.python_version()
    assert len(environment.problems) == 1
    assert "pyenv" not in "\n".join(tenant.log)


def test_the_real_package_works_in_its_environment(tmp_path: Path) -> None:
    """With `pip install blankly` alone, the import fails."""
    names = {"PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    environ = {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(("UV_", "PIP_")) or name.lower().endswith("_proxy")
    }
    if not shutil.which("cc") and not (3, 8) <= sys.version_info[:2] <= (3, 11):
        pytest.skip(f"needs a compiler for newnewtulipy on Python {OWN}")
    tenant = Tenant(tmp_path, environ, OWN)
    tenant.requires("blankly==1.18.25b0")
    environment = tenant.visit()

    assert environment.blankly_version == "1.18.25b0"
    assert environment.constraints[:2] == ("numpy<2", "pandas<2.2")
    assert int(installed(environment)["numpy"].split(".")[0]) == 1
    code = "import blankly, sys; print([m for m in sys.modules.values() if not is_compiled(m)])"
    assert subprocess.run(
        [environment.python, "-I", "-B", "-c", f"{IS_COMPILED}{code}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.endswith("[]\n")
