"""Nothing that a command starts outlives it, however it hides, and whoever it runs as."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.platform.processes.child_process import (
    SideChannel,
    StoppedError,
    run_process,
)
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.processes.unprivileged import draw_user
from tests.support.isolated import as_root, is_for_all, ordinary, python_for_all
from tests.support.waiting import is_alive, wait_for

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="orphans have another parent elsewhere"
)
ROOT = Path(__file__).parents[3]
WAIT = "time.sleep(60)"
# Leaves the session and the group, and can be found by no variable, name, directory or descriptor.
DAEMON = f"""
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print(os.getpid(), flush=True)
    os.chdir("/")
    os.closerange(0, 100)
    os.execve("/bin/sleep", ["kworker/0:1", "60"], {{}})
{WAIT}
"""
DEAF = f"""
import os, signal, subprocess, sys, time
child = "import os, signal, time; signal.signal(15, 1); print(os.getpid(), flush=True);"
subprocess.Popen([sys.executable, "-c", child + {WAIT!r}], start_new_session=True, env={{}})
{WAIT}
"""
STOPPED = f"""
import os, signal, time
child = os.fork()
if child == 0:
    os.setsid()
    {WAIT}
os.kill(child, signal.SIGSTOP)
print(child, flush=True)
{WAIT}
"""
# Is another process, in another session, each time that somebody looks.
HOPPER = f"""
import os, time
print(os.getpid(), flush=True)
if os.fork() == 0:
    while True:
        os.setsid()
        if os.fork():
            os._exit(0)
{WAIT}
"""
BOMB = f"""
import os, resource, signal, time
resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
print(os.getpid(), flush=True)
if os.fork() == 0:
    for _ in range(5):
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            pass
    while True:
        pass
{WAIT}
"""
ESCAPES = pytest.mark.parametrize("code", [DAEMON, DEAF, STOPPED, HOPPER, BOMB])

SHORTLY = "time.sleep(0.1)"


@pytest.fixture(params=["as we are", pytest.param("as another user", marks=as_root)])
def user(request: pytest.FixtureRequest) -> int | None:
    """Return the user that commands run as."""
    return None if request.param == "as we are" else draw_user([])


def run(code: str, user: int | None, stop: threading.Event, lines: list[str]) -> Ended:
    """Run code, and check that nobody holds a pipe any more that all its processes inherited."""

    def on_line(line: str) -> None:
        lines.append(line)
        if WAIT in code.splitlines():
            stop.set()

    with SideChannel(lines.append) as side:
        try:
            return run_process(
                [str(python_for_all()), "-c", code],
                cwd=Path("/"),
                environ={},
                on_line=on_line,
                stop=stop,
                side=side,
                confinement=Confinement(user=user),
            )
        finally:
            assert os.read(side.reader, 1) == b""


@ESCAPES
def test_nothing_outlives_a_command_that_ends(code: str, user: int | None) -> None:
    lines: list[str] = []
    ended = run(code.replace(f"\n{WAIT}\n", f"\n{SHORTLY}\n"), user, threading.Event(), lines)
    assert ended == Ended(0, left=0)
    assert not is_alive(int(lines[0]))


@ESCAPES
def test_nothing_outlives_a_command_that_is_stopped(code: str, user: int | None) -> None:
    lines: list[str] = []
    with pytest.raises(StoppedError) as stopped:
        run(code, user, threading.Event(), lines)
    assert stopped.value.left == 0
    assert not is_alive(int(lines[0]))


# Runs code as its first argument says, and prints its lines and how it ended.
PLATFORM = """
import os, sys, threading
from pathlib import Path
from deploy_action.platform.processes.child_process import run_process
from deploy_action.platform.processes.confinement import Confinement
print(run_process(
    [sys.executable, "-c", sys.argv[1]], cwd=Path("/"), environ={}, stop=threading.Event(),
    on_line=lambda line: print(line, flush=True),
    confinement=Confinement(user=int(sys.argv[2]) if len(sys.argv) > 2 else None),
).left)
"""


@pytest.mark.parametrize("code", [DAEMON, HOPPER])
def test_a_command_ends_with_a_platform_that_is_killed(code: str, user: int | None) -> None:
    """The kernel closes the launcher's pipe."""
    if not is_for_all(Path(sys.executable)):
        user = None
    arguments = [code] if user is None else [code, str(user)]
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as until_all_ended:
        platform = subprocess.Popen(
            [sys.executable, "-c", PLATFORM, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=writer,  # the launcher's as well
            text=True,
        )
        os.close(writer)
        with platform:
            assert platform.stdout is not None
            process = int(platform.stdout.readline())
            platform.kill()
        wait_for(lambda: not is_alive(process))
        assert until_all_ended.read() == b""


@ESCAPES
def test_nothing_outlives_the_command_of_an_ordinary_user(code: str, tmp_path: Path) -> None:
    """Such a user cannot kill all processes of a user in one go: it would be among them."""
    shortly = code.replace(f"\n{WAIT}\n", f"\n{SHORTLY}\n")
    done = ordinary(PLATFORM, tmp_path, shortly)
    process, *_, left = done.stdout.splitlines()
    assert left == "0", done.stderr
    assert not is_alive(int(process))


def test_a_command_that_kills_its_launcher_is_not_taken_for_one_that_ended() -> None:
    code = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)"
    assert run(code, None, threading.Event(), []).left is None


