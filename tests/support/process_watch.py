"""What every user of a machine can read of a process and of all that it starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_PAUSE = 0.01


@dataclass(slots=True)
class ProcessWatch:
    """Looks at the descendants of a process again and again, inside a `with` block.

    `commands` are their command lines, and `environments` their variables by command line, which
    only root and their users can read.
    """

    pid: int
    commands: set[str] = field(default_factory=set)
    environments: dict[str, set[str]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()

    def environments_of(self, part: str) -> list[str]:
        """Return the variables of the commands that have this in their lines."""
        return [
            text
            for command, texts in self.environments.items()
            if part in command
            for text in texts
        ]

    def _watch(self) -> None:
        own = _read(self.pid, "cmdline")
        while not self._over.wait(_PAUSE):
            for pid in self._descendants():
                variables, command = (_read(pid, name) for name in ("environ", "cmdline"))
                if command not in {"", own}:  # until it runs its program, it is as its parent
                    self.commands.add(command)
                    self.environments.setdefault(command, set()).add(variables)

    def _descendants(self) -> Iterator[int]:
        children: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*"):
            stat = _read(int(path.name), "stat").rpartition(")")[2].split()
            if stat:
                children.setdefault(int(stat[1]), []).append(int(path.name))
        pending = children.get(self.pid, [])
        while pending:
            pid = pending.pop()
            yield pid
            pending = [*pending, *children.get(pid, [])]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace")
    except OSError:  # it has ended
        return ""
