"""Code of packages runs as a user of its own while root makes an environment, and gets nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from deploy_action.platform.environments import (
    Environment,
    EnvironmentFailedError,
    interpreters,
)
from deploy_action.platform.environments.builder import Builder
from deploy_action.platform.environments.installer import Uv, uv_binary
from deploy_action.platform.environments.interpreters import Interpreter
from deploy_action.platform.environments.requirements import read_requirements
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.platform.processes.stragglers import has_processes
from deploy_action.platform.processes.unprivileged import draw_user, is_transient
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from tests.support.hostile_package import AT_EACH_START, attacks
from tests.support.isolated import as_root, is_for_all, python_for_all
from tests.support.package_index import PackageIndex, Tenant, installed, is_set, new_secret
from tests.support.waiting import is_alive, wait_for

pytestmark = as_root

HASHED = ("blankly==1.18", "newnewtulipy==0.4.6.5", "numpy==1.26.4", "pandas==1.5.3")


@pytest.fixture
def index(tmp_path: Path) -> PackageIndex:
    return PackageIndex(tmp_path / "packages")


@pytest.fixture
def tenant(tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """Return a model of root's, whose environments are made by users of their own."""
    if not is_for_all(uv_binary()):
        pytest.skip("uv cannot be run by every user here")
    python = python_for_all()
    code = "import platform; print(platform.python_version())"
    version = subprocess.check_output([python, "-c", code], text=True).strip()
    # The Python of the tests may be in root's home.
    monkeypatch.setattr(interpreters, "_own", lambda: Interpreter(python, version))
    Path(index.environ["UV_CACHE_DIR"]).mkdir(mode=0o700)
    found = Tenant(tmp_path, index.environ, version)
    found.model.parent.chmod(0o700)
    found.isolate = Isolation().give
    return found


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(new_secret())
    path.chmod(0o600)
    return path


def in_site_packages(environment: Environment, name: str) -> Path:
    (found,) = environment.python.parents[1].glob("lib/python*/site-packages")
    return found / name


def told(environment: Environment) -> dict[str, Any]:
    """Return what the build told: who it was, and what it got."""
    found: dict[str, Any] = json.loads(in_site_packages(environment, "told.json").read_text())
    return found


def attacking(tenant: Tenant, secret: Path, other: Environment) -> str:
    cache, oaks = tenant.environ["UV_CACHE_DIR"], in_site_packages(other, "oaks/__init__.py")
    place = other.python.parents[2]
    kept = (cache, str(oaks), str(oaks.parent), str(place), f"{place}.lock", str(tenant.directory))
    return attacks(mark_of(secret), read=(str(secret), cache), written=(str(secret), *kept))


def mark_of(secret: Path) -> str:
    return secret.read_text()[:8]


def check_is_roots(environment: Environment) -> None:
    """Check that nobody else can change an environment, and that nothing else is left of it."""
    place = environment.python.parents[2]
    assert sorted(path.name.partition("-")[0] for path in place.iterdir()) == [
        "environment.json",
        "venv",
    ]
    paths = [place, *place.rglob("*")]
    assert len(paths) > 50
    assert {path.lstat().st_uid for path in paths} == {os.geteuid()}
    assert {path.lstat().st_gid for path in paths} == {os.getegid()}
    assert not any(path.lstat().st_mode & 0o6022 for path in paths if not path.is_symlink())


def imports_as_somebody(environment: Environment, *names: str) -> None:
    user = draw_user([environment.python])
    subprocess.run(
        [environment.python, "-I", "-c", f"import {', '.join(names)}"],
        user=user,
        group=user,
        extra_groups=[],
        check=True,
    )