@as_root
def test_a_command_of_another_user_cannot_reach_its_launcher() -> None:
    code = """
import os
for what in (lambda: os.kill(os.getppid(), 9), lambda: open(f"/proc/{os.getppid()}/mem", "rb"),
             lambda: open(f"/proc/{os.getppid()}/environ", "rb"), lambda: os.setuid(0)):
    try:
        what()
    except PermissionError:
        print("refused")
"""
    lines: list[str] = []
    assert run(code, draw_user([]), threading.Event(), lines) == Ended(0)
    assert lines == ["refused"] * 4


def test_a_command_starts_with_nothing_but_its_rights(user: int | None) -> None:
    """No descriptor of ours, no core files, no way to more rights, and ordinary signals."""
    code = """
import json, os, resource
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "groups": status["Groups"].split(), "may gain rights": status["NoNewPrivs"].strip() == "0",
    "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
    "umask": status["Umask"].strip(), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "descriptors": len(os.listdir("/proc/self/fd")) - 1, "leads": os.getsid(0) == os.getpid(),
    "ids": sorted({*os.getresuid(), *os.getresgid()}),
}))
"""
    lines: list[str] = []
    assert run(code, user, threading.Event(), lines) == Ended(0)
    found = json.loads(lines[0])
    # What Python ignores. Signals from 32 on are the C library's, and may be ignored by our parent.
    ignored = found.pop("ignored") & (1 << 31) - 1
    assert ignored == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    groups = found.pop("groups")
    assert user is None or groups == []
    assert found == {
        "may gain rights": False,
        "blocked": 0,
        "umask": "0077",
        "core": [0, 0],
        "descriptors": 4,  # three standard streams and the side channel
        "leads": True,
        "ids": sorted({os.getuid(), os.getgid()} if user is None else {user}),
    }


@as_root
def test_what_a_user_of_its_own_leaves_in_shared_places_is_removed() -> None:
    """Shared memory, message queues and files: others' stay."""
    code = """
import ctypes, os, tempfile
libc = ctypes.CDLL(None)
print(libc.shmget(0, 4096, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600))
for place in ("/dev/shm", "/tmp", "/var/tmp"):
    directory = tempfile.mkdtemp(dir=place)
    open(directory + "/file", "w").write("x")
    os.chmod(directory, 0)
    print(directory)
"""
    libc = ctypes.CDLL(None)
    ours = libc.shmget(0, 4096, 0o1600)
    lines: list[str] = []
    user = draw_user([])
    try:
        assert run(code, user, threading.Event(), lines) == Ended(0)
        left = [line.split() for line in shared_memory()]
        assert not [line for line in left if str(user) in line]
        assert [line for line in left if line[1] == str(ours)]
    finally:
        libc.shmctl(ours, 0, None)  # IPC_RMID
    assert len(lines) == 4
    assert not [path for path in lines[1:] if Path(path).exists()]


@as_root
def test_a_link_leads_no_command_to_where_only_we_may_go(tmp_path: Path) -> None:
    """Inside, it could read what every user may: the directories above are not asked then."""
    closed = tmp_path / "closed"
    (closed / "open").mkdir(parents=True)
    closed.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(closed / "open")
    with pytest.raises(PermissionError):
        run_process(
            ["/bin/ls"],
            cwd=link,
            environ={},
            on_line=lambda _: None,
            stop=threading.Event(),
            confinement=Confinement(user=draw_user([tmp_path])),
        )


def shared_memory() -> Iterator[str]:
    """Yield what the kernel lists of all System V objects."""
    for kind in ("shm", "sem", "msg"):
        yield from Path("/proc/sysvipc", kind).read_text().splitlines()
