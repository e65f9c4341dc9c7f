"""How many connections a process may have open, beside everything else that it opens."""

from __future__ import annotations

import resource
from contextlib import suppress

from deploy_action.errors import RefusedError

# Databases and files of 40 threads, the pipes of backtests, and connections about to be closed.
_FILES_BESIDES = 400
_FEWEST_FILES = 512


def connections_that_fit(most: int) -> int:
    """Return for how many connections, at most `most`, there are enough file descriptors.

    Each may need one more for a file, that of an upload or of a bundle, and refused ones take an
    eighth of them. Raises the limit of this process as far as needed and possible, and raises
    `RefusedError` if that is too little.
    """
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_BESIDES + most * 9 // 4
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if files != resource.RLIM_INFINITY and files < wanted:
        with suppress(OSError, ValueError):  # a container or a system may have limits of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            files = wanted
    if files == resource.RLIM_INFINITY:
        return most
    if files < _FEWEST_FILES:
        raise RefusedError.of(
            message=f"The platform may open {files} files at once, which is too few: it needs "
            f"{_FEWEST_FILES} for its connections, database and backtests.",
            hint="Raise the limit: `ulimit -n 1024` in a shell, `--ulimit nofile=1024` for a "
            "container, `LimitNOFILE=1024` for a service of systemd.",
        )
    return min(most, (files - _FILES_BESIDES) * 4 // 9)
