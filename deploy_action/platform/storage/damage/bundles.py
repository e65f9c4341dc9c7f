"""Whether a stored bundle has the bytes that were uploaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deploy_action.platform.storage.zip_reader import ArchiveError


def check_bytes(bundle: Path, sha256: str) -> None:
    """Check the bytes of a bundle against the digest that was noted at its upload.

    Raises `ArchiveError` when they are others.
    """
    with bundle.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return
    raise ArchiveError(
        "The stored bundle of this version is damaged: it is not what was uploaded. Deploy that"
        " commit again, and check the server's disk"
    )
