"""Environments of models, made by the real uv from small packages and the real one."""

from __future__ import annotations

import codecs
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from deploy_action.errors import Problem, Severity
from deploy_action.platform.environments import EnvironmentFailedError
from deploy_action.platform.processes.unprivileged import NotIsolatedError
from tests.support.package_index import (
    PackageIndex,
    Tenant,
    installed,
    is_set,
    new_secret,
    no_program_runs,
)

OWN = ".".join(map(str, sys.version_info[:2]))
ADDED = ("setuptools<81",) if sys.version_info < (3, 12) else ()


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> PackageIndex:
    return PackageIndex(tmp_path_factory.mktemp("index") / "packages")


@pytest.fixture
def tenant(tmp_path: Path, index: PackageIndex) -> Tenant:
    """Return a model that wants the Python of the tests."""
    return Tenant(tmp_path, index.environ, OWN)


def refused(tenant: Tenant, requirements: str = "requirements.txt") -> Problem:
    with pytest.raises(EnvironmentFailedError) as caught, tenant.inside(requirements):
        pytest.fail("there is an environment")
    (problem,) = caught.value.problems
    assert problem.hint
    return problem


def refused_with_warning(tenant: Tenant) -> tuple[Problem, Problem]:
    """Return why there is no environment, and the warning that another Python is used."""
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    problem, warning = caught.value.problems
    assert (problem.severity, warning.severity) == (Severity.ERROR, Severity.WARNING)
    return problem, warning


def test_an_environment_is_made_once(tenant: Tenant) -> None:
    """The second run starts no program."""
    tenant.requires("blankly", "oaks==1.0")
    first = tenant.visit()
    told = len(tenant.log)
    with no_program_runs():
        second = tenant.visit()

    assert first.was_made
    assert not second.was_made
    assert second.python == first.python
    assert second.python_version == platform.python_version()
    assert second.blankly_version == first.blankly_version == "1.18"
    assert second.constraints == first.constraints
    assert installed(second)["oaks"] == "1.0"
    assert first.problems == second.problems == ()
    assert len(tenant.log) == told
    code = "import blankly, oaks; print(blankly.__file__)"
    subprocess.run([first.python, "-I", "-c", code], check=True, capture_output=True)


def test_nothing_is_installed_if_there_is_no_user_for_it(tenant: Tenant) -> None:
    def refuse(home: Path, needed: Iterable[Path]) -> None:
        assert home.is_relative_to(tenant.directory)
        assert Path(sys.executable).resolve() in needed
        raise NotIsolatedError("there is none", "make one")

    tenant.isolate = refuse
    tenant.requires("blankly")
    with pytest.raises(NotIsolatedError):
        tenant.visit()
    assert tenant.made == []


def test_a_changed_included_file_needs_another_environment(tenant: Tenant) -> None:
    tenant.requires("-r lists/more.txt", "blankly")
    tenant.requires("oaks", "-c least.txt", name="lists/more.txt")
    tenant.requires("oaks<2", name="lists/least.txt")
    first = tenant.visit()
    tenant.requires("oaks>1", name="lists/least.txt")
    second = tenant.visit()
    assert installed(first)["oaks"] == "1.0"
    assert installed(second)["oaks"] == "2.0"
    assert len(tenant.made) == 2


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF32_BE + text.encode("utf-32-be"),
        lambda text: b"# coding: latin-1\n# caf\xe9\n" + text.encode(),
    ],
    ids=["utf-16", "utf-32", "latin-1"],
)
def test_every_encoding_of_pip_is_read(tenant: Tenant, encode: Callable[[str], bytes]) -> None:
    written = encode("blankly\r\noaks==1.0\r\n")
    tenant.requires("-r list.txt")
    (tenant.model / "list.txt").write_bytes(written)
    environment = tenant.visit()
    assert installed(environment)["oaks"] == "1.0"
    assert (tenant.model / "list.txt").read_bytes() == written
    assert sorted(path.name for path in tenant.model.iterdir()) == ["list.txt", "requirements.txt"]


