"""Runs one command, and ends every process that it leaves behind.

    python -I -S launcher.py CONTROL_FD REPORT_FD OPTIONS COMMAND...

A process between the platform and a command. Orphans of the command become its children
(PR_SET_CHILD_SUBREAPER), whatever session, name and environment they have. So no process of the
command is left when it has no children any more, and their ids cannot be reused before it reaps
them. It ends them all when the command has ended, when CONTROL_FD says so (by a byte from the
platform, or by its end, also if the platform was killed), when it gets SIGTERM, or when the files
of the command are too large. Then the command gets SIGTERM, and a while later everything gets
SIGKILL.

OPTIONS is a JSON object: the fields of `Confinement` and of `Custody`, and `cwd`, the directory of
the command, which its user must be able to enter. Another one is read from the
standard input: the variables of the command, which are not ours. The report has lines of JSON: an
object with `errno` and `path` if the command could not be started, and at the end one with `code`
(as in `subprocess`), `left`, the number of processes that could not be ended, and, if it measured,
`peak_bytes`, the most memory that all processes had; `out_of_disk` says that its files were too
large. This file is a script of its own, so it imports nothing of ours.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import sys
import time
import warnings  # noqa: F401  # os.execvpe does, when another user may not read it any more
from collections.abc import Callable, Iterator
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # takes a third of our start

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_KILL_SECONDS = 2.0  # a server that stops waits for 4 s
_PAUSE_SECONDS = 0.001
_LONG_PAUSE_SECONDS = 1.0  # between attempts to end what withstood SIGKILL
_LOOK_SECONDS = 0.25  # from one look at the memory to the next
_LONG_LOOK_SECONDS = 10.0  # from one look at the files to the next, while there is room
_FASTEST_DISK = 1 << 30  # bytes that a command may write in a second
_FILES_AT_ONCE = 1_000  # that are looked at, before it is seen whether something else is to be done
_LEAST_FILE = 1 << 10  # what a file counts, if it takes less
_SECTOR = 512  # bytes: the unit of `st_blocks`
_BLOCK_BYTES = 1 << 16
# For a user of its own: no machine needs more for one backtest, and it bounds a fork bomb.
_MOST_PROCESSES = 4_096
_NOBODYS = 65_535  # the 16-bit -1, which no user has
_LEFT_BEHIND_IN = ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp")  # noqa: S108  # not used, but cleaned
_IPC = {"shm": "-m", "sem": "-s", "msg": "-q"}  # the options of ipcrm(1)


def set_attribute(option: int, value: int) -> None:
    """Change an attribute of this process, on systems that have prctl(2)."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class Launcher:
    """The command, its user and its processes."""

    def __init__(
        self, options: dict[str, Any], command: list[str], environ: dict[str, str]
    ) -> None:
        self.command = command
        self.environ = environ
        self.grace = options["grace_seconds"]
        self.drained = options["drained"]
        self.stack = options["stack_bytes"]
        self.control_group = options["control_group"]
        self.memory = options["memory_bytes"]
        self.umask = options["umask"]
        self.cwd = options["cwd"]
        self.user = options["user"]
        self.code: int | None = None
        self.peak = 0
        self.measures = options["measures"]
        self.next_look = 0.0
        self.end: float | None = None  # when it is killed, by the monotonic clock
        self.disk: int | None = options["disk_bytes"]
        self.places = options["places"]
        self.sizes: Iterator[int] | None = None
        self.next_walk = 0.0
        self.is_full = False

    def start(self, report: int) -> None:
        """Start the command as its user, in a session of its own, without a way to more rights."""
        self.process = os.fork()
        if self.process == 0:
            try:
                self._become_command()
            except OSError as error:
                say(report, errno=error.errno, path=error.filename or self.command[0])
            finally:
                os._exit(127)

    def _become_command(self) -> None:
        os.setsid()
        os.umask(self.umask or 0)
        limit(resource.RLIMIT_CORE, 0)
        if self.disk is not None:
            limit(resource.RLIMIT_FSIZE, self.disk)
        if self.control_group is not None:
            with open(f"{self.control_group}/cgroup.procs", "w", encoding="ascii") as file:  # noqa: PTH123  # starts sooner
                file.write("0")  # the process that writes
        if self.memory is not None and sys.platform.startswith("linux"):
            # Of the data only: libraries reserve far more address space than they use.
            limit(resource.RLIMIT_DATA, self.memory)
        if self.stack is not None:
            hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
            most = self.stack if hard == resource.RLIM_INFINITY else min(self.stack, hard)
            resource.setrlimit(resource.RLIMIT_STACK, (most, hard))
        if self.user is not None:
            limit(resource.RLIMIT_NPROC, _MOST_PROCESSES)
            become(self.user, self.user)
        os.chdir(self.cwd)  # a link in there may lead to where only we may go
        set_attribute(_PR_SET_NO_NEW_PRIVS, 1)
        set_attribute(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(self.command[0], self.command, self.environ)  # noqa: S606  # no shell; the caller chose it

    def wait(self, control: int) -> None:
        """Wait until the command has ended, or must end."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        poll = select.poll()  # numbers of descriptors may be too large for select(2)
        for descriptor in (reader, control):
            poll.register(descriptor, select.POLLIN)
        while self.reap() and self.code is None:
            left = None if self.end is None else self.end - time.monotonic()
            if left is not None and left <= 0:
                return
            ready = poll.poll(self.look(left))
            if self.is_full:
                self.ask_to_end()
            for descriptor, _ in ready:
                self.take(descriptor, control, poll)

    def take(self, descriptor: int, control: int, poll: select.poll) -> None:
        """Read what is there: of the platform, of signals, or of a pipe that nobody else reads."""
        data = read(descriptor)
        # A service manager may tell all processes of a unit before the platform tells us. Then the
        # command has been told, too: now, and not a second time in a while.
        if descriptor == control or signal.SIGTERM in (data or b""):
            self.ask_to_end()
        if data == b"":
            poll.unregister(descriptor)
            if descriptor == control:
                # The platform may be dead. A command that prints must not wait or fail then.
                for drained in self.drained:
                    poll.register(drained, select.POLLIN)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the command, once; it is killed after a while."""
        if self.end is None:
            self.end = time.monotonic() + self.grace
            # Only itself: its teardown may need the processes that it started.
            self.as_user(lambda: os.kill(self.process, signal.SIGTERM))

    def look(self, left: float | None) -> float | None:
        """Look at memory and files if it is time; return the milliseconds until more is to be done.

        The memory takes a twentieth of the time at most, however many processes there are. Of the
        seconds that are `left`, None is as many as it takes.
        """
        if self.disk is not None and not self.is_full:
            until = self.look_at_files()
            left = until if left is None else min(left, until)
        if self.measures:
            now = time.monotonic()
            if now >= self.next_look:
                self.peak = max(self.peak, memory_of(children()))
                took = time.monotonic() - now
                self.next_look = now + max(_LOOK_SECONDS, 20 * took)
            until = max(0.0, self.next_look - now)
            left = until if left is None else min(left, until)
        return None if left is None else left * 1_000

    def look_at_files(self) -> float:
        """Go on with adding up the files; return the seconds until that is to be done again.

        It takes a fifth of the time at most. When all are added up, the next look is before they
        can have become too many.
        """
        now = time.monotonic()
        if now < self.next_walk or self.disk is None:
            return self.next_walk - now
        if self.sizes is None:
            self.sizes, self.used = sizes_of(self.places, self.user), 0
        size = next(self.sizes, None)
        if size is None:
            self.sizes = None
            room = (self.disk - self.used) / _FASTEST_DISK
            wait = min(_LONG_LOOK_SECONDS, max(_LOOK_SECONDS, room))
        else:
            self.used = size
            self.is_full = size > self.disk
            wait = 0.0 if self.is_full else 4 * (time.monotonic() - now)
        self.next_walk = time.monotonic() + wait
        return wait

    def peak_bytes(self) -> int | None:
        """Return the most memory that was seen, or that the largest process had."""
        if not self.measures:
            return None
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        unit = 1 if sys.platform == "darwin" else 1 << 10
        return max(self.peak, largest * unit)

    def reap(self) -> bool:
        """Take note of the processes that have ended; return whether any are left."""
        try:
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return True
                if process == self.process:
                    self.code = os.waitstatus_to_exitcode(status)
                    with suppress(OSError):  # in one go, also where orphans do not become ours
                        os.killpg(process, signal.SIGKILL)
        except ChildProcessError:
            return False

    def end_all(self) -> int:
        """Kill all processes of the command; return how many could not be killed in time."""
        end = time.monotonic() + _KILL_SECONDS
        while self.reap():
            if time.monotonic() > end:
                return max(1, len(children()))
            self.kill_all()
            time.sleep(_PAUSE_SECONDS)
        return 0

    def outlast(self) -> None:
        """Stay until the last process of the command has ended: we hold its locks."""
        while self.reap():
            self.kill_all()
            time.sleep(_LONG_PAUSE_SECONDS)

    def kill_all(self) -> None:
        """Send SIGKILL to all processes of the command that we see."""
        if self.user is not None:
            # No fork escapes the kernel's own loop: kill(2), pid -1.
            self.as_user(lambda: os.kill(-1, signal.SIGKILL))
        for process in children() or ([self.process] if self.code is None else []):
            kill_with_group(process)

    def as_user(self, act: Callable[[], None], *, is_visible: bool = False) -> None:
        """Act with the rights of the command's user: root in a container may not have CAP_KILL.

        Unless `is_visible`, that user cannot send signals to the process that acts.
        """
        if self.user is None:
            with suppress(OSError):
                act()
            return
        helper = os.fork()
        if helper == 0:
            with suppress(BaseException):
                become(self.user, self.user if is_visible else _NOBODYS)
                act()
            os._exit(0)
        os.waitpid(helper, 0)

    def tidy_up(self) -> None:
        """Remove files and shared memory that the user of the command left elsewhere."""
        if self.user is None:
            return
        for place in _LEFT_BEHIND_IN:
            with suppress(OSError):
                found = [one.path for one in os.scandir(place) if owner(one.path) == self.user]
                if found:
                    self._run_as_user("chmod", "-R", "u+rwX", "--", *found)
                    self._run_as_user("rm", "-rf", "--", *found)
        if found := [word for kind in _IPC for word in of_user(kind, self.user)]:
            self._run_as_user("ipcrm", *found)

    def _run_as_user(self, *command: str) -> None:
        def run() -> None:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.execvp(command[0], command)  # noqa: S606  # a fixed command

        self.as_user(run, is_visible=True)


def become(user: int, real: int) -> None:
    """Become a user who is in no other group; its `real` user is the one that may signal it."""
    os.setgroups([])
    os.setgid(user)
    if hasattr(os, "setresuid"):
        os.setresuid(real, user, real)
    else:  # macOS
        os.setuid(user)


def say(report: int, **facts: object) -> None:
    """Report something as a line."""
    os.write(report, json.dumps(facts).encode() + b"\n")


def read(descriptor: int) -> bytes | None:
    """Read what is there; blank at the end of a pipe, None if somebody else has read it."""
    try:
        return os.read(descriptor, _BLOCK_BYTES)
    except BlockingIOError:
        return None


def owner(path: str) -> int | None:
    """Return the owner of a file; None if it is gone."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def of_user(kind: str, user: int) -> list[str]:
    """Return the arguments of ipcrm(1) that remove a user's System V objects of a kind."""
    try:
        with open(f"/proc/sysvipc/{kind}", encoding="utf-8") as file:  # noqa: PTH123  # starts sooner
            header, *lines = (line.split() for line in file)
    except OSError:
        return []
    column = header.index("uid")
    ids = [line[1] for line in lines if line[column] == str(user)]
    return [word for one in ids for word in (_IPC[kind], one)]


def sizes_of(places: list[str], user: int | None) -> Iterator[int]:
    """Yield how many bytes files take so far, now and then while they are added up, and at the end.

    Those in directories of everybody's count if they are the user's. Files that were deleted, and
    are still open, are not seen. A directory that is too deep for a path is infinitely large.
    """
    total = seen = 0
    waiting = [*places, *_LEFT_BEHIND_IN] if user is not None else list(places)
    shared = set(waiting) - set(places)
    for place in waiting:  # it grows meanwhile
        try:
            for one in os.scandir(place):
                try:
                    status = one.stat(follow_symlinks=False)
                except FileNotFoundError:  # removed meanwhile; the others still count
                    continue
                if place in shared and status.st_uid != user:
                    continue
                total += max(status.st_blocks * _SECTOR, _LEAST_FILE)
                seen += 1
                if one.is_dir(follow_symlinks=False):
                    waiting.append(one.path)
                if seen % _FILES_AT_ONCE == 0:
                    yield total
        except OSError as error:  # removed meanwhile, or closed to us
            if error.errno == errno.ENAMETOOLONG:
                yield 1 << 62
    yield total


def limit(what: int, most: int) -> None:
    """Lower a limit, unless a lower one holds."""
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (most, most))


