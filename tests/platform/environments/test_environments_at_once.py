"""Several processes want one environment, and some of them are stopped or killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.platform.environments.locks import FileLock
from deploy_action.platform.processes.child_process import StoppedError
from tests.support.package_index import PackageIndex, Tenant
from tests.support.waiting import wait_for

OWN = ".".join(map(str, sys.version_info[:2]))
ROOT = Path(__file__).parents[3]
MAKER = """\
import json, sys
from pathlib import Path
from tests.support.package_index import Tenant
root, environ, version = json.loads(sys.argv[1])
print(Tenant(Path(root), environ, version).visit().was_made)
"""
# The package is installed by then, and tried: it goes on when the gate is gone.
AT_A_GATE = """\
import pathlib, time
here = pathlib.Path({root!r})
(here / "waiting").touch()
while (here / "gate").exists():
    time.sleep(0.02)
"""


@pytest.fixture
def index(tmp_path: Path) -> PackageIndex:
    return PackageIndex(tmp_path / "packages")


@pytest.fixture
def tenant(tmp_path: Path, index: PackageIndex) -> Tenant:
    tenant = Tenant(tmp_path, index.environ, OWN)
    tenant.requires("blankly")
    return tenant


@pytest.fixture
def gate(tenant: Tenant, index: PackageIndex) -> Iterator[Path]:
    """Every import of blankly waits while the gate exists."""
    index.add("blankly", "2.0", AT_A_GATE.format(root=str(tenant.root)))
    gate = tenant.root / "gate"
    gate.touch()
    yield gate
    gate.unlink(missing_ok=True)


def start_maker(tenant: Tenant) -> subprocess.Popen[str]:
    import json

    wanted = json.dumps([str(tenant.root), tenant.environ, tenant.python_version])
    return subprocess.Popen(
        [sys.executable, "-c", MAKER, wanted], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_make_one_environment(tenant: Tenant) -> None:
    makers = [start_maker(tenant) for _ in range(2)]
    said = sorted(maker.communicate(timeout=60)[0].strip() for maker in makers)
    assert said == ["False", "True"]
    assert len(tenant.made) == 1


def test_a_half_made_environment_is_not_used(tenant: Tenant, gate: Path) -> None:
    maker = start_maker(tenant)
    wait_for((tenant.root / "waiting").exists)
    (half_made,) = tenant.directory.glob("*/venv-*")
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    gate.unlink()
    environment = tenant.visit()
    assert environment.was_made
    assert half_made not in environment.python.parents
    assert not half_made.exists()


def test_a_stop_ends_the_making_and_leaves_nothing(tenant: Tenant, gate: Path) -> None:
    def stop() -> None:
        wait_for((tenant.root / "waiting").exists)
        tenant.stop.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(StoppedError):
        tenant.visit()
    stopper.join()

    assert tenant.made == []
    gate.unlink()
    tenant.stop.clear()
    assert tenant.visit().was_made


def test_a_stop_ends_the_waiting(tenant: Tenant, gate: Path) -> None:
    maker = start_maker(tenant)
    wait_for((tenant.root / "waiting").exists)
    tenant.stop.set()
    with pytest.raises(StoppedError):
        tenant.visit()
    gate.unlink()
    assert maker.communicate(timeout=60)[0].strip() == "True"


def test_the_private_environment_of_a_killed_run_is_removed(tenant: Tenant) -> None:
    tenant.visit()
    for name in ("private-dead", "private-alive"):
        (tenant.directory / name).mkdir()
        (tenant.directory / f"{name}.lock").touch()
    with FileLock(tenant.directory / "private-alive.lock") as lock:
        lock.share(threading.Event())
        tenant.visit()
        assert not (tenant.directory / "private-dead").exists()
        assert not (tenant.directory / "private-dead.lock").exists()
        assert (tenant.directory / "private-alive").exists()


def test_a_lock_on_a_removed_file_does_not_count(tmp_path: Path) -> None:
    """A waiting process locks the new file of that name."""
    path = tmp_path / "one.lock"
    with FileLock(path) as first, FileLock(path) as second, FileLock(path) as third:
        assert first.try_take()
        assert not second.try_take()
        first.remove()
        second.take(threading.Event())
        assert path.exists()
        assert not third.try_take()
