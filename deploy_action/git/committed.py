"""Finds out whether a file is as the checked-out commit has it."""

from __future__ import annotations

import os
from pathlib import Path

from deploy_action.errors import InvalidInputError
from deploy_action.git.repository import open_repository, reading
from deploy_action.git.revision import find_commit
from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """A file in a commit: the commit's id, and the file's POSIX path in the repository."""

    commit: str
    path: str


def find_committed(file: Path, data: bytes) -> CommittedFile | None:
    """Return where the checked-out commit has a file with these bytes, or None.

    None also without a repository, or if it cannot be read.
    """
    try:
        with open_repository(file.parent) as repository, reading(repository.root):
            from dulwich.object_store import tree_lookup_path
            from dulwich.objects import Blob

            commit = find_commit(repository, "HEAD")
            name = os.path.relpath(file.parent.resolve() / file.name, repository.root)
            path = Path(name).as_posix()
            store = repository.repo.object_store
            _, sha = tree_lookup_path(store.__getitem__, commit.tree, os.fsencode(path))
            is_same = sha == Blob.from_string(data).id
            return CommittedFile(commit.sha, path) if is_same else None
    except (InvalidInputError, OSError):
        return None