@pytest.mark.parametrize("lines", [(), ("# later",), ("oaks",)], ids=["empty", "comment", "other"])
def test_blankly_is_added_if_no_line_requires_it(tenant: Tenant, lines: tuple[str, ...]) -> None:
    tenant.requires(*lines)
    assert tenant.visit().blankly_version == "1.18"
    assert any("adding blankly" in line or "adding it" in line for line in tenant.log)


@pytest.mark.parametrize(
    ("requirements", "path"),
    [
        ("gone.txt", "gone.txt"),
        (".", "."),
        ("", "."),
        ("../secret.txt", None),
        ("/etc/hosts", None),
        ("link.txt", "link.txt"),
        ("a\0b", "a\0b"),
    ],
)
def test_a_requirements_file_is_one_of_the_model(
    tenant: Tenant, requirements: str, path: str | None
) -> None:
    (tenant.root / "secret.txt").write_text("oaks\n")
    (tenant.model / "link.txt").symlink_to(tenant.root / "secret.txt")
    problem = refused(tenant, requirements)
    assert "no requirements file" in problem.message
    assert problem.path == path
    assert not tenant.directory.exists()


def test_an_included_file_is_one_of_the_model(tenant: Tenant) -> None:
    tenant.requires("blankly", "", "-r ../secret.txt")
    (tenant.root / "secret.txt").write_text("oaks\n")
    problem = refused(tenant)
    assert (problem.path, problem.line) == ("requirements.txt", 3)
    assert "../secret.txt is not a file of the model" in problem.message


def test_an_invalid_line_has_the_installers_reason(tenant: Tenant) -> None:
    tenant.requires("# Für später: ä ö ü", "oaks", "you need blankly and some luck")
    problem = refused(tenant)
    assert (problem.path, problem.line) == ("requirements.txt", 3)
    assert "Expected one of" in problem.message
    assert "one package a line" in problem.hint
    assert "\x1b" not in problem.message
    assert tenant.made == []


def test_versions_that_do_not_exist_are_named(tenant: Tenant) -> None:
    tenant.requires("blankly==99")
    problem = refused(tenant)
    assert "blankly==99" in problem.message
    assert problem.path == "requirements.txt"
    assert any("No solution found" in line for line in tenant.log)


class TestHashes:
    def test_the_right_ones_are_installed(self, tenant: Tenant, index: PackageIndex) -> None:
        tenant.requires(*self.pinned(index))
        assert installed(tenant.visit())["oaks"] == "1.0"

    def test_a_file_with_another_hash_is_refused(self, tenant: Tenant, index: PackageIndex) -> None:
        *others, _ = self.pinned(index)
        tenant.requires(*others, f"oaks==1.0 {index.digest('oaks-2.0')}")
        assert "ash mismatch" in refused(tenant).message

    def test_one_hash_requires_hashes_everywhere(self, tenant: Tenant, index: PackageIndex) -> None:
        tenant.requires(*self.pinned(index)[:-1], "oaks==1.0")
        assert "oaks==1.0" in refused(tenant).message

    def test_blankly_is_added_to_them(self, tenant: Tenant, index: PackageIndex) -> None:
        tenant.requires(f"numpy==1.26.4 {index.digest('numpy-1.26.4')}")
        environment = tenant.visit()
        assert environment.blankly_version == "1.18"
        assert installed(environment)["numpy"] == "1.26.4"
        assert any("without a hash" in line for line in tenant.log)

    def pinned(self, index: PackageIndex) -> list[str]:
        """Return lines for all dependencies of blankly, and oaks last."""
        names = ["numpy-1.26.4", "pandas-2.1.0", "newnewtulipy-0.4.6.5", "blankly-1.18", "oaks-1.0"]
        return [f"{name.replace('-', '==', 1)} {index.digest(name)}" for name in names]


