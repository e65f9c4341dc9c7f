"""What is left out of every bundle, whatever the patterns say."""

from __future__ import annotations

import os
from collections.abc import Container
from typing import Final

NEVER_PACKED: Final = frozenset({".git", "__pycache__"})
ENVIRONMENT_MARKS: Final = frozenset({"pyvenv.cfg", "conda-meta"})


def is_environment(path: str) -> bool:
    """Whether a directory is a virtual environment."""
    return any(os.path.lexists(f"{path}/{mark}") for mark in ENVIRONMENT_MARKS)


def is_never_packed(root: str, target: str, excluded: Container[str]) -> bool:
    """Whether a real path below the directory `root` is, or is in, what is always left out.

    `excluded` are real paths that are left out, too.
    """
    path = root
    for part in target[len(root) :].strip("/").split("/"):
        path = f"{path}/{part}"
        if part in NEVER_PACKED or path in excluded or is_environment(path):
            return True
    return False