def kill_with_group(child: int) -> None:
    """Kill a child of ours and its group, which is in another session than we are."""
    with suppress(OSError):
        group = os.getpgid(child)
        if group != os.getpgid(0):
            os.killpg(group, signal.SIGKILL)
    with suppress(OSError):
        os.kill(child, signal.SIGKILL)


def children() -> list[int]:
    """Return the ids of our children; none where the system does not tell."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", "rb") as file:  # noqa: PTH123  # starts sooner
            return [int(word) for word in file.read().split()]
    except OSError:  # a kernel without this file
        return [int(name) for name in processes() if parent(name) == own]


def memory_of(waiting: list[int]) -> int:
    """Return how many bytes processes have in memory, with all that descend from them.

    What they share counts for each of them.
    """
    pages = 0
    for seen, process in enumerate(waiting):  # it grows meanwhile
        if seen >= _MOST_PROCESSES:
            break
        with suppress(OSError, ValueError, IndexError):  # it has ended
            with open(f"/proc/{process}/statm", "rb") as file:  # noqa: PTH123  # as above
                pages += int(file.read().split()[1])
            for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208  # as above
                with open(f"/proc/{process}/task/{thread}/children", "rb") as file:  # noqa: PTH123  # as above
                    waiting += map(int, file.read().split())
    return pages * resource.getpagesize()


def processes() -> list[str]:
    """Return the ids of all processes, as text; none outside Linux."""
    try:
        return [name for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208  # as above
    except OSError:
        return []


def parent(process: str) -> int | None:
    """Return the id of a process's parent; None if it has ended."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123  # as above
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None


_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command, end what it left, and report."""
    control, report = int(sys.argv[1]), int(sys.argv[2])
    options = json.loads(sys.argv[3])
    for descriptor in (control, report, *options["held"], *options["drained"]):
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # as it is declared
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    set_attribute(_PR_SET_CHILD_SUBREAPER, 1)
    set_attribute(_PR_SET_DUMPABLE, 0)  # a command that runs as we do must not change our memory
    launcher = Launcher(options, sys.argv[4:], json.load(sys.stdin))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    launcher.start(report)
    os.dup2(null, 1)  # the output ends with the last process of the command
    os.dup2(null, 2)
    launcher.wait(control)
    left = launcher.end_all()
    launcher.tidy_up()
    facts = {"peak_bytes": launcher.peak_bytes(), "out_of_disk": launcher.is_full}
    say(report, code=launcher.code, left=left, **facts)
    if left and options["held"]:
        launcher.outlast()


if __name__ == "__main__":
    main()
