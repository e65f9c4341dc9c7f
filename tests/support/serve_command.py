"""`blankly-deploy serve`, started as a person or systemd would start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.isolated import allowed_by_this_machine
from tests.support.waiting import PATIENCE


@dataclass(slots=True)
class Served:
    """A running server: its URL, the lines it printed before that, and its process."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self) -> list[str]:
        """Ask it to stop; return the lines it prints from then on."""
        self.process.terminate()
        return self.rest()

    def rest(self) -> list[str]:
        """Wait for its end; return the lines that were not read yet."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read().splitlines()
        self.process.wait(PATIENCE)
        return rest


@contextmanager
def serve_command(
    data: Path, *flags: str, environ: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run `blankly-deploy serve` on a free port, until it is asked to stop at the end."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "deploy_action", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(
        [*command, *flags],
        env={**kept, **allowed_by_this_machine(), **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    served = Served(process)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("listening on "):
                served.url = line.removeprefix("listening on ").strip()
                break
            served.lines.append(line.strip())
        yield served
    finally:
        process.terminate()
        process.wait(PATIENCE)
        process.stdout.close()
