"""Reads trees: the directories of a commit."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from dulwich.objects import ObjectID

MODULE: Final = 0o160000  # git's mode of a submodule
_MOST_DIGITS: Final = 7  # one more than git writes


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a tree: name, git's mode, and the id of the object."""

    name: bytes
    mode: int
    sha: ObjectID

    @property
    def is_tree(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


def parse_tree(raw: bytes, id_length: int) -> Iterator[Entry]:
    """Read the entries of a tree: mode in octal, blank, name, NUL, binary id of that length.

    The library's own reader would keep only one of two entries with the same name. Raises
    ValueError for malformed trees, and for names that leave the directory.
    """
    from dulwich.objects import ObjectID

    at = 0
    while at < len(raw):
        blank = raw.index(b" ", at)
        end = raw.index(b"\0", blank)
        mode, name = _mode(raw[at:blank]), raw[blank + 1 : end]
        at = end + 1 + id_length
        if at > len(raw):
            raise ValueError("it ends too early")
        if name in {b"", b".", b".."} or name.lower() == b".git" or b"/" in name:
            raise ValueError(f"no entry can be called {shown(name)!r}")
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode) or mode == MODULE):
            raise ValueError(f"{shown(name)!r} has the mode {mode:o}")
        yield Entry(name, mode, ObjectID(raw[end + 1 : at].hex().encode()))


def _mode(digits: bytes) -> int:
    """Return git's mode; Python would read signs and any number of digits, too."""
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise ValueError("an entry has a mode that is none")
    return int(digits, 8)


def shown(path: bytes) -> str:
    """Return a path for a message."""
    return excerpt(path.decode("utf-8", "backslashreplace"))
