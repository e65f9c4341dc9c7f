"""A platform that a test starts in another process, so that it can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.platform_client import TIMEOUT

_ROOT = Path(__file__).parents[2]


@contextmanager
def serving(
    data: Path, refresh_token: str, *points: str, files: int | None = None
) -> Iterator[tuple[str, int]]:
    """Run `tests.support.serving`; yield the platform's URL and the id of its process.

    `points` are where it kills itself, as that module takes them. `files` is how many files it may
    open.
    """
    limit = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
    command = [sys.executable, "-m", "tests.support.serving", str(data), refresh_token, *points]
    process = subprocess.Popen(
        [*limit, *command],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.stdin.close()
        process.wait(TIMEOUT)
        process.stdout.close()