class TestConstraints:
    """numpy 2 with a newnewtulipy that was built for numpy 1."""

    def test_known_good_constraints_are_added_and_reported(self, tenant: Tenant) -> None:
        tenant.requires("blankly")
        environment = tenant.visit()
        assert environment.constraints == ("numpy<2", "pandas<2.2", *ADDED)
        assert installed(environment)["numpy"] == "1.26.4"
        assert installed(environment)["pandas"] == "2.1.0"
        (line,) = (line for line in tenant.log if "numpy<2" in line)
        assert "because newnewtulipy, which blankly needs, was built for numpy 1" in line
        assert "BLANKLY_DEPLOY_CONSTRAINTS=off" in line

    def test_a_users_pin_replaces_one_constraint_only(self, tenant: Tenant) -> None:
        """A newer pandas is wanted: numpy alone is held back."""
        tenant.requires("blankly", "pandas==2.2.0")
        environment = tenant.visit()
        assert environment.constraints == ("numpy<2", *ADDED)
        assert installed(environment)["pandas"] == "2.2.0"

    def test_no_constraint_is_added_if_none_is_needed(self, tenant: Tenant) -> None:
        tenant.requires("blankly", "numpy==1.26.4", "setuptools==80.1.0")
        environment = tenant.visit()
        assert environment.constraints == ()
        assert installed(environment)["pandas"] == "2.2.0"

    @pytest.mark.parametrize("use_constraints", [True, False])
    def test_a_failure_without_constraints_has_a_hint(
        self, tenant: Tenant, *, use_constraints: bool
    ) -> None:
        tenant.use_constraints = use_constraints
        tenant.requires("blankly", *(["numpy==2.1.0"] if use_constraints else []))
        problem = refused(tenant)
        assert "numpy.dtype size changed" in problem.message
        assert "numpy<2" in problem.hint
        assert problem.path == "requirements.txt"
        assert any("Traceback" in line for line in tenant.log)
        assert tenant.made == []


class TestLive:
    """blankly's live code for Coinbase calls what pandas 2 has no more."""

    def test_a_live_model_gets_pandas_below_2(self, tenant: Tenant) -> None:
        tenant.requires("blankly")
        backtest = tenant.visit()
        tenant.is_live = True
        environment = tenant.visit()
        assert environment.constraints == ("numpy<2", "pandas<2", *ADDED)
        assert installed(environment)["pandas"] == "1.5.3"
        assert environment.python != backtest.python
        assert environment.problems == ()
        (line,) = (line for line in tenant.log if "pandas<2," in line)
        assert "because live bar events on Coinbase fail with pandas 2" in line

    def test_with_numpy_1_it_gets_that_too(self, tenant: Tenant) -> None:
        tenant.is_live = True
        tenant.requires("blankly", "numpy<2")
        assert installed(tenant.visit())["pandas"] == "1.5.3"

    @pytest.mark.parametrize("use_constraints", [True, False])
    def test_one_that_wants_a_newer_pandas_is_told(
        self, tenant: Tenant, *, use_constraints: bool
    ) -> None:
        tenant.is_live, tenant.use_constraints = True, use_constraints
        tenant.requires("blankly", "numpy<2", "pandas==2.1.0")
        for was_made in (True, False):
            environment = tenant.visit()
            assert environment.was_made == was_made
            assert not any(one.startswith("pandas") for one in environment.constraints)
            (problem,) = environment.problems
            assert "live bar events on Coinbase" in problem.message
            assert problem.hint == "If the model does either, require pandas<2."


@pytest.mark.skipif(not ADDED, reason="Python 3.12 and later never brought setuptools along")
class TestSetuptools:
    """Old packages import `pkg_resources`, which Python brought along until 3.11."""

    def test_it_is_there_before_python_3_12(self, tenant: Tenant) -> None:
        tenant.requires("blankly", "numpy<2")
        environment = tenant.visit()
        assert installed(environment)["setuptools"] == "80.1.0"
        assert environment.constraints == ("setuptools<81",)
        assert any("Adding setuptools<81, because old packages" in line for line in tenant.log)
        assert tenant.visit().constraints == environment.constraints

    def test_a_requirement_of_any_version_gets_one_with_pkg_resources(self, tenant: Tenant) -> None:
        tenant.requires("blankly", "setuptools")
        assert installed(tenant.visit())["setuptools"] == "80.1.0"

    def test_another_version_is_left_alone_if_it_is_required(self, tenant: Tenant) -> None:
        tenant.requires("blankly", "numpy<2", "setuptools>=81")
        environment = tenant.visit()
        assert installed(environment)["setuptools"] == "82.0.0"
        assert environment.constraints == ()
        assert not any("unsatisfiable" in line for line in tenant.log)

    def test_switched_off_it_is_another_environment(self, tenant: Tenant) -> None:
        tenant.requires("blankly", "numpy<2")
        tenant.visit()
        tenant.use_constraints = False
        environment = tenant.visit()
        assert environment.was_made
        assert "setuptools" not in installed(environment)
        assert environment.constraints == ()