def test_what_a_package_runs_gets_nothing(
    tenant: Tenant, index: PackageIndex, secret: Path
) -> None:
    tenant.requires("blankly", "oaks")
    other = tenant.visit()
    index.add_source("pine", "1.0", attacking(tenant, secret, other), at_each_start=AT_EACH_START)
    tenant.requires("blankly", "oaks", "pine")
    environment = tenant.visit()

    found = told(environment)
    assert is_transient(found["user"])
    assert found["got"] == []
    started_by = in_site_packages(environment, "started-by.txt").read_text().split()
    assert set(started_by) == {str(found["user"])}
    assert not has_processes(found["user"])
    assert not list(Path("/tmp").glob(f"{mark_of(secret)}*"))  # noqa: S108  # what others left
    check_is_roots(environment)
    imports_as_somebody(environment, "blankly", "pine", "oaks")
    imports_as_somebody(other, "blankly", "oaks")
    # Wheels are links to the cache that is shared; what was built is not in there.
    assert in_site_packages(environment, "oaks/__init__.py").samefile(
        in_site_packages(other, "oaks/__init__.py")
    )
    cached = [path.name for path in Path(tenant.environ["UV_CACHE_DIR"]).rglob("*")]
    assert "oaks" in cached
    assert "pine.py" not in cached
    # What blankly imports is compiled once, for all users.
    assert list(in_site_packages(environment, "blankly/__pycache__").glob("*.pyc"))


def test_the_attacks_succeed_where_nothing_is_isolated(tenant: Tenant, secret: Path) -> None:
    mark = mark_of(secret)  # which the attacks remove
    code = attacks(mark, read=[str(secret)], written=[str(secret)])
    PackageIndex.write_source(tenant.model / "pine", code)
    tenant.requires("blankly", "./pine")
    tenant.isolate = lambda *_: None
    with tenant.inside() as environment:
        found = told(environment)
    got = {name for name, _ in found["got"]}
    assert found["user"] == 0
    assert {f"writes to {secret}", f"changes {secret}", "becomes root"} <= got
    Path(f"/tmp/{mark}-0").unlink()  # noqa: S108  # what the attacks leave


def test_a_package_of_the_model_itself_is_built_by_it(tenant: Tenant, secret: Path) -> None:
    tenant.requires("blankly", "oaks")
    other = tenant.visit()
    sources = PackageIndex.write_source(tenant.model / "pine", attacking(tenant, secret, other))
    tenant.requires("blankly", "-e ./pine")
    private = tenant.model.parent
    with tenant.inside() as environment:
        found = told(environment)
        assert is_transient(found["user"])
        assert found["got"] == []
        assert {path.lstat().st_uid for path in (private, *private.rglob("*"))} == {0}
        assert (sources / "pine.py").exists()
        code = "import pine; print(pine.__file__)"
        done = subprocess.check_output([environment.python, "-I", "-c", code], text=True)
        assert done.strip() == str(sources / "pine.py")


def test_hashes_are_checked(tenant: Tenant, index: PackageIndex) -> None:
    source = index.add_source("pine", "1.0", "got = []")
    tenant.requires(
        *(f"{name} {index.digest(name.replace('==', '-'))}" for name in HASHED),
        f"pine==1.0 {index.digest_of(source)}",
    )
    environment = tenant.visit()
    assert installed(environment).keys() >= {"blankly", "pine", "numpy"}
    assert is_transient(told(environment)["user"])
    check_is_roots(environment)


def test_a_package_whose_wheels_fit_nowhere_here_is_built(
    tenant: Tenant, index: PackageIndex
) -> None:
    wheel = index.add("pine", "1.0")
    wheel.rename(wheel.with_name("pine-1.0-cp36-cp36m-any.whl"))
    index.add_source("pine", "1.0", "got = []")
    tenant.requires("blankly", "pine")
    environment = tenant.visit()
    assert is_transient(told(environment)["user"])
    check_is_roots(environment)


def test_the_version_is_the_one_that_anybody_gets(tenant: Tenant, index: PackageIndex) -> None:
    """Not an older one that has a wheel."""
    index.add("pine", "0.9")
    index.add_source("pine", "1.0", "got = []")
    tenant.requires("blankly", "pine")
    assert installed(tenant.visit())["pine"] == "1.0"


