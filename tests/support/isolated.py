"""What a model's own user can reach on this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_action.platform.processes.unprivileged import NotIsolatedError, draw_user
from deploy_action.platform.runs.isolation import ISOLATION_VARIABLE

_ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


def is_for_all(*paths: Path) -> bool:
    """Return whether every user reaches what is the tests': it may be in root's home."""
    try:
        if os.geteuid() == 0:
            draw_user(paths)
    except NotIsolatedError:
        return False
    return True


@functools.cache
def python_for_all() -> Path:
    """Return a Python that every user can run."""
    for python in map(Path, (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3")):
        if is_for_all(python):
            return python
    pytest.skip("no Python here can be run by every user")


def ordinary(code: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code that uses this package as a user who is not root; `directory` gets a copy of it."""
    copy = directory / "package" / "deploy_action"
    shutil.copytree(_ROOT / "deploy_action", copy, ignore=shutil.ignore_patterns("__pycache__"))
    copy.parent.chmod(0o755)
    user = draw_user([copy]) if os.geteuid() == 0 else None
    return subprocess.run(
        [python_for_all(), "-B", "-c", code, *arguments],
        cwd=copy.parent,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@functools.cache
def allowed_by_this_machine(python: Path = Path(sys.executable)) -> dict[str, str]:
    """Return the variables without which root would run no models here with that Python."""
    return {} if is_for_all(python, _ROOT) else {ISOLATION_VARIABLE: "off"}
