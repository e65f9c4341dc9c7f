"""Reads git's index, also one that is split (`core.splitIndex`), which the library does not know.

The formats are those of gitformat-index(5): "Split index" and "Bitmap" of the extension `link`.
Paths that git would not write are refused, because files are looked up by them.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from deploy_action.git.trees import shown
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import replace

if TYPE_CHECKING:
    from dulwich.index import Index, SerializedIndexEntry
    from dulwich.repo import Repo

_LINK: Final = b"link"
_WORD: Final = 64
_LONGEST_PATH: Final = 4096
_SHA1_LENGTH: Final = 20
_LEAST_ENTRY: Final = 24  # bytes in a file, of any version
# A component that is blank, `.`, `..` or `.git`; the entry of a directory ends with a slash.
_BAD_PATH: Final = lazy_regex(rb"(?:\A|/)(?:\.{0,2}|\.git)(?:/|\Z)|\0", re.IGNORECASE)


def open_index(repo: Repo, only: AbstractSet[bytes] | None = None) -> Index:
    """Return the index as the library has it, whole, or with `only` some of its files."""
    from dulwich.index import ConflictedIndexEntry, Index, IndexEntry

    index = Index(repo.index_path(), read=False, object_format=repo.object_format)
    if not Path(os.fsdecode(repo.index_path())).exists():
        return index
    _check_digest(repo)
    for one in read_entries(repo):
        if only is not None and one.name not in only:
            continue
        is_conflict = one.stage().value
        index[one.name] = ConflictedIndexEntry() if is_conflict else IndexEntry.from_serialized(one)
    return index


def read_entries(repo: Repo) -> Iterator[SerializedIndexEntry]:
    """Yield entries one by one, which is four times as fast as having the library keep them all.

    Those of a split index are in no order. Raises ValueError for a path that git would not write.
    """
    for one in _entries(repo):
        path = one.name[:-1] if one.name.endswith(b"/") else one.name
        if len(path) > _LONGEST_PATH or _BAD_PATH.search(path):
            raise ValueError(f"its index has the path {shown(one.name)}")
        yield one


def _entries(repo: Repo) -> Iterator[SerializedIndexEntry]:
    from dulwich.file import GitFile
    from dulwich.index import read_index

    length = repo.object_format.oid_length
    with GitFile(repo.index_path(), "rb") as file:
        own = []  # entries without a name stand for some of the shared index, and come first
        for one in read_index(_ShortPaths(file), repo.object_format):
            if one.name:
                yield one
            else:
                own.append(one)
        link = _link(file, length)
    if not any(link[:length]):
        return
    with GitFile(_directory(repo) / f"sharedindex.{link[:length].hex()}", "rb") as file:
        most = os.fstat(file.fileno()).st_size // _LEAST_ENTRY
        gone, start = _bits(link, length, most) if len(link) > length else (set(), length)
        replaced, _ = _bits(link, start, most) if len(link) > start else (set(), start)
        instead = dict(zip(sorted(replaced), own, strict=True))
        for position, one in enumerate(read_index(_ShortPaths(file), repo.object_format)):
            if position not in gone:
                yield replace(instead[position], name=one.name) if position in instead else one


class _ShortPaths:
    """A file of an index, of which the library reads a path byte by byte, however long it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes = 0
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes; raise ValueError if it is the end of a path that is too long."""
        self._bytes = self._bytes + 1 if size == 1 else 0
        if self._bytes > _LONGEST_PATH:
            raise ValueError(f"its index has a path of more than {_LONGEST_PATH:,} bytes")
        return self._file.read(size)


def _check_digest(repo: Repo) -> None:
    """Compare the digest at the end of the index; it is blank with `index.skipHash`."""
    from dulwich.file import GitFile

    algorithm = "sha1" if repo.object_format.oid_length == _SHA1_LENGTH else "sha256"
    with GitFile(repo.index_path(), "rb") as file:
        data = file.read()
    written = data[-repo.object_format.oid_length :]
    found = hashlib.new(algorithm, data[: -len(written)], usedforsecurity=False).digest()
    if any(written) and found != written:
        raise ValueError("the checksum of its index is wrong")


def _directory(repo: Repo) -> Path:
    return Path(os.fsdecode(repo.index_path())).parent


def _link(file: IO[bytes], end_length: int) -> bytes:
    """Return the extension that names the shared index, from behind the entries; blank if none."""
    rest = file.read()
    at = 0
    while at + 8 <= len(rest) - end_length:
        signature, size = struct.unpack_from(">4sI", rest, at)
        if signature == _LINK:
            return rest[at + 8 : at + 8 + size]
        at += 8 + size
    return b""


def _bits(data: bytes, at: int, most: int) -> tuple[set[int], int]:
    """Return the positions of a bitmap in EWAH's form, and where it ends.

    It has runs of words that are all alike, each followed by some that are written out. Raises
    ValueError if there are more than `most` positions.
    """
    length, count = struct.unpack_from(">II", data, at)
    if length > most:
        raise ValueError("a bitmap of the index is longer than the index")
    words = struct.unpack_from(f">{count}Q", data, at + 8)
    found: set[int] = set()
    read, word = 0, 0
    while read < count:
        run, written = words[read] >> 1 & 0xFFFFFFFF, words[read] >> 33
        if (word + run) * _WORD >= length + _WORD:
            raise ValueError("a bitmap of the index is longer than it says")
        if words[read] & 1:
            found.update(range(word * _WORD, (word + run) * _WORD))
        word += run
        for bits in words[read + 1 : read + 1 + written]:
            found.update(word * _WORD + bit for bit in range(_WORD) if bits >> bit & 1)
            word += 1
        read += 1 + written
    return found, at + 8 + 8 * count + 4
