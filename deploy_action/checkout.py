"""The checked-out commit, read from `.git` by library.

The image has no git, and a git binary would refuse a workspace that another user owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy_action.errors import DeployActionError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: its full hexadecimal id and its whole message."""

    sha: str
    message: str


def read_checked_out_commit(directory: Path) -> Commit | None:
    """Return the commit that HEAD of the repository around `directory` names.

    None without a checkout, before the first commit, and where the repository cannot be read: the
    description then comes from elsewhere, and a model needs no repository to be deployed.
    """
    from dulwich.objects import Commit as StoredCommit
    from dulwich.repo import Repo

    try:
        with Repo.discover(str(directory)) as repository:
            sha = repository.head()
            commit = repository[sha]
    except DeployActionError:
        raise  # the deadline or a signal, in the middle
    except Exception:  # noqa: BLE001  # a damaged repository makes dulwich raise anything
        return None
    if not isinstance(commit, StoredCommit):
        return None
    return Commit(sha=sha.decode(), message=_decode(commit))


def _decode(commit: object) -> str:
    raw: bytes = commit.message  # type: ignore[attr-defined]  # narrowed by the caller
    encoding: bytes | None = commit.encoding  # type: ignore[attr-defined]  # as above
    try:
        return raw.decode((encoding or b"utf-8").decode("ascii", "replace"), "replace")
    except (LookupError, ValueError):  # no encoding, or one that knows no replacement
        return raw.decode("utf-8", "replace")