class TestArm64:
    """On Linux there, newnewtulipy has no wheel, and its source does not build."""

    @pytest.mark.parametrize("processor", ["aarch64", "arm64"])
    def test_it_is_refused_before_a_program_runs(self, tenant: Tenant, processor: str) -> None:
        tenant.machine = ("Linux", processor)
        for setting in ("UV_DEFAULT_INDEX", "UV_FIND_LINKS"):
            del tenant.environ[setting]
        tenant.requires("oaks", "-r more.txt")
        tenant.requires("blankly", name="more.txt")
        tenant.python_version = "3.99"
        with no_program_runs():
            problem = refused(tenant)
        assert "Linux on ARM64: newnewtulipy" in problem.message
        assert "x86-64" in problem.hint
        assert not tenant.directory.exists()

    def test_an_own_index_may_have_a_wheel(self, tenant: Tenant) -> None:
        tenant.machine = ("Linux", "aarch64")
        tenant.requires("blankly")
        assert tenant.visit().was_made

    @pytest.mark.parametrize(
        "lines",
        [
            ("--find-links {wheels}", "blankly"),
            ("--extra-index-url={wheels}", "blankly"),
            ("{wheels}/newnewtulipy-0.4.6.5-py3-none-any.whl", "blankly"),
            ("newnewtulipy @ {wheels}/newnewtulipy-0.4.6.5-py3-none-any.whl",),
        ],
    )
    def test_so_may_a_place_in_the_requirements(
        self, tenant: Tenant, index: PackageIndex, lines: tuple[str, ...]
    ) -> None:
        tenant.machine = ("Linux", "aarch64")
        del tenant.environ["UV_FIND_LINKS"], tenant.environ["UV_DEFAULT_INDEX"]
        tenant.environ["UV_OFFLINE"] = "1"
        tenant.requires(*(line.format(wheels=index.wheels.as_uri()) for line in lines))
        with suppress(EnvironmentFailedError):  # uv may not find all the others
            tenant.visit()
        assert any("Making an environment" in line for line in tenant.log)

    def test_a_mac_has_wheels(self, tenant: Tenant) -> None:
        tenant.machine = ("Darwin", "arm64")
        tenant.requires("blankly")
        assert tenant.visit().was_made


class TestLog:
    def test_installed_packages_are_one_line(self, tenant: Tenant) -> None:
        tenant.requires("blankly", "oaks==1.0")
        tenant.visit()
        (line,) = (line for line in tenant.log if "oaks==1.0" in line)
        assert "blankly==1.18, " in line
        assert not any(line.startswith((" +", "Using Python")) for line in tenant.log)
        assert any(line.startswith("Installed ") for line in tenant.log)


