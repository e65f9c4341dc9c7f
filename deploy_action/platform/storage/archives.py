"""Whether an uploaded file is a bundle that can be unpacked safely, without unpacking it."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

from deploy_action.platform.storage.zip_reader import (
    DEFLATED,
    ENCRYPTED,
    LONGEST_NAME,
    PATCHED,
    STORED,
    ArchiveError,
    Directory,
    Entry,
    find_content,
    find_directory,
    read_content,
    read_directory,
    shown,
    too_long,
    unsound,
)
from deploy_action.records import dataclass

ROOT: Final = "model"
MANIFEST: Final = f"{ROOT}/blankly.json"
MAX_ENTRIES: Final = 300_000
MAX_DIRECTORY_BYTES: Final = 64 << 20
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_UNPACKED_BYTES: Final = 64 << 30
DEEPEST: Final = 100  # components of a name below the root; the packer has the same limit
# A zip bomb: it unpacks to more bytes than the first number, at a ratio above the second.
# Ordinary price files and logs stay below 100:1; DEFLATE itself ends at 1032:1.
_BOMBS: Final = ((64 << 20, 500), (1 << 30, 100))
_DEFLATE_LIMIT: Final = 1032
# DEFLATE stores incompressible data in blocks of 16 KiB or more, with five extra bytes each.
_BLOCK_BYTES: Final = 16 << 10
_BLOCK_OVERHEAD: Final = 5
_DEFLATE_OVERHEAD: Final = 64
_NEWEST_VERSION: Final = 63  # zipfile refuses entries that need a later one
_MAX_COMPONENT_BYTES: Final = 255  # of a file name, on every file system we unpack to


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What a bundle holds: how many files, and their size in bytes once unpacked."""

    files: int
    unpacked_bytes: int


def check_archive(path: Path) -> ArchiveFacts:
    """Return what the bundle at `path` holds, from its directory: no content is read.

    Raises `ArchiveError` when it is not acceptable.
    """
    with path.open("rb") as file:
        directory = _find_directory(file)
        names: list[bytes] = []
        spans: list[tuple[int, int, int]] = []
        manifest: tuple[Entry, int] | None = None
        files = unpacked = 0
        for entry, start in _entries(file, directory):
            spans.append((entry.offset, start + entry.packed, len(names)))
            names.append(_sortable(entry))
            files += not entry.is_directory
            unpacked += entry.unpacked
            if entry.name == MANIFEST:
                manifest = (entry, start)
        _check_names(names)
        _check_overlaps(spans, names, directory.offset)
        _check_bomb(unpacked, path.stat().st_size)
        if manifest is None:
            raise ArchiveError(f"The model has no {MANIFEST}")
        _check_manifest(file, *manifest)
    return ArchiveFacts(files=files, unpacked_bytes=unpacked)


def check_contents(path: Path) -> None:
    """Unpack a bundle that passed `check_archive` to nowhere.

    Raises `ArchiveError` when an entry's content is not, to the byte, what the directory says.
    """
    for _, content in read_entries(path):
        for _ in content:
            pass


