"""What changed between the files of two bundles, within bounds of time, bytes and lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from deploy_action.platform.web.changes.bundles import (
    Content,
    File,
    Listing,
    list_files,
    read_files,
)
from deploy_action.platform.web.changes.secrecy import (
    KEYS_NAME,
    hidden_lines,
    is_secret_file,
    keys_in,
)
from deploy_action.platform.web.changes.text_changes import Line, changed_lines
from deploy_action.records import dataclass, field

_LARGEST_TEXT: Final = 256 << 10  # in bytes, of a file whose lines are compared
_MOST_LINES_OF_ONE: Final = 2_000  # with more, comparing can take half a second
_MOST_TEXT: Final = 4 << 20  # of all files whose lines are compared
_MOST_READ: Final = 32 << 20  # of each bundle, to tell files apart that have the same checksum
_MOST_SHOWN: Final = 2_000  # lines on a page
_MOST_SECONDS: Final = 1.0  # after which no further file is begun


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that changed: what it was and is, and its changed lines.

    `unshown` says why there are no lines, or not all of them; it is blank if all are here.
    """

    before: File
    after: File
    lines: tuple[Line, ...] = ()
    unshown: str = ""

    @property
    def mode(self) -> str:
        """What changed about its mode; blank if nothing did."""
        if self.before.is_executable == self.after.is_executable:
            return ""
        return "can be executed now" if self.after.is_executable else "cannot be executed any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleChanges:
    """What changed between the files of two bundles, by name.

    `unread` are files with the same size and checksum (CRC-32) whose bytes were not compared, and
    `same` is how many files are the same to the byte. `is_whole` says that all files were looked
    at. `hidden` is how many lines are not shown because there may be keys in them.
    """

    added: tuple[File, ...] = ()
    removed: tuple[File, ...] = ()
    changed: tuple[FileChange, ...] = ()
    unread: tuple[File, ...] = ()
    same: int = 0
    is_whole: bool = True

    @property
    def hidden(self) -> int:
        """How many of the lines are hidden."""
        return sum(line.is_hidden for change in self.changed for line in change.lines)


@lru_cache(maxsize=4)
def compare_kept(before: Path, after: Path, secrets: frozenset[str] = frozenset()) -> BundleChanges:
    """Return what `compare_bundles` does, and keep it: pages ask again every few seconds.

    Nobody may change these files.
    """
    return compare_bundles(before, after, secrets)


def compare_bundles(
    before: Path,
    after: Path,
    secrets: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> BundleChanges:
    """Return what changed from one bundle to another.

    Lines in which one of `secrets` is are not shown. `clock` counts seconds.

    Raises:
        ArchiveError, OSError: a bundle cannot be read.
    """
    old, new = list_files(before), list_files(after)
    both = [name for name in old.files if name in new.files]
    chosen = _chosen(both, old, new)
    contents = [
        read_files(path, chosen | ({KEYS_NAME} & listing.files.keys()), _LARGEST_TEXT)
        for path, listing in ((before, old), (after, new))
    ]
    page = _Page(contents[0], contents[1], secrets, clock() + _MOST_SECONDS, clock)
    differing, unread = page.sort_out((old.files[name], new.files[name]) for name in sorted(both))
    is_whole = old.is_whole and new.is_whole
    return BundleChanges(
        added=_only_in(new, old) if is_whole else (),
        removed=_only_in(old, new) if is_whole else (),
        changed=tuple(page.compare(*pair) for pair in differing),
        unread=tuple(unread),
        same=len(both) - len(differing) - len(unread),
        is_whole=is_whole,
    )


def _only_in(one: Listing, other: Listing) -> tuple[File, ...]:
    return tuple(one.files[name] for name in sorted(one.files.keys() - other.files.keys()))


def _chosen(names: Iterable[str], old: Listing, new: Listing) -> set[str]:
    """Return the files to read, the smallest first: large ones would take all that may be read."""
    left, chosen = _MOST_READ, set[str]()
    for name in sorted(names, key=lambda name: max(old.files[name].size, new.files[name].size)):
        size = max(old.files[name].size, new.files[name].size)
        if size > left:
            break
        if size > _LARGEST_TEXT and not _has_same_checksum(old.files[name], new.files[name]):
            continue  # they differ, and their lines are not compared
        left -= size
        chosen.add(name)
    return chosen


def _has_same_checksum(before: File, after: File) -> bool:
    return (before.size, before.crc) == (after.size, after.crc)


@dataclass(slots=True)
class _Page:
    """Compares the files of one page; what it has used up is no more for the next files.

    `until` is when time is over, on `clock`.
    """

    before: Mapping[str, Content]
    after: Mapping[str, Content]
    secrets: Collection[str]
    until: float
    clock: Callable[[], float]
    lines_left: int = _MOST_SHOWN
    text_left: int = _MOST_TEXT
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Take the keys of both versions: scripts may repeat them."""
        for contents in (self.before, self.after):
            found = contents.get(KEYS_NAME)
            self.keys |= keys_in(found.data or b"") if found is not None else set()
        self.keys |= set(self.secrets)

    def sort_out(
        self, pairs: Iterable[tuple[File, File]]
    ) -> tuple[list[tuple[File, File]], list[File]]:
        """Return the files that differ, and those of which that is not known."""
        differing: list[tuple[File, File]] = []
        unread: list[File] = []
        for before, after in pairs:
            old, new = self.before.get(before.name), self.after.get(after.name)
            if not _has_same_checksum(before, after) or before.is_executable != after.is_executable:
                differing.append((before, after))
            elif old is None or new is None:
                unread.append(after)
            elif old.digest != new.digest:
                differing.append((before, after))
        return differing, unread

    def compare(self, before: File, after: File) -> FileChange:
        """Return what changed in a file."""
        old, new = self.before.get(before.name), self.after.get(after.name)
        if is_secret_file(after.name):
            return FileChange(before, after, unshown="It may hold secrets, so no line is shown.")
        if old is None or new is None or old.data is None or new.data is None:
            return FileChange(before, after, unshown="It is too large to be compared line by line.")
        if old.data == new.data:
            return FileChange(before, after)
        if is_secret_file(after.name, old.data + new.data):
            return FileChange(before, after, unshown="It may hold secrets, so no line is shown.")
        texts = _text(old.data), _text(new.data)
        if texts[0] is None or texts[1] is None:
            return FileChange(before, after, unshown="It is no text.")
        return self._compare_texts(before, after, texts[0], texts[1])

    def _compare_texts(self, before: File, after: File, old: str, new: str) -> FileChange:
        if max(old.count("\n"), new.count("\n")) > _MOST_LINES_OF_ONE:
            unshown = f"It has more than {_MOST_LINES_OF_ONE:,} lines, so they are not compared."
            return FileChange(before, after, unshown=unshown)
        size = before.size + after.size
        is_over = self.lines_left <= 0 or size > self.text_left or self.clock() >= self.until
        if is_over:
            unshown = "The page is full, so its lines are not compared."
            return FileChange(before, after, unshown=unshown)
        self.text_left -= size
        lines, is_whole = changed_lines(
            *(old, new),
            lambda lines, numbers: hidden_lines(after.name, lines, numbers, self.keys),
            self.lines_left,
        )
        self.lines_left -= len(lines)
        unshown = "" if is_whole else "More lines changed; the page is full."
        return FileChange(before, after, tuple(lines), unshown)


def _text(data: bytes) -> str | None:
    """Return the text in UTF-8, None if it is none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
