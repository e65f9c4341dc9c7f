"""The style sheet and the scripts of pages: files of this folder, each with its digest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from deploy_action.records import dataclass

STATIC: Final = "/static"
_FOLDER: Final = Path(__file__).parent / "static"
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages use; `sha256` is in base64, as a Content Security Policy names it."""

    name: str
    media_type: str
    content: bytes
    sha256: str

    @property
    def text(self) -> str:
        """The file as text, to be put into a page."""
        return self.content.decode("utf-8")

    @property
    def url(self) -> str:
        """Its path on a server, which changes with the content, so that it can be kept for ever."""
        return f"{STATIC}/{self.name}?v={hashlib.sha256(self.content).hexdigest()[:16]}"


@cache
def assets() -> Mapping[str, Asset]:
    """Return all files, by their names."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")
    return Asset(path.name, _MEDIA_TYPES[path.suffix], content, digest)