class TestFailedBuilds:
    def test_the_reason_is_at_the_end_of_the_output(self, tenant: Tenant) -> None:
        """After pages of other lines, and a traceback."""
        tenant.requires("./pine")
        code = (
            "for n in range(500): print('line', n)\n"
            "raise RuntimeError('You tried to install pine: its name is pinaceae')"
        )
        PackageIndex.write_source(tenant.model / "pine", code)
        problem = refused(tenant)
        assert "Failed to build" in problem.message
        assert "line 0 line 1 " in problem.message
        assert problem.message.endswith(
            "RuntimeError: You tried to install pine: its name is pinaceae"
        )
        assert 'File "' not in problem.message
        assert len(problem.message) <= 1_000
        assert f"wheel for Python {OWN}" in problem.hint

    def test_a_python_that_was_not_wanted_may_be_the_cause(self, tenant: Tenant) -> None:
        tenant.python_version = "3.99"
        tenant.requires("./pine")
        PackageIndex.write_source(tenant.model / "pine", "raise RuntimeError('too new')")
        problem, warning = refused_with_warning(tenant)
        runs_with = f"wants Python 3.99 and runs with {platform.python_version()}"
        assert runs_with in problem.hint
        assert "too new" in problem.message
        assert runs_with in warning.message
        assert "not installed here" in warning.message

    @pytest.mark.parametrize(("built_for", "is_cause"), [("399", True), ("36", False)])
    def test_so_it_may_if_files_for_it_were_found(
        self, tenant: Tenant, index: PackageIndex, built_for: str, *, is_cause: bool
    ) -> None:
        name = f"larch{built_for}"
        wheel = index.add(name, "1.0")
        wheel.rename(wheel.with_name(f"{name}-1.0-cp{built_for}-cp{built_for}-any.whl"))
        tenant.python_version = "3.99"
        tenant.requires("blankly", f"{name}==1.0")
        problem, _ = refused_with_warning(tenant)
        assert ("wants Python 3.99" in problem.hint) is is_cause
        assert (f"a wheel for Python {OWN}" in problem.hint) is not is_cause

    def test_it_is_not_the_cause_of_a_version_that_does_not_exist(self, tenant: Tenant) -> None:
        tenant.python_version = "3.99"
        tenant.requires("blankly==99")
        problem, _ = refused_with_warning(tenant)
        assert "wants Python" not in problem.hint
        assert "Correct the names and versions" in problem.hint


class TestLocalPackages:
    def test_they_get_an_environment_for_one_run(self, tenant: Tenant) -> None:
        """The next run may bring other files."""
        tenant.requires("blankly", "-e ./pine")
        PackageIndex.write_source(tenant.model / "pine", "got = []")
        with tenant.inside() as environment:
            code = "import pine; print(pine.__file__)"
            done = subprocess.run(
                [environment.python, "-I", "-c", code], check=True, capture_output=True, text=True
            )
            assert tenant.made != []
        assert environment.was_made
        assert str(tenant.model) in done.stdout
        assert tenant.made == []
        assert not list(tenant.directory.glob("*.lock"))

    def test_their_build_sees_no_secret(self, tenant: Tenant) -> None:
        password, in_file, token = new_secret(), new_secret(), new_secret()
        tenant.environ |= {
            "INPUT_TOKEN": token,
            "GITHUB_TOKEN": token,
            "ACTIONS_RUNTIME_TOKEN": token,
            "UV_PUBLISH_TOKEN": token,
            "UV_INDEX_PRIVATE_PASSWORD": password,
        }
        tenant.requires("./pine")
        url = f"http://trader:{in_file}@127.0.0.1:9/simple"
        code = f"raise SystemExit(str(dict(os.environ)) + {url!r})"
        PackageIndex.write_source(tenant.model / "pine", code)
        problem = refused(tenant)
        seen = "\n".join([*tenant.log, problem.message])

        assert "UV_INDEX_PRIVATE_PASSWORD" in "\n".join(tenant.log)
        assert token not in seen
        assert password not in seen
        assert in_file not in seen
        assert "***@127.0.0.1:9/simple" in seen
        assert len(problem.message) <= 1_000

    def test_their_files_are_readable_by_all(self, tenant: Tenant) -> None:
        tenant.requires("./pine")
        PackageIndex.write_source(
            tenant.model / "pine", "raise SystemExit(f'mask {os.umask(0):o}')"
        )
        before = os.umask(0o077)
        try:
            refused(tenant)
        finally:
            os.umask(before)
        assert any(line.strip() == "mask 22" for line in tenant.log)


def test_the_passwords_of_indexes_are_never_shown(tenant: Tenant) -> None:
    password, other = new_secret(), new_secret()
    tenant.environ |= {
        "PIP_INDEX_URL": f"http://trader:{other}@127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
    }
    del tenant.environ["UV_DEFAULT_INDEX"]
    tenant.requires(
        f"--extra-index-url http://trader:{password}@127.0.0.1:9/more",
        f"oaks @ http://trader:{password}@127.0.0.1:9/oaks-3.0-py3-none-any.whl",
    )
    problem = refused(tenant)
    seen = "\n".join([*tenant.log, problem.message, problem.hint])

    assert "127.0.0.1:9" in problem.message
    assert "index" in problem.hint
    assert password not in seen
    assert other not in seen


