"""Tells which dead links a model needs; a link that nothing needs is no reason to refuse it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity

# The files of a model that may say which others it reads.
_READ: Final = frozenset(
    {".cfg", ".ini", ".ipynb", ".json", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
)
_MOST_BYTES: Final = 1 << 20
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
    needed = _needed({path for path in dead if path}, selection)
    for one in selection.problems:
        if one.path in dead - needed:
            message = f"{one.message} It is not packed: no file of the model names it."
            yield replace(one, message=message, severity=Severity.WARNING)
        else:
            yield one


def _needed(links: Collection[str], selection: Selection) -> set[str]:
    needed = {link for link in links if PurePosixPath(link).name in _LOOKED_FOR}
    words = {link: {word.encode() for word in re.split(r"[./]", link) if word} for link in links}
    known = sorted(set().union(*words.values()), key=len, reverse=True)
    if not known:
        return needed
    pattern = re.compile(rb"(?<!\w)(?=(" + b"|".join(map(re.escape, known)) + rb")(?!\w))")
    for entry in selection.entries:
        if not entry.is_directory and PurePosixPath(entry.name).suffix in _READ:
            with suppress(OSError):
                found = set(pattern.findall(selection.files.read(entry.name, _MOST_BYTES)))
                needed |= {link for link in links if words[link] & found}
    return needed
