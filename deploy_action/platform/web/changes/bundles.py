"""Reads bundles for a page: names and sizes, and the contents of a few files.

Clients made these files. What is read of one is bounded in entries and in bytes, whatever it says.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from deploy_action.platform.storage.archives import ROOT, read_entries
from deploy_action.platform.storage.zip_reader import Entry
from deploy_action.records import dataclass, field

MOST_ENTRIES: Final = 20_000


@dataclass(frozen=True, slots=True)
class File:
    """A file of a bundle: its name below the model's directory, its size in bytes, its CRC-32."""

    name: str
    size: int
    crc: int
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a bundle by name; `is_whole` says that these are all."""

    files: Mapping[str, File]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file: the SHA-256, and the bytes of a file that is small enough."""

    digest: bytes
    data: bytes | None = field(repr=False)


def list_files(bundle: Path, most: int = MOST_ENTRIES) -> Listing:
    """Return the files of a bundle, as far as they are among its first `most` entries.

    Raises:
        ArchiveError, OSError: it cannot be read.
    """
    files: dict[str, File] = {}
    for number, (entry, _) in enumerate(read_entries(bundle)):
        if number == most:
            return Listing(files, is_whole=False)
        if not entry.is_directory:
            file = _file(entry)
            files[file.name] = file
    return Listing(files, is_whole=True)


def read_files(bundle: Path, names: Collection[str], most_bytes: int) -> dict[str, Content]:
    """Return the contents of files; the bytes only of those that have at most `most_bytes`.

    Raises:
        ArchiveError, OSError: it cannot be read.
    """
    wanted, contents = set(names), dict[str, Content]()
    if not wanted:
        return contents
    for entry, blocks in read_entries(bundle):
        name = _name(entry)
        if name not in wanted:
            continue
        digest, kept = hashlib.sha256(), bytearray()
        for block in blocks:
            digest.update(block)
            if entry.unpacked <= most_bytes:
                kept += block
        data = bytes(kept) if entry.unpacked <= most_bytes else None
        contents[name] = Content(digest.digest(), data)
        wanted.remove(name)
        if not wanted:
            break
    return contents


def _file(entry: Entry) -> File:
    is_executable = bool(stat.S_IMODE(entry.mode) & 0o111)
    return File(_name(entry), entry.unpacked, entry.crc, is_executable)


def _name(entry: Entry) -> str:
    return entry.name.removeprefix(f"{ROOT}/")
