"""A command and its launcher, which ends every process that the command leaves."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from deploy_action.platform.processes.confinement import Confinement
from deploy_action.records import dataclass, field

_LAUNCHER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py")))
# From the end of the grace on, the launcher ends a command within 2 s, or later on a busy machine.
_MARGIN_SECONDS: Final = 2.0
_MARGIN_SHARE: Final = 0.5  # of the grace


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: the exit code, or the negated number of the signal that ended it.

    `left` is how many processes of the command could not be ended; None if nobody knows, because
    the command ended its launcher. `out_of_memory` says that its memory was limited, and used up;
    `out_of_disk` that it was ended because its files took more than they may.
    `peak_bytes` is the most memory that its processes had at once, as far as that was measured.
    """

    code: int
    left: int | None = 0
    out_of_memory: bool = False
    peak_bytes: int | None = field(default=None, compare=False)
    out_of_disk: bool = False


@dataclass(frozen=True, slots=True)
class Custody:
    """What a launcher does for a command.

    The command has `grace_seconds` from SIGTERM to SIGKILL. `held` are descriptors, of locks, that
    the launcher keeps open as long as a process of the command lives. `drained` are the reading
    ends of pipes that it empties if this process dies. If it `measures`, it looks a few times a
    second how much memory the command has.
    """

    grace_seconds: float = 1.0
    held: tuple[int, ...] = ()
    drained: tuple[int, ...] = ()
    measures: bool = False


class Launched:
    """A running command and its launcher.

    `report` is a descriptor that reaches its end when the launcher does; the caller closes it.
    """

    def __init__(  # noqa: PLR0913  # by keyword
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        confinement: Confinement,
        custody: Custody = Custody(),  # noqa: B008  # frozen
        inherited: Sequence[int] = (),
        output: int,
        errors: int,
    ) -> None:
        """Start it. `inherited` are the command's descriptors beside the standard streams.

        `output` and `errors` are what `subprocess.Popen` takes as `stdout` and `stderr`.

        Raises:
            OSError: the launcher cannot be started.
        """
        self._grace_seconds = custody.grace_seconds
        self._stopping = threading.Lock()  # so that nobody writes to what was closed
        self.given_up_at = math.inf  # when it should have ended, by the monotonic clock
        control, self._control = os.pipe()
        self.report, report = os.pipe()
        options = json.dumps({**asdict(confinement), **asdict(custody), "cwd": str(cwd.absolute())})
        # The launcher has more rights than the command, whose variables may come from whoever sent
        # a model: LD_PRELOAD would have it run their code. So it has none.
        try:
            self.process = subprocess.Popen(  # noqa: S603  # no shell; what runs is the caller's business
                [*_LAUNCHER, str(control), str(report), options, *command],
                cwd="/",
                env={},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                pass_fds=(control, report, *custody.held, *custody.drained, *inherited),
            )
        except BaseException:
            os.close(self.report)
            os.close(self._control)
            raise
        finally:
            os.close(control)
            os.close(report)
        assert self.process.stdin is not None  # noqa: S101  # it was asked for
        with suppress(BrokenPipeError), self.process.stdin as pipe:  # it may have ended
            pipe.write(json.dumps(dict(environ)).encode())

    def stop(self) -> None:
        """Have the launcher end the command: politely, then by force. It ends then, too."""
        with self._stopping:
            if self.given_up_at == math.inf:
                seconds = self._grace_seconds * (1 + _MARGIN_SHARE) + _MARGIN_SECONDS
                self.given_up_at = time.monotonic() + seconds
                with suppress(OSError):  # it has ended
                    os.write(self._control, b".")

    def leave(self) -> None:
        """Have it end, and do not wait: it stays as long as it cannot end the command."""
        self.stop()
        os.close(self._control)

    def end(self) -> None:
        """End the command if it still runs, and wait until its launcher has ended.

        A launcher that takes too long is killed: a command that runs as the same user can stop it.
        """
        self.leave()
        try:
            self.process.wait(max(0, self.given_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def left_of(report: bytes) -> int | None:
    """Return how many processes a launcher could not end; None if it did not report the end."""
    if not report.endswith(b"\n"):
        return None
    left: int | None = json.loads(report.splitlines()[-1]).get("left")
    return left


def read_report(report: bytes, launcher_code: int) -> Ended:
    """Return how a command ended, from its launcher's report and the launcher's exit code.

    Raises:
        OSError: the command could not be started.
    """
    lines = report.splitlines()
    facts = json.loads(lines[0]) if lines else {}
    if "errno" in facts:
        raise OSError(facts["errno"], os.strerror(facts["errno"]), facts["path"])
    if "code" not in facts:
        return Ended(launcher_code, left=None)
    code = facts["code"]
    code = -signal.SIGKILL if code is None else code
    return Ended(
        code,
        facts["left"],
        peak_bytes=facts.get("peak_bytes"),
        out_of_disk=facts.get("out_of_disk", False),
    )