def test_root_reads_no_requirements_that_a_package_has_changed(
    tenant: Tenant, index: PackageIndex, secret: Path
) -> None:
    change = f"""
import glob
got = []
for path in glob.glob(os.path.join(os.environ["HOME"], "requirements", "*")):
    with open(path, "w") as file:
        file.write("-r {secret}\\n")
"""
    index.add_source("pine", "1.0", change)
    tenant.requires("blankly", "pine")
    tenant.visit()
    assert secret.read_text() not in "\n".join(tenant.log)


def test_a_build_that_fails_says_why(tenant: Tenant, index: PackageIndex) -> None:
    index.add_source("pine", "1.0", "raise RuntimeError('this pine does not grow')")
    tenant.requires("blankly", "pine")
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    assert "this pine does not grow" in caught.value.problems[0].message
    assert tenant.made == []


def test_a_build_cannot_fill_the_disk(tenant: Tenant, index: PackageIndex) -> None:
    fill = """
import time
for number in range(600):
    with open(os.path.join(os.environ["HOME"], str(number)), "wb") as file:
        file.write(bytes(1 << 20))
    time.sleep(0.1)
"""
    index.add_source("pine", "1.0", fill)
    tenant.requires("blankly", "pine")
    tenant.disk_bytes = 10 << 20
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    assert "BLANKLY_DEPLOY_MODEL_DISK" in caught.value.problems[0].message
    assert tenant.made == []


