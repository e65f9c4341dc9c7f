"""Time that runs faster, for the exchange and for the processes of models alike.

A model gets it from Debian's `libfaketime`, a library that answers its questions for the time, and
shortens its sleeps. It reads the time at the start of a process from a file, which is kept right
here: so a model that is started again finds the time where the exchange has it.

Waits on locks with a time-out (`Event.wait(1)`, `Queue.get(timeout=1)`) never end under
libfaketime 0.9.10, which does not know sem_clockwait(3).
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

_LIBRARIES: Final = Path("/usr/lib")
_INTERVAL: Final = 0.02  # seconds between two updates of the file


def libfaketime() -> Path | None:
    """Return the library, if this machine has it."""
    return next(_LIBRARIES.glob("*/faketime/libfaketime.so.1"), None)


@dataclass
class TimeLapse(AbstractContextManager["TimeLapse"]):
    """Time from `begins` on, in epoch seconds, `speed` times as fast; `file` is made here."""

    file: Path
    library: Path
    begins: float
    speed: int
    _started: float = field(init=False)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        """Start the time, and keep the file right."""
        self._started = time.monotonic()
        self._write()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop to update the file."""
        self._ended.set()
        self._thread.join()

    def now(self) -> float:
        """Return the time, in epoch seconds."""
        return self.begins + (time.monotonic() - self._started) * self.speed

    @property
    def variables(self) -> dict[str, str]:
        """The variables that give a process this time."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_FMT": "%s",
            # The file is read once, at the start of the process: what it says later is counted
            # from the start, too.
            "FAKETIME_CACHE_DURATION": "100000000",
        }

    def _keep(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._write()

    def _write(self) -> None:
        """Replace the file, which a process may be reading."""
        written = self.file.with_suffix(".new")
        written.write_text(f"@{self.now():.0f} x{self.speed}\n")
        written.chmod(0o644)
        written.replace(self.file)