def read_entries(path: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield the entries of a bundle with their contents, each to be read before the next one.

    Raises `ArchiveError` as soon as something is not acceptable, but what only `check_archive` can
    find in a bundle as a whole.
    """
    with path.open("rb") as file:
        for entry, start in _entries(file, _find_directory(file)):
            yield entry, read_content(file, entry, start)


def _find_directory(file: BinaryIO) -> Directory:
    directory = find_directory(file)
    if directory.entries > MAX_ENTRIES:
        raise ArchiveError(f"The model has more than {MAX_ENTRIES} entries")
    if directory.size > MAX_DIRECTORY_BYTES:
        most = MAX_DIRECTORY_BYTES >> 20
        raise ArchiveError(f"The model's zip directory is larger than {most} MiB")
    return directory


def _entries(file: BinaryIO, directory: Directory) -> Iterator[tuple[Entry, int]]:
    """Yield each entry that is acceptable by itself, and where its data begins."""
    for entry in read_directory(file, directory):
        _check_name(entry.name)
        if entry.other_name is not None:
            _check_name(entry.other_name)
        _check_kind(entry)
        _check_packing(entry)
        yield entry, find_content(file, entry, directory.offset)


# ------------------------------------------------------------------ one entry


def _check_name(name: str) -> None:
    """Refuse a name that leads outside the model's directory, is ambiguous, or too long."""
    if name == f"{ROOT}/":
        return
    parts = name.removesuffix("/").split("/")
    if (
        name.startswith("/")
        or "\\" in name
        or "\0" in name
        or ".." in parts
        or re.match("[A-Za-z]:", name)
    ):
        raise ArchiveError(f"The model has an entry that escapes its directory: {shown(name)}")
    if parts[0] != ROOT or len(parts) < 2:  # noqa: PLR2004  the root, and what is in it
        raise ArchiveError(f"The model has an entry outside {ROOT}/: {shown(name)}")
    if "" in parts or "." in parts:
        raise ArchiveError(f"The model has an entry with an ambiguous name: {shown(name)}")
    if len(parts) - 1 > DEEPEST:
        raise ArchiveError(
            f"The model has an entry that is nested too deep ({len(parts) - 1:,} levels; {DEEPEST}"
            f" are allowed): {shown(name)}"
        )
    if (size := len("/".join(parts[1:]).encode())) > LONGEST_NAME:
        raise too_long(name, size)
    if any(len(part.encode()) > _MAX_COMPONENT_BYTES for part in parts):
        raise ArchiveError(
            "The model has an entry whose name is too long (a file or directory may have"
            f" {_MAX_COMPONENT_BYTES} bytes): {shown(name)}"
        )


def _check_kind(entry: Entry) -> None:
    if entry.disk != 0:
        raise ArchiveError("The model is one part of a zip file that was split")
    kind = stat.S_IFMT(entry.mode)
    allowed = (0, stat.S_IFDIR) if entry.is_directory else (0, stat.S_IFREG)
    if kind == stat.S_IFLNK:
        raise ArchiveError(f"The model has a symbolic link: {shown(entry.name)}")
    if kind not in allowed:
        raise ArchiveError(
            f"The model has an entry that is not a regular file: {shown(entry.name)}"
        )


def _check_packing(entry: Entry) -> None:
    if entry.flags & ENCRYPTED:
        raise ArchiveError(f"The model has an encrypted entry: {shown(entry.name)}")
    if (
        entry.method not in (STORED, DEFLATED)
        or entry.flags & PATCHED
        or entry.wanted_version > _NEWEST_VERSION
    ):
        raise ArchiveError(
            f"The model has an entry that is packed in an unsupported way: {shown(entry.name)}"
            " (only stored and deflated ones are supported)"
        )
    if not _sizes_agree(entry) or (entry.is_directory and entry.unpacked):
        raise ArchiveError(f"The model has an entry whose size cannot be true: {shown(entry.name)}")


def _sizes_agree(entry: Entry) -> bool:
    """Return whether DEFLATE can turn the unpacked size into the packed size."""
    if entry.method == STORED:
        return entry.packed == entry.unpacked
    blocks = entry.unpacked // _BLOCK_BYTES + 1
    most_packed = entry.unpacked + blocks * _BLOCK_OVERHEAD + _DEFLATE_OVERHEAD
    return entry.packed <= most_packed and entry.unpacked <= _DEFLATE_LIMIT * entry.packed


def _check_manifest(file: BinaryIO, entry: Entry, start: int) -> None:
    if max(entry.unpacked, entry.packed) > MAX_MANIFEST_BYTES:
        raise ArchiveError(f"The model's {MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
    content = b"".join(read_content(file, entry, start))
    try:
        manifest = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"The model's {MANIFEST} is not valid JSON") from error
    if not isinstance(manifest, dict):
        raise ArchiveError(f"The model's {MANIFEST} is not a JSON object")


# ------------------------------------------------------------------ all entries


def _sortable(entry: Entry) -> bytes:
    """Return the name such that all that conflicts with a file comes right after it.

    Components end in NUL, which no name contains, and directories in one more.
    """
    name = entry.name.removesuffix("/").replace("/", "\0") + "\0"
    return (name + "\0" if entry.is_directory else name).encode()


def _shown_name(name: bytes) -> str:
    return shown(name.decode().rstrip("\0").replace("\0", "/"))


def _check_names(names: list[bytes]) -> None:
    """Refuse two entries of one name, and a file that is a directory too."""
    for name, after in pairwise(sorted(names)):
        is_file = not name.endswith(b"\0\0")
        if name == after or (is_file and after.startswith(name)):
            is_twice = after.rstrip(b"\0") == name.rstrip(b"\0")
            what = "two entries" if is_twice else "a file and a directory"
            raise ArchiveError(f"The model has {what} of one name: {_shown_name(name)}")


def _check_overlaps(spans: list[tuple[int, int, int]], names: list[bytes], most: int) -> None:
    """Refuse entries that share bytes, or reach beyond `most`. Sorts `spans`."""
    spans.sort()
    reached = 0
    for start, end, number in spans:
        if start < reached:
            raise unsound(f"{_shown_name(names[number])} overlaps another entry")
        reached = end
    if reached > most:
        raise unsound(f"{_shown_name(names[spans[-1][2]])} is cut off")


def _check_bomb(unpacked: int, size: int) -> None:
    if unpacked > MAX_UNPACKED_BYTES or any(
        unpacked > threshold and unpacked > ratio * size for threshold, ratio in _BOMBS
    ):
        raise ArchiveError(
            f"The model looks like a zip bomb: its {size} bytes would unpack to {unpacked}"
        )