def test_a_builder_has_a_copy_of_what_uv_signs_in_with(tenant: Tenant, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login trader password " + new_secret())
    netrc.chmod(0o600)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("oaks<2\n")
    needed: list[Path] = []

    def isolate(home: Path, paths: Iterable[Path]) -> int | None:
        needed.extend(paths)
        return Isolation().give(home, [])

    tenant.requires("oaks")
    requirements = read_requirements(tenant.model, "requirements.txt")
    uv = Uv.for_environ({**tenant.environ, "NETRC": str(netrc), "UV_CONSTRAINT": str(constraints)})
    home = tmp_path / "home"
    with Builder.at(home, uv, requirements, isolate, python_for_all(), None) as builder:
        copy = Path(builder.uv.environ["NETRC"])
        assert copy.read_text() == netrc.read_text()
        assert copy == home / ".netrc"  # where git looks for it
        assert copy.stat().st_uid == home.stat().st_uid == builder.user
        assert home.stat().st_mode & 0o077 == 0
    assert {constraints, python_for_all(), uv_binary()} <= set(needed)
    assert Path(tenant.environ["UV_FIND_LINKS"]) in needed


# As code that runs at each start: where the environment is.
IN_VENV = """
import atexit, os
site = os.path.dirname(os.path.abspath(__file__))
venv = os.path.abspath(os.path.join(site, "..", "..", ".."))
"""


def test_nobody_may_change_what_a_package_left_open(
    tenant: Tenant, index: PackageIndex, tmp_path: Path
) -> None:
    """And all may read it: on a terminal, a model that may not runs as root."""
    opened = """
for path, mode in (("open", 0o777), ("closed", 0o700)):
    os.makedirs(os.path.join(site, path), exist_ok=True)
    open(os.path.join(site, path, "file"), "w").close()
    os.chmod(os.path.join(site, path, "file"), mode & 0o6666)
    os.chmod(os.path.join(site, path), mode)
os.chmod(site, 0o777)
os.chmod(os.path.join(venv, "bin"), 0o6700)
"""
    index.add_source("pine", "1.0", "got = []", at_each_start=IN_VENV + opened)
    tenant.requires("blankly", "pine")
    environment = tenant.visit()
    check_is_roots(environment)
    assert is_set(in_site_packages(environment, "closed"), 0o755)
    assert is_set(in_site_packages(environment, "closed/file"), 0o644)
    private = tmp_path / "copy"
    private.mkdir()
    user, problems = Isolation(AsRoot.RUN_WITH_WARNING).choose_user(private, [environment.python])
    assert user
    assert not problems


@pytest.mark.parametrize(
    "change",
    [
        'os.symlink("{hidden}/python", venv + "/bin/python")',
        'os.symlink(venv + "/bin/python", venv + "/bin/python")',
        'open(venv + "/bin/python", "w").close()',
        'os.rename(venv + "/bin", site + "/bin"); os.symlink(site + "/bin", venv + "/bin")',
        'os.rename(venv + "/bin", site + "/bin")',
    ],
)
def test_a_package_cannot_put_another_python_in_the_place_of_ours(
    tenant: Tenant, index: PackageIndex, tmp_path: Path, change: str
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "python").symlink_to(python_for_all())
    at_end = 'os.unlink(venv + "/bin/python"); ' if "bin/python" in change else ""
    start = (
        f"{IN_VENV}@atexit.register\ndef change():\n    {at_end}{change.format(hidden=hidden)}\n"
    )
    index.add_source("pine", "1.0", "got = []", at_each_start=start)
    tenant.requires("blankly", "pine")
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    assert "has changed the Python" in caught.value.problems[0].message
    assert tenant.made == []


def test_a_package_of_the_model_cannot_fill_the_disk(tenant: Tenant) -> None:
    fill = """
import time
for number in range(600):
    with open(str(number), "wb") as file:
        file.write(bytes(1 << 20))
    time.sleep(0.1)
"""
    PackageIndex.write_source(tenant.model / "pine", fill)
    tenant.requires("blankly", "./pine")
    tenant.disk_bytes = 10 << 20
    with pytest.raises(EnvironmentFailedError) as caught:
        tenant.visit()
    assert "BLANKLY_DEPLOY_MODEL_DISK" in caught.value.problems[0].message


def test_a_model_gets_no_file_that_a_package_of_it_linked_to(
    tenant: Tenant, index: PackageIndex, secret: Path, tmp_path: Path
) -> None:
    """Some kernels let everybody make hard links to files of others."""
    tenant.requires("blankly", "-e ./pine")
    requirements = read_requirements(tenant.model, "requirements.txt")
    uv, home = Uv.for_environ(index.environ), tmp_path / "home"
    with Builder.at(home, uv, requirements, tenant.isolate, python_for_all(), None):
        (tenant.model / "linked").hardlink_to(secret)
    assert not (tenant.model / "linked").exists()
    Isolation().choose_user(tenant.model.parent, [])
    assert secret.stat().st_uid == os.geteuid()


def test_a_link_of_a_package_makes_root_replace_nothing(tenant: Tenant, tmp_path: Path) -> None:
    """What root puts back are requirements that it had filled in."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "requirements.txt").write_text("blankly\n")
    link = f"""
got = []
shared, sub = {str(shared)!r}, os.path.join(os.getcwd(), "..", "sub")
if not os.path.islink(sub):
    for name in os.listdir(sub):
        if name.startswith("."):
            open(os.path.join(shared, name), "w").write("planted")
    os.rename(sub, sub + "-moved")
    os.symlink(shared, sub)
"""
    PackageIndex.write_source(tenant.model / "pine", link)
    tenant.requires("blankly", "./pine", "${TREE}", name="sub/requirements.txt")
    tenant.variables = {"TREE": "oaks"}
    with suppress(EnvironmentFailedError):
        tenant.visit("sub/requirements.txt")
    assert (tenant.model / "sub").is_symlink()
    assert (shared / "requirements.txt").read_text() == "blankly\n"


def test_nothing_of_a_package_outlives_a_launcher_that_was_killed(
    tenant: Tenant, index: PackageIndex, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.touch()
    told.chmod(0o666)
    wait = f"""
import subprocess, time
child = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
with open({str(told)!r}, "w") as file:
    file.write(str(child.pid))
time.sleep(600)
"""
    index.add_source("pine", "1.0", wait)
    tenant.requires("blankly", "pine")

    def kill_launcher() -> None:
        wait_for(lambda: told.read_text() != "")
        process = int(told.read_text())
        launchers = [one for one in children_of(os.getpid()) if process in descendants_of(one)]
        os.kill(launchers[0], signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_launcher)
        with pytest.raises(EnvironmentFailedError):
            tenant.visit()
        killed.result()
    assert not is_alive(int(told.read_text()))


def test_what_is_installed_leads_to_no_cache_that_is_removed(
    tenant: Tenant, index: PackageIndex
) -> None:
    tenant.environ["UV_LINK_MODE"] = "symlink"
    Path(tenant.environ["UV_CACHE_DIR"]).chmod(0o755)
    index.add_source("pine", "1.0", "got = []")
    tenant.requires("blankly", "pine")
    imports_as_somebody(tenant.visit(), "blankly", "pine")


def test_a_cache_that_others_may_change_is_closed(tenant: Tenant, index: PackageIndex) -> None:
    """Its files are those of all environments."""
    tenant.requires("blankly", "oaks")
    other = tenant.visit()
    shared = in_site_packages(other, "numpy/__init__.py")
    shared.chmod(0o666)
    index.add_source("pine", "1.0", "got = []", at_each_start=AT_EACH_START)
    tenant.requires("blankly", "oaks", "pine")
    environment = tenant.visit()
    assert in_site_packages(environment, "numpy/__init__.py").samefile(shared)
    assert shared.stat().st_mode & 0o777 == 0o644
    imports_as_somebody(other, "numpy")


def test_a_version_of_any_length_is_shown_in_short(tenant: Tenant, index: PackageIndex) -> None:
    long = """
import atexit
atexit.register(lambda: print("blankly-version " + "1" * 100_000))
"""
    index.add_source("pine", "1.0", "got = []", at_each_start=long)
    tenant.requires("blankly", "pine")
    assert len(tenant.visit().blankly_version) <= 100


def test_what_the_settings_exclude_is_not_installed(
    tenant: Tenant, index: PackageIndex, tmp_path: Path
) -> None:
    excluded = tmp_path / "excluded.txt"
    excluded.write_text("oaks\n")
    tenant.environ["UV_EXCLUDE"] = str(excluded)
    index.add("fir", "1.0", requires=("oaks",))
    tenant.requires("blankly", "fir")
    assert "oaks" not in installed(tenant.visit())


def test_directories_of_a_package_may_be_nested_deeply(tenant: Tenant, index: PackageIndex) -> None:
    with ZipFile(index.add("fir", "1.0"), "a") as archive:
        archive.writestr("fir/" + "a/" * 1_200 + "file", "")
    tenant.requires("blankly", "fir")
    try:
        assert "fir" in installed(tenant.visit())
    finally:
        remove_tree(tenant.root)  # pytest does not


def test_a_path_after_a_name_is_a_package_of_the_model(tenant: Tenant) -> None:
    PackageIndex.write_source(tenant.model / "pine", "got = []")
    tenant.requires("blankly", "pine @ ./pine")
    with tenant.inside() as environment:
        assert is_transient(told(environment)["user"])
    assert tenant.made == []


def test_a_note_that_a_package_linked_to_is_not_removed(
    tenant: Tenant, index: PackageIndex, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    secret = new_secret()
    (elsewhere / "direct_url.json").write_text(f'{{"url": "https://{secret}@example"}}')
    link = f"os.symlink({str(elsewhere)!r}, os.path.join(site, 'linked.dist-info'))\n"
    index.add_source("pine", "1.0", "got = []", at_each_start=IN_VENV + link)
    tenant.requires("blankly", "pine", "oaks; python_version != '${NAME}'")
    tenant.variables = {"NAME": secret}
    tenant.visit()
    assert (elsewhere / "direct_url.json").exists()


def children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def descendants_of(process: int) -> list[int]:
    found = children_of(process)
    return [*found, *(one for child in found for one in descendants_of(child))]
