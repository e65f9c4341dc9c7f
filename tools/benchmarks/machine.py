"""What the measurements were made on and with, and how busy the machine was with other things."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from deploy_action import __version__
from tools.benchmarks.context import BLANKLY_PYTHON
from tools.benchmarks.rows import Machine

# Those of our packages on which the times depend most.
_PACKAGES = ("isal", "jsonschema", "msgspec", "starlette", "urllib3", "uv")
_BLANKLY_VERSION = "from importlib.metadata import version; print(version('blankly'))"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine() -> Machine:
    """Describe the machine and the programs without naming the machine."""
    release = re.match(r"[\d.]*\d", os.uname().release)
    return Machine(
        cores=cores(),
        processor=_processor(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{os.uname().sysname} {release[0] if release else ''}".strip(),
        versions=_versions(),
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _versions() -> dict[str, str]:
    found = {"blankly-deploy-action": __version__, "Python": platform.python_version()}
    found |= {name: version(name) for name in _PACKAGES}
    told = {
        "zip": _told(["zip", "-v"], r"This is Zip (\S+)"),
        "curl": _told(["curl", "--version"], r"curl (\S+)"),
        "podman": _told(["podman", "--version"], r"version (\S+)"),
        "blankly": _told([str(BLANKLY_PYTHON), "-c", _BLANKLY_VERSION], r"(\S+)"),
    }
    return found | {name: text for name, text in told.items() if text}


def _told(command: list[str], pattern: str) -> str:
    """Return what a program says of its version; blank if it is not installed."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(pattern, done.stdout)
    return found[1] if found else ""


def _busy_seconds() -> float | None:
    """Return how long all cores were busy since the machine started: proc_stat(5)."""
    try:
        line = Path("/proc/stat").read_text("ascii").partition("\n")[0]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, line.split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the processor time of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@dataclass(frozen=True, slots=True)
class Watch:
    """Counts processor time from when it is made, to tell ours from that of other programs."""

    busy: float | None = field(default_factory=_busy_seconds)
    ours: float = field(default_factory=_own_seconds)
    started: float = field(default_factory=time.monotonic)

    def others(self) -> float | None:
        """Return the share of all cores that other programs had, None if that is not known.

        The host of a virtual machine counts as one of them.
        """
        now = _busy_seconds()
        if now is None or self.busy is None:
            return None
        there_were = (time.monotonic() - self.started) * (os.cpu_count() or 1)
        theirs = now - self.busy - (_own_seconds() - self.ours)
        return max(0.0, min(1.0, theirs / there_were))