def test_a_models_own_configuration_of_uv_is_not_read(tenant: Tenant) -> None:
    """Like pip, which reads none."""
    tenant.requires("blankly")
    (tenant.model / "uv.toml").write_text("this is no TOML")
    (tenant.model / "pyproject.toml").write_text('[tool.uv]\nrequired-version = "==0.0.1"\n')
    assert tenant.visit().was_made


def test_settings_for_pip_apply(tenant: Tenant) -> None:
    tenant.environ["PIP_FIND_LINKS"] = tenant.environ.pop("UV_FIND_LINKS")
    least = tenant.root / "least.txt"
    least.write_text("oaks<2\n")
    tenant.environ["PIP_CONSTRAINT"] = str(least)
    tenant.requires("oaks")
    assert installed(tenant.visit())["oaks"] == "1.0"


def test_other_users_can_read_an_environment(tenant: Tenant) -> None:
    """Another user saves it for the next job. Our umask does not matter."""
    tenant.requires("blankly")
    tenant.environ["UV_CACHE_DIR"] = str(tenant.root / "cache")
    before = os.umask(0o077)
    try:
        tenant.visit()
    finally:
        os.umask(before)
    paths = [tenant.directory, *tenant.directory.rglob("*")]
    assert len(paths) > 20
    assert all(is_set(path, 0o444) for path in paths)
    assert all(is_set(path, 0o555) for path in paths if path.is_dir())
    assert not any(is_set(path, 0o002) for path in paths if path.name.endswith((".json", ".py")))


def test_an_environment_whose_python_is_gone_is_made_anew(tenant: Tenant) -> None:
    """A cache may restore an environment onto another image."""
    tenant.requires("blankly")
    python = tenant.visit().python
    python.unlink()
    python.symlink_to(tenant.root / "gone")
    again = tenant.visit()
    assert again.was_made
    assert again.python.exists()
    assert len(tenant.made) == 1


@pytest.mark.parametrize("marker", ["", "{}", '{"schema": 0}', "[]"])
def test_an_environment_without_its_marker_is_made_anew(tenant: Tenant, marker: str) -> None:
    tenant.requires("blankly")
    tenant.visit()
    (kept,) = tenant.directory.glob("*/environment.json")
    kept.write_text(marker)
    assert tenant.visit().was_made
    assert not tenant.visit().was_made


def test_unused_environments_are_removed(tenant: Tenant) -> None:
    """After 30 days, unless they are in use."""
    old = time.time() - 31 * 24 * 3600
    for version in ("1.0", "2.0"):
        tenant.requires("blankly", f"oaks=={version}")
        tenant.visit()
    with tenant.inside() as in_use:
        for marker in tenant.directory.glob("*/environment.json"):
            os.utime(marker, (old, old))
        tenant.requires("blankly")
        new = tenant.visit()
        assert in_use.python.exists()
    kept = {new.python.parents[2].name, in_use.python.parents[2].name}
    assert set(tenant.made) == kept
    assert {path.stem for path in tenant.directory.glob("*.lock")} == kept


def test_a_repository_is_refused_at_once_where_there_is_no_git(tenant: Tenant) -> None:
    token = new_secret()
    tenant.environ["PATH"] = str(tenant.root)
    tenant.variables["TOKEN"] = token
    tenant.requires(
        "-c limits.txt", "# why", "pine @ git+https://${TOKEN}@forge.example/me/pine@v1"
    )
    tenant.requires("oaks @ git+https://forge.example/me/oaks", name="limits.txt")
    problem = refused(tenant)
    assert "no git" in problem.message
    assert "`pine @ https://${TOKEN}@forge.example/me/pine/archive/v1.zip`" in problem.hint
    assert (problem.path, problem.line) == ("requirements.txt", 3)
    assert token not in repr(problem)
    assert not tenant.directory.exists()
