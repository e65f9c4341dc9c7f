"""Tells which dead links a model needs; a link that nothing needs is no reason to refuse it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, replace

# The files of a model that may say which others it reads.
_READ: Final = frozenset(
    {".cfg", ".ini", ".ipynb", ".json", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
)
_MOST_BYTES: Final = 1 << 20
_LETTERS: Final = lazy_regex(rb"\w+")
# Names that the package or the platform looks for by themselves.
_LOOKED_FOR: Final = frozenset(
    {"backtest.json", "bot.py", "keys.json", "notify.json", "requirements.txt", "settings.json"}
)


def without_needless_links(selection: Selection) -> Iterator[Problem]:
    """Yield the problems of a selection, with those of links that nothing needs as warnings.

    A link is needed if a file of the model has a word of its path, also of a directory in it, or
    its suffix: a script may list a directory, or look for `*.csv`.
    """
    dead = {one.path for one in selection.problems if one.path in selection.dead_links}
    needless = dead - _needed({path for path in dead if path}, selection)
    for one in selection.problems:
        if one.path in needless:
            message = f"{one.message} It is not packed: no file of the model names it."
            yield replace(one, message=message, severity=Severity.WARNING)
        else:
            yield one


def _needed(links: Collection[str], selection: Selection) -> set[str]:
    needed = {link for link in links if PurePosixPath(link).name in _LOOKED_FOR}
    by_word: dict[bytes, set[str]] = {}
    for link in links:
        for word in filter(None, re.split(r"[./]", link)):
            by_word.setdefault(word.encode(), set()).add(link)
    words = _Words.of(by_word)
    for entry in selection.entries if by_word else ():
        if not entry.is_directory and PurePosixPath(entry.name).suffix in _READ:
            with suppress(OSError):
                for word in words.found_in(selection.files.read(entry.name, _MOST_BYTES)):
                    needed |= by_word[word]
    return needed


@dataclass(frozen=True, slots=True)
class _Words:
    """Words to look for, each by the first letters and digits in it; blank where it has none.

    There may be as many links as a file has words: no word is compared with each of a file's.
    """

    by_first: Mapping[bytes, Sequence[bytes]]

    @classmethod
    def of(cls, words: Iterable[bytes]) -> _Words:
        by_first: dict[bytes, list[bytes]] = {}
        for word in words:
            first = _LETTERS.search(word)
            by_first.setdefault(first[0] if first else b"", []).append(word)
        return cls(by_first)

    def found_in(self, data: bytes) -> Iterator[bytes]:
        """Yield those that are in a text, with no letter or digit before or after them."""
        for first in self.by_first.keys() & {b"", *_LETTERS.findall(data)}:
            for word in self.by_first[first]:
                if word == first or re.search(rb"(?<!\w)" + re.escape(word) + rb"(?!\w)", data):
                    yield word
