"""Runs a command and tells what it took; as small as a Python program can be.

    python -I -S launcher.py HANDLE COMMAND…

Linux counts the memory of who starts a process as its own: this one has some megabytes, the
benchmarks themselves have many. It writes to the open file HANDLE when the command was started by
time.monotonic, how long it ran, the seconds of the processor, ru_maxrss, and the exit code; the
values of all processes that the command waited for are in it.
"""

import os
import sys
import time

handle, command = int(sys.argv[1]), sys.argv[2:]
os.set_inheritable(handle, False)  # noqa: FBT003  # it has no name in os
started = time.monotonic()
child = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.monotonic() - started
spent = usage.ru_utime + usage.ru_stime
code = os.waitstatus_to_exitcode(status)
os.write(handle, f"{started} {seconds} {spent} {usage.ru_maxrss} {code}".encode())
