"""A platform that a test starts in another process, so that it can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.platform_client import TIMEOUT

ROOT = Path(__file__).parents[2]


@contextmanager
def serving_process(
    module: str,
    *arguments: object,
    environ: Mapping[str, str] | None = None,
    umask: int = -1,
    files: int | None = None,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a module of `tests.support` that prints its URL and serves until its input ends.

    Yields the URL and the process, which may have been killed in the end. `files` is how many files
    it may open.
    """
    limit = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
    process = subprocess.Popen(
        [*limit, sys.executable, "-m", f"tests.support.{module}", *map(str, arguments)],
        cwd=ROOT,
        env=environ,
        umask=umask,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.stdin.close()
        process.wait(2 * TIMEOUT)
        process.stdout.close()


@contextmanager
def serving(
    data: Path, refresh_token: str, *points: str, files: int | None = None
) -> Iterator[tuple[str, int]]:
    """Run `tests.support.serving`; yield the platform's URL and the id of its process.

    `points` are where it kills itself, as that module takes them.
    """
    with serving_process("serving", data, refresh_token, *points, files=files) as (url, process):
        yield url, process.pid
