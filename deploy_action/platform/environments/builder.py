"""As whom the code of packages runs while an environment is made.

A package without a wheel is built by code of its own, and any package runs code when it is first
imported. If we are root, all of that is left to a user that nothing else runs as: it has a cache of
its own, and writes to nothing but that and the environment, until both are taken back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from deploy_action.platform.environments.installer import Uv, uv_binary, with_temporary_cache
from deploy_action.platform.environments.requirements import ModelRequirements
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.platform.processes.directory_trees import directories_in, size_of
from deploy_action.platform.processes.memory import MEMORY
from deploy_action.platform.processes.stragglers import end_stragglers
from deploy_action.platform.processes.unprivileged import (
    hand_over,
    let_all_read,
    remove_of_others,
)
from deploy_action.records import dataclass, replace

Isolate = Callable[[Path, Iterable[Path]], int | None]
"""Gives a directory to a new user, who reaches all the paths, and returns its id.

None means that the code of packages runs as we do.
"""

_LOCK: Final = ".lock"  # of uv, in a venv
# Packages are in the cache, unpacked, and in the environment.
_DISK_SHARE: Final = 3


@dataclass(frozen=True, slots=True)
class Builder:
    """Runs what may run the code of packages: uv when it builds, and the first import.

    `uv` runs as `user`, None for ourselves. `home` is a directory of its own, and `requirements`
    are where it can read them.
    """

    home: Path
    uv: Uv
    requirements: ModelRequirements
    user: int | None = None

    @classmethod
    @contextmanager
    def at(
        cls,
        home: Path,
        uv: Uv,
        requirements: ModelRequirements,
        isolate: Isolate,
        python: Path,
        disk_bytes: int | None,
    ) -> Iterator[Builder]:
        """Yield a builder whose home is made there; the caller removes it.

        While packages come out of the model itself, the model's parent directory is its, too.
        `disk_bytes` is what the files of a model may take. Those of the environment, which is two
        directories above the home, may take thrice that with the home and what is added there.

        Raises:
            NotIsolatedError: there can be no such user.
        """
        home.mkdir(mode=0o700)
        user = isolate(home, [python, uv_binary(), *_places_in(uv)])
        if user is None:
            yield cls(home, uv, requirements)
            return
        (home / "tmp").mkdir()
        environ = _environ_of(uv, home)
        lent = requirements.model.parent if requirements.is_local else None
        if lent is None:
            requirements = requirements.copied_to(home / "requirements")
        hand_over(home, user)
        places = [home.parents[1], *([lent] if lent else [])]
        confinement = Confinement(
            memory_bytes=MEMORY.limit(),
            user=user,
            umask=0o022,  # what it installs is readable by others
            disk_bytes=disk_bytes and disk_bytes * _DISK_SHARE + (size_of(lent) if lent else 0),
            places=tuple(map(str, places)),
        )
        separate = replace(uv, environ=environ, confinement=confinement)
        with _lent(lent, user):
            try:
                yield cls(home, separate, requirements, user)
            except BaseException:
                end_stragglers(home, user)  # its launcher may have been killed
                raise

    def lend(self, venv: Path) -> None:
        """Let the builder add files to an environment, and not change those that are there.

        They may be links to a cache that other environments share.
        """
        if self.user is None:
            return
        (venv / _LOCK).unlink(missing_ok=True)  # it may be nobody else's
        for directory in directories_in(venv):
            os.chown(directory, self.user, self.user, follow_symlinks=False)

    def give_back(self, venv: Path) -> None:
        """Take what the builder has made, whatever modes it has."""
        if self.user is not None:
            let_all_read(venv, self.user)
            hand_over(venv, os.geteuid(), of=self.user)
        (venv / _LOCK).unlink(missing_ok=True)  # everybody may write to it


@contextmanager
def _lent(directory: Path | None, user: int) -> Iterator[None]:
    """Let a user have the copy of a model that packages come out of: builds write there."""
    if directory is None:
        yield
        return
    hand_over(directory, user)
    try:
        yield
    finally:
        remove_of_others(directory, user)
        hand_over(directory, os.geteuid(), of=user)


def _environ_of(uv: Uv, home: Path) -> dict[str, str]:
    """Return the variables of a builder; it gets a copy of netrc(5), as it gets the others."""
    environ = {name: value for name, value in uv.environ.items() if not name.startswith("XDG_")}
    netrc = environ.pop("NETRC", "") or os.path.join(environ.get("HOME", "/"), ".netrc")  # noqa: PTH118  # a text
    with suppress(OSError):
        copy = shutil.copyfile(netrc, home / ".netrc")  # git knows no other name
        environ["NETRC"] = str(copy)
    environ |= {"HOME": str(home), "TMPDIR": str(home / "tmp")}
    return with_temporary_cache(environ, home / "cache")


def _places_in(uv: Uv) -> Iterator[Path]:
    """Yield the existing files and directories that the settings of uv name."""
    names = (
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_CONFIG_FILE"),
        *("UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE"),
    )
    indexes = (
        "UV_FIND_LINKS",
        "UV_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
    )
    for name in (*names, *indexes):
        for word in uv.environ.get(name, "").replace(",", " ").split():
            address = urlsplit(word.rpartition("=")[2])
            if address.scheme in ("", "file"):
                path = Path(unquote(address.path))
                if path.is_absolute() and path.exists():
                    yield path
