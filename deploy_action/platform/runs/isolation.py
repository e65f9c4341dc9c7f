"""Which user a model runs as, and what is said about it."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.platform.processes.unprivileged import (
    NotIsolatedError,
    draw_user,
    hand_over,
    is_root,
    writable_by,
)
from deploy_action.records import dataclass, replace

# Set to `off` by those who allow models that cannot be isolated to run as root.
ISOLATION_VARIABLE: Final = "BLANKLY_DEPLOY_ISOLATION"
_AS_OURSELVES: Final = Problem(
    message="The model has the rights of the user who runs this program: it can read and change "
    "what this user may.",
    hint="Run only models that you trust. The action's container, and this program as root, "
    "give each model a user of its own.",
    severity=Severity.NOTICE,
)


class AsRoot(Enum):
    """What becomes of a model that root cannot give a user of its own."""

    REFUSED = auto()
    RUN_WITH_WARNING = auto()
    ALLOWED = auto()


@dataclass(frozen=True, slots=True)
class Isolation:
    """How models are kept from what is not theirs.

    `as_root` is for root without a way to isolate them. `guarded` are files and directories that
    models must not write to. `problems` are shown with each backtest.
    """

    as_root: AsRoot = AsRoot.REFUSED
    guarded: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def is_certain(self) -> bool:
        """Whether a model runs as a user of its own, or not at all."""
        return is_root() and self.as_root is AsRoot.REFUSED

    def elsewhere(self, place: Path, obstacle: NotIsolatedError) -> Isolation:
        """Return it with the notice that models are not below the platform's data, and why."""
        notice = Problem(
            message=f"Environments and private copies of models are in {place}, since "
            f"{obstacle.reason}.",
            hint="In a container they are not kept for the next job. To keep them, set "
            f"`platform-data` elsewhere, or: {obstacle.hint}",
            severity=Severity.NOTICE,
        )
        return replace(self, problems=(*self.problems, notice))

    def check(self, workplace: Path, needed: Iterable[Path]) -> None:
        """Refuse early what `choose_user` would refuse: before an environment is made.

        `workplace` is where private copies are made.

        Raises:
            NotIsolatedError: we are root, may not run models as root, and cannot help it.
        """
        if self.as_root is AsRoot.REFUSED and is_root():
            try:
                user = draw_user([workplace, *needed])
                with TemporaryDirectory(dir=workplace, prefix="check-") as trial:
                    hand_over(Path(trial), user)
            except NotIsolatedError as error:
                raise _refused(error) from error

    def choose_user(
        self, private: Path, needed: Iterable[Path]
    ) -> tuple[int | None, tuple[Problem, ...]]:
        """Give a private copy to a user of its own; None if the model runs as we do.

        `needed` is what the model has to read or run besides. Also returns what to tell about it.

        Raises:
            NotIsolatedError: we are root, may not run models as root, and cannot help it.
        """
        if not is_root():
            return None, (*self.problems, _AS_OURSELVES)
        try:
            user = draw_user([private.parent, *needed])
            hand_over(private, user)
        except NotIsolatedError as error:
            if self.as_root is AsRoot.REFUSED:
                raise _refused(error) from error
            is_allowed = self.as_root is AsRoot.ALLOWED
            problem = Problem(
                message=f"The model ran as root, without isolation: {error.reason}.",
                hint=error.hint,
                severity=Severity.NOTICE if is_allowed else Severity.WARNING,
            )
            return None, (*self.problems, problem)
        return user, (*self.problems, *self._guard(user))

    def give(self, private: Path, needed: Iterable[Path]) -> int | None:
        """Do the same for what is not told about: what installs the packages of a model."""
        return self.choose_user(private, needed)[0]

    def _guard(self, user: int) -> Iterator[Problem]:
        """Take the right to write to guarded files from others; yield what stays writable."""
        for path in writable_by(user, self.guarded):
            with suppress(OSError):
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode):
                    path.chmod(stat.S_IMODE(mode) & ~0o022)
        for path in writable_by(user, self.guarded):
            yield Problem(
                message=f"Every user may write to {path}, so the model could change it, too.",
                hint=f"Take that right away first: `chmod o-w {shlex.quote(str(path))}`.",
                severity=Severity.WARNING,
            )


def _refused(error: NotIsolatedError) -> NotIsolatedError:
    way_out = f"If you trust every model here, set {ISOLATION_VARIABLE}=off."
    return NotIsolatedError(error.reason, f"{error.hint} {way_out}")


ISOLATED: Final = Isolation()
