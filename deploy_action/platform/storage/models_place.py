"""Where models' files are: below the platform's data, or where the users of models can reach."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError
from deploy_action.platform.processes.unprivileged import NotIsolatedError, draw_user, is_root
from deploy_action.platform.storage.data_directory import PASSABLE
from deploy_action.platform.storage.ownership import check_ownership
from deploy_action.records import dataclass

# The first survives a restart. A read-only container has one of the others.
_ELSEWHERE: Final = ("/var/cache", "/var/tmp", "/tmp")  # noqa: S108  # checked below
_NAME: Final = "blankly-deploy"


@dataclass(frozen=True, slots=True)
class ModelsPlace:
    """The directory for the private copies of models and for their environments.

    If it is not the platform's data directory, `obstacle` says why.
    """

    path: Path
    obstacle: NotIsolatedError | None = None


def find_models_place(data: Path) -> ModelsPlace:
    """Return the place of models for a data directory.

    If we are root, models run as other users, who may be unable to enter `data` or a directory
    above it: some runners let nobody else into their directories. Then it is a directory of ours
    elsewhere, or `data` if there is none either: backtests will say what is in the way.
    """
    if not is_root():
        return ModelsPlace(data)
    try:
        draw_user([data])
    except NotIsolatedError as obstacle:
        for place in _elsewhere():
            with suppress(NotIsolatedError):
                draw_user([place])
                return ModelsPlace(place, obstacle)
    return ModelsPlace(data)


def _elsewhere() -> Iterator[Path]:
    """Make and yield directories that are ours alone to write, and can hold programs."""
    for parent in _ELSEWHERE:
        place = Path(parent, _NAME)
        with suppress(OSError, InvalidInputError):
            place.mkdir(mode=PASSABLE, exist_ok=True)
            check_ownership(place)
            status = place.lstat()
            is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            may_run = not os.statvfs(place).f_flag & os.ST_NOEXEC
            if is_ours and may_run and os.access(place, os.W_OK):
                place.chmod(PASSABLE)  # whatever our umask is
                yield place
