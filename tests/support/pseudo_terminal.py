"""Runs a command on a terminal, as a person sees it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROWS = 40


@dataclass(frozen=True, slots=True)
class Shown:
    """The exit code of a command, and all it wrote to its terminal, with escape sequences."""

    code: int
    text: str


def run_on_terminal(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], columns: int = 80
) -> Shown:
    """Run a command with input, output and errors on a terminal of its own."""
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(environ), stdin=theirs, stdout=theirs, stderr=theirs
        )
    finally:
        os.close(theirs)
    with process, open(ours, "rb", buffering=0) as screen:  # noqa: PTH123  # a descriptor
        chunks = list(iter(lambda: _read(screen.fileno()), b""))
    text = b"".join(chunks).decode().replace("\r\n", "\n")
    return Shown(process.returncode, text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError as error:
        if error.errno == errno.EIO:  # nobody has it open any more
            return b""
        raise
